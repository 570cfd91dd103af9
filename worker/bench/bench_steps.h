/* bench_steps.h - a training that takes drawn batches in turn, with the times of its steps.
 *
 * bench_steps_open takes every batch once, so that no counted step waits for a shape to be compiled. `taken`, `ns` and
 * `stopwatch` cover the steps since bench_steps_count. The caller owns it and ends it with bench_steps_close. One
 * compute thread. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_STEPS_H
#define LSTMQ_WORKER_BENCH_BENCH_STEPS_H

#include "worker/bench/bench_products.h"

/* Number of batches. */
enum { BENCH_STEPS = 16 };

struct bench_steps {
    struct training training;
    struct bench_data *data;   /* not owned: BENCH_STEPS batches of train.batch pairs */
    struct step_counts counts; /* means over the batches */
    size_t next;               /* index of the next batch */
    struct stopwatch stopwatch;
    uint64_t taken;
    int64_t ns;
};

bool bench_steps_open(struct bench_steps *steps, const struct bench *bench, struct bench_data *data, struct err *err);
void bench_steps_close(struct bench_steps *steps);

/* Restart the counts; `watched` as in struct stopwatch. */
void bench_steps_count(struct bench_steps *steps, const struct sharing *watched);

/* One step; `context` is a struct bench_steps, for bench_time. */
bool bench_steps_take(void *context, struct err *err);

/* Means over the counted steps, ms: of a step, of one of its laps. */
double bench_steps_ms(const struct bench_steps *steps);
double bench_steps_lap_ms(const struct bench_steps *steps, int lap);

#endif
