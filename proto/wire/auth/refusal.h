/* refusal.h - a log line for each peer that was turned away, but not for each time, and not for each of a flood.
 *
 * A line that was there within the last minute is not repeated, and there are at most ten a second. What has no line is
 * counted, and the count is a line of its own every five seconds. The loop's thread owns it. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_REFUSAL_H
#define LSTMQ_PROTO_WIRE_AUTH_REFUSAL_H

#include "proto/wire/loop.h"

enum { REFUSALS_REMEMBERED = 64 };

struct refusals {
    struct loop *loop;
    int64_t since_ms;  /* when this second began, monotonic clock                */
    unsigned lines;    /* logged in it                                           */
    uint64_t unlogged; /* since the last line that told their number             */
    uint64_t total;    /* since the beginning                                    */
    uint64_t timer;    /* of the line to come; 0 = none is needed                */
    struct {
        uint64_t hash; /* of a line that was logged                              */
        int64_t ms;    /* when; 0 = never                                        */
    } recent[REFUSALS_REMEMBERED];
};

/* Tell what is left to be told. {.loop = loop} is a struct refusals ready for use; it holds no memory. */
void refusals_close(struct refusals *refusals);

/* The address for refusal_log where the peer's is not known. */
#define REFUSAL_NO_ADDRESS "a connection"

/* "refused ADDRESS: REASON", at level warn. Lines are the same where host and reason are: a port is not looked at. */
void refusal_log(struct refusals *refusals, const char *address, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* `more` were turned away of whom there is nothing to be said: they are in the count that is told. */
void refusal_count(struct refusals *refusals, uint64_t more);

#endif
