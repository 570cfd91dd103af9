/* train_step.c - batch, forward, loss, backward, all-reduce, clip, update: a step of training on one page. */
#include "worker/train/train_step.h"

#include "proto/base/log.h"
#include "proto/text/vocab.h"

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
    if (ok)
        training->outcome = backend->op->alloc(backend, sizeof *training->outcome, err);
    ok = training->outcome != NULL;
    for (int i = 0; i < gradients && ok; i++) {
        struct gradient *gradient = &training->gradients[i];
        gradient->arena = backend->op->alloc(backend, model->elements * sizeof(float), err);
        ok = gradient->arena != NULL;
        if (ok)
            gradient->of = model_weights(model, gradient->arena);
    }
    reducer_open(&training->reducer, model, config, training->outcome);
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
    if (training->outcome != NULL)
        training->backend->op->free(training->backend, training->outcome);
    model_destroy(&training->model);
}

void training_begin(struct training *training, uint64_t step)
{
    training->step = training->read = step;
    training_forget_outcome(training);
}

void training_forget_outcome(struct training *training)
{
    training->backend->op->zero(training->backend, training->outcome, sizeof *training->outcome);
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

/* Zero the gradients' rows of the last step, and list the rows of this one. */
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

static void step_log(const struct training *training, const struct step *step)
{
    log_event(LOG_DEBUG, "step_computed",
              LOG_FIELDS(LOG_COUNT("step", training->step), LOG_COUNT("rows", step->rows.count),
                         LOG_COUNT("shards", step->shard_count)),
              "step %llu: %u rows of %u shards", (unsigned long long)training->step, step->rows.count,
              step->shard_count);
}

/* Forward, loss, backward, all-reduce, clip, update. */
static bool step_issue(struct training *training, const struct step *step, struct err *err)
{
    struct backend *backend = training->backend;
    struct network *network = &training->network;
    struct batch *batch = &training->batch;
    struct reducer *reducer = &training->reducer;
    struct optimizer *optimizer = &training->optimizer;
    struct gradient *gradient = training->gradients;
    struct rows left = step->rows;
    /* Exact reduction rounds each shard's gradient separately; else all rows are one batch. */
    bool exact = reducer->how == REDUCE_EXACT;

    if (!step_begin(training, step, err))
        return false;
    for (uint32_t i = 0; left.count > 0; i++) {
        const struct rows rows = rows_take(&left, exact ? step->shards[i].rows : left.count);
        if (rows.count == 0)
            continue;
        struct figures *slot = reducer_slot(reducer, step->shards[i].shard, err);
        if (slot == NULL || !step_pack(training, &rows, err))
            return false;
        network_forward(network, batch);
        network_loss(network, batch, &gradient->of);
        network_backward(network, batch, &gradient->of);
        network_score(network, batch, slot);
        reducer_add(reducer, gradient->arena, slot);
        if (training->gradients[1].arena != NULL)
            gradient = gradient == training->gradients ? gradient + 1 : training->gradients;
    }
    step_log(training, step);
    gradient = training->gradients;
    /* A rank that failed leaves before the sums, so that it fails alone. */
    if (backend->op->failing(backend))
        return backend->op->check(backend, err);
    if (!reducer_end(reducer, gradient->arena, err))
        return false;
    stopwatch_start(network->stopwatch);
    if (!optimizer_clip(optimizer, gradient->arena, &training->rows, reducer->slots, reducer->slot_count, step->tokens,
                        training->outcome, err))
        return false;
    optimizer_update(optimizer, gradient->arena, &training->rows, training->step + 1, training->outcome);
    stopwatch_lap(network->stopwatch, LAP_UPDATE);
    return true;
}

bool train_step(struct training *training, const struct step *step, struct err *err)
{
    struct backend *backend = training->backend;
    int ticket = (int)(training->step % 2);
    stopwatch_start(training->network.stopwatch);
    if (!step_issue(training, step, err))
        return err_context(err, "step %llu", (unsigned long long)training->step + 1);
    backend->op->download_begin(backend, ticket, &training->landed[ticket], training->outcome,
                                sizeof *training->outcome);
    training->step++;
    return true;
}

static bool step_check(const struct training *training, const struct outcome *outcome, struct err *err)
{
    if ((outcome->bad & OUTCOME_ELEMENT) != 0)
        return reducer_bad_element(&training->reducer, outcome, err);
    if ((outcome->bad & OUTCOME_TOKENS) != 0)
        return err_set(err, ERR_PROTOCOL, "%lld target tokens in the shards, not as many as announced",
                       (long long)outcome->figures.tokens);
    return outcome->bad == 0 || err_set(err, ERR_DIVERGED, "the %s is not finite; lower train.lr or set train.clip",
                                        (outcome->bad & OUTCOME_LOSS) != 0 ? "training loss" : "gradient");
}

bool train_result(struct training *training, struct step_result *result, struct err *err)
{
    struct backend *backend = training->backend;
    int ticket = (int)(training->read % 2);
    const struct outcome *outcome = &training->landed[ticket];
    if (!backend->op->download_end(backend, ticket, err) || !step_check(training, outcome, err))
        return err_context(err, "step %llu", (unsigned long long)training->read + 1);
    *result = (struct step_result){.loss_sum = outcome->figures.loss_sum,
                                   .grad_norm = outcome->norm,
                                   .tokens = (uint32_t)outcome->figures.tokens,
                                   .correct = (uint32_t)outcome->figures.correct};
    training->read++;
    return true;
}
