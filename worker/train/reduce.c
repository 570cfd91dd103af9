/* reduce.c - gradients gathered, summed and put back; see reduce.h. */
#include "worker/train/reduce.h"

#include "proto/base/clock.h"
#include "proto/base/fault.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLOT = 3 }; /* integers: loss sum, tokens, correct */

/* What `shards` values must be below so that their sum, times 2^40, is below 2^63. */
static float reduce_below(uint32_t shards)
{
    float below = 0x1p22f;
    for (uint64_t room = 2; room < shards; room *= 2)
        below /= 2;
    return below;
}

void reducer_open(struct reducer *reducer, const struct model *model, const struct config *config)
{
    *reducer = (struct reducer){.model = model,
                                .how = (enum reduce)config->train_reduce,
                                .shards = config->train_shards > 0 ? (uint32_t)config->train_shards : 1,
                                .size = 1};
    reducer->below = reduce_below(reducer->shards);
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        if ((tensor->flags & TENSOR_BY_ROW) != 0)
            continue;
        if (i == 0 || (model->tensors[i - 1].flags & TENSOR_BY_ROW) != 0)
            reducer->dense[reducer->dense_count++] = (struct dense){.offset = tensor->offset};
        reducer->dense[reducer->dense_count - 1].size += tensor->size;
    }
}

void reducer_close(struct reducer *reducer)
{
    if (reducer->model == NULL)
        return;
    struct backend *backend = reducer->model->backend;
    void *const memory[] = {reducer->rows, reducer->sums, reducer->sent};
    for (int i = 0; i < 3; i++)
        if (memory[i] != NULL)
            backend->op->free(backend, memory[i]);
    free(reducer->slots);
    *reducer = (struct reducer){0};
}

void reducer_join(struct reducer *reducer, struct collective *collective, uint32_t rank, uint32_t size)
{
    reducer->collective = collective;
    reducer->rank = rank;
    reducer->size = size;
    reducer->failed = false;
}

/* ---- memory ---- */

static size_t reduce_dense_size(const struct reducer *reducer)
{
    size_t size = 0;
    for (int i = 0; i < reducer->dense_count; i++)
        size += reducer->dense[i].size;
    return size;
}

static size_t reduce_rows_size(const struct row_list *list)
{
    return (size_t)list->count * (size_t)list->tensor->shape[1];
}

static size_t reduce_all_rows_size(const struct reducer *reducer)
{
    size_t size = 0;
    for (int i = 0; i < MODEL_SIDES; i++)
        size += reduce_rows_size(&reducer->step->lists[i]);
    return size;
}

/* Where the slots stand in exact sums. */
static int64_t *reduce_exact_slots(const struct reducer *reducer)
{
    return reducer->sums + reduce_dense_size(reducer) + reduce_all_rows_size(reducer);
}

/* Backend memory of `needed` items, what it held forgotten. */
static void *reduce_reserve(const struct reducer *reducer, void *memory, size_t *capacity, size_t needed, size_t item,
                            struct err *err)
{
    struct backend *backend = reducer->model->backend;
    if (needed <= *capacity)
        return memory;
    if (memory != NULL)
        backend->op->free(backend, memory);
    *capacity = needed + needed / 8;
    memory = backend->op->alloc(backend, *capacity * item, err);
    if (memory == NULL) {
        *capacity = 0;
        err_context(err, "sums of a step");
    }
    return memory;
}

static bool reduce_reserve_slots(struct reducer *reducer, struct err *err)
{
    struct backend *backend = reducer->model->backend;
    if (reducer->slot_count <= reducer->slot_capacity)
        return true;
    if (reducer->sent != NULL)
        backend->op->free(backend, reducer->sent);
    free(reducer->slots);
    size_t bytes = reducer->slot_count * SLOT * sizeof *reducer->slots;
    reducer->slots = malloc(bytes);
    reducer->sent = backend->op->alloc(backend, bytes, err);
    bool reserved = reducer->slots != NULL && reducer->sent != NULL;
    reducer->slot_capacity = reserved ? reducer->slot_count : 0;
    return reserved || err_set(err, ERR_MEMORY, "no memory for the figures of a step");
}

