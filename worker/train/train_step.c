/* train_step.c - batch, forward, loss, backward, all-reduce, clip, update: a step of training on one page. */
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
    const struct model *model = training->model;
    training->network.model = model;
    int gradients = config->train_reduce == REDUCE_EXACT && config->train_shards > 1 ? 2 : 1;
    bool ok = step_rows_open(&training->rows, model, err) && optimizer_open(&training->optimizer, model, config, err);
    for (int i = 0; i < gradients && ok; i++) {
        struct gradient *gradient = &training->gradients[i];
        gradient->arena = backend->op->alloc(backend, model->elements * sizeof(float), err);
        ok = gradient->arena != NULL;
        if (ok)
            gradient->of = model_weights(model, gradient->arena);
    }
    reducer_open(&training->reducer, model, config);
    if (!ok)
        training_close(training);
    return ok;
}

void training_close(struct training *training)
{
    if (training->model == NULL)
        return;
    optimizer_close(&training->optimizer);
    reducer_close(&training->reducer);
    step_rows_close(&training->rows);
    network_free(&training->network);
    batch_free(&training->batch);
    for (int i = 0; i < 2; i++)
        if (training->gradients[i].arena != NULL)
            training->backend->op->free(training->backend, training->gradients[i].arena);
    model_destroy(&training->model);
}

/* The ids that a side looks up on any rank; <pad> has no gradient. */
static bool step_add_rows(struct training *training, const struct step *step, enum model_side side, struct err *err)
{
    const uint16_t *ids = step->distinct[side];
    uint32_t count = step->distinct_count[side];
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

/* Gradients without the rows of the last step, and the rows of this one. */
static bool step_begin(struct training *training, const struct step *step, struct err *err)
{
    if (training->gradients[1].arena != NULL)
        step_rows_zero(&training->rows, training->gradients[1].arena);
    step_rows_clear(&training->rows, training->gradients[0].arena);
    if (!step_add_rows(training, step, SIDE_SRC, err) || !step_add_rows(training, step, SIDE_TGT, err))
        return false;
    step_rows_list(&training->rows);
    return reducer_begin(&training->reducer, &training->rows, err);
}

static bool step_pack(struct training *training, const struct rows *rows, struct err *err)
{
    const struct model_shape *shape = &training->model->shape;
    struct batch *batch = &training->batch;
    if (!batch_pack(batch, rows, batch_padding(&training->config), shape->src_vocab, shape->tgt_vocab, err) ||
        !network_begin(&training->network, batch, err))
        return false;
    if (!step_rows_have(&training->rows, SIDE_SRC, batch->src.host_distinct, batch->src.real) ||
        !step_rows_have(&training->rows, SIDE_TGT, batch->tgt.host_distinct, batch->tgt.real))
        return err_set(err, ERR_PROTOCOL, "SPAN: a row has an id that is not among the step's distinct ids");
    stopwatch_lap(training->network.stopwatch, LAP_BATCH);
    return true;
}

/* The sums over all ranks must be those of the whole batch, and REPORT cannot carry a loss that is not finite. */
static bool step_check(const struct step *step, const struct step_result *result, struct err *err)
{
    if (result->tokens != step->tokens)
        return err_set(err, ERR_PROTOCOL, "%u target tokens in the shards, %u announced", result->tokens, step->tokens);
    return isfinite(result->loss_sum) ||
           err_set(err, ERR_DIVERGED, "training loss is not finite; lower train.lr or set train.clip");
}

static void step_log(const struct training *training, const struct step *step)
{
    log_event(LOG_DEBUG, "step_computed",
              LOG_FIELDS(LOG_COUNT("step", training->step), LOG_COUNT("rows", step->rows.count),
                         LOG_COUNT("shards", step->shard_count)),
              "step %llu: %u rows of %u shards", (unsigned long long)training->step, step->rows.count,
              step->shard_count);
}

/* Forward, loss, backward, all-reduce, clip, update. */
static bool step_take(struct training *training, const struct step *step, struct step_result *result, struct err *err)
{
    struct network *network = &training->network;
    struct batch *batch = &training->batch;
    struct gradient *gradient = training->gradients;
    struct rows left = step->rows;
    /* Exact reduction rounds each shard's gradient separately; else all rows are one batch. */
    bool exact = training->reducer.how == REDUCE_EXACT;

    if (!step_begin(training, step, err))
        return false;
    for (uint32_t i = 0; left.count > 0; i++) {
        const struct rows rows = rows_take(&left, exact ? step->shards[i].rows : left.count);
        struct network_result figures;
        if (rows.count == 0)
            continue;
        if (!step_pack(training, &rows, err))
            return false;
        network_forward(network, batch);
        network_loss(network, batch, &gradient->of);
        network_backward(network, batch, &gradient->of);
        if (!network_figures(network, batch, &figures, err) ||
            !reducer_add(&training->reducer, gradient->arena, step->shards[i].shard, &figures, err))
            return false;
        if (training->gradients[1].arena != NULL)
            gradient = gradient == training->gradients ? gradient + 1 : training->gradients;
    }
    step_log(training, step);
    gradient = training->gradients;
    double scale;
    if (!reducer_end(&training->reducer, gradient->arena, result, err) || !step_check(step, result, err))
        return false;
    stopwatch_start(network->stopwatch);
    if (!optimizer_clip(&training->optimizer, gradient->arena, &training->rows, result, &scale, err))
        return false;
    optimizer_update(&training->optimizer, gradient->arena, &training->rows, scale, training->step + 1);
    stopwatch_lap(network->stopwatch, LAP_UPDATE);
    return training->backend->op->check(training->backend, err);
}

bool train_step(struct training *training, const struct step *step, struct step_result *result, struct err *err)
{
    stopwatch_start(training->network.stopwatch);
    if (!step_take(training, step, result, err))
        return err_context(err, "step %llu", (unsigned long long)training->step + 1);
    training->step++;
    return true;
}
