/* ring_process.h - what a worker process has of a ring, for tests: a ZeroMQ context, a loop in its own thread, and the
 * ring, which the test's threads use.
 *
 *   ring_process_open -> the zap or the watch -> ring_process_listen -> ring_process_start -> ring_process_stop
 *                     -> its end -> ring_process_close
 *
 * What else the loop does is the test's: a zap that checks keys, a watch. The test makes it before the ring and ends it
 * after the ring. Each function fails the test when it fails; all are for the test's own thread. */
#ifndef LSTMQ_TESTS_SUPPORT_RING_PROCESS_H
#define LSTMQ_TESTS_SUPPORT_RING_PROCESS_H

#include "kernels/collective.h"
#include "proto/wire/loop.h"
#include "proto/wire/watch.h"
#include "worker/collective/ring.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

struct ring_process {
    void *zmq_context;
    struct loop *loop;
    int ends; /* an eventfd that ends the loop */
    pthread_t loop_thread;
    struct collective *ring;
    char endpoint[COLLECTIVE_ENDPOINT]; /* from ring_process_listen on */
};

static inline bool ring_process_ends(void *context, struct err *err)
{
    struct ring_process *process = context;
    (void)err;
    loop_stop(process->loop);
    return true;
}

static inline void *ring_process_loop(void *argument)
{
    struct ring_process *process = argument;
    struct err err;
    loop_run(process->loop, &err);
    return NULL;
}

static inline void ring_process_open(struct ring_process *process)
{
    struct err err = {0};
    *process =
        (struct ring_process){.zmq_context = zmq_ctx_new(), .loop = loop_new(&err), .ends = eventfd(0, EFD_CLOEXEC)};
    assert_non_null(process->loop);
    assert_true(loop_add_fd(process->loop, process->ends, ring_process_ends, process, &err) != 0);
}

/* At a free port, for generation 1. This sets the context and the endpoint; the other options are the test's. */
static inline void ring_process_listen(struct ring_process *process, struct ring_options options)
{
    struct err err = {0};
    options.zmq_context = process->zmq_context;
    options.bind = "tcp://127.0.0.1";
    process->ring = ring_open(&options, &err);
    if (process->ring == NULL || !process->ring->op->listen(process->ring, 1, process->endpoint, &err))
        fail_msg("%s", err.text);
}

static inline void ring_process_start(struct ring_process *process)
{
    assert_int_equal(pthread_create(&process->loop_thread, NULL, ring_process_loop, process), 0);
}

/* All of these, with a watch over the ring's endpoint. The test destroys it between stop and close. */
static inline struct watch *ring_process_watched(struct ring_process *process)
{
    struct err err = {0};
    ring_process_open(process);
    struct watch *watch = watch_new(process->zmq_context, process->loop, &err);
    assert_non_null(watch);
    ring_process_listen(process, (struct ring_options){.watch = watch});
    ring_process_start(process);
    return watch;
}

/* The ring is closed, then the loop ends. */
static inline void ring_process_stop(struct ring_process *process)
{
    const uint64_t one = 1;
    collective_close(&process->ring);
    assert_int_equal(write(process->ends, &one, sizeof one), sizeof one);
    pthread_join(process->loop_thread, NULL);
}

static inline void ring_process_close(struct ring_process *process)
{
    zmq_ctx_term(process->zmq_context);
    loop_destroy(&process->loop);
    close(process->ends);
}

#endif
