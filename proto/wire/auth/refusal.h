/* refusal.h - a log line for each refused peer, but not for every attempt, nor for each peer of a flood.
 *
 * A line is not repeated within a minute, and at most ten are logged in a second. Refusals without a line are counted;
 * the count is logged every five seconds. Plain memory that its owner ends with refusals_close. Loop thread only. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_REFUSAL_H
#define LSTMQ_PROTO_WIRE_AUTH_REFUSAL_H

#include "proto/wire/loop.h"

enum { REFUSALS_REMEMBERED = 64 };

struct refusals {
    struct loop *loop;
    int64_t since_ms;  /* when the current second began, monotonic clock */
    unsigned lines;    /* logged in that second */
    uint64_t unlogged; /* refusals since the last line with their number */
    uint64_t total;    /* since the beginning */
    uint64_t timer;    /* of the next such line; 0 = not needed */
    struct {
        uint64_t hash; /* of a line that was logged */
        int64_t ms;    /* when; 0 = never */
    } recent[REFUSALS_REMEMBERED];
};

/* Log the remaining count. {.loop = loop} is a struct refusals ready for use; it holds no memory. */
void refusals_close(struct refusals *refusals);

/* The address for refusal_log when the peer's is unknown. */
#define REFUSAL_NO_ADDRESS "a connection"

/* Log "refused ADDRESS: REASON" at level warn. Two lines are the same if host and reason are equal; ports are not
 * compared. */
void refusal_log(struct refusals *refusals, const char *address, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Count `more` refused peers of which nothing else is known. They appear only in the logged count. */
void refusal_count(struct refusals *refusals, uint64_t more);

#endif
