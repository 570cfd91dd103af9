/* bench.c - repeated measurements and their medians; see bench.h. */
#include "worker/bench/bench.h"

#include <stdlib.h>

/* Runs before the first that counts, the fewest that count, and the most that are stored. */
enum { WARM_UP = 2, RUNS_LEAST = 3, RUNS_MOST = 100000 };

static int bench_by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool bench_run(const struct work *work, double *ms, struct err *err)
{
    if (work->prepare != NULL && !work->prepare(work->context, err))
        return false;
    int64_t begin = clock_ns();
    bool ok = work->run(work->context, err);
    *ms = (double)(clock_ns() - begin) / 1e6;
    return ok;
}

bool bench_time(const struct work *work, double seconds, struct timing *timing, struct err *err)
{
    double *runs = malloc(RUNS_MOST * sizeof *runs), unused;
    size_t count = 0;
    bool ok = runs != NULL || err_set(err, ERR_MEMORY, "no memory for a measurement");
    for (int i = 0; ok && i < WARM_UP; i++)
        ok = bench_run(work, &unused, err);
    int64_t end = clock_ns() + (int64_t)(seconds * 1e9);
    while (ok && count < RUNS_MOST && (count < RUNS_LEAST || clock_ns() < end))
        ok = bench_run(work, &runs[count++], err);
    if (ok) {
        qsort(runs, count, sizeof *runs, bench_by_time);
        *timing = (struct timing){.median = runs[count / 2], .least = runs[0], .most = runs[count - 1], .runs = count};
    }
    free(runs);
    return ok;
}

bool bench_training_step(struct training *training, const struct bench_data *data, size_t first,
                         struct step_result *result, struct err *err)
{
    size_t count = (size_t)training->config.train_batch;
    struct span_step of = {0};
    for (size_t r = first; r < first + count; r++)
        of.tokens += data->rows.tgt_lengths[r];
    struct span_shard shard = {.rows = (uint32_t)count};
    struct span span = {
        .first_step = training->step, .steps = 1, .of = &of, .shards = &shard, .shard_count = 1, .rows = data->rows};
    struct span_cursor at = {.row = (uint32_t)first, .id = data->at[first]};
    return train_step(training, &span, 0, &at, result, err);
}

bool bench_training_open(struct training *training, const struct bench *bench, struct bench_data *data, struct err *err)
{
    struct step_result result;
    if (!training_open(training, bench->backend, &bench->config, bench_src_vocab(&bench->config),
                       bench_tgt_vocab(&bench->config), err))
        return false;
    if (model_init(training->model, (uint64_t)bench->config.train_seed, err) &&
        bench_training_step(training, data, 0, &result, err))
        return true;
    training_close(training);
    return false;
}