bool reducer_begin(struct reducer *reducer, const struct step_rows *rows, struct err *err)
{
    bool exact = reducer->how == REDUCE_EXACT;
    reducer->step = rows;
    reducer->empty = true;
    reducer->held = NULL;
    reducer->summed = false;
    reducer->failed = false;
    reducer->slot_count = exact ? reducer->shards : reducer->size;
    if (!reduce_reserve_slots(reducer, err))
        return false;
    memset(reducer->slots, 0, reducer->slot_count * SLOT * sizeof *reducer->slots);
    if (exact || reducer->collective != NULL) {
        reducer->rows = reduce_reserve(reducer, reducer->rows, &reducer->rows_capacity,
                                       reduce_all_rows_size(reducer) + 1, sizeof(float), err);
        if (reducer->rows == NULL)
            return false;
    }
    if (!exact)
        return true;
    size_t sums = reduce_dense_size(reducer) + reduce_all_rows_size(reducer) + reducer->slot_count * SLOT;
    reducer->sums = reduce_reserve(reducer, reducer->sums, &reducer->sums_capacity, sums, sizeof(int64_t), err);
    return reducer->sums != NULL;
}

/* ---- the embeddings' rows, back to back ---- */

static void reduce_gather(const struct reducer *reducer, const float *gradient)
{
    struct backend *backend = reducer->model->backend;
    float *to = reducer->rows;
    for (int i = 0; i < MODEL_SIDES; i++) {
        const struct row_list *list = &reducer->step->lists[i];
        backend->op->gather(backend, gradient + list->tensor->offset, list->index, list->count, list->tensor->shape[1],
                            to);
        to += reduce_rows_size(list);
    }
}

/* Into rows that are zero. */
static void reduce_put_back(const struct reducer *reducer, float *gradient)
{
    struct backend *backend = reducer->model->backend;
    const float *from = reducer->rows;
    for (int i = 0; i < MODEL_SIDES; i++) {
        const struct row_list *list = &reducer->step->lists[i];
        backend->op->scatter_add(backend, from, list->index, list->count, list->tensor->shape[1],
                                 gradient + list->tensor->offset);
        from += reduce_rows_size(list);
    }
}

/* ---- adding ---- */

/* The first element that no sum takes; false where there is none. */
static bool reduce_find_element(const struct reducer *reducer, const float *values, struct err *err)
{
    const struct model *model = reducer->model;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        for (size_t k = tensor->offset; k < tensor->offset + tensor->size; k++) {
            if (fabsf(values[k]) < reducer->below)
                continue;
            if (!isfinite(values[k]))
                err_set(err, ERR_DIVERGED, "the gradient of %s is not finite; lower train.lr or set train.clip",
                        tensor->name);
            else
                err_set(err, ERR_DIVERGED,
                        "the gradient of %s has the element %g: exact sums of %u shards take finite values below %.0f; "
                        "lower train.lr or set train.clip",
                        tensor->name, (double)values[k], reducer->shards, (double)reducer->below);
            return true;
        }
    }
    return false;
}

/* The failure of a quantisation, by the name of a tensor; as the backend said it where memory is short. `second` may be
 * NULL. */
static void reduce_name_element(const struct reducer *reducer, const float *first, const float *second, struct err *err)
{
    const struct model *model = reducer->model;
    const float *const gradients[2] = {first, second};
    float *values = malloc(model->elements * sizeof *values);
    bool found = false;
    for (int i = 0; i < 2 && values != NULL && gradients[i] != NULL && !found; i++) {
        model->backend->op->download(model->backend, values, gradients[i], model->elements * sizeof *values);
        found = reduce_find_element(reducer, values, err);
    }
    free(values);
}

/* To integers, added to those of earlier shards, if there are any. `second` may be NULL. */
static bool reduce_quantise(struct reducer *reducer, float *first, float *second, struct err *err)
{
    struct backend *backend = reducer->model->backend;
    float *const gradients[2] = {first, second};
    bool accumulate = reducer->summed;
    int64_t *to = reducer->sums;
    reducer->summed = true;
    for (int i = 0; i < reducer->dense_count; i++) {
        size_t offset = reducer->dense[i].offset, size = reducer->dense[i].size;
        backend->op->quantise(backend, first + offset, second != NULL ? second + offset : NULL, size, reducer->below,
                              accumulate, to);
        to += size;
    }
    for (int i = 0; i < 2 && gradients[i] != NULL; i++) {
        reduce_gather(reducer, gradients[i]);
        backend->op->quantise(backend, reducer->rows, NULL, reduce_all_rows_size(reducer), reducer->below,
                              accumulate || i > 0, to);
    }
    if (!backend->op->check(backend, err)) {
        reduce_name_element(reducer, first, second, err);
        return false;
    }
    step_rows_zero(reducer->step, first);
    if (second != NULL)
        step_rows_zero(reducer->step, second);
    return true;
}

