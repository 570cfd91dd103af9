/* shared.h - what the two threads of a worker share besides their pair of sockets.
 *
 * The loop thread writes here which generations are over. The compute thread sees it at once, within a step or a
 * collective operation. Owned by worker_run, which outlives both threads' use. */
#ifndef LSTMQ_WORKER_CLUSTER_SHARED_H
#define LSTMQ_WORKER_CLUSTER_SHARED_H

#include "kernels/collective.h"
#include "proto/base/atomics.h"

#include <pthread.h>
#include <stdatomic.h>

struct worker_shared {
    /* The loop thread's, for the ring's sockets; NULL without a ring. Set before both threads begin. */
    struct zap *zap;
    struct watch *watch;
    _Atomic uint64_t over; /* generations below this one are over; UINT64_MAX = the worker ends */
    _Atomic uint64_t step; /* finished steps, for RESIGN */
    _Atomic bool parts;    /* the compute thread is ending: after its last message a broken connection is no matter */
    pthread_mutex_t lock;
    struct collective *collective; /* the compute thread's, to abort it; NULL = none; protected by `lock` */
};

/* What the loop thread (l) and the compute thread (c) signal to each other; see parcel.h. */
enum worker_signal {
    SIGNAL_HELLO = 'h', /* l: send HELLO on a new connection */
    SIGNAL_END = 'e',   /* l: end */
    SIGNAL_AGAIN = 'a', /* c: connect again; ERROR was the last message */
    SIGNAL_ENDED = 'd', /* c: the last signal */
};

/* End all generations up to this one, UINT64_MAX: all. A collective operation of such a generation fails. Any
 * thread. */
static inline void shared_stop(struct worker_shared *shared, uint64_t generation)
{
    atomics_raise(&shared->over, collective_after(generation));
    pthread_mutex_lock(&shared->lock);
    if (shared->collective != NULL)
        shared->collective->op->abort(shared->collective, generation);
    pthread_mutex_unlock(&shared->lock);
}

/* Another run begins and counts generations from the start: none is over, unless the worker ends. Compute thread, while
 * it has no collective. */
static inline void shared_begin(struct worker_shared *shared)
{
    uint64_t over = atomic_load(&shared->over);
    while (over != UINT64_MAX && !atomic_compare_exchange_weak(&shared->over, &over, 0))
        continue;
}

static inline bool shared_is_over(struct worker_shared *shared, uint64_t generation)
{
    return generation < atomic_load(&shared->over);
}

#endif
