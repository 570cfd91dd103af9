/* fleet.h - the workers of a run: who is there, who is alive, and which of them make up the generation.
 *
 *        +--------+  min_workers are there, those who just   +------+  READY from all   +------+
 *   ---->| gather |  came have settled                       | sync |------------------>| work |
 *        |        |----------------------------------------->|      |                   |      |
 *        +--------+                                          +------+                   +------+
 *             ^  STOPPED from all who are left   +--------+     |   one is lost            |  one is lost, or at a boundary:
 *             +----------------------------------| ending |<----+--------------------------+  one resigns, or waits to join
 *                                                +--------+
 *
 * The fleet owns the table of members, speaks HELLO to READY and STOP to LEAVE with them, asks them whether they live,
 * and tells its owner, the trainer, when a generation can work and when it is over; the answers to work it hands on as
 * they come. At most as many members as a batch has shards get a rank; the others wait in reserve.
 *
 * Who resigns is let go when its generation has ended at a boundary. Where it ended otherwise, or there was none, those
 * who resigned wait in gather until it is known what others hold: with the last of a state that is in no checkpoint
 * a generation of one is formed at once, however few that is, and ends when the owner has saved it. Loop's thread. */
#ifndef LSTMQ_FLEET_H
#define LSTMQ_FLEET_H

#include "coordinator/cluster/branch.h"
#include "coordinator/cluster/member.h"
#include "coordinator/cluster/transfer.h"
#include "coordinator/data/dataset.h"
#include "coordinator/run/journal.h"
#include "proto/wire/loop.h"
#include "proto/wire/watch.h"

/* Where a generation begins. */
struct fleet_start {
    uint64_t step;
    bool held;                           /* from the state that a member holds            */
    const struct checkpoint *checkpoint; /* otherwise; NULL = the configuration's seed    */
};

/* What the owner is asked and told. Each may fail, which ends the run. */
struct fleet_owner {
    void *context;
    /* A generation is to begin. `held`: the most advanced of its members holds the state after `step` steps. */
    bool (*begin)(void *context, bool held, uint64_t step, struct fleet_start *start, struct err *err);
    /* All its members are ready for work. */
    bool (*work)(void *context, struct err *err);
    /* It should come to its end: hand out no more than it takes until all members stand at the same step, then call
     * fleet_end. */
    bool (*wind_up)(void *context, struct err *err);
    /* It is over: nothing that was handed out will be answered. */
    bool (*over)(void *context, struct err *err);
    /* REPORT, SCORED, STATE, or CREDIT that was added, of a member that works; PONG of one for whom something found no
     * room before. */
    bool (*answer)(void *context, struct member *member, const struct message *message, struct err *err);
    /* Results that a member says beside its reports. */
    bool (*results)(void *context, uint64_t first_step, const struct step_result *results, uint32_t steps,
                    struct err *err);
    /* The last dismissed member has left. */
    bool (*empty)(void *context, struct err *err);
    /* Whether a generation can go on from the state after `step` steps: what became of the steps before is known. */
    bool (*knows)(void *context, uint64_t step);
    /* Whether steps are known that no checkpoint has. */
    bool (*unsaved)(void *context);
    /* Somebody asks how the run stands: one JSON object. */
    void (*status)(void *context, bool detail, struct buffer *out);
};

/* A member that was lost. Its ERROR may arrive later and is still reported. */
enum { FLEET_FORMERS = 16 };
struct former {
    uint64_t id; /* 0 = none */
    struct route route;
};

enum fleet_phase { FLEET_GATHER, FLEET_SYNC, FLEET_WORK, FLEET_ENDING, FLEET_DISMISSED };

struct fleet {
    const struct config *config;
    const struct dataset *dataset;
    struct loop *loop;
    void *socket;            /* ROUTER, bound, ROUTER_MANDATORY set                            */
    struct watch *watch;     /* over that socket; NULL = none */
    struct journal *journal; /* of a coordinator; NULL where the workers are of this process   */
    struct fleet_owner owner;
    bool embedded;        /* the same: a worker's failure is the run's, and nobody is asked whether it lives */
    uint32_t least, most; /* workers that a generation has   */
    enum fleet_phase phase;
    bool winding_up; /* the owner was told, or finds out when its work begins */
    bool parting;    /* the generation is of one who resigned, for its state to be saved */
    bool abandoned;  /* the run failed: members leave without finishing their work */
    uint64_t run, generation, ids;
    uint32_t size;      /* of the generation        */
    int64_t formed_ms;  /* when it began */
    int64_t meeting_ms; /* since when its ranks want nothing but one another, or since that was last complained of */
    struct fleet_start start;
    struct branch branch;    /* where the generations of this process began */
    uint64_t handed;         /* steps before this one were handed out: nobody holds more. Raised by the owner */
    struct member **members; /* [count], by rising id; each owned */
    size_t count, capacity;
    struct upload upload;   /* to rank 0 */
    uint32_t expected;      /* members of the generation before this process that may come back ... */
    int64_t expected_until; /* ... before this time */
    uint64_t tick, retry;   /* timers, 0 = none */
    int64_t ticked_ms;      /* when `tick` came last */
    uint64_t lost;          /* members declared dead so far */
    int64_t complained_ms;  /* about strangers */
    uint64_t strangers;     /* since then */
    size_t told_waiting;    /* members when it was said last that more are waited for */

    /* The last lost members: number n at n modulo the length. */
    struct former formers[FLEET_FORMERS];
};

/* `fleet` has config, dataset, loop, socket, journal, owner and embedded set, the rest zero. */
bool fleet_open(struct fleet *fleet, struct err *err);
void fleet_close(struct fleet *fleet);

/* Take one message if one waits. *got = false when none does. False: the run cannot go on. */
bool fleet_receive(struct fleet *fleet, bool *got, struct err *err);

/* Send to a member of the generation. *sent = false when its queue has no room or its connection is not there: nothing
 * was sent, and whether it lives will show. */
bool fleet_send(struct fleet *fleet, struct member *member, const struct message *message, bool *sent, struct err *err);

/* STOP to all who work: when they have stopped, the next generation begins. Those who resigned go: what is to be saved
 * before, the owner has saved, or has failed to. */
bool fleet_end(struct fleet *fleet, struct err *err);

/* Be content with a single worker from now on. */
bool fleet_take_any(struct fleet *fleet, struct err *err);

/* When those who resigned are gone somebody is left who is of the generation, and with those who wait there are enough
 * for the next. */
bool fleet_goes_on(const struct fleet *fleet);

/* The owner was told to wind up and has not ended it yet. */
bool fleet_winds_up(const struct fleet *fleet);

/* DISMISS everybody; owner.empty is called when they have left, or after a while. */
bool fleet_dismiss(struct fleet *fleet, const char *reason, struct err *err);

/* As fleet_dismiss, for a run that failed: members stop first, in the middle of their work. */
bool fleet_abandon(struct fleet *fleet, const char *reason, struct err *err);

/* The run was over when this process began: dismiss those who come back, for a while; then owner.empty is called. */
bool fleet_see_off(struct fleet *fleet, struct err *err);

#endif
