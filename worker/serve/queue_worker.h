/* queue_worker.h - a translation worker: a member of a translation queue's pool, on three threads.
 *
 *   loop thread      owns the connection to the queue (link.h); JOIN, CREDIT, GOODBYE; answers PING at once, whatever
 *                    the others do. The caller of queue_worker_run
 *   compute thread   BATCH in, RESULT out; frees retired models (batches.h)
 *   loader thread    MODEL, RETIRE, PIECE in; FETCH, LOADED out (loader.h). A checkpoint is loaded at a lower
 *                    priority, so that it delays no batch
 *
 * Two lanes (lane.h) connect the loop thread with the others. Those two share the loaded models (models.h).
 *
 * Life, in PROTOCOL.md's words: JOIN, JOINED, (MODEL, LOADED)..., CREDIT, (BATCH, RESULT, CREDIT)..., GOODBYE. After a
 * broken connection, or when the queue is silent, the worker connects again and joins as before; its models stay
 * loaded. The first signal ends it in order: it finishes the batches it has and says GOODBYE. */
#ifndef LSTMQ_WORKER_SERVE_QUEUE_WORKER_H
#define LSTMQ_WORKER_SERVE_QUEUE_WORKER_H

#include "proto/base/config.h"
#include "proto/wire/auth/keyring.h"

struct queue_worker_options {
    void *zmq_context;             /* not owned */
    const char *endpoint;          /* the queue's; ipc or tcp */
    const struct config *config;   /* serve.*, train.device, train.threads, train.precision */
    const struct keyring *keyring; /* a client's; unused = without keys */
};

/* Work until a signal. True: it left in order. ERR_FAILED: the queue could not be reached for serve.reconnect_timeout,
 * or refuses this worker. ERR_PROTOCOL: the queue broke the protocol; it was sent ERROR. */
bool queue_worker_run(const struct queue_worker_options *options, struct err *err);

#endif
