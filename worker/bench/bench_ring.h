/* bench_ring.h - the speed of the ring's all-reduce between processes of this host.
 *
 * A ring has one process for each rank, which sums the same array repeatedly on request. It is opened, measured in
 * bursts with pauses for other measurements, and closed, which ends the processes. The caller owns it. One thread. Open
 * it before the process makes a ZeroMQ context, because the ranks are forked. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_RING_H
#define LSTMQ_WORKER_BENCH_BENCH_RING_H

#include "kernels/collective.h"
#include "worker/collective/ring.h"

enum { BENCH_RING_RANKS = 16 };

struct bench_ring_options {
    uint32_t ranks; /* 2..BENCH_RING_RANKS */
    size_t count;   /* elements */
    enum collective_element element;
    const char *bind; /* as in struct ring_options */
    bool keys;        /* with CURVE */
};

/* Of one all-reduce, from the moment when all ranks are ready. */
struct bench_ring_result {
    double ms;     /* median wall time in a burst, on rank 0 */
    double cpu_ms; /* mean processor time, over all threads of all ranks */
};

struct bench_ring;

struct bench_ring *bench_ring_open(const struct bench_ring_options *options, struct err *err);
bool bench_ring_burst(struct bench_ring *bench, uint32_t sums, struct bench_ring_result *result, struct err *err);
void bench_ring_close(struct bench_ring **bench);

#endif
