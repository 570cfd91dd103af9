/* bench_steps.h - a training that takes drawn batches in turn, with its steps' times.
 *
 * Opened, it has seen every batch once, so that no step that counts waits for a shape to be compiled. `taken`, `ns` and
 * `phases` are of the steps since bench_steps_count. One compute thread; closed by bench_steps_close. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_STEPS_H
#define LSTMQ_WORKER_BENCH_BENCH_STEPS_H

#include "worker/bench/bench_products.h"

/* Batches. */
enum { BENCH_STEPS = 16 };

struct bench_steps {
    struct training training;
    struct bench_data *data;   /* not owned: BENCH_STEPS batches of train.batch pairs */
    struct step_counts counts; /* means over the batches */
    size_t next;               /* batch to take now */
    struct phases phases;
    uint64_t taken;
    int64_t ns;
};

bool bench_steps_open(struct bench_steps *steps, const struct bench *bench, struct bench_data *data, struct err *err);
void bench_steps_close(struct bench_steps *steps);

/* Begin to count anew; `watched` as in struct phases. */
void bench_steps_count(struct bench_steps *steps, const struct sharing *watched);

/* One step; `context` is a struct bench_steps, as bench_time wants it. */
bool bench_steps_take(void *context, struct err *err);

/* Means of the steps counted, ms: of a step, of one of its phases. */
double bench_steps_ms(const struct bench_steps *steps);
double bench_steps_phase_ms(const struct bench_steps *steps, int phase);

#endif
