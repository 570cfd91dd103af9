/* member.h - a worker, as its coordinator knows it.
 *
 *   HELLO > waiting > GENERATION > entering > PEERS > syncing > READY > working > STOP > stopping > STOPPED > waiting
 *   alone in its generation:       GENERATION > syncing;   where the generation fails:  entering, syncing > STOP
 *   and from waiting, or at the end of the run from anywhere: DISMISS > leaving > LEAVE;
 *       where it may be waiting for other ranks, who may leave before it, STOP goes before DISMISS
 *
 * Born when HELLO arrives, gone with LEAVE, with ERROR, or when it is given up. In a generation it has a rank; when that
 * works, it is given units of work against the credit it grants. Spans it has and did not report yet are remembered in
 * order, for reports come in the order of the spans. Coordinator's thread. */
#ifndef LSTMQ_MEMBER_H
#define LSTMQ_MEMBER_H

#include "proto/wire/message.h"

#include <stdbool.h>

enum { MEMBER_FLIGHTS = 8 }; /* spans a member is ahead at most, whatever credit it grants */

/* A span that was sent and not reported. */
struct flight {
    uint64_t span, first_step;
    uint32_t steps;
};

enum member_phase {
    MEMBER_WAITING,  /* in no generation                      */
    MEMBER_ENTERING, /* in the one that begins; ENDPOINT is due */
    MEMBER_SYNCING,  /* READY is due                          */
    MEMBER_WORKING,  /* it holds the generation's state       */
    MEMBER_STOPPING, /* STOPPED is due                        */
    MEMBER_LEAVING,  /* LEAVE is due                          */
};

struct member {
    uint64_t id; /* never reused within a run; 0 = nobody */
    struct route route;
    enum member_phase phase;
    bool resigned;         /* it wants to go at the next boundary */
    bool released;         /* it may go: its generation was ended by the owner, who knew */
    bool held;             /* it holds the state after `step` steps of this run: as of HELLO or STOPPED */
    uint64_t step, branch; /* of that state, as PROTOCOL.md has them */
    int64_t joined_ms;     /* clocks: when it came,                                   */
    int64_t heard_ms;      /* when anything was heard of it,                          */
    int64_t gone_ms;       /* since when its connection is not there, 0 = it is there */
    int64_t asked_ms;      /* when STOP or DISMISS was due                            */
    const char *reason;    /* of DISMISS, static */
    bool stops;            /* STOP is to be said, before DISMISS where that is due */
    bool unasked;          /* STOP or DISMISS found no room, and is said again */
    bool full;             /* something found no room since it was last heard to have read */
    /* in a generation */
    uint32_t rank;
    bool has_start; /* it holds the state that the generation begins with */
    char endpoint[MESSAGE_LINE + 1];
    uint64_t credit;      /* units it can take                        */
    uint64_t next_span;   /* number of the generation's next span     */
    uint64_t sent_step;   /* steps before this one were handed to it  */
    uint32_t validations; /* requests sent and not answered           */
    struct flight flights[MEMBER_FLIGHTS];
    uint32_t first_flight, flight_count;
    /* what it is, and has done, for people */
    char build[MESSAGE_NAME + 1], arithmetic[MESSAGE_NAME + 1], backend[3 * MESSAGE_NAME + 16], host[MESSAGE_NAME + 1];
    uint32_t pid, threads;
    uint64_t steps, rows, busy_ns, waited_ns;
};

/* The same worker came from `route`. */
bool member_is(const struct member *member, const struct route *route);

/* It has a rank in a generation that is not over. */
bool member_is_in(const struct member *member);

/* Begin a generation at `step` with rank `rank`: no credit, nothing in flight. */
void member_enter(struct member *member, uint32_t rank, uint64_t step);

/* It can take another span. */
bool member_has_room(const struct member *member);

/* It can take another validation request. */
bool member_can_validate(const struct member *member);

/* A span was sent: costs one credit. */
void member_took_span(struct member *member, const struct span *span);

/* Take the oldest span off the list. ERR_PROTOCOL when `report` is not of that one. */
bool member_reported(struct member *member, const struct report *report, struct flight *flight, struct err *err);

/* Nothing that was sent is unanswered. */
bool member_is_idle(const struct member *member);

#endif
