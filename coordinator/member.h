/* member.h - a worker, as its coordinator knows it.
 *
 * Born when HELLO arrives, admitted to a generation, given units of work against the credit it grants, and gone with
 * LEAVE. Spans it has and did not report yet are remembered in order, for reports come in the order of the spans.
 * Coordinator's thread. */
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

struct member {
    uint64_t id; /* never reused within a run; 0 = nobody */
    struct route route;
    uint32_t rank;
    bool ready;           /* it holds the generation's state          */
    uint64_t credit;      /* units it can take                        */
    uint64_t next_span;   /* number of the generation's next span     */
    uint32_t validations; /* requests sent and not answered           */
    struct flight flights[MEMBER_FLIGHTS];
    uint32_t first_flight, flight_count;
};

/* The same worker came from `route`. */
bool member_is(const struct member *member, const struct route *route);

/* It can take another span. */
bool member_has_room(const struct member *member);

/* A span was sent: costs one credit. */
void member_took_span(struct member *member, const struct span *span);

/* Take the oldest span off the list. ERR_PROTOCOL when `report` is not of that one. */
bool member_reported(struct member *member, const struct report *report, struct flight *flight, struct err *err);

/* Nothing that was sent is unanswered. */
bool member_is_idle(const struct member *member);

#endif
