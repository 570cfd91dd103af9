/* bench_scaling.h - predict a training step on more cores than this machine has, by counting.
 *
 * A team of T threads is opened, for any number of cores, and takes steps while its jobs are watched
 * (kernels/sharing.h). So the parts are those that T threads really get; a phase with fewer parts than threads cannot
 * use more. For each phase, with one thread:
 *
 *   serial   time outside any job, ms
 *   one      whole time, ms
 *
 * and with T threads:
 *
 *   share    the part of its jobs' work that the slowest thread has, if each has its own core
 *   jobs     jobs of a step that go to more than one thread
 *   ms(T)  = serial + (one - serial) share(T) + jobs(T) (T - 1) call
 *
 * `call` is the cost of calling one other thread without work and waiting for it. Time between phases is serial. The
 * model assumes that memory keeps up. The bytes that a step moves, by formula, and this machine's read speed are shown,
 * so that a reader can judge that.
 *
 * Plain memory of the caller. One compute thread. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_SCALING_H
#define LSTMQ_WORKER_BENCH_BENCH_SCALING_H

#include "worker/bench/bench_steps.h"

/* Numbers of threads, from 1. */
enum { SCALES = 4 };
extern const int scaling_threads[SCALES];

#define SCALING_FORMULA "ms(T) = serial + (one - serial) share(T) + jobs(T) (T - 1) call"

struct scaling_lap {
    double flops, bytes;  /* of a step; each array counts once for each operation that reads or writes it, fp32 */
    double whole;         /* of the bytes, those that every thread reads itself */
    double one, serial;   /* ms */
    double share[SCALES]; /* 1 with one thread */
    double jobs[SCALES];  /* for a step */
    double ms[SCALES];    /* predicted */
};

struct scaling {
    struct scaling_lap lap[LAPS];
    double tokens;         /* of a step */
    double rest;           /* ms between laps, serial */
    double call;           /* ms */
    double step[SCALES];   /* ms predicted: laps and rest; step[0] is measured */
    double measured;       /* ms of a step with two threads; 0 = only one core */
    double read_one, read; /* GB/s read from the last cache or memory, by one thread and by all of bench's threads */
};

/* Count and predict for steps of `data`; `steps` has taken some of them. False and err: a step fails. *known = false:
 * the backend cannot be watched. */
bool scaling_measure(struct scaling *scaling, const struct bench *bench, struct bench_data *data,
                     const double flops[LAPS], bool *known, struct err *err);

/* The table, or the member "scaling" of the JSON object. */
void scaling_print(const struct scaling *scaling, struct buffer *out);
void scaling_json(const struct scaling *scaling, struct buffer *out);

#endif
