/* train_step.c - batch, forward, backward, all-reduce, clip, update: a step of training on one page. */
#include "worker/train/train_step.h"

#include "proto/base/log.h"
#include "proto/text/vocab.h"

#include <math.h>

bool training_open(struct training *training, struct backend *backend, const struct config *config, int src_vocab,
                   int tgt_vocab, struct err *err)
{
    *training = (struct training){.backend = backend, .config = *config, .batch = {.backend = backend}};
    training->model = model_new(backend, config, src_vocab, tgt_vocab, err);
    if (training->model == NULL)
        return false;
    training->network.model = training->model;
    size_t elements = training->model->elements;
    bool two = config->train_reduce == REDUCE_EXACT && config->train_shards > 1;
    training->gradient = backend->op->alloc(backend, elements * sizeof(float), err);
    if (training->gradient != NULL && two)
        training->other = backend->op->alloc(backend, elements * sizeof(float), err);
    if (training->gradient == NULL || (two && training->other == NULL) ||
        !step_rows_open(&training->rows, training->model, err) ||
        !optimizer_open(&training->optimizer, training->model, config, err)) {
        training_close(training);
        return false;
    }
    reducer_open(&training->reducer, training->model, config);
    training->gradient_of = model_weights(training->model, training->gradient);
    if (two)
        training->other_of = model_weights(training->model, training->other);
    return true;
}

void training_close(struct training *training)
{
    if (training->model == NULL)
        return;
    struct backend *backend = training->backend;
    optimizer_close(&training->optimizer);
    reducer_close(&training->reducer);
    step_rows_close(&training->rows);
    network_free(&training->network);
    batch_free(&training->batch);
    if (training->gradient != NULL)
        backend->op->free(backend, training->gradient);
    if (training->other != NULL)
        backend->op->free(backend, training->other);
    model_destroy(&training->model);
}

/* ---- batch ---- */

/* The ids that a side of the step has on any rank, rising; <pad> has no gradient. */
static bool step_add_distinct(struct training *training, enum model_side side, const uint16_t *ids, uint32_t count,
                              struct err *err)
{
    int rows = training->rows.lists[side].tensor->shape[0];
    if (count > 0 && ids[count - 1] >= rows)
        return err_set(err, ERR_DATA, "distinct id %u is outside the vocabulary of %d", ids[count - 1], rows);
    for (uint32_t i = 0; i < count; i++) {
        int32_t id = ids[i];
        if (id != ID_PAD)
            step_rows_add(&training->rows, side, &id, 1);
    }
    return true;
}

/* The rows of the embeddings that all ranks' batches look up, from the span. */
static bool step_rows_of_all(struct training *training, const struct span *span, uint32_t offset,
                             struct span_cursor *at, struct err *err)
{
    const struct span_step *of = &span->of[offset];
    const uint16_t *src = span->distinct + at->distinct, *tgt = src + of->src_distinct;
    at->distinct += (size_t)of->src_distinct + of->tgt_distinct;
    return step_add_distinct(training, SIDE_SRC, src, of->src_distinct, err) &&
           step_add_distinct(training, SIDE_TGT, tgt, of->tgt_distinct, err);
}

/* The same of a rank that is alone, from the step's rows: sources, and what the decoder reads, <sos> and all of a target
 * but its last id. */
static bool step_rows_of_own(struct training *training, const struct rows *rows, uint32_t count,
                             const struct span_cursor *at, struct err *err)
{
    const struct model_shape *shape = &training->model->shape;
    const uint16_t *ids = rows->ids + at->id;
    const int32_t sos = ID_SOS;
    step_rows_add(&training->rows, SIDE_TGT, &sos, 1);
    for (uint32_t r = at->row; r < at->row + count; r++) {
        int lengths[] = {rows->src_lengths[r], rows->tgt_lengths[r]};
        for (int i = 0; i < lengths[0] + lengths[1] - 1; i++) {
            bool source = i < lengths[0];
            int32_t id = ids[i];
            if (id >= (source ? shape->src_vocab : shape->tgt_vocab))
                return err_set(err, ERR_DATA, "%s id %d is outside the vocabulary", source ? "source" : "target",
                               (int)id);
            if (id != ID_PAD)
                step_rows_add(&training->rows, source ? SIDE_SRC : SIDE_TGT, &id, 1);
        }
        ids += lengths[0] + lengths[1];
    }
    return true;
}

/* Rows of this worker's shards in the step. */
static uint32_t step_row_count(const struct span *span, uint32_t offset, const struct span_cursor *at)
{
    uint32_t count = 0;
    for (uint32_t i = at->shard; i < span->shard_count && span->shards[i].step == offset; i++)
        count += span->shards[i].rows;
    return count;
}

