/* state.c - arenas as the data part of safetensors files, out in pieces and in from memory; see state.h. */
#include "worker/train/state.h"

#include "proto/base/fault.h"
#include "proto/wire/message.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char *const MOMENTS[] = {"exp_avg.", "exp_avg_sq."};

/* One file: a header, then arenas one after the other. */
static bool state_save_file(const struct model *model, int file, struct tensor_entry *entries, size_t count,
                            float *const *arenas, int arena_count, state_sink *sink, void *context, struct err *err)
{
    struct backend *backend = model->backend;
    size_t arena_bytes = model->elements * sizeof(float);
    struct buffer header = {0};
    char *piece = malloc(arena_bytes < STATE_SAVED ? arena_bytes : STATE_SAVED);
    bool ok = piece != NULL ? safetensors_header(entries, count, &header, err)
                            : err_set(err, ERR_MEMORY, "no memory to save");
    uint64_t total = header.size + (uint64_t)arena_count * arena_bytes, offset = header.size;
    for (size_t at = 0; ok && at < header.size; at += STATE_SAVED) {
        size_t size = header.size - at < STATE_SAVED ? header.size - at : STATE_SAVED;
        ok = sink(context, file, at, total, header.data + at, size, err);
    }
    for (int a = 0; ok && a < arena_count; a++) {
        for (size_t at = 0; ok && at < arena_bytes; at += STATE_SAVED) {
            size_t size = arena_bytes - at < STATE_SAVED ? arena_bytes - at : STATE_SAVED;
            backend->op->download(backend, piece, (const char *)arenas[a] + at, size);
            ok = sink(context, file, offset, total, piece, size, err);
            offset += size;
        }
    }
    free(piece);
    buffer_free(&header);
    return ok;
}

bool state_save(const struct training *training, state_sink *sink, void *context, struct err *err)
{
    const struct model *model = training->model;
    size_t count = (size_t)model->tensor_count;
    struct tensor_entry entries[2 * MODEL_TENSORS];
    if (!model_entries(model, "", entries, err) ||
        !state_save_file(model, MESSAGE_STATE_MODEL, entries, count, &model->parameters, 1, sink, context, err))
        return false;

    float *const moments[] = {training->optimizer.m, training->optimizer.v};
    bool adam = moments[0] != NULL;
    return model_entries(model, MOMENTS[0], entries, err) && model_entries(model, MOMENTS[1], entries + count, err) &&
           state_save_file(model, MESSAGE_STATE_OPTIMIZER, entries, adam ? 2 * count : 0, moments, adam ? 2 : 0, sink,
                           context, err);
}

bool state_load_optimizer(struct optimizer *optimizer, const void *bytes, size_t size, const char *name,
                          struct err *err)
{
    float *const moments[] = {optimizer->m, optimizer->v};
    return model_load_arenas(optimizer->model, MOMENTS, moments, optimizer->m != NULL ? 2 : 0, bytes, size, name,
                             err) &&
           optimizer_find_touched(optimizer, err);
}

bool state_broadcast(struct training *training, uint32_t root, struct err *err)
{
    struct optimizer *optimizer = &training->optimizer;
    float *const arenas[] = {training->model->parameters, optimizer->m, optimizer->v};
    size_t size = training->model->elements * sizeof(float);
    for (int i = 0; i < 3; i++) {
        if (arenas[i] != NULL && !reducer_broadcast(&training->reducer, arenas[i], size, root, err))
            return false;
        if (i == 0)
            fault_point("sync");
    }
    return optimizer_find_touched(optimizer, err);
}

bool state_check(const struct training *training, struct err *err)
{
    struct backend *backend = training->backend;
    const struct model *model = training->model;
    enum { PIECE = 1 << 12 };
    float piece[PIECE];
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        for (size_t at = 0; at < tensor->size; at += PIECE) {
            size_t count = tensor->size - at < PIECE ? tensor->size - at : PIECE;
            backend->op->download(backend, piece, model->parameters + tensor->offset + at, count * sizeof *piece);
            for (size_t k = 0; k < count; k++)
                if (!isfinite(piece[k]))
                    return err_set(err, ERR_DIVERGED,
                                   "step %" PRIu64 ": parameter %s is not finite; lower train.lr or set train.clip",
                                   training->step, tensor->name);
        }
    }
    return true;
}

uint64_t state_hash(const struct training *training)
{
    struct backend *backend = training->backend;
    const struct model *model = training->model;
    size_t blocks = (model->elements + HASH_BLOCK - 1) / HASH_BLOCK, bytes = blocks * sizeof(uint64_t);
    struct err ignored;
    uint64_t *host = malloc(bytes), *hashes = backend->op->alloc(backend, bytes, &ignored), hash = 0;
    if (host != NULL && hashes != NULL) {
        backend->op->hash(backend, model->parameters, model->elements, hashes);
        backend->op->download(backend, host, hashes, bytes);
        hash = XXH3_64bits(host, bytes) & INT64_MAX;
        hash = hash != 0 ? hash : 1;
    }
    if (hashes != NULL)
        backend->op->free(backend, hashes);
    free(host);
    return hash;
}
