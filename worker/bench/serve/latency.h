/* latency.h - a histogram of times, from which percentiles are read.
 *
 * Buckets grow with the time: each power of two has 32 of them, so a percentile is at most 3 % above the true one.
 * Plain memory owned by the caller, all zeroes at first. One thread at a time. */
#ifndef LSTMQ_WORKER_BENCH_SERVE_LATENCY_H
#define LSTMQ_WORKER_BENCH_SERVE_LATENCY_H

#include <stdint.h>

enum { LATENCY_STEPS = 32, LATENCY_BUCKETS = 40 * LATENCY_STEPS };

struct latency {
    uint64_t buckets[LATENCY_BUCKETS];
    uint64_t count;
    int64_t most_ns;
};

/* Times below 0 count as 0, and those above 2^43 ns as that. */
void latency_add(struct latency *latency, int64_t ns);

/* The time that the part `share` (0..1) of all times does not exceed, ns; 0 without times. */
double latency_at(const struct latency *latency, double share);

#endif
