/* load.h - clients of a queue that send requests at fixed times, or keep a number of them in flight.
 *
 * A load has streams that run together. A stream is a group of connections of one kind. An open stream sends at its
 * rate whatever the queue does, and latency counts from the time at which a request was due. So a stall of queue or
 * client counts for every request that it delays. A closed stream sends a request when another is answered.
 *
 * Every answer is checked: it belongs to a request that waits, and has as many texts. With `echo` it has the same bytes
 * too. After its time a load waits for the answers that are missing. One thread. */
#ifndef LSTMQ_WORKER_BENCH_SERVE_LOAD_H
#define LSTMQ_WORKER_BENCH_SERVE_LOAD_H

#include "worker/bench/serve/bench_texts.h"
#include "worker/bench/serve/latency.h"

enum { LOAD_REASONS = REJECT_FAILED + 1 };

struct load_stream {
    /* what to send */
    unsigned clients; /* connections */
    unsigned window;  /* closed: requests in flight of each connection; 0 = open */
    double rate;      /* open: requests a second, of all connections together */
    unsigned texts;   /* of a request */
    unsigned deadline_ms;
    /* A text is its deadline, ns of the clock, and a number (paced_worker.h); else the next of the load's. */
    bool stamped;
    /* what came back */
    struct latency answered; /* of TRANSLATED */
    struct latency busy;     /* of REJECTED, busy */
    struct latency late;     /* after its deadline, of all that ended later than that */
    uint64_t sent;
    uint64_t done;    /* TRANSLATED before the load's time ended */
    uint64_t in_time; /* of all TRANSLATED, those before their deadline */
    uint64_t rejected[LOAD_REASONS];
    uint64_t wrong, doubled, lost;
};

struct load {
    const char *endpoint;
    const struct bench_texts *texts;
    bool echo;
    double seconds;
    unsigned drain_ms; /* after that time, how long to wait for the missing answers; 0 = 15 s */
    struct load_stream *streams;
    size_t count;
};

/* ERR_FAILED: an answer that breaks the protocol, or a queue that does not answer. */
bool load_run(struct load *load, struct err *err);

/* What went wrong with the answers, as ERR_FAILED. */
bool load_check(const struct load *load, struct err *err);

#endif
