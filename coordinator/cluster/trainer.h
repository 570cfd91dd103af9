/* trainer.h - a run from its first step to its last: the coordinator's side of the conversation.
 *
 *   train --epoch's end--> validate --all SCORED--> close --committed--> train ... --last epoch--> dismiss --> over
 *     ^ |                                                                   |                       ^
 *     | +--checkpoint step--> save --committed--+                           +--interrupted--> part --+
 *     +-----------------------------------------+
 *
 * A trainer lives on the loop's thread. Messages, signals and the clock change nothing but what is known. Once a turn
 * of the loop, trainer_advance looks at the whole state and acts: it lets the fleet (fleet.h) decide which generation
 * there is, hands out steps in spans against credit, validates, keeps checkpoints, and has what is due sent. What comes
 * back is put into the ledger (ledger.h). When a generation is over, the next one takes up the work that was under way.
 *
 * All that a trainer has to know to go on after a crash is its struct checkpoint_state, which each checkpoint stores,
 * and the results since. The journal keeps them, and workers report them again. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_TRAINER_H
#define LSTMQ_COORDINATOR_CLUSTER_TRAINER_H

#include "coordinator/data/dataset.h"
#include "coordinator/data/plan.h"
#include "coordinator/run/journal.h"
#include "coordinator/run/progress.h"
#include "coordinator/run/run.h"
#include "coordinator/run/samples.h"
#include "proto/store/checkpoint.h"
#include "proto/wire/loop.h"
#include "proto/wire/watch.h"

/* What a trainer works with; all of it outlives the trainer. */
struct trainer_parts {
    const struct config *config;
    const struct dataset *dataset;
    struct plan *plan;
    struct samples *samples;
    struct run *run;
    struct display *display;
    const char *command; /* of this process, for the page; NULL = unknown */
    struct loop *loop;
    void *socket;                        /* ROUTER, bound; ROUTER_MANDATORY set                             */
    struct watch *watch;                 /* over that socket; NULL = none */
    const struct checkpoint *checkpoint; /* to go on from; NULL = step 0                                    */
    struct journal *journal;             /* with its results in `ledger`; NULL where workers are of this process */
    struct ledger *ledger;               /* begun at the checkpoint's step; NULL = the trainer's own, empty */
};

enum trainer_outcome {
    TRAINER_RUNNING,
    TRAINER_FINISHED,    /* all epochs done, or patience spent; the last state is saved */
    TRAINER_UNSAVED,     /* the same, but the last state could not be saved             */
    TRAINER_INTERRUPTED, /* trainer_interrupt ended it                                  */
    TRAINER_FAILED,      /* training diverged, or its data is bad: see trainer_failure  */
};

struct trainer;

/* ERR_USAGE where options contradict each other. trainer_new calls it too; call it before anything is read or
 * removed. */
bool trainer_check(const struct config *config, struct err *err);

/* ERR_USAGE as trainer_check; ERR_DATA: a checkpoint that does not fit the plan. */
struct trainer *trainer_new(const struct trainer_parts *parts, struct err *err);
void trainer_destroy(struct trainer **trainer);

/* Record a message if one waits; a loop_handler for the socket. False: the socket failed, or there is no memory. */
bool trainer_receive(void *trainer, struct err *err);

/* Look at the whole state and act: a handler of the loop's turns, which trainer_new adds. It comes before the next
 * trainer_receive, and stops the loop when the run is over. If training diverged or its data is bad, it dismisses the
 * workers first. False when the run cannot go on: workers disagree; or, where workers are threads of this process, any
 * failure of theirs. */
bool trainer_advance(void *trainer, struct err *err);

/* Hand out no more work from the next turn on; when what is out is back, save, dismiss the workers and stop the
 * loop. */
void trainer_interrupt(struct trainer *trainer);

/* The run was over when this process began: dismiss workers that come back, for a while, and stop the loop. */
void trainer_see_off(struct trainer *trainer);

enum trainer_outcome trainer_outcome(const struct trainer *trainer);

/* The reason of TRAINER_FAILED. The trainer owns it. */
const struct err *trainer_failure(const struct trainer *trainer);

/* The state as it stands now is in a checkpoint, or was never anything but the run's beginning. */
bool trainer_saved(const struct trainer *trainer);

/* Append how the run stands, as status.h describes it; with `detail` its workers too. */
void trainer_status(const struct trainer *trainer, bool detail, struct buffer *out);

/* Show the page and the table of a run that is over, or that failed. */
void trainer_show_end(struct trainer *trainer);

#endif
