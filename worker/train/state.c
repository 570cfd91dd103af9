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

static bool state_same_shape(const struct tensor_entry *wanted, const struct tensor_entry *found, const char *name,
                             struct err *err)
{
    bool same = wanted->dims == found->dims && strcmp(wanted->dtype, found->dtype) == 0;
    for (int d = 0; same && d < wanted->dims; d++)
        same = wanted->shape[d] == found->shape[d];
    if (!same)
        return err_set(err, ERR_DATA,
                       "%s: tensor %s is %s [%" PRIu64 ", %" PRIu64 "], the configuration wants %s [%" PRIu64
                       ", %" PRIu64 "]",
                       name, wanted->name, found->dtype, found->dims > 0 ? found->shape[0] : 1,
                       found->dims > 1 ? found->shape[1] : 1, wanted->dtype, wanted->shape[0],
                       wanted->dims > 1 ? wanted->shape[1] : 1);
    return true;
}

/* Copy the tensors named PREFIX + table name into an arena. */
static bool state_load_arena(const struct model *model, const struct safetensors *file, const void *bytes,
                             const char *prefix, float *arena, const char *name, struct err *err)
{
    struct tensor_entry wanted[MODEL_TENSORS];
    if (!model_entries(model, prefix, wanted, err))
        return false;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor_entry *found = safetensors_find(file, wanted[i].name);
        if (found == NULL)
            return err_set(err, ERR_DATA, "%s: tensor %s is missing", name, wanted[i].name);
        if (!state_same_shape(&wanted[i], found, name, err))
            return false;
        const char *data = (const char *)bytes + file->header_size + found->offset;
        model->backend->op->upload(model->backend, arena + model->tensors[i].offset, data, found->size);
    }
    return true;
}

static bool state_parse(const void *bytes, size_t size, size_t count, const char *name, struct safetensors *file,
                        struct err *err)
{
    if (!safetensors_parse(bytes, size, size, name, file, err))
        return false;
    if (file->count != count) {
        err_set(err, ERR_DATA, "%s: %zu tensors, the configuration wants %zu", name, file->count, count);
        safetensors_free(file);
        return false;
    }
    return true;
}

bool state_load_model(struct model *model, const void *bytes, size_t size, const char *name, struct err *err)
{
    struct safetensors file;
    if (!state_parse(bytes, size, (size_t)model->tensor_count, name, &file, err))
        return false;
    bool ok = state_load_arena(model, &file, bytes, "", model->parameters, name, err);
    safetensors_free(&file);
    return ok;
}

bool state_load_optimizer(struct optimizer *optimizer, const void *bytes, size_t size, const char *name,
                          struct err *err)
{
    const struct model *model = optimizer->model;
    bool adam = optimizer->m != NULL;
    struct safetensors file;
    if (!state_parse(bytes, size, adam ? 2 * (size_t)model->tensor_count : 0, name, &file, err))
        return false;
    bool ok = !adam || (state_load_arena(model, &file, bytes, MOMENTS[0], optimizer->m, name, err) &&
                        state_load_arena(model, &file, bytes, MOMENTS[1], optimizer->v, name, err));
    safetensors_free(&file);
    return ok && optimizer_find_touched(optimizer, err);
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
    const char *parameters = (const char *)training->model->parameters;
    size_t size = training->model->elements * sizeof(float);
    char piece[1 << 14];
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL)
        return 0;
    XXH3_64bits_reset(state);
    for (size_t at = 0; at < size; at += sizeof piece) {
        size_t count = size - at < sizeof piece ? size - at : sizeof piece;
        backend->op->download(backend, piece, parameters + at, count);
        XXH3_64bits_update(state, piece, count);
    }
    uint64_t hash = XXH3_64bits_digest(state) & INT64_MAX;
    XXH3_freeState(state);
    return hash != 0 ? hash : 1;
}
