/* call.h - one request of a client, from lstmq_submit to lstmq_take.
 *
 * A call owns a copy of its texts, so that it can be sent again. It is in the list of its state (enum call_state). A
 * call is over when it has a result or an error, and then stays so. The client owns its calls and finds them by number.
 * The client's thread. */
#ifndef LSTMQ_PROTO_CLIENT_CALL_H
#define LSTMQ_PROTO_CLIENT_CALL_H

#include "proto/client/lstmq.h"
#include "proto/wire/message.h"

enum call_state {
    CALL_WAITS, /* for the connection, or for space on it */
    CALL_SENT,  /* and not answered                       */
    CALL_RESTS, /* the queue was busy: until again_ms     */
    CALL_OVER,
    CALL_STATES
};

struct call {
    struct call *next, *previous; /* in the list of its state            */
    struct call *chain;           /* with the same place in the table    */
    enum call_state state;
    bool once;
    int64_t begun_ms, deadline_ms, again_ms; /* monotonic clock */
    struct message message;                  /* TRANSLATE; its arrays follow this struct  */
    struct lstmq_result *result;
    struct lstmq_error error; /* once over; before that, the queue's last refusal */
};

struct call_list {
    struct call *first, *last;
};

/* All calls of a client. A struct of zeroes is empty. */
struct calls {
    struct call_list lists[CALL_STATES];
    struct call **table; /* [places] by number, a power of two */
    size_t places, count;
    uint64_t bytes_sent; /* of texts, in the calls of CALL_SENT */
};

/* A copy of a request's texts, checked. LSTMQ_USAGE or LSTMQ_MEMORY. The caller adds it with calls_add. */
struct call *call_new(const char *source, const char *target, const char *const *texts, size_t count,
                      const struct lstmq_options *options, struct lstmq_error *error);

/* Add a call that waits; the calls now own it. False: no memory. */
bool calls_add(struct calls *calls, struct call *call);

/* NULL: no such call. */
struct call *calls_find(const struct calls *calls, uint64_t request);

/* Move a call to the end of the list of `state`. */
void calls_move(struct calls *calls, struct call *call, enum call_state state);

/* All calls that were sent wait again, before those that wait already. */
void calls_unsend(struct calls *calls);

/* Remove and free. */
void calls_drop(struct calls *calls, struct call *call);

void calls_free(struct calls *calls);

#endif
