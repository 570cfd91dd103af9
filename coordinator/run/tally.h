/* tally.h - what the steps and epochs of a run come to.
 *
 * The sums of an epoch and the standing of the run live in a struct checkpoint_state, so that what is saved is what is
 * counted. These are the rules that move it: a step's result is added, an epoch is closed into a record, a record is
 * weighed against the best so far. Pure arithmetic, in step order, so a resumed run has the same bits. Coordinator's
 * thread. */
#ifndef LSTMQ_COORDINATOR_RUN_TALLY_H
#define LSTMQ_COORDINATOR_RUN_TALLY_H

#include "coordinator/run/run.h"
#include "proto/store/checkpoint.h"
#include "proto/wire/message.h"

/* Count one step. ERR_PROTOCOL when it has no tokens; that its sums are finite was checked with the message. */
bool tally_step(struct checkpoint_state *state, const struct step_result *result, struct err *err);

/* The training half of an epoch's record, from the sums; the validation half becomes NAN. */
void tally_record(const struct checkpoint_state *state, const struct config *config, struct epoch_record *record);

/* Weigh a record by train.keep_best. Moves best_* and stale_epochs; true when it is the best so far. A run without
 * validation takes its newest epoch for the best. */
bool tally_best(struct checkpoint_state *state, const struct config *config, const struct epoch_record *record,
                bool validated);

/* The name of that score, as metrics.jsonl has it. */
const char *tally_metric(const struct config *config, bool validated);

/* Which epoch is the best: taken before tally_best, and put back when that epoch's checkpoint could not be kept. */
struct standing {
    bool has_best;
    double best_score;
    uint64_t best_epoch, best_step;
};
struct standing tally_standing(const struct checkpoint_state *state);
void tally_stand(struct checkpoint_state *state, const struct standing *standing);

/* Begin the next epoch: sums at zero. */
void tally_next_epoch(struct checkpoint_state *state);

/* Patience is spent. */
bool tally_stale(const struct checkpoint_state *state, const struct config *config);

/* No epoch is left to train: all done, or patience spent. */
bool tally_over(const struct checkpoint_state *state, const struct config *config);

/* The counters go together in a run of `steps` steps an epoch; ERR_DATA where they do not. */
bool tally_fits(const struct checkpoint_state *state, uint64_t steps, struct err *err);

#endif
