/* tally.c - sums, and the best epoch; see tally.h. */
#include "coordinator/run/tally.h"

#include <inttypes.h>
#include <math.h>

bool tally_step(struct checkpoint_state *state, const struct step_result *result, struct err *err)
{
    if (result->tokens == 0)
        return err_set(err, ERR_PROTOCOL, "REPORT counts no tokens in step %" PRIu64, state->step + 1);
    state->step++;
    state->epoch_step++;
    state->loss_sum += result->loss_sum;
    state->batch_loss_sum += result->loss_sum / (double)result->tokens;
    state->tokens += result->tokens;
    state->correct += result->correct;
    return true;
}

void tally_record(const struct checkpoint_state *state, const struct config *config, struct epoch_record *record)
{
    double tokens = (double)state->tokens;
    *record = (struct epoch_record){
        .epoch = state->epoch,
        .step = state->step,
        .train_loss = config->train_loss_mean == MEAN_BATCH ? state->batch_loss_sum / (double)state->epoch_step
                                                            : state->loss_sum / tokens,
        .train_acc = (double)state->correct / tokens,
        .val_loss = NAN,
        .val_acc = NAN,
        .val_tf_loss = NAN,
        .bleu = NAN,
        .bleu_normalised = NAN,
        .tgt_tokens = state->tokens,
        .tgt_tok_per_s = state->train_seconds > 0 ? tokens / state->train_seconds : (double)NAN,
        .seconds = state->train_seconds,
    };
}

const char *tally_metric(const struct config *config, bool validated)
{
    static const char *const names[] = {[KEEP_VAL_ACC] = "val_acc",
                                        [KEEP_VAL_LOSS] = "val_loss",
                                        [KEEP_BLEU] = "bleu",
                                        [KEEP_BLEU_NORMALISED] = "bleu_normalised"};
    return validated ? names[config->train_keep_best] : "train_loss";
}

bool tally_best(struct checkpoint_state *state, const struct config *config, const struct epoch_record *record,
                bool validated)
{
    double score = config->train_keep_best == KEEP_VAL_ACC    ? record->val_acc
                   : config->train_keep_best == KEEP_VAL_LOSS ? record->val_loss
                   : config->train_keep_best == KEEP_BLEU     ? record->bleu
                                                              : record->bleu_normalised;
    bool best;
    if (!validated)
        score = record->train_loss;
    if (!isfinite(score))
        best = false;
    else if (!validated || !state->has_best)
        best = true;
    else
        best = config->train_keep_best == KEEP_VAL_LOSS ? score < state->best_score : score > state->best_score;
    if (!best) {
        state->stale_epochs++;
        return false;
    }
    state->has_best = true;
    state->best_score = score;
    state->best_epoch = record->epoch;
    state->best_step = record->step;
    state->stale_epochs = 0;
    return true;
}

void tally_next_epoch(struct checkpoint_state *state)
{
    state->epoch++;
    state->epoch_step = 0;
    state->loss_sum = 0;
    state->batch_loss_sum = 0;
    state->tokens = 0;
    state->correct = 0;
    state->train_seconds = 0;
}

bool tally_stale(const struct checkpoint_state *state, const struct config *config)
{
    return config->train_patience > 0 && state->stale_epochs >= (uint64_t)config->train_patience;
}

bool tally_over(const struct checkpoint_state *state, const struct config *config)
{
    return state->epoch > (uint64_t)config->train_epochs || tally_stale(state, config);
}

struct standing tally_standing(const struct checkpoint_state *state)
{
    return (struct standing){state->has_best, state->best_score, state->best_epoch, state->best_step};
}

void tally_stand(struct checkpoint_state *state, const struct standing *standing)
{
    state->has_best = standing->has_best;
    state->best_score = standing->best_score;
    state->best_epoch = standing->best_epoch;
    state->best_step = standing->best_step;
}

bool tally_fits(const struct checkpoint_state *state, uint64_t steps, struct err *err)
{
    if (state->epoch >= 1 && state->epoch_step <= steps && state->epoch - 1 <= state->step / steps &&
        state->step == (state->epoch - 1) * steps + state->epoch_step &&
        state->shuffles == state->epoch + (state->epoch_step > 0))
        return true;
    return err_set(err, ERR_DATA,
                   "the checkpoint of step %" PRIu64 " says epoch %" PRIu64 ", step %" PRIu64 " in it and %" PRIu64
                   " shuffles, which is inconsistent with %" PRIu64 " steps an epoch",
                   state->step, state->epoch, state->epoch_step, state->shuffles, steps);
}
