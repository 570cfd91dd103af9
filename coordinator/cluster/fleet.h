/* fleet.h - the workers of a run: who is there, who is alive, and which of them make up the generation.
 *
 *        +--------+ enough on   +------+ ENDPOINT  +------+ READY     +------+ one resigns,  +---------+
 *   ---->| gather |------------>| meet |---------->| sync |---------->| work |-------------->| wind up |
 *        +--------+ standby     +------+ from all  +------+ from all  +------+ or is to join +---------+
 *             ^                     |                  |                  |                       |
 *             |  STOPPED from all  +--------+  a member is lost           |             fleet_end |
 *             +--------------------| ending |<-----------------------------------------------------+
 *                                  +--------+
 *
 * One place decides. Messages and the clock change nothing but what is known. Once a turn of the loop, the trainer
 * (trainer.h), which owns the fleet, looks at all of it and acts. It calls these in this order, none from within
 * another:
 *
 *   fleet_receive   one message      recorded: its member's state, what it answered, what it granted
 *   fleet_take      once a turn      what the message means beyond that: who joins, what was computed, what is held
 *   fleet_advance   once a turn      heartbeats, members removed, a generation formed, begun, wound up or ended
 *   fleet_begin     in FLEET_FORM    the trainer says from which state the generation begins
 *   fleet_end       while it works   the trainer says that all members stand at the same step
 *   fleet_dismiss   when the run ends: no generation follows, and the members leave
 *   fleet_say       once a turn      what is due is sent to each member that has space for it
 *
 * At most as many members as a batch has shards get a rank; the others stay on standby. A resigning worker leaves once
 * its generation ends at a step boundary. Where its generation ended otherwise, or where it is in none, it leaves once
 * it is known what others hold. If it alone holds the newest state and no checkpoint has that state, a generation of
 * this one member is formed at once, below the minimum too, and ends when the trainer has saved it.
 *
 * fleet_legal lists which states of members go with which state of the fleet at the end of a turn. Loop's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_FLEET_H
#define LSTMQ_COORDINATOR_CLUSTER_FLEET_H

#include "coordinator/cluster/branch.h"
#include "coordinator/cluster/member.h"
#include "coordinator/cluster/transfer.h"
#include "coordinator/data/dataset.h"
#include "coordinator/run/journal.h"
#include "proto/wire/loop.h"
#include "proto/wire/watch.h"

enum fleet_state {
    FLEET_GATHER,     /* there is no generation                                        */
    FLEET_FORM,       /* within a turn: members are chosen, fleet_begin is due         */
    FLEET_MEET,       /* ENDPOINT is due from members                                  */
    FLEET_SYNC,       /* READY is due from members                                     */
    FLEET_WORK,       /* all members are active                                        */
    FLEET_WIND_UP,    /* so they are, but the generation ends at the next boundary     */
    FLEET_ENDING,     /* STOPPED is due from members                                   */
    FLEET_DISMISSED,  /* the run is over: LEAVE is due                                 */
    FLEET_ABANDONED,  /* the run failed: LEAVE is due, and work in flight is dropped   */
    FLEET_SEEING_OFF, /* the run was over before: workers that come back are dismissed */
    FLEET_STATES,
};

/* Where a generation begins. */
struct fleet_start {
    uint64_t step;
    bool held;                           /* from the state that a member holds             */
    const struct checkpoint *checkpoint; /* otherwise; NULL = from the configuration's seed */
    uint32_t root;                       /* the rank that broadcasts its state ...          */
    bool broadcast;                      /* ... where another rank needs it                 */
};

/* A member that was declared dead. Its ERROR may arrive later and is still reported. */
enum { FLEET_FORMERS = 16 };
struct former {
    uint64_t id; /* 0 = none */
    struct route route;
};

/* The message of this turn. It stays open, and what is large in it is used in place, until fleet_say has sent what is
 * due. */
struct heard {
    struct message message; /* of type 0: no message came            */
    struct route from;
    struct member *member; /* whose it is; NULL = no member's       */
    struct err failure;    /* why a message was refused as a whole  */
};

