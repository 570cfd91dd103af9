/* histogram.h - how often a value fell into each of some ranges, for a page of metrics.
 *
 * The bounds of the ranges are constant. A histogram starts as {.bounds = &histogram_seconds}, say. Plain memory owned
 * by the caller; one thread at a time. metrics_text.h prints it. */
#ifndef LSTMQ_COORDINATOR_HTTP_HISTOGRAM_H
#define LSTMQ_COORDINATOR_HTTP_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 15, HISTOGRAM_TRACE = 33 };

struct histogram_bounds {
    unsigned count;
    double most[HISTOGRAM_BOUNDS]; /* a range has values up to this, and above the one before */
};

extern const struct histogram_bounds histogram_seconds;         /* 0.5 ms to 10 s */
extern const struct histogram_bounds histogram_request_seconds; /* the same, and 30 s */
extern const struct histogram_bounds histogram_sentences;       /* 1, 2, 4 ... 256 */

struct histogram {
    const struct histogram_bounds *bounds;
    uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* the last range has no bound */
    double sum;
    /* The last value that came with the id of a trace: an example for the page. */
    double example;
    char trace[HISTOGRAM_TRACE]; /* "" = none */
};

/* Count a value. `trace` NULL: it belongs to no trace. */
void histogram_add(struct histogram *histogram, double value, const char *trace);

/* The index of the range that has the value. */
unsigned histogram_range(const struct histogram *histogram, double value);

#endif