/* What is known of the step before it is computed. */
static bool step_begin(struct training *training, const struct span *span, uint32_t offset, struct span_cursor *at,
                       struct err *err)
{
    bool known;
    if (training->other != NULL)
        step_rows_zero(&training->rows, training->other);
    step_rows_clear(&training->rows, training->gradient);
    if (training->reducer.collective != NULL)
        known = step_rows_of_all(training, span, offset, at, err);
    else
        known = step_rows_of_own(training, &span->rows, step_row_count(span, offset, at), at, err);
    if (!known)
        return false;
    step_rows_list(&training->rows);
    return reducer_begin(&training->reducer, &training->rows, err);
}

/* Pack the next `count` rows. */
static bool step_pack(struct training *training, const struct rows *rows, uint32_t count, struct span_cursor *at,
                      struct err *err)
{
    const struct model_shape *shape = &training->model->shape;
    struct batch *batch = &training->batch;
    if (!batch_pack(batch, rows, at->row, count, at->id, batch_padding(&training->config), shape->src_vocab,
                    shape->tgt_vocab, err))
        return false;
    at->id += rows_ids(rows, at->row, count);
    at->row += count;
    if (!step_rows_have(&training->rows, SIDE_SRC, batch->src.host_distinct, batch->src.real) ||
        !step_rows_have(&training->rows, SIDE_TGT, batch->tgt.host_distinct, batch->tgt.real))
        return err_set(err, ERR_PROTOCOL, "SPAN: a row has an id that is not among the step's distinct ids");
    stopwatch_lap(training->network.stopwatch, LAP_BATCH);
    return true;
}

/* ---- the step ---- */

/* Batch, forward, backward: shard by shard where their gradients are rounded one by one, else all at once. */
static bool step_compute(struct training *training, const struct span *span, uint32_t offset, struct span_cursor *at,
                         struct err *err)
{
    bool exact = training->reducer.how == REDUCE_EXACT;
    const size_t shard_before = at->shard;
    const uint32_t row_before = at->row;
    bool second = false; /* of two shards that the reducer takes together */
    while (at->shard < span->shard_count && span->shards[at->shard].step == offset) {
        const struct span_shard *shard = &span->shards[at->shard];
        uint32_t count = exact ? shard->rows : step_row_count(span, offset, at);
        struct network_result figures;
        do
            at->shard++;
        while (!exact && at->shard < span->shard_count && span->shards[at->shard].step == offset);
        if (count == 0)
            continue;
        if (!step_pack(training, &span->rows, count, at, err) ||
            !network_run(&training->network, &training->batch, second ? &training->other_of : &training->gradient_of,
                         false, &figures, err) ||
            !reducer_add(&training->reducer, second ? training->other : training->gradient, shard->shard, &figures,
                         err))
            return false;
        second = !second && training->other != NULL;
    }
    log_event(LOG_DEBUG, "step_computed",
              LOG_FIELDS(LOG_COUNT("step", training->step), LOG_COUNT("rows", at->row - row_before),
                         LOG_COUNT("shards", at->shard - shard_before)),
              "step %llu: %u rows of %zu shards", (unsigned long long)training->step, at->row - row_before,
              at->shard - shard_before);
    return true;
}

/* All-reduce: what one rank has becomes what all have, and must be the whole batch. */
static bool step_all_reduce(struct training *training, uint32_t tokens, struct step_result *result, struct err *err)
{
    if (!reducer_end(&training->reducer, training->gradient, result, err))
        return false;
    return result->tokens == tokens ||
           err_set(err, ERR_PROTOCOL, "%u target tokens in the shards, %u announced", result->tokens, tokens);
}

bool train_step(struct training *training, const struct span *span, uint32_t offset, struct span_cursor *at,
                struct step_result *result, struct err *err)
{
    struct backend *backend = training->backend;
    stopwatch_start(training->network.stopwatch);

    /* batch, forward, backward; all-reduce */
    if (!step_begin(training, span, offset, at, err) || !step_compute(training, span, offset, at, err) ||
        !step_all_reduce(training, span->of[offset].tokens, result, err))
        return err_context(err, "step %llu", (unsigned long long)training->step + 1);

    /* The gradient may be finite all the same, and REPORT cannot carry such a loss. */
    if (!isfinite(result->loss_sum))
        return err_set(err, ERR_DIVERGED, "step %llu: training loss is not finite; lower train.lr or set train.clip",
                       (unsigned long long)training->step + 1);

    /* clip, update */
    stopwatch_start(training->network.stopwatch);
    if (!optimizer_step(&training->optimizer, training->gradient, &training->rows, training->step + 1, result->tokens,
                        &result->grad_norm, err))
        return false;
    stopwatch_lap(training->network.stopwatch, LAP_UPDATE);
    training->step++;
    return backend->op->check(backend, err);
}
