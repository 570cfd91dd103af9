/* request.h - what a client asked for, and what became of it.
 *
 * A request is born in the broker when TRANSLATE arrives or broker_submit is called, and is over when all its texts are
 * answered or it cannot be answered. Then its outcome does not change. The broker owns it. An HTTP request is released
 * by its owner (broker_release), a client's by the broker. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_REQUEST_H
#define LSTMQ_COORDINATOR_SERVE_REQUEST_H

#include "proto/wire/message.h"

#include <stdint.h>

enum request_outcome {
    REQUEST_WAITS, /* not over */
    REQUEST_DONE,
    REQUEST_BUSY,
    REQUEST_EXPIRED,
    REQUEST_INVALID,
    REQUEST_NO_WORKER,
    REQUEST_ENDING,
    REQUEST_FAILED, /* every text failed */
};

struct request {
    enum request_outcome outcome;
    char why[256];          /* for people, unless REQUEST_DONE */
    uint32_t retry_ms;      /* 0 = do not try again */
    struct answers answers; /* of REQUEST_DONE; valid until the release */
    char model[128];        /* "en-fr step-5650 0123456789abcdef"; of REQUEST_DONE */
    uint64_t queued_us, computed_us;
    void *owner; /* of an HTTP request: as submitted */
};

#endif
