/* lane.h - a thread of a translation worker, and the pair of sockets over which the loop thread reaches it.
 *
 * The loop thread forwards the queue's messages down a lane and sends on what comes back. Besides messages two signals
 * travel, each a parcel of one byte (parcel.h): LANE_FRESH says that a new connection begins, and the thread answers
 * with the same signal. Until that answer the loop thread drops what comes back, because it belongs to an older
 * connection. LANE_END ends the thread, which sends LANE_ENDED last.
 *
 * A thread ends on LANE_END, or when its pair fails. It reports what it cannot do in a message ERROR. Owned by
 * queue_worker_run. */
#ifndef LSTMQ_WORKER_SERVE_LANE_H
#define LSTMQ_WORKER_SERVE_LANE_H

#include "worker/link/parcel.h"

#include <pthread.h>
#include <stdbool.h>

enum lane_signal { LANE_FRESH = 'f', LANE_END = 'e', LANE_ENDED = 'd' };

enum { LANE_NAME = 64 };

struct lane {
    /* Of the thread. */
    void *context; /* its own */
    void *thread_socket;
    /* Handle a message, or with NULL the begin of a new connection. On failure ERROR is sent. */
    bool (*handle)(void *context, const struct message *message, struct err *err);
    /* Of the loop thread. */
    void *socket;
    uint64_t source;   /* in the loop */
    unsigned outdated; /* answers to LANE_FRESH that are due */
    pthread_t thread;
    bool started;
};

/* Make the pair and start the thread, with `context` and `handle` as they are. `name` distinguishes the lanes of a
 * worker. Loop thread. */
bool lane_open(struct lane *lane, void *zmq_context, const char *name, struct err *err);

/* End the thread after what it does now, and wait for that. Loop thread. */
void lane_close(struct lane *lane);

/* Forward a message; it empties the parcel. ERR_PROTOCOL: more messages wait than the queue may send. Loop thread. */
bool lane_send(struct lane *lane, struct parcel *parcel, struct err *err);

/* Send a signal. Loop thread. */
bool lane_signal(struct lane *lane, enum lane_signal signal, struct err *err);

/* Send a message back. The lane's thread. */
bool lane_answer(struct lane *lane, const struct message *message, struct err *err);

#endif