struct fleet {
    const struct config *config;
    const struct dataset *dataset;
    struct loop *loop;
    void *socket;            /* ROUTER, bound, ROUTER_MANDATORY set                                       */
    struct watch *watch;     /* over that socket; NULL = none                                             */
    struct journal *journal; /* NULL: the fleet is embedded, its workers are threads of this process      */
    struct ledger *ledger;   /* results of steps, as they are received                                    */
    uint32_t least, most;    /* workers that a generation has                                             */
    enum fleet_state state;
    uint64_t run, generation, ids; /* the run's identity; the highest numbers given                       */
    uint64_t handed;               /* no step from this one on was handed out. Raised by the trainer      */
    uint64_t save_step;            /* of SAVE, where that is due                                          */

    /* What the trainer knows, set before fleet_advance. */
    uint64_t known_first, known_last; /* a generation can begin at the states after so many steps         */
    bool unsaved;                     /* steps are known that no checkpoint has                           */

    /* The generation. */
    uint32_t size;
    struct fleet_start start;
    struct branch branch; /* where the generations of this process began                                */
    struct buffer peers;  /* the lines of PEERS                                                         */
    struct upload upload; /* to rank 0                                                                  */
    int64_t formed_ms;    /* it began                                                                   */
    int64_t meeting_ms;   /* its ranks wait for one another alone since, or since the last warning      */

    struct member **members; /* [count], by rising id; each owned */
    size_t count, capacity;
    struct heard heard;
    struct former formers[FLEET_FORMERS]; /* number n at n modulo the length */
    uint64_t lost;                        /* members declared dead so far    */

    uint32_t expected;      /* members of the last generation before this process that may come back ... */
    int64_t expected_until; /* ... before this time                                                      */
    int64_t tick_ms;        /* the next heartbeat is due                                                 */
    int64_t until_ms;       /* FLEET_SEEING_OFF ends                                                     */
    int64_t complained_ms;  /* the last warning about strangers                                          */
    uint64_t strangers;     /* refused so far                                                            */
    size_t logged_waiting;  /* workers in the last log line about waiting, and 1; 0 = there was none     */
};

/* Which states of members are possible in a state of the fleet at the end of a turn, and which one
 * some member must have.
 * Sets of 1 << enum member_state. */
struct fleet_row {
    unsigned may, must; /* may 0 = the state does not outlive a turn */
};
#define MEMBER_SET(state) (1U << MEMBER_##state)
static const struct fleet_row fleet_legal[FLEET_STATES] = {
    [FLEET_GATHER] = {MEMBER_SET(STANDBY) | MEMBER_SET(LEAVING), 0},
    [FLEET_MEET] = {MEMBER_SET(STANDBY) | MEMBER_SET(ENTERING) | MEMBER_SET(LEAVING), MEMBER_SET(ENTERING)},
    [FLEET_SYNC] = {MEMBER_SET(STANDBY) | MEMBER_SET(SYNCING) | MEMBER_SET(ACTIVE) | MEMBER_SET(LEAVING),
                    MEMBER_SET(SYNCING)},
    [FLEET_WORK] = {MEMBER_SET(STANDBY) | MEMBER_SET(ACTIVE) | MEMBER_SET(LEAVING), MEMBER_SET(ACTIVE)},
    [FLEET_WIND_UP] = {MEMBER_SET(STANDBY) | MEMBER_SET(ACTIVE) | MEMBER_SET(LEAVING), MEMBER_SET(ACTIVE)},
    [FLEET_ENDING] = {MEMBER_SET(STANDBY) | MEMBER_SET(STOPPING) | MEMBER_SET(LEAVING), MEMBER_SET(STOPPING)},
    [FLEET_DISMISSED] = {MEMBER_SET(LEAVING), 0},
    [FLEET_ABANDONED] = {MEMBER_SET(LEAVING), 0},
    [FLEET_SEEING_OFF] = {MEMBER_SET(LEAVING), 0},
};

