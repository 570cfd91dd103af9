/* bench_serve.h - `lstmq bench serve`: what a translation queue can carry, and how it behaves above that.
 *
 * It is measured only by its name, because it starts queues as processes. Main thread. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_SERVE_H
#define LSTMQ_WORKER_BENCH_BENCH_SERVE_H

#include "proto/base/buffer.h"
#include "proto/base/config.h"

/* Append the table, or the member "serve" of the JSON object, to `out`; the table is printed as it grows. `wanted` is
 * one of the measurements; NULL = all. ERR_FAILED: rows missed their targets; they are printed, with those before. */
bool bench_serve(const struct config *config, const char *wanted, struct buffer *out, struct err *err);

#endif
