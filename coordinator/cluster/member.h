/* member.h - one worker, as its coordinator knows it.
 *
 *   HELLO > standby > GENERATION > entering > PEERS > syncing > READY > active > STOP > stopping > STOPPED > standby
 *   alone in its generation: GENERATION > syncing;  where the generation fails: entering, syncing > STOP
 *   from standby, or at the end of the run from anywhere: DISMISS > leaving > LEAVE > left
 *   from anywhere: declared dead
 *
 * The fleet owns it (fleet.h). It is born when HELLO is accepted. It is removed at the end of the turn in which it left
 * or was declared dead. In a generation it has a rank; while it is active, it is sent work against the credit that it
 * grants. Spans that were sent and not reported are kept in order, because reports come in that order.
 *
 * `state` says what the worker has to answer, `due` what the coordinator has to send, `wish` whether the worker stays.
 * member_legal lists the combinations that exist at the end of a turn. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_MEMBER_H
#define LSTMQ_COORDINATOR_CLUSTER_MEMBER_H

#include "proto/wire/message.h"

#include <stdbool.h>

enum { MEMBER_FLIGHTS = 8 }; /* spans a member is ahead at most, whatever credit it grants */

/* A span that was sent and not reported. */
struct flight {
    uint64_t span, first_step;
    uint32_t steps;
};

enum member_state {
    MEMBER_STANDBY,  /* in no generation                                      */
    MEMBER_ENTERING, /* in the generation that begins; its ENDPOINT is due    */
    MEMBER_SYNCING,  /* its READY is due                                      */
    MEMBER_ACTIVE,   /* it holds the generation's state and takes work        */
    MEMBER_STOPPING, /* its STOPPED is due                                    */
    MEMBER_LEAVING,  /* its LEAVE is due                                      */
    MEMBER_LEFT,     /* within a turn: LEAVE came                             */
    MEMBER_FAILED,   /* within a turn: ERROR came, see `fault`                */
    MEMBER_DEAD,     /* within a turn: declared dead, see `fault`             */
    MEMBER_STATES,
};

enum member_wish {
    MEMBER_STAYS,
    MEMBER_RESIGNED, /* it wants to leave at the next step boundary                                          */
    MEMBER_LAST,     /* so does it, and it alone holds the run's newest state: its generation of one saves it */
    MEMBER_RELEASED, /* it may leave: its generation ended at a boundary, after its state was saved or could not be */
};

/* Messages that are still to be sent, in this order. What finds no space in the connection's queue stays due. */
enum member_due { DUE_WELCOME = 1, DUE_GENERATION = 2, DUE_PEERS = 4, DUE_SAVE = 8, DUE_STOP = 16, DUE_DISMISS = 32 };

struct member {
    uint64_t id; /* never reused within a run */
    struct route route;
    enum member_state state;
    enum member_wish wish;
    unsigned due; /* set of enum member_due */
    bool held;    /* standby: it holds the state after `step` steps; in a generation: the state it begins with */
    bool full;    /* its queue had no space for something, and nothing was received from it since */
    uint64_t step, branch; /* of the state held, as PROTOCOL.md defines them */
    int64_t joined_ms;     /* monotonic clock: HELLO was accepted            */
    int64_t heard_ms;      /* a message was received                         */
    int64_t lost_ms;       /* disconnected since; 0 = connected              */
    int64_t due_ms;        /* STOP or DISMISS became due                     */
    const char *reason;    /* of DISMISS, static                             */
    uint64_t pong_time;    /* of the last PONG; 0 = it was used              */
    struct err fault;      /* failed: its ERROR; dead: why, of code ERR_PROTOCOL where it broke the protocol */
    /* in a generation */
    uint32_t rank;
    enum generation_source source;   /* of the state that it begins with */
    char endpoint[MESSAGE_LINE + 1]; /* "" = not received yet                           */
    uint64_t credit;                 /* units of work it can take                       */
    uint64_t next_span;              /* number of the generation's next span            */
    uint64_t sent_step;              /* steps before this one were sent to it           */
    uint32_t validations;            /* requests sent and not answered                  */
    struct flight flights[MEMBER_FLIGHTS];
    uint32_t first_flight, flight_count;
    /* what it is and has done, for people */
    char build[MESSAGE_NAME + 1], arithmetic[MESSAGE_NAME + 1], backend[3 * MESSAGE_NAME + 16], host[MESSAGE_NAME + 1];
    uint32_t pid, threads;
    uint64_t steps, rows, busy_ns, waited_ns;
};

/* What may be due and wished in a state, at the end of a turn. */
struct member_row {
    unsigned due;    /* set of enum member_due        */
    unsigned wishes; /* set of 1 << enum member_wish; 0 = the state does not outlive a turn */
};
#define MEMBER_WISH(wish) (1U << MEMBER_##wish)
static const struct member_row member_legal[MEMBER_STATES] = {
    [MEMBER_STANDBY] = {DUE_WELCOME, MEMBER_WISH(STAYS) | MEMBER_WISH(RESIGNED)},
    [MEMBER_ENTERING] = {DUE_WELCOME | DUE_GENERATION, MEMBER_WISH(STAYS) | MEMBER_WISH(RESIGNED)},
    [MEMBER_SYNCING] = {DUE_WELCOME | DUE_GENERATION | DUE_PEERS,
                        MEMBER_WISH(STAYS) | MEMBER_WISH(RESIGNED) | MEMBER_WISH(LAST)},
    [MEMBER_ACTIVE] = {DUE_SAVE, MEMBER_WISH(STAYS) | MEMBER_WISH(RESIGNED) | MEMBER_WISH(LAST)},
    [MEMBER_STOPPING] = {DUE_WELCOME | DUE_GENERATION | DUE_STOP,
                         MEMBER_WISH(STAYS) | MEMBER_WISH(RESIGNED) | MEMBER_WISH(RELEASED)},
    [MEMBER_LEAVING] = {DUE_WELCOME | DUE_STOP | DUE_DISMISS,
                        MEMBER_WISH(STAYS) | MEMBER_WISH(RESIGNED) | MEMBER_WISH(LAST) | MEMBER_WISH(RELEASED)},
};

/* It has a rank in a generation that is not over. */
bool member_is_in(const struct member *member);

/* It is still here: it did not leave, fail or die in this turn. */
bool member_is_here(const struct member *member);

/* Begin a generation: no rank, no credit, nothing in flight. `held`: it holds the state that the generation begins
 * with. */
void member_enter(struct member *member, bool held);

/* STOP is due: its generation is over. */
void member_stop(struct member *member);

/* DISMISS is due; `reason` is static. One that may be waiting for other ranks, or that is to drop its work (`drop`),
 * gets STOP first: it would wait for ranks that have left. */
void member_dismiss(struct member *member, const char *reason, bool drop);

/* Declare it dead: it `why`. */
void member_lose(struct member *member, enum err_code code, const char *why);

/* It can take another span, or another validation request. */
bool member_can_train(const struct member *member);
bool member_can_validate(const struct member *member);

/* A span was sent: costs one credit. */
void member_took_span(struct member *member, const struct span *span);

/* Take the oldest span off the list and count the work. ERR_PROTOCOL where `report` is not of that span. */
bool member_reported(struct member *member, const struct report *report, struct flight *flight, struct err *err);

/* Nothing that was sent is unanswered. */
bool member_is_idle(const struct member *member);

#endif
