/* counts.h - what a queue has done since it began, for /metrics and the status. Plain numbers. */
#ifndef LSTMQ_COORDINATOR_SERVE_COUNTS_H
#define LSTMQ_COORDINATOR_SERVE_COUNTS_H

#include "coordinator/serve/request.h"

enum { COUNTS_BUCKETS = 15, COUNTS_SIZES = 9 };

/* Upper bounds of the buckets of a time, in seconds; the last one of COUNTS_BUCKETS is 30 s. */
#define COUNTS_SECONDS                                                                                                 \
    {                                                                                                                  \
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30                             \
    }

/* Bucket i counts what is above bound i - 1 and at most bound i; the last one counts the rest. */
struct counts_times {
    uint64_t bucket[COUNTS_BUCKETS + 1];
    uint64_t count;
    double sum; /* seconds */
};

/* Bounds 1, 2, 4 ... 256. */
struct counts_sizes {
    uint64_t bucket[COUNTS_SIZES + 1];
    uint64_t count, sum;
};

/* Of one model. */
struct model_counts {
    uint64_t sentences, batches, src_tokens, tgt_tokens, unknown, deduplicated;
    struct counts_times queued, computed; /* of sentences; of batches */
    struct counts_sizes batch_sentences;
};

enum counts_loss { COUNTS_HEARTBEAT, COUNTS_LEASE, COUNTS_LEFT, COUNTS_LOSSES };

struct broker_counts {
    uint64_t requests[REQUEST_FROM][REQUEST_OUTCOMES];
    struct counts_times duration[REQUEST_FROM]; /* of requests */
    uint64_t losses[COUNTS_LOSSES], requeued[COUNTS_LOSSES];
    uint64_t late, poison;
    uint64_t reloads, reloads_failed;
    /* now */
    uint64_t workers_idle, workers_busy, workers_loading, workers_draining;
    uint64_t connections, flows, queue_limit;
    uint64_t handshake_failures;
};

static inline void counts_time(struct counts_times *times, int64_t us)
{
    static const double bounds[COUNTS_BUCKETS] = COUNTS_SECONDS;
    double seconds = (double)us * 1e-6;
    unsigned at = 0;
    while (at < COUNTS_BUCKETS && seconds > bounds[at])
        at++;
    times->bucket[at]++;
    times->count++;
    times->sum += seconds;
}

static inline void counts_size(struct counts_sizes *sizes, uint32_t size)
{
    unsigned at = 0;
    while (at < COUNTS_SIZES && size > 1U << at)
        at++;
    sizes->bucket[at]++;
    sizes->count++;
    sizes->sum += size;
}

#endif
