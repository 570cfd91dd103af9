/* shared.h - what the two threads of a worker share beside their pair of sockets.
 *
 * The loop thread tells here which generations are over, at once, while the compute thread may be in the middle of a
 * step or wait in a collective operation. Owned by worker_run, which outlives both uses. */
#ifndef LSTMQ_WORKER_CLUSTER_SHARED_H
#define LSTMQ_WORKER_CLUSTER_SHARED_H

#include "worker/collective/collective.h"

#include <pthread.h>
#include <stdatomic.h>

struct worker_shared {
    struct zap *zap; /* the loop thread's, for the ring's sockets; NULL where there is no ring; set before both begin */
    struct watch *watch;   /* the loop thread's, for the ring's place; NULL where there is no ring; likewise */
    _Atomic uint64_t over; /* generations below this one are over; UINT64_MAX = the worker ends */
    _Atomic uint64_t step; /* steps done; for RESIGN */
    _Atomic bool parts;    /* the compute thread ends: what it says now is its last word, and whatever becomes of the
                              connection behind it does not matter */
    pthread_mutex_t lock;
    struct collective *collective; /* the compute thread's, for abort; NULL = none; under `lock` */
};

/* What the loop thread (l) and the compute thread (c) signal to each other; see parcel.h. */
enum worker_signal {
    SIGNAL_HELLO = 'h', /* l: say HELLO on a new connection */
    SIGNAL_END = 'e',   /* l: come to an end */
    SIGNAL_AGAIN = 'a', /* c: the connection is to be made anew; ERROR was the last word */
    SIGNAL_ENDED = 'd', /* c: the last that comes */
};

/* Generations up to this one are over, UINT64_MAX: all that may come. Whatever collective operation is under way for one
 * fails. Any thread. */
static inline void shared_stop(struct worker_shared *shared, uint64_t generation)
{
    uint64_t over = atomic_load(&shared->over), wanted = collective_after(generation);
    while (over < wanted && !atomic_compare_exchange_weak(&shared->over, &over, wanted))
        continue;
    pthread_mutex_lock(&shared->lock);
    if (shared->collective != NULL)
        shared->collective->op->abort(shared->collective, generation);
    pthread_mutex_unlock(&shared->lock);
}

/* Another run begins, which counts its generations anew: none is over, unless the worker ends. Compute thread, when it has
 * no collective. */
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
