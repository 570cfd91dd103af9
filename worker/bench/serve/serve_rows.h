/* serve_rows.h - the figures of `lstmq bench serve`: measured, compared with their targets, printed.
 *
 * A measurement starts queues of its own (queue_process.h), puts load on them, and adds rows. A row has a target or
 * only shows a figure. The section ends with an error that names the rows that missed their targets. One thread. */
#ifndef LSTMQ_WORKER_BENCH_SERVE_SERVE_ROWS_H
#define LSTMQ_WORKER_BENCH_SERVE_SERVE_ROWS_H

#include "worker/bench/serve/bench_texts.h"

enum serve_bound { SERVE_SHOWN, SERVE_AT_LEAST, SERVE_AT_MOST };

struct serve_rows {
    struct buffer *out;
    bool json;
    double seconds;              /* bench.seconds */
    const char *model;           /* --model; "" = the queue echoes */
    struct bench_texts numbered; /* for an echo */
    struct bench_texts lines;    /* of data.pairs, for a model */
    unsigned count;
    struct buffer missed;
};

/* `key` is the row's name in JSON. */
void serve_row(struct serve_rows *rows, const char *key, const char *text, const char *unit, double value,
               enum serve_bound bound, double target);

/* The measurements. Those of a model need --model and data.pairs. */
bool serve_measure_queue(struct serve_rows *rows, struct err *err);
bool serve_measure_http(struct serve_rows *rows, struct err *err);
bool serve_measure_rest(struct serve_rows *rows, struct err *err);
bool serve_measure_start(struct serve_rows *rows, struct err *err);
bool serve_measure_overload(struct serve_rows *rows, struct err *err);
bool serve_measure_model(struct serve_rows *rows, struct err *err);
bool serve_measure_fair(struct serve_rows *rows, struct err *err);

#endif
