/* status.h - how a run stands, as one JSON object: what `lstmq status` shows, and STATUS carries.
 *
 *   {"phase": "training", "run": "runs/first", "step": 100, "epoch": 1, "epochs_done": 0, "epoch_step": 100,
 *    "epoch_steps": 113, "epochs": 50, "saved_step": 0, "tgt_tok_per_s": 9000.5, "generation": 3, "workers": 2,
 *    "waiting": 0, "lost": 1, "best_metric": "val_loss", "best_score": 0.37, "best_epoch": 2,
 *    "members": [{"worker": 4, "rank": 0, "phase": "working", ...}]}
 *
 * saved_step is that of the newest checkpoint; tgt_tok_per_s is of the epoch so far; best_metric is the score that
 * decides which epoch is the best. A figure that does not exist is null: tgt_tok_per_s before an epoch's first steps
 * are counted, best_score and best_epoch before the first best epoch, the rank of a member outside a generation.
 * Nothing is kept between calls. Loop's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_STATUS_H
#define LSTMQ_COORDINATOR_CLUSTER_STATUS_H

#include "coordinator/cluster/fleet.h"

struct status_facts {
    const char *phase;
    const struct checkpoint_state *state;
    double train_seconds; /* of the epoch so far */
    uint64_t epoch_steps, saved_step;
    const struct fleet *fleet;
    const char *dir;
    const char *metric; /* that best_score is of */
};

/* Append the object to `out`. With `detail` it also lists the members, as many as a STATUS has space for. */
void status_write(const struct status_facts *facts, bool detail, struct buffer *out);

#endif
