/* bench_scaling.h - what a step of training would take on more cores than there are, by counting.
 *
 * A team of T threads is opened, whatever the number of cores, and takes steps while its jobs are watched
 * (kernels/sharing.h): so the parts are those that T threads really get, and a phase that comes in fewer parts than
 * there are threads cannot use more. Of each phase, with one thread:
 *   serial   what runs outside any job, ms
 *   one      all of it, ms
 * and with T threads:
 *   share    of the work of its jobs, what the thread that ends last would have, had each a core of its own
 *   jobs     how many a step hands to more than one thread
 *   ms(T)  = serial + (one - serial) share(T) + jobs(T) (T - 1) call
 * where `call` is what it costs here to call one other thread for nothing and wait until it has come. What happens between phases is serial. Memory
 * is taken to keep up; the bytes a step moves by formula, and what this machine reads, are there to judge that by. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_SCALING_H
#define LSTMQ_WORKER_BENCH_BENCH_SCALING_H

#include "worker/bench/bench_steps.h"

/* Numbers of threads, from 1. */
enum { SCALES = 4 };
extern const int scaling_threads[SCALES];

#define SCALING_FORMULA "ms(T) = serial + (one - serial) share(T) + jobs(T) (T - 1) call"

struct scaling_phase {
    double flops, bytes;  /* of a step; each array counted once for each operation that goes over it, fp32 */
    double whole;         /* of the bytes, those that every thread reads for itself */
    double one, serial;   /* ms */
    double share[SCALES]; /* 1 with one thread */
    double jobs[SCALES];  /* a step */
    double ms[SCALES];    /* predicted */
};

struct scaling {
    struct scaling_phase phase[PHASES];
    double tokens;         /* of a step */
    double rest;           /* ms between phases, serial */
    double call;           /* ms */
    double step[SCALES];   /* ms predicted: phases and rest; step[0] is measured */
    double measured;       /* ms of a step with two threads, 0 where there is one core */
    double read_one, read; /* GB/s read from the last cache or memory, by one and by all of bench's threads */
};

/* Count and predict for steps of `data`, of which `steps` has taken some; false and err when a step fails. Nothing to
 * do on a backend that cannot be watched: *known is false then. */
bool scaling_measure(struct scaling *scaling, const struct bench *bench, struct bench_data *data,
                     const double flops[PHASES], bool *known, struct err *err);

/* The table, or the member "scaling" of the JSON object. */
void scaling_print(const struct scaling *scaling, struct buffer *out);
void scaling_json(const struct scaling *scaling, struct buffer *out);

#endif
