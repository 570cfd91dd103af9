/* bench.h - common parts of `lstmq bench`.
 *
 * A measurement repeats a piece of work for bench.seconds, after runs that do not count, and stores the wall time of
 * each run. The median is shown, because other processes disturb a machine. A section (kernels, train, translate,
 * cluster) appends its table, or its member of the JSON object, to `out`; the command prints it. The command owns a
 * struct bench. One compute thread. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_H
#define LSTMQ_WORKER_BENCH_BENCH_H

#include "proto/base/buffer.h"
#include "worker/bench/bench_data.h"
#include "worker/model/stopwatch.h"
#include "worker/train/train_step.h"

struct bench {
    struct config config;
    struct backend *backend;
    struct buffer out;
};

/* Wall times of a measurement's runs, ms. */
struct timing {
    double median, least, most;
    size_t runs;
};

/* `run` does the work once. `prepare` runs before it (NULL = nothing) and is not timed. False stops the measurement. */
struct work {
    bool (*prepare)(void *context, struct err *err);
    bool (*run)(void *context, struct err *err);
    void *context;
};
bool bench_time(const struct work *work, double seconds, struct timing *timing, struct err *err);

/* A training that has done one step on `data`, so network and batch have their arrays. */
bool bench_training_open(struct training *training, const struct bench *bench, struct bench_data *data,
                         struct err *err);

/* One step of train.batch rows, from row `first` on. */
bool bench_training_step(struct training *training, const struct bench_data *data, size_t first,
                         struct step_result *result, struct err *err);

bool bench_kernels(struct bench *bench, struct err *err);
bool bench_train(struct bench *bench, struct err *err);
bool bench_translate(struct bench *bench, struct err *err);
bool bench_cluster(struct bench *bench, struct err *err);

#endif
