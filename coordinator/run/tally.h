/* tally.h - add up the steps and epochs of a run.
 *
 * The sums of an epoch and the best score live in a struct checkpoint_state, so a checkpoint saves exactly what is
 * counted. These functions change it: add a step's result, close an epoch into a record, compare a record with the best
 * so far. Pure arithmetic in step order, so a resumed run has the same bits. The trainer owns the state. Coordinator's
 * thread. */
#ifndef LSTMQ_COORDINATOR_RUN_TALLY_H
#define LSTMQ_COORDINATOR_RUN_TALLY_H

#include "coordinator/run/run.h"
#include "proto/base/step_result.h"
#include "proto/store/checkpoint.h"

/* Count one step. ERR_PROTOCOL: it has no tokens. The message check has tested that its sums are finite. */
bool tally_step(struct checkpoint_state *state, const struct step_result *result, struct err *err);

/* The training half of an epoch's record, from the sums; the validation half is NAN. */
void tally_record(const struct checkpoint_state *state, const struct config *config, struct epoch_record *record);

/* Compare a record by train.keep_best. Updates best_* and stale_epochs; true: it is the best so far. In a run without
 * validation, the newest epoch is the best. */
bool tally_best(struct checkpoint_state *state, const struct config *config, const struct epoch_record *record,
                bool validated);

/* The name of that score in metrics.jsonl. */
const char *tally_metric(const struct config *config, bool validated);

/* The best epoch: saved before tally_best, and restored if that epoch's checkpoint could not be kept. */
struct standing {
    bool has_best;
    double best_score;
    uint64_t best_epoch, best_step;
};
struct standing tally_standing(const struct checkpoint_state *state);
void tally_stand(struct checkpoint_state *state, const struct standing *standing);

/* Begin the next epoch: all sums are zero. */
void tally_next_epoch(struct checkpoint_state *state);

/* Whether train.patience epochs have passed without a better score. */
bool tally_stale(const struct checkpoint_state *state, const struct config *config);

/* No epoch is left to train: all are done, or train.patience has stopped the run. */
bool tally_over(const struct checkpoint_state *state, const struct config *config);

/* Whether the counters are consistent in a run of `steps` steps an epoch. ERR_DATA: they are not. */
bool tally_fits(const struct checkpoint_state *state, uint64_t steps, struct err *err);

#endif