/* `fleet` has config, dataset, loop, socket, watch, journal and ledger set, the rest zero. */
bool fleet_open(struct fleet *fleet, struct err *err);
void fleet_close(struct fleet *fleet);

/* Take a message if one waits, and record what it says of its member's state. The rest of the turn comes before the
 * next one. False where the socket fails. */
bool fleet_receive(struct fleet *fleet, struct err *err);

/* Take this turn's message further: a worker joins, results and states are noted, a peer that is no member gets its
 * answer. An active member's answers to work are left to the trainer. False: the run cannot go on. */
bool fleet_take(struct fleet *fleet, struct err *err);

/* Forget this turn's message, as fleet_say does: for a turn that failed. */
void fleet_forget(struct fleet *fleet);

/* Record the results of `steps` steps. ERR_PROTOCOL where they count no tokens; ERR_FAILED where others differ. */
bool fleet_put_results(struct fleet *fleet, uint64_t first_step, const struct step_result *results, uint32_t steps,
                       struct err *err);

/* Look at all members and move the fleet's state. Sends PING, and ERROR to those that are declared dead. False: the run
 * cannot go on. */
bool fleet_advance(struct fleet *fleet, struct err *err);

/* Within fleet_advance: form, begin, wind up or end the generation, as far as its members allow. */
void generation_advance(struct fleet *fleet);

/* In FLEET_FORM: begin the generation of the chosen members. fleet->start says whether one of them holds a state, and
 * of which step; the caller has corrected it. */
void fleet_begin(struct fleet *fleet);

/* Send what is due, where there is space for it; the rest stays due. */
bool fleet_say(struct fleet *fleet, struct err *err);

/* Send to a member. *sent = false: its queue is full or it is disconnected, and nothing was sent. */
bool fleet_send(struct fleet *fleet, struct member *member, const struct message *message, bool *sent, struct err *err);

/* Send ERROR to a peer, best effort: it may have disconnected. */
void fleet_say_error(const struct fleet *fleet, const struct route *to, const struct err *why);

/* End the generation at a boundary. Members that resigned leave: the trainer has saved what is to be saved, or
 * tried. */
void fleet_end(struct fleet *fleet);

/* DISMISS is due to all. `state` is FLEET_DISMISSED or FLEET_ABANDONED; `reason` is static. */
void fleet_dismiss(struct fleet *fleet, enum fleet_state state, const char *reason);

/* The run was over when this process began: dismiss workers that come back, for a while. */
void fleet_see_off(struct fleet *fleet);

/* The workers are threads of this process. A failure of one is the run's, and none is sent heartbeats. */
static inline bool fleet_is_embedded(const struct fleet *fleet)
{
    return fleet->journal == NULL;
}

/* Its generation can be given work. */
static inline bool fleet_works(const struct fleet *fleet)
{
    return fleet->state == FLEET_WORK || fleet->state == FLEET_WIND_UP;
}

static inline bool fleet_is_dismissed(const struct fleet *fleet)
{
    return fleet->state >= FLEET_DISMISSED;
}

/* It was dismissed, and no worker is left. */
bool fleet_is_empty(const struct fleet *fleet);

/* Enough stay for the next generation once those that resigned have left, and one of them is in this one. */
bool fleet_goes_on(const struct fleet *fleet);

/* The member of the generation with that rank; NULL = it was lost. */
struct member *fleet_rank(const struct fleet *fleet, uint32_t rank);

/* The run took no other branch after the state of `step` of generation `branch`. */
bool fleet_has_branch(const struct fleet *fleet, uint64_t branch, uint64_t step);

/* A failure that every worker would have: it ends the run. */
static inline bool fleet_is_of_all(const struct err *fault)
{
    return fault->code == ERR_DIVERGED || fault->code == ERR_DATA;
}

/* The error of a run that a worker's failure ends: err, and false. Divergence is not the fault of one: it names
 * none. */
bool fleet_run_error(uint64_t worker, const struct err *fault, struct err *err);

#endif
