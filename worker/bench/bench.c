/* bench.c - repeated measurements and their medians; see bench.h. */
#include "worker/bench/bench.h"

#include "proto/text/vocab.h"

#include <stdlib.h>
#include <string.h>

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

/* Mark the ids that a step looks up: all source ids, and the decoder's inputs, which are <sos> and all target ids but
 * the last. */
static void bench_mark(const struct rows *rows, bool *src, bool *tgt)
{
    const uint16_t *id = rows->ids;
    tgt[ID_SOS] = true;
    for (uint32_t r = 0; r < rows->count; r++) {
        for (int i = 0; i < rows->src_lengths[r]; i++)
            src[*id++] = true;
        for (int i = 0; i + 1 < rows->tgt_lengths[r]; i++)
            tgt[*id++] = true;
        id++;
    }
}

static uint32_t bench_list(const bool *marks, int vocab, uint16_t *ids)
{
    uint32_t count = 0;
    for (int id = 0; id < vocab; id++)
        if (marks[id])
            ids[count++] = (uint16_t)id;
    return count;
}

bool bench_training_step(struct training *training, const struct bench_data *data, size_t first,
                         struct step_result *result, struct err *err)
{
    bool marks[MODEL_SIDES][VOCAB_MOST];
    uint16_t distinct[MODEL_SIDES][VOCAB_MOST];
    const struct rows rows = bench_data_rows(data, first, (size_t)training->config.train_batch);
    const struct span_shard shard = {.rows = rows.count};
    struct step step = {.rows = rows, .shards = &shard, .shard_count = 1};
    const int vocab[MODEL_SIDES] = {training->model->shape.src_vocab, training->model->shape.tgt_vocab};
    for (int side = 0; side < MODEL_SIDES; side++)
        memset(marks[side], 0, (size_t)vocab[side] * sizeof *marks[side]);
    bench_mark(&rows, marks[SIDE_SRC], marks[SIDE_TGT]);
    for (int side = 0; side < MODEL_SIDES; side++) {
        step.distinct[side] = distinct[side];
        step.distinct_count[side] = bench_list(marks[side], vocab[side], distinct[side]);
    }
    for (uint32_t r = 0; r < rows.count; r++)
        step.tokens += rows.tgt_lengths[r];
    return train_step(training, &step, err) && train_result(training, result, err);
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
