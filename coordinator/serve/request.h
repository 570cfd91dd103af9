/* request.h - texts that a client wants translated, and what became of them.
 *
 * A request is born in the broker when TRANSLATE arrives or broker_submit is called. It is over when all its texts are
 * answered or it cannot be answered; then its outcome does not change. The broker owns it. An HTTP request is released
 * by its owner (broker_release). A client's is kept for a while after its answer was sent, because a client that lost
 * the connection repeats it; queue/requests.h. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_REQUEST_H
#define LSTMQ_COORDINATOR_SERVE_REQUEST_H

#include "proto/base/buffer.h"
#include "proto/wire/message.h"

#include <stdint.h>

struct flow;
struct part;
struct peer;
struct request;
struct version;

enum request_outcome {
    REQUEST_WAITS, /* not over */
    REQUEST_DONE,
    REQUEST_BUSY,
    REQUEST_EXPIRED,
    REQUEST_INVALID,
    REQUEST_NO_WORKER,
    REQUEST_ENDING,
    REQUEST_FAILED,    /* every text failed */
    REQUEST_CANCELLED, /* within the broker: its client left or withdrew it */
    REQUEST_OUTCOMES
};

enum request_from { REQUEST_ZMQ, REQUEST_HTTP, REQUEST_FROM };

/* A request is in at most one list. */
struct request_list {
    struct request *first, *last;
    size_t count;
};

struct request {
    enum request_outcome outcome;
    uint32_t retry_ms;      /* 0 = do not try again */
    struct answers answers; /* of REQUEST_DONE; valid until the release */
    uint64_t step;          /* of the checkpoint */
    uint64_t queued_us, computed_us;
    void *owner; /* of an HTTP request: as submitted */

    /* The broker's. */
    enum request_from from;
    uint64_t client, number; /* by which a repeated request is recognised; client 0 = it is not */
    uint64_t key;            /* hash of the peer's key */
    struct request *same;    /* in the table's chain */
    struct peer *peer;       /* that gets the answer; NULL = HTTP, or it has left */
    struct version *version; /* while it is not over */
    struct flow *flow;       /* while it is not over */
    int64_t arrived_us;      /* monotonic clock, also below */
    int64_t lent_us;         /* its first sentence was lent; 0 = not yet */
    int64_t deadline_us;
    int64_t until_us;    /* without a peer, or kept: forget it then */
    size_t place;        /* in deadlines.h; 0 = not there */
    uint32_t open;       /* parts whose sentence is not done */
    uint32_t part_count; /* one part for each text */
    struct request_list *list;
    struct request *next, *before; /* in the list */

    /* Of a request that is over. */
    char model[128]; /* "en-fr step-5650 0123456789abcdef"; of REQUEST_DONE */
    char why[256];   /* for people, unless REQUEST_DONE */

    /* Kept from request to request. */
    struct part *parts; /* [part_capacity] */
    uint32_t part_capacity;
    struct buffer packed; /* holds `answers` */
};

#endif