/* A shard waits for the next, and both are taken. */
static bool reduce_hold(struct reducer *reducer, float *gradient, struct err *err)
{
    float *held = reducer->held;
    reducer->held = held == NULL ? gradient : NULL;
    return held == NULL || reduce_quantise(reducer, held, gradient, err);
}

bool reducer_add(struct reducer *reducer, float *gradient, uint32_t shard, const struct network_result *figures,
                 struct err *err)
{
    bool exact = reducer->how == REDUCE_EXACT;
    if (exact && shard >= reducer->shards)
        return err_set(err, ERR_PROTOCOL, "shard %u of a batch of %u shards", shard, reducer->shards);
    int64_t *slot = reducer->slots + (size_t)(exact ? shard : reducer->rank) * SLOT;
    memcpy(slot, &figures->loss_sum, sizeof *slot);
    slot[1] = figures->tokens;
    slot[2] = figures->correct;
    reducer->empty = false;
    return !exact || reduce_hold(reducer, gradient, err);
}

/* ---- all-reduce ---- */

/* A failure that is not an abort breaks the generation for good. */
static bool reduce_failed(struct reducer *reducer, const struct err *err)
{
    reducer->failed = err == NULL || err->code != ERR_ABORTED;
    return false;
}

static bool reduce_wait(struct reducer *reducer, uint64_t handle, int64_t began, struct err *err)
{
    struct collective *collective = reducer->collective;
    bool done = collective->op->wait(collective, handle, err);
    reducer->waited_ns += (uint64_t)(clock_ns() - began);
    return done || reduce_failed(reducer, err);
}

static bool reduce_start(struct reducer *reducer, enum collective_element element, void *data, size_t count,
                         uint64_t *handle, struct err *err)
{
    struct collective *collective = reducer->collective;
    return collective->op->all_reduce(collective, element, data, count, handle, err) || reduce_failed(reducer, err);
}

/* The exact sums of `size` elements from `*from` on, to floats. */
static bool reduce_start_fold(struct reducer *reducer, int64_t **from, size_t size, float *result, uint64_t *handle,
                              struct err *err)
{
    struct collective *collective = reducer->collective;
    int64_t *data = *from;
    *from += size;
    return collective->op->all_reduce_scaled(collective, data, size, BACKEND_QUANTUM, result, handle, err) ||
           reduce_failed(reducer, err);
}

/* Sums over shards become floats that are sums over ranks: the dense parts in place, of the embeddings `rows`. */
static bool reduce_sum_exact(struct reducer *reducer, float *gradient, struct err *err)
{
    struct backend *backend = reducer->model->backend;
    int64_t *slots = reduce_exact_slots(reducer);
    size_t slot_bytes = reducer->slot_count * SLOT * sizeof *slots;
    uint64_t handle = 0;
    int64_t began = clock_ns();
    backend->op->upload(backend, slots, reducer->slots, slot_bytes);
    int64_t *from = reducer->sums;
    for (int i = 0; i < reducer->dense_count; i++)
        if (!reduce_start_fold(reducer, &from, reducer->dense[i].size, gradient + reducer->dense[i].offset, &handle,
                               err))
            return false;
    fault_point("all-reduce");
    if (!reduce_start_fold(reducer, &from, reduce_all_rows_size(reducer), reducer->rows, &handle, err) ||
        !reduce_start(reducer, ELEMENT_I64, slots, reducer->slot_count * SLOT, &handle, err) ||
        !reduce_wait(reducer, handle, began, err))
        return false;
    backend->op->download(backend, reducer->slots, slots, slot_bytes);
    return true;
}

