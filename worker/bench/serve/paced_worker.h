/* paced_worker.h - a translation worker that takes a fixed time for each text, and computes nothing.
 *
 * With it a queue has a known capacity, and the processor is free for queue and clients. It answers a text with
 * itself. Texts that begin with their deadline (load.h, stamped) are compared with the clock: a queue must not send a
 * text whose deadline has passed. It has a thread of its own, from paced_worker_start to paced_worker_stop. The struct
 * belongs to the caller, which reads the counts after the stop. */
#ifndef LSTMQ_WORKER_BENCH_SERVE_PACED_WORKER_H
#define LSTMQ_WORKER_BENCH_SERVE_PACED_WORKER_H

#include "proto/base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct paced_worker {
    /* set by the caller */
    const char *endpoint;
    unsigned text_us; /* time for a text */
    /* counts */
    uint64_t expired_received; /* texts whose deadline had passed when they arrived */
    uint64_t expired_begun;    /* when their batch's turn came */
    /* the worker's */
    pthread_t thread;
    atomic_int state;
    struct err err;
};

/* Returns when the queue has accepted the worker. */
bool paced_worker_start(struct paced_worker *worker, struct err *err);

/* The worker leaves the queue. False: it had failed. `err` NULL keeps an earlier error. */
bool paced_worker_stop(struct paced_worker *worker, struct err *err);

#endif
