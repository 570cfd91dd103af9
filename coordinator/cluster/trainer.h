/* trainer.h - a run from its first step to its last: the coordinator's side of the conversation.
 *
 *   gather ---> train --epoch's end--> validate --all SCORED--> save --committed--> train ... --last--> dismiss --> over
 *     ^           |  checkpoint step, or interrupted: save          |
 *     +-----------+--------- a generation is over: its work is taken up by the next ----------+
 *
 * A trainer lives on the loop's thread and is moved by nothing but messages, trainer_interrupt and timers. The fleet
 * (fleet.h) tells it which workers there are; it plans steps, hands them out in spans against credit, puts down what comes
 * back in the ledger (ledger.h), validates, and keeps checkpoints. All it has to know to go on after a crash is its
 * struct checkpoint_state, which each checkpoint stores, and the results since, which the journal keeps and workers say
 * again. Which phase a generation begins in follows from these alone. */
#ifndef LSTMQ_TRAINER_H
#define LSTMQ_TRAINER_H

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

/* ERR_USAGE where options contradict each other. trainer_new asks too; ask before anything is read or removed. */
bool trainer_check(const struct config *config, struct err *err);

/* ERR_USAGE as trainer_check; ERR_DATA: a checkpoint that does not fit the plan. */
struct trainer *trainer_new(const struct trainer_parts *parts, struct err *err);
void trainer_destroy(struct trainer **trainer);

/* Take a message if one waits; a loop_handler for the socket. Stops the loop when the run is over. Where training
 * diverged or its data is bad, the workers are dismissed first. False when it cannot go on: workers that disagree;
 * where the workers are of this process, any failure of theirs. */
bool trainer_receive(void *trainer, struct err *err);

/* Hand out no more work; when what is out is back, save, dismiss the workers and stop the loop. */
bool trainer_interrupt(struct trainer *trainer, struct err *err);

/* The run was over when this process began: dismiss workers that come back, for a while, and stop the loop. */
bool trainer_see_off(struct trainer *trainer, struct err *err);

enum trainer_outcome trainer_outcome(const struct trainer *trainer);

/* The reason of TRAINER_FAILED. The trainer owns it. */
const struct err *trainer_failure(const struct trainer *trainer);

/* The state as it stands now is in a checkpoint, or was never anything but the run's beginning. */
bool trainer_saved(const struct trainer *trainer);

/* Show the page and the table of a run that is over, or that failed. */
void trainer_show_end(struct trainer *trainer);

#endif
