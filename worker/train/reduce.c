/* reduce.c - gradients gathered, summed and put back; see reduce.h. */
#include "worker/train/reduce.h"

#include "proto/base/clock.h"
#include "proto/base/fault.h"

#include <inttypes.h>
#include <math.h>

/* A slot travels as integers: the bits of the loss sum, tokens, correct. All but one rank add zeroes to it. */
enum { SLOT = 3 };
_Static_assert(sizeof(struct figures) == SLOT * sizeof(int64_t), "a slot is three integers");

/* If `shards` values are below this, their sum times 2^40 is below 2^63. */
static float reduce_below(uint32_t shards)
{
    float below = 0x1p22f;
    for (uint64_t room = 2; room < shards; room *= 2)
        below /= 2;
    return below;
}

void reducer_open(struct reducer *reducer, const struct model *model, const struct config *config,
                  struct outcome *outcome)
{
    *reducer = (struct reducer){.model = model,
                                .outcome = outcome,
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
    void *const memory[] = {reducer->rows, reducer->sums, reducer->slots};
    for (int i = 0; i < 3; i++)
        if (memory[i] != NULL)
            backend->op->free(backend, memory[i]);
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

/* Backend memory for `needed` items; its contents are lost when it grows. */
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
    size_t capacity = reducer->slot_capacity;
    reducer->slots =
        reduce_reserve(reducer, reducer->slots, &capacity, reducer->slot_count, sizeof *reducer->slots, err);
    reducer->slot_capacity = (uint32_t)capacity;
    return reducer->slots != NULL;
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
    struct backend *backend = reducer->model->backend;
    backend->op->zero(backend, reducer->slots, reducer->slot_count * sizeof *reducer->slots);
    if (exact || reducer->collective != NULL) {
        reducer->rows = reduce_reserve(reducer, reducer->rows, &reducer->rows_capacity,
                                       reduce_all_rows_size(reducer) + 1, sizeof(float), err);
        if (reducer->rows == NULL)
            return false;
    }
    if (!exact)
        return true;
    size_t sums = reduce_dense_size(reducer) + reduce_all_rows_size(reducer) + 1;
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

/* The rows of `gradient` are zero before. */
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

bool reducer_bad_element(const struct reducer *reducer, const struct outcome *outcome, struct err *err)
{
    const struct tensor *tensor = reducer->model->tensors;
    while (outcome->element >= tensor->offset + tensor->size)
        tensor++;
    if (!isfinite(outcome->value))
        return err_set(err, ERR_DIVERGED, "the gradient of %s is not finite; lower train.lr or set train.clip",
                       tensor->name);
    return err_set(
        err, ERR_DIVERGED,
        "the gradient of %s has the element %g: exact sums of %u shards take finite values below %.0f; lower "
        "train.lr or set train.clip",
        tensor->name, (double)outcome->value, reducer->shards, (double)reducer->below);
}

/* The rows of one gradient to integers. A row's elements are counted as if the rows stood at the embedding's start. */
static void reduce_quantise_rows(struct reducer *reducer, const float *gradient, bool accumulate, int64_t *sum,
                                 struct figures *slot)
{
    struct backend *backend = reducer->model->backend;
    const float *rows = reducer->rows;
    reduce_gather(reducer, gradient);
    for (int side = 0; side < MODEL_SIDES; side++) {
        const struct row_list *list = &reducer->step->lists[side];
        size_t size = reduce_rows_size(list);
        const struct quantise quantise = {.x = rows,
                                          .count = size,
                                          .below = reducer->below,
                                          .accumulate = accumulate,
                                          .sum = sum,
                                          .first = list->tensor->offset};
        backend->op->quantise(backend, &quantise, reducer->outcome, slot);
        rows += size;
        sum += size;
    }
}

/* To integers, added to those of earlier shards, if there are any. `second` may be NULL. */
static void reduce_quantise(struct reducer *reducer, float *first, float *second, struct figures *slot)
{
    struct backend *backend = reducer->model->backend;
    bool accumulate = reducer->summed;
    int64_t *sum = reducer->sums;
    reducer->summed = true;
    for (int i = 0; i < reducer->dense_count; i++) {
        size_t offset = reducer->dense[i].offset;
        const struct quantise quantise = {.x = first + offset,
                                          .y = second != NULL ? second + offset : NULL,
                                          .count = reducer->dense[i].size,
                                          .below = reducer->below,
                                          .accumulate = accumulate,
                                          .sum = sum,
                                          .first = offset};
        backend->op->quantise(backend, &quantise, reducer->outcome, slot);
        sum += quantise.count;
    }
    reduce_quantise_rows(reducer, first, accumulate, sum, slot);
    step_rows_zero(reducer->step, first);
    if (second == NULL)
        return;
    reduce_quantise_rows(reducer, second, true, sum, slot);
    step_rows_zero(reducer->step, second);
}

struct figures *reducer_slot(struct reducer *reducer, uint32_t shard, struct err *err)
{
    uint32_t slot = reducer->how == REDUCE_EXACT ? shard : reducer->rank;
    if (slot < reducer->slot_count)
        return &reducer->slots[slot];
    err_set(err, ERR_PROTOCOL, "shard %u of a batch of %u shards", shard, reducer->shards);
    return NULL;
}

void reducer_add(struct reducer *reducer, float *gradient, struct figures *slot)
{
    float *held = reducer->held;
    reducer->empty = false;
    reducer->slot = slot;
    if (reducer->how != REDUCE_EXACT)
        return;
    reducer->held = held == NULL ? gradient : NULL;
    if (held != NULL)
        reduce_quantise(reducer, held, gradient, slot);
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
static bool reduce_start_scaled(struct reducer *reducer, int64_t **from, size_t size, float *result, uint64_t *handle,
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
    uint64_t handle = 0;
    int64_t began = clock_ns();
    int64_t *from = reducer->sums;
    for (int i = 0; i < reducer->dense_count; i++)
        if (!reduce_start_scaled(reducer, &from, reducer->dense[i].size, gradient + reducer->dense[i].offset, &handle,
                                 err))
            return false;
    fault_point("all-reduce");
    return reduce_start_scaled(reducer, &from, reduce_all_rows_size(reducer), reducer->rows, &handle, err) &&
           reduce_start(reducer, ELEMENT_I64, reducer->slots, reducer->slot_count * SLOT, &handle, err) &&
           reduce_wait(reducer, handle, began, err);
}

static bool reduce_sum_floats(struct reducer *reducer, float *gradient, struct err *err)
{
    enum collective_element element = reducer->how == REDUCE_BF16 ? ELEMENT_F32_BF16 : ELEMENT_F32;
    uint64_t handle = 0;
    reduce_gather(reducer, gradient);
    int64_t began = clock_ns();
    for (int i = reducer->dense_count - 1; i >= 0; i--)
        if (!reduce_start(reducer, element, gradient + reducer->dense[i].offset, reducer->dense[i].size, &handle, err))
            return false;
    fault_point("all-reduce");
    if (!reduce_start(reducer, element, reducer->rows, reduce_all_rows_size(reducer), &handle, err) ||
        !reduce_start(reducer, ELEMENT_I64, reducer->slots, reducer->slot_count * SLOT, &handle, err) ||
        !reduce_wait(reducer, handle, began, err))
        return false;
    step_rows_zero(reducer->step, gradient);
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

/* A rank without rows adds zeroes; the embeddings' rows are zero anyway. */
static void reduce_nothing(const struct reducer *reducer, float *gradient)
{
    struct backend *backend = reducer->model->backend;
    if (reducer->how == REDUCE_EXACT)
        backend->op->zero(backend, reducer->sums,
                          (reduce_dense_size(reducer) + reduce_all_rows_size(reducer)) * sizeof(int64_t));
    else
        for (int i = 0; i < reducer->dense_count; i++)
            backend->op->zero(backend, gradient + reducer->dense[i].offset, reducer->dense[i].size * sizeof(float));
}

bool reducer_end(struct reducer *reducer, float *gradient, struct err *err)
{
    bool exact = reducer->how == REDUCE_EXACT, alone = reducer->collective == NULL;
    if (reducer->held != NULL)
        reduce_quantise(reducer, reducer->held, NULL, reducer->slot);
    if (reducer->empty)
        reduce_nothing(reducer, gradient);
    if (!alone && !(exact ? reduce_sum_exact(reducer, gradient, err) : reduce_sum_floats(reducer, gradient, err)))
        return err_context(err, "all-reduce");
    if (alone && exact)
        reduce_dequantise(reducer, gradient);
    if (!alone || exact)
        reduce_put_back(reducer, gradient);
    return true;
}

bool reducer_broadcast(struct reducer *reducer, void *memory, size_t size, uint32_t root, struct err *err)
{
    uint64_t handle = 0;
    if (!reducer->collective->op->broadcast(reducer->collective, memory, size, root, &handle, err))
        return reduce_failed(reducer, err);
    return reduce_wait(reducer, handle, clock_ns(), err) || err_context(err, "broadcast");
}

/* A rank that has the second sum knows that all have the first, for all took part in the second. */
bool reducer_meet(struct reducer *reducer, struct err *err)
{
    struct backend *backend = reducer->model->backend;
    reducer->slot_count = 1;
    if (!reduce_reserve_slots(reducer, err))
        return false;
    for (int round = 0; round < 2; round++) {
        int64_t ranks = 1;
        uint64_t handle = 0;
        backend->op->upload(backend, reducer->slots, &ranks, sizeof ranks);
        if (!reduce_start(reducer, ELEMENT_I64, reducer->slots, 1, &handle, err) ||
            !reduce_wait(reducer, handle, clock_ns(), err))
            return err_context(err, "meeting the other ranks");
        backend->op->download(backend, &ranks, reducer->slots, sizeof ranks);
        if (ranks != reducer->size) {
            err_set(err, ERR_PROTOCOL, "%" PRId64 " ranks met in place of %u", ranks, reducer->size);
            return reduce_failed(reducer, err);
        }
    }
    return true;
}
