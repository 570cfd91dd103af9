/* trainer_inside.h - the inside of a trainer, for its own files; see trainer.h.
 *
 * trainer.c decides: once a turn it looks at the fleet's state and at `next`, and goes on with what is next. Each kind
 * of work has a file, whose functions are called while the generation works: trainer_train and the like hand out what
 * members can take, and say when nothing of it is left (*done); the others record answers. trainer_steps.c keeps what
 * is known of the steps. Only trainer.c calls all of them, and none calls back. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_TRAINER_INSIDE_H
#define LSTMQ_COORDINATOR_CLUSTER_TRAINER_INSIDE_H

#include "coordinator/cluster/fleet.h"
#include "coordinator/cluster/trainer.h"
#include "coordinator/cluster/validation.h"
#include "coordinator/data/span_builder.h"
#include "coordinator/run/ledger.h"
#include "coordinator/run/tally.h"
#include "coordinator/run/view.h"

/* What the generation does, or the next one begins with. */
enum next {
    NEXT_TRAIN,    /* spans, up to the barrier: the epoch's end, or a checkpoint        */
    NEXT_VALIDATE, /* the epoch's steps are done: scores                                */
    NEXT_CLOSE,    /* the epoch is scored and closed: its checkpoint                    */
    NEXT_SAVE,     /* a checkpoint within the epoch                                     */
    NEXT_PART,     /* a checkpoint before the run stops, or too few stay for a generation */
    NEXT_DISMISS,  /* LEAVE is due from all                                             */
    NEXT_OVER,     /* all have left                                                     */
    NEXTS,
};

/* What may be next in a state of the fleet at the end of a turn: sets of 1 << enum next. */
enum {
    NEXT_ANY = 1 << NEXT_TRAIN | 1 << NEXT_VALIDATE | 1 << NEXT_CLOSE | 1 << NEXT_SAVE,
    NEXT_ACTIVE = NEXT_ANY | 1 << NEXT_PART,
    NEXT_END = 1 << NEXT_DISMISS | 1 << NEXT_OVER
};
static const unsigned trainer_legal[FLEET_STATES] = {
    [FLEET_GATHER] = NEXT_ANY,    [FLEET_MEET] = NEXT_ANY,       [FLEET_SYNC] = NEXT_ANY,
    [FLEET_WORK] = NEXT_ACTIVE,   [FLEET_WIND_UP] = NEXT_ACTIVE, [FLEET_ENDING] = NEXT_ANY,
    [FLEET_DISMISSED] = NEXT_END, [FLEET_ABANDONED] = NEXT_END,  [FLEET_SEEING_OFF] = NEXT_END,
};

/* Hashes of parameters that members reported lately, by the step they stand at. */
enum { SEEN_HASHES = 64 };
struct seen_hash {
    uint64_t step, hash; /* hash 0 = none */
};

struct trainer {
    struct trainer_parts parts;
    enum next next;
    enum trainer_outcome outcome; /* how the run will end; TRAINER_RUNNING = nothing ends it yet */
    struct err failure;           /* of code ERR_NONE until training fails                      */
    int64_t stop_ms;              /* interrupted without a generation: no worker is waited for any longer; 0 = unset */
    uint64_t turn;                /* the loop's id of trainer_advance */
    struct fleet fleet;

    struct checkpoint_state base;  /* the state at the ledger's first step                          */
    struct checkpoint_state state; /* moved by results and epochs' ends only                        */
    struct ledger own, *ledger;
    uint64_t journalled;            /* results of steps before this one are in the journal         */
    uint64_t kept_step, kept_epoch; /* where `state` stood when it was last the same as on disk    */
    uint64_t barrier;               /* where spans end                                             */
    int64_t clock_since;            /* ns; training or validation began; 0 = the clock is stopped  */
    struct seen_hash hashes[SEEN_HASHES];

    struct epoch_record record; /* of the epoch that is being closed   */
    struct standing before;     /* the best before this epoch          */
    double validation_seconds;
    uint64_t saver; /* member that sends its state; 0 = none */

    struct span_builder builder;
    struct validation validation;
    struct download download;
    struct view view;
    struct checkpoint reopened;          /* the newest of this run, when it went back to it            */
    const struct checkpoint *checkpoint; /* where a generation begins that holds no state; NULL = the seed */
    uint64_t first_generation;           /* number of the last one before this process                 */
};

/* ---- trainer_steps.c: what is known of the steps ---- */

/* Seconds since the clock was started; it stands still from here on. */
double trainer_clock_stop(struct trainer *trainer);

/* Training time of the epoch so far. */
double trainer_train_seconds(const struct trainer *trainer);
void trainer_show(struct trainer *trainer, const char *doing);

/* The step at which the epoch of the ledger ends. */
uint64_t trainer_epoch_end(const struct trainer *trainer);

/* Count what the ledger has and the state does not, no further than the epoch's end, where the epoch is closed
 * first. */
bool trainer_count(struct trainer *trainer, struct err *err);

/* The steps up to `state` are done, and the ledger goes on from there. */
void trainer_rebase(struct trainer *trainer);

/* A generation begins: `start` says whether a member holds a state, and of which step. Make the state that of its first
 * step, and fill in the checkpoint where none holds one. */
bool trainer_begin(struct trainer *trainer, struct fleet_start *start, struct err *err);

/* ---- one file each ---- */

bool trainer_train(struct trainer *trainer, bool *done, struct err *err);
bool trainer_reported(struct trainer *trainer, struct member *member, const struct report *report, struct err *err);

bool trainer_validate(struct trainer *trainer, bool *done, struct err *err);
bool trainer_scored(struct trainer *trainer, struct member *member, const struct scored *scored, struct err *err);

void trainer_save(struct trainer *trainer, bool *done);
bool trainer_stored(struct trainer *trainer, const struct member *member, const struct state *piece, struct err *err);

#endif
