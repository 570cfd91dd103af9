/* train_step.c - batch, forward, backward, all-reduce, clip, update: a step of training on one page. */
#include "worker/train_step.h"

/* Places of the embeddings in the model's table. */
enum { TENSOR_SRC_EMBEDDING = 0, TENSOR_TGT_EMBEDDING = 4 };

bool training_open(struct training *training, struct backend *backend, const struct config *config, int src_vocab,
                   int tgt_vocab, struct err *err)
{
    *training = (struct training){.backend = backend, .config = *config, .batch = {.backend = backend}};
    training->model = model_new(backend, config, src_vocab, tgt_vocab, err);
    if (training->model == NULL)
        return false;
    training->network.model = training->model;
    size_t elements = training->model->elements;
    training->gradient = backend->op->alloc(backend, elements * sizeof(float), err);
    if (training->gradient == NULL || !step_rows_open(&training->rows, training->model, err) ||
        !optimiser_open(&training->optimiser, training->model, config, err)) {
        training_close(training);
        return false;
    }
    training->gradient_of = model_weights(training->model, training->gradient);
    if (config->train_reduce == REDUCE_EXACT) {
        training->sums = backend->op->alloc(backend, elements * sizeof(int64_t), err);
        if (training->sums == NULL) {
            training_close(training);
            return false;
        }
    }
    return true;
}

void training_close(struct training *training)
{
    if (training->model == NULL)
        return;
    struct backend *backend = training->backend;
    optimiser_close(&training->optimiser);
    step_rows_close(&training->rows);
    network_free(&training->network);
    batch_free(&training->batch);
    if (training->gradient != NULL)
        backend->op->free(backend, training->gradient);
    if (training->sums != NULL)
        backend->op->free(backend, training->sums);
    model_destroy(&training->model);
}

/* The gradient becomes part of the exact sums, and that of the embeddings zero again for the next shard's. */
static void s_move_to_sums(struct training *training, const struct batch *batch)
{
    struct backend *backend = training->backend;
    const struct weights *gradient = &training->gradient_of;
    int E = training->model->shape.E;
    backend->op->quantise(backend, training->gradient, training->model->elements, training->sums);
    backend->op->zero_rows(backend, batch->src.distinct, batch->src.real, E, gradient->encoder.embedding);
    backend->op->zero_rows(backend, batch->tgt.distinct, batch->tgt.real, E, gradient->decoder.embedding);
}

/* Forward and backward of one shard. Its gradient is added to what the step's earlier shards left: in floats, or as
 * integers, whose sum does not depend on the order. */
static bool s_shard(struct training *training, const struct rows *rows, uint32_t count, const struct span_cursor *at,
                    bool first, struct network_result *result, struct err *err)
{
    const struct model_shape *shape = &training->model->shape;
    struct batch *batch = &training->batch;
    bool exact = training->sums != NULL;

    if (!batch_pack(batch, rows, at->row, count, at->id, batch_padding(&training->config), shape->src_vocab,
                    shape->tgt_vocab, err))
        return false;
    step_rows_add(&training->rows, TENSOR_SRC_EMBEDDING, batch->src.host_distinct, batch->src.real);
    step_rows_add(&training->rows, TENSOR_TGT_EMBEDDING, batch->tgt.host_distinct, batch->tgt.real);
    phase_end(training->network.phases, PHASE_BATCH);
    if (!network_run(&training->network, batch, &training->gradient_of, !exact && !first, result, err))
        return false;
    if (exact)
        s_move_to_sums(training, batch);
    return true;
}

bool train_step(struct training *training, const struct span *span, uint32_t offset, struct span_cursor *at,
                struct step_result *result, struct err *err)
{
    struct backend *backend = training->backend;
    size_t elements = training->model->elements;
    bool exact = training->sums != NULL, first = true;

    /* batch, forward, backward: shard by shard */
    phase_begin(training->network.phases);
    *result = (struct step_result){0};
    step_rows_clear(&training->rows, training->gradient);
    if (exact)
        backend->op->zero(backend, training->sums, elements * sizeof(int64_t));
    for (; at->shard < span->shard_count && span->shards[at->shard].step == offset; at->shard++) {
        uint32_t count = span->shards[at->shard].rows;
        if (count == 0)
            continue;
        struct network_result shard;
        if (!s_shard(training, &span->rows, count, at, first, &shard, err))
            return err_context(err, "step %llu", (unsigned long long)training->step + 1);
        first = false;
        at->id += rows_ids(&span->rows, at->row, count);
        at->row += count;
        result->loss_sum += shard.loss_sum;
        result->tokens += shard.tokens;
        result->correct += shard.correct;
    }
    if (exact)
        backend->op->dequantise(backend, training->sums, elements, training->gradient);

    /* all-reduce: one rank holds every shard, so its sums are the batch's */
    if (result->tokens != span->of[offset].tokens)
        return err_set(err, ERR_PROTOCOL, "step %llu: %u target tokens in the shards, %u announced",
                       (unsigned long long)training->step + 1, result->tokens, span->of[offset].tokens);

    /* clip, update */
    phase_begin(training->network.phases);
    step_rows_list(&training->rows);
    if (!optimiser_step(&training->optimiser, training->gradient, &training->rows, training->step + 1, result->tokens,
                        &result->grad_norm, err))
        return false;
    phase_end(training->network.phases, PHASE_UPDATE);
    training->step++;
    return backend->op->check(backend, err);
}
