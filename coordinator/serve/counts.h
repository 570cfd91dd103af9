/* counts.h - what a queue has done since it began, for /metrics and the status.
 *
 * Plain numbers. The broker owns one struct broker_counts, and each model of the catalog owns one struct model_counts.
 * Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_COUNTS_H
#define LSTMQ_COORDINATOR_SERVE_COUNTS_H

#include "coordinator/http/histogram.h"
#include "coordinator/serve/request.h"

/* Of one model. */
struct model_counts {
    uint64_t sentences, batches, src_tokens, tgt_tokens, unknown, deduplicated;
    struct histogram queued, computed; /* seconds, of sentences; of batches */
    struct histogram batch_sentences;
};

enum counts_loss { COUNTS_HEARTBEAT, COUNTS_LEASE, COUNTS_LEFT, COUNTS_LOSSES };

struct broker_counts {
    uint64_t requests[REQUEST_FROM][REQUEST_OUTCOMES];
    struct histogram duration[REQUEST_FROM]; /* seconds, of requests that were answered */
    uint64_t losses[COUNTS_LOSSES], requeued[COUNTS_LOSSES];
    uint64_t late, poison;
    uint64_t reloads, reloads_failed;
    /* now */
    uint64_t workers_idle, workers_busy, workers_loading;
    uint64_t connections, flows, queue_limit;
    uint64_t handshake_failures;
};

/* The bounds of a model's histograms. */
static inline void counts_begin(struct model_counts *counts)
{
    counts->queued.bounds = counts->computed.bounds = &histogram_seconds;
    counts->batch_sentences.bounds = &histogram_sentences;
}

#endif