static bool reduce_sum_floats(struct reducer *reducer, float *gradient, struct err *err)
{
    struct backend *backend = reducer->model->backend;
    enum collective_element element = reducer->how == REDUCE_BF16 ? ELEMENT_F32_BF16 : ELEMENT_F32;
    size_t slot_bytes = reducer->slot_count * SLOT * sizeof *reducer->slots;
    uint64_t handle = 0;
    if (reducer->empty)
        for (int i = 0; i < reducer->dense_count; i++)
            backend->op->zero(backend, gradient + reducer->dense[i].offset, reducer->dense[i].size * sizeof(float));
    reduce_gather(reducer, gradient);
    backend->op->upload(backend, reducer->sent, reducer->slots, slot_bytes);
    int64_t began = clock_ns();
    for (int i = reducer->dense_count - 1; i >= 0; i--)
        if (!reduce_start(reducer, element, gradient + reducer->dense[i].offset, reducer->dense[i].size, &handle, err))
            return false;
    fault_point("all-reduce");
    if (!reduce_start(reducer, element, reducer->rows, reduce_all_rows_size(reducer), &handle, err) ||
        !reduce_start(reducer, ELEMENT_I64, reducer->sent, reducer->slot_count * SLOT, &handle, err) ||
        !reduce_wait(reducer, handle, began, err))
        return false;
    step_rows_zero(reducer->step, gradient);
    reduce_put_back(reducer, gradient);
    backend->op->download(backend, reducer->slots, reducer->sent, slot_bytes);
    return true;
}

static void reduce_dequantise(const struct reducer *reducer, float *gradient)
{
    struct backend *backend = reducer->model->backend;
    const int64_t *from = reducer->sums;
    for (int i = 0; i < reducer->dense_count; i++) {
        backend->op->dequantise(backend, from, reducer->dense[i].size, gradient + reducer->dense[i].offset);
        from += reducer->dense[i].size;
    }
    backend->op->dequantise(backend, from, reduce_all_rows_size(reducer), reducer->rows);
}

bool reducer_end(struct reducer *reducer, float *gradient, struct step_result *result, struct err *err)
{
    bool exact = reducer->how == REDUCE_EXACT;
    if (reducer->held != NULL && !reduce_quantise(reducer, reducer->held, NULL, err))
        return false;
    reducer->held = NULL;
    if (exact && reducer->empty) {
        struct backend *backend = reducer->model->backend;
        backend->op->zero(backend, reducer->sums,
                          (reduce_dense_size(reducer) + reduce_all_rows_size(reducer)) * sizeof(int64_t));
    }
    if (reducer->collective != NULL &&
        !(exact ? reduce_sum_exact(reducer, gradient, err) : reduce_sum_floats(reducer, gradient, err)))
        return err_context(err, "all-reduce");
    if (exact && reducer->collective == NULL)
        reduce_dequantise(reducer, gradient);
    if (exact)
        reduce_put_back(reducer, gradient);
    *result = (struct step_result){0};
    for (uint32_t i = 0; i < reducer->slot_count; i++) {
        const int64_t *slot = reducer->slots + (size_t)i * SLOT;
        double loss;
        memcpy(&loss, slot, sizeof loss);
        result->loss_sum += loss;
        result->tokens += (uint32_t)slot[1];
        result->correct += (uint32_t)slot[2];
    }
    return true;
}

bool reducer_broadcast(struct reducer *reducer, void *memory, size_t size, uint32_t root, struct err *err)
{
    uint64_t handle = 0;
    if (!reducer->collective->op->broadcast(reducer->collective, memory, size, root, &handle, err))
        return reduce_failed(reducer, err);
    return reduce_wait(reducer, handle, clock_ns(), err) || err_context(err, "broadcast");
}

/* Who has the second sum knows that all took part in it, which they do when they have the first. */
bool reducer_meet(struct reducer *reducer, struct err *err)
{
    for (int round = 0; round < 2; round++) {
        int64_t ranks = 1;
        uint64_t handle = 0;
        if (!reduce_start(reducer, ELEMENT_I64, &ranks, 1, &handle, err) ||
            !reduce_wait(reducer, handle, clock_ns(), err))
            return err_context(err, "meeting the other ranks");
        if (ranks != reducer->size) {
            err_set(err, ERR_PROTOCOL, "%" PRId64 " ranks met in place of %u", ranks, reducer->size);
            return reduce_failed(reducer, err);
        }
    }
    return true;
}
