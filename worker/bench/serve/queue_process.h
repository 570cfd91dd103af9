/* queue_process.h - `lstmq serve` as a process of a measurement.
 *
 * It is this program again, on free ports of this machine, with what --model or --serve.echo say. Its log goes to
 * memory and is shown when it fails. It ends with the measurement at the latest. One thread. */
#ifndef LSTMQ_WORKER_BENCH_SERVE_QUEUE_PROCESS_H
#define LSTMQ_WORKER_BENCH_SERVE_QUEUE_PROCESS_H

#include "proto/base/err.h"

#include <stdint.h>
#include <sys/types.h>

struct queue_process {
    pid_t pid;
    int log; /* a file without a name */
    char endpoint[256];
    char http[64]; /* HOST:PORT, with --http */
    int64_t started_ns;
};

enum { QUEUE_PROCESS_OPTIONS = 16 };

/* Start it with these words after the program's name, ended by NULL, and wait until it listens. */
bool queue_process_start(struct queue_process *queue, const char *const *words, struct err *err);

/* SIGTERM, and its end. False: it did not end well. `err` NULL keeps an earlier error. */
bool queue_process_stop(struct queue_process *queue, struct err *err);

/* CPU seconds of it and of its workers so far, and its resident bytes. */
double queue_process_cpu(const struct queue_process *queue);
uint64_t queue_process_memory(const struct queue_process *queue);

/* `lstmq` with these words, which reads `input`: its wall time in seconds and its number of output lines. */
bool queue_process_filter(const char *const *words, const char *input, size_t size, double *seconds, uint64_t *lines,
                          struct err *err);

#endif
