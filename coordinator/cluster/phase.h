/* phase.h - the inside of a trainer: its struct, and the phases it goes through; see trainer.h.
 *
 * Each phase has a file: how it begins, what it hands out (drive), what it takes in, when it is done. trainer.c holds
 * them together. Internal to those files. */
#ifndef LSTMQ_PHASE_H
#define LSTMQ_PHASE_H

#include "coordinator/cluster/fleet.h"
#include "coordinator/cluster/trainer.h"
#include "coordinator/cluster/validation.h"
#include "coordinator/data/span_builder.h"
#include "coordinator/run/ledger.h"
#include "coordinator/run/tally.h"
#include "coordinator/run/view.h"

enum phase {
    PHASE_GATHER,   /* no generation works              */
    PHASE_TRAIN,    /* spans are out                    */
    PHASE_VALIDATE, /* requests are out                 */
    PHASE_SAVE,     /* a member sends its state         */
    PHASE_DISMISS,  /* LEAVE is due from all            */
    PHASE_OVER,
};

/* Hashes of parameters that members reported lately, by the step they stand at. */
enum { SEEN_HASHES = 64 };
struct seen_hash {
    uint64_t step, hash; /* hash 0 = none */
};

struct trainer {
    struct trainer_parts parts;
    enum phase phase;
    enum trainer_outcome outcome;
    struct err failure; /* where the outcome is TRAINER_FAILED */
    bool interrupted;
    uint64_t stop_timer; /* after which it stops without a save; 0 = none */
    struct fleet fleet;

    struct checkpoint_state base;  /* the state at the ledger's first step                        */
    struct checkpoint_state state; /* moved by results and epochs' ends only                      */
    struct ledger own, *ledger;
    bool saved;          /* `state` as it is now needs no checkpoint                    */
    uint64_t barrier;    /* where spans end: epoch's end, or a checkpoint               */
    int64_t clock_since; /* ns; when training or validation began, 0 = clock is stopped */
    struct seen_hash hashes[SEEN_HASHES];

    bool validating;            /* this epoch's validation has begun                 */
    struct epoch_record record; /* of the epoch that is being closed                 */
    double validation_seconds;
    bool closing;           /* the epoch is closed, its save is due or under way */
    bool best;              /* and it is the best so far                         */
    bool due;               /* a checkpoint within an epoch is due or under way  */
    struct standing before; /* the best before this epoch                        */
    bool parted;            /* a save before this generation's end was tried     */
    uint64_t saver;         /* member that sends its state; 0 = none             */
    bool unasked;           /* SAVE found no room, and is said again             */

    struct span_builder builder;
    struct validation validation;
    struct download download;
    struct view view;
    struct checkpoint reopened; /* the newest of this run, when it went back to it */
    bool has_reopened;
    uint64_t first_generation; /* number of the last one before this process */
};

/* Seconds since the clock was started; it stands still from here on. */
double trainer_clock_stop(struct trainer *trainer);
void trainer_show(struct trainer *trainer, const char *doing);

/* The steps up to `state` are done, and the ledger goes on from there. */
void trainer_rebase(struct trainer *trainer);

/* Put down results: the state moves on by those that are new and follow on. */
bool trainer_results(struct trainer *trainer, uint64_t first_step, const struct step_result *results, uint32_t steps,
                     struct err *err);

/* Go on with whatever is due, in a generation that works. */
bool trainer_resume(struct trainer *trainer, struct err *err);

/* Everything that was out is back, and the generation is to end: save first, if too few stay to go on with what was done,
 * for nobody knows how long they wait for others. */
bool trainer_part(struct trainer *trainer, struct err *err);

/* Everything that was out is back after an interruption: save what is not, and dismiss. */
bool trainer_stop(struct trainer *trainer, struct err *err);
bool trainer_dismiss(struct trainer *trainer, struct err *err);

bool phase_train_begin(struct trainer *trainer, struct err *err);
bool phase_train_drive(struct trainer *trainer, struct err *err);
bool phase_train_report(struct trainer *trainer, struct member *member, const struct report *report, struct err *err);

bool phase_validate_begin(struct trainer *trainer, struct err *err);
bool phase_validate_drive(struct trainer *trainer, struct err *err);
bool phase_validate_scored(struct trainer *trainer, struct member *member, const struct scored *scored,
                           struct err *err);

bool phase_save_begin(struct trainer *trainer, struct err *err);
bool phase_save_drive(struct trainer *trainer, struct err *err);
bool phase_save_state(struct trainer *trainer, const struct member *member, const struct state *piece, struct err *err);
/* The generation is over: what came of the state is thrown away. */
void phase_save_abandon(struct trainer *trainer);

#endif
