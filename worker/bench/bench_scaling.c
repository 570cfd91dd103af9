/* bench_scaling.c - predict a step on more threads than there are cores; see bench_scaling.h. */
#include "worker/bench/bench_scaling.h"

#include "kernels/measure.h"
#include "proto/store/json_print.h"

#include <math.h>

const int scaling_threads[SCALES] = {1, 2, 8, 32};

/* Indices of one and of two threads, whose steps are timed too. */
enum { ONE, TWO };

/* Rounds of alternating measurements, and empty calls of a team. */
enum { ROUNDS = 3, CALLS = 2000 };

/* Floats to read for the speed of memory: more than a core's own caches hold. */
enum { READ_FLOATS = 32 << 20 };

/* ---- bytes ---- */

static void bench_scaling_count_bytes(struct scaling *scaling, const struct bench_steps *steps)
{
    const struct model_shape *shape = &steps->training.model->shape;
    const struct step_counts *counts = &steps->counts;
    double V = shape->tgt_vocab, E = shape->E, H = shape->H, G = shape->G, F = sizeof(float);
    double n = counts->n, u = counts->u + counts->v, positions = n + counts->m + (double)steps->training.batch.B;
    /* Each tile of positions reads the projection again. */
    double tiles = ceil(n / network_logit_tile((int)ceil(n))), elements = (double)steps->training.model->elements;
    double weights = 2 * G * H, inputs = 2 * G * E, rows = shape->src_vocab + V;
    const struct {
        double bytes, whole;
    } list[LAPS] = {
        [LAP_BATCH] = {(2 + 8) * positions + F * n, 0},
        [LAP_INPUT] = {F * (3 * u * E + inputs + u * G), F * inputs},
        [LAP_RECURRENCE] = {F * (positions * (2 * G + 3 * H) + weights), F * weights},
        [LAP_LOGITS] = {F * (n * H + n * V + tiles * V * H), F * n * H},
        [LAP_CROSS_ENTROPY] = {F * 2 * n * V, 0},
        [LAP_PROJECTION_GRADIENT] = {F * (3 * n * V + (3 * tiles - 1) * V * H + 2 * n * H), F * n * H},
        [LAP_RECURRENCE_BACKWARD] = {F * (positions * (2 * G + 2 * H) + n * H + weights), F * weights},
        [LAP_INPUT_GRADIENT] = {F * (positions * (2 * G + H) + weights + u * (3 * G + 5 * E) + 2 * inputs + rows * E),
                                F * inputs},
        [LAP_UPDATE] = {F * 8 * elements, 0},
    };
    for (int i = 0; i < LAPS; i++) {
        scaling->lap[i].bytes = list[i].bytes;
        scaling->lap[i].whole = list[i].whole;
    }
}

/* ---- counting ---- */

/* One round of the batches, watched, with the number of threads at index `at`. */
static bool bench_scaling_watch(struct scaling *scaling, int at, struct bench_steps *steps, struct err *err)
{
    struct backend *backend = steps->training.backend;
    struct sharing sharing = {0};
    bool ok = backend->op->measure->count_sharing(backend, &sharing, err);
    bench_steps_count(steps, &sharing);
    for (int i = 0; i < BENCH_STEPS && ok; i++)
        ok = bench_steps_take(steps, err);
    for (int i = 0; i < LAPS && ok; i++) {
        const struct sharing *counted = &steps->stopwatch.sharing[i];
        struct scaling_lap *lap = &scaling->lap[i];
        double inside = (double)counted->inside_ns / 1e6 / BENCH_STEPS;
        lap->share[at] = counted->work_ns > 0 ? (double)counted->longest_ns / (double)counted->work_ns : 1;
        lap->jobs[at] = (double)counted->jobs / BENCH_STEPS;
        if (at == ONE)
            lap->serial = fmax(bench_steps_lap_ms(steps, i) - inside, 0);
    }
    bench_steps_count(steps, NULL);
    struct err unused;
    backend->op->measure->count_sharing(backend, NULL, &unused);
    return ok;
}

static bool bench_scaling_open(struct bench_steps *steps, struct bench *own, const struct bench *bench, int threads,
                               struct bench_data *data, struct err *err)
{
    *steps = (struct bench_steps){0};
    *own = (struct bench){.config = bench->config};
    own->backend =
        backend_open(bench->config.train_device, threads, (enum precision)bench->config.train_precision, err);
    return own->backend != NULL && bench_steps_open(steps, own, data, err);
}

static void bench_scaling_close(struct bench_steps *steps, struct bench *own)
{
    bench_steps_close(steps);
    backend_close(&own->backend);
}

static void bench_scaling_call(struct scaling *scaling, struct backend *backend)
{
    for (int i = 0; i < CALLS; i++)
        backend->op->measure->call_all(backend);
    int64_t begin = clock_ns();
    for (int i = 0; i < CALLS; i++)
        backend->op->measure->call_all(backend);
    scaling->call = (double)(clock_ns() - begin) / 1e6 / CALLS;
}

/* Alternate steps of one thread and, with enough cores, of two. */
static bool bench_scaling_take_turns(struct bench_steps *one, struct bench_steps *two, bool both, double seconds,
                                     struct err *err)
{
    struct timing unused;
    bool ok = true;
    for (int i = 0; i < ROUNDS && ok; i++) {
        ok = bench_time(&(struct work){.run = bench_steps_take, .context = one}, seconds / ROUNDS, &unused, err);
        if (ok && both)
            ok = bench_time(&(struct work){.run = bench_steps_take, .context = two}, seconds / ROUNDS, &unused, err);
    }
    return ok;
}

/* Shares and times of one and of two threads. */
static bool bench_scaling_time(struct scaling *scaling, const struct bench *bench, struct bench_data *data,
                               struct err *err)
{
    struct bench_steps one, two = {0};
    struct bench own_one, own_two = {0};
    bool both = bench->backend->op->threads(bench->backend) > 1;
    bool ok = bench_scaling_open(&one, &own_one, bench, scaling_threads[ONE], data, err) &&
              bench_scaling_open(&two, &own_two, bench, scaling_threads[TWO], data, err) &&
              bench_scaling_watch(scaling, ONE, &one, err) && bench_scaling_watch(scaling, TWO, &two, err) &&
              bench_scaling_take_turns(&one, &two, both, bench->config.bench_seconds, err);
    if (ok) {
        bench_scaling_call(scaling, own_two.backend);
        bench_scaling_count_bytes(scaling, &one);
        scaling->tokens = one.counts.n;
        scaling->step[ONE] = scaling->rest = bench_steps_ms(&one);
        scaling->measured = both ? bench_steps_ms(&two) : 0;
        for (int i = 0; i < LAPS; i++) {
            scaling->lap[i].one = bench_steps_lap_ms(&one, i);
            scaling->rest -= scaling->lap[i].one;
        }
    }
    bench_scaling_close(&two, &own_two);
    bench_scaling_close(&one, &own_one);
    return ok;
}

static bool bench_scaling_count(struct scaling *scaling, int at, const struct bench *bench, struct bench_data *data,
                                struct err *err)
{
    struct bench_steps steps;
    struct bench own;
    bool ok = bench_scaling_open(&steps, &own, bench, scaling_threads[at], data, err) &&
              bench_scaling_watch(scaling, at, &steps, err);
    bench_scaling_close(&steps, &own);
    return ok;
}

/* ---- memory ---- */

struct scaling_reading {
    struct backend *backend;
    float *memory;
};

static bool bench_scaling_read(void *context, struct err *err)
{
    struct scaling_reading *reading = context;
    struct backend *backend = reading->backend;
    backend->op->measure->sweep(backend, reading->memory, READ_FLOATS * sizeof(float));
    return backend->op->check(backend, err);
}

static bool bench_scaling_read_speed(struct backend *backend, double seconds, double *speed, struct err *err)
{
    struct timing timing = {0};
    struct scaling_reading reading = {.backend = backend};
    reading.memory = backend->op->alloc(backend, READ_FLOATS * sizeof(float), err);
    bool ok = reading.memory != NULL &&
              bench_time(&(struct work){.run = bench_scaling_read, .context = &reading}, seconds, &timing, err);
    if (reading.memory != NULL)
        backend->op->free(backend, reading.memory);
    *speed = ok ? READ_FLOATS * sizeof(float) / timing.median / 1e6 : 0;
    return ok;
}

static bool bench_scaling_memory(struct scaling *scaling, const struct bench *bench, struct err *err)
{
    double seconds = bench->config.bench_seconds / ROUNDS;
    struct backend *one = backend_open(bench->config.train_device, 1, PRECISION_FP32, err);
    bool ok = one != NULL && bench_scaling_read_speed(one, seconds, &scaling->read_one, err) &&
              bench_scaling_read_speed(bench->backend, seconds, &scaling->read, err);
    backend_close(&one);
    return ok;
}

/* ---- prediction ---- */

static void bench_scaling_predict(struct scaling *scaling)
{
    for (int at = TWO; at < SCALES; at++) {
        double others = scaling_threads[at] - 1;
        scaling->step[at] = scaling->rest;
        for (int i = 0; i < LAPS; i++) {
            struct scaling_lap *lap = &scaling->lap[i];
            double serial = fmin(lap->serial, lap->one);
            lap->ms[at] = serial + (lap->one - serial) * lap->share[at] + lap->jobs[at] * others * scaling->call;
            scaling->step[at] += lap->ms[at];
        }
    }
    for (int i = 0; i < LAPS; i++)
        scaling->lap[i].ms[ONE] = scaling->lap[i].one;
}

bool scaling_measure(struct scaling *scaling, const struct bench *bench, struct bench_data *data,
                     const double flops[LAPS], bool *known, struct err *err)
{
    *scaling = (struct scaling){0};
    *known = bench->backend->op->measure != NULL;
    if (!*known)
        return true;
    for (int i = 0; i < LAPS; i++)
        scaling->lap[i].flops = flops[i];
    bool ok = bench_scaling_time(scaling, bench, data, err);
    for (int at = TWO + 1; at < SCALES && ok; at++)
        ok = bench_scaling_count(scaling, at, bench, data, err);
    ok = ok && bench_scaling_memory(scaling, bench, err);
    bench_scaling_predict(scaling);
    return ok;
}

/* ---- output ---- */

static double bench_scaling_serial(const struct scaling *scaling)
{
    double serial = scaling->rest;
    for (int i = 0; i < LAPS; i++)
        serial += scaling->lap[i].serial;
    return serial;
}

/* Of the busiest thread, in a step. */
static double bench_scaling_busiest_flops(const struct scaling *scaling, int at)
{
    double sum = 0;
    for (int i = 0; i < LAPS; i++)
        sum += scaling->lap[i].flops * scaling->lap[i].share[at];
    return sum;
}

static double bench_scaling_busiest_bytes(const struct scaling *scaling, int at)
{
    double sum = 0;
    for (int i = 0; i < LAPS; i++) {
        const struct scaling_lap *lap = &scaling->lap[i];
        sum += (lap->bytes - lap->whole) * lap->share[at] + lap->whole;
    }
    return sum;
}

static double bench_scaling_bytes(const struct scaling *scaling)
{
    double sum = 0;
    for (int i = 0; i < LAPS; i++)
        sum += scaling->lap[i].bytes;
    return sum;
}

static double bench_scaling_jobs(const struct scaling *scaling, int at)
{
    double sum = 0;
    for (int i = 0; i < LAPS; i++)
        sum += scaling->lap[i].jobs[at];
    return sum;
}

static double bench_scaling_tokens(const struct scaling *scaling, int at)
{
    return 1e3 * scaling->tokens / scaling->step[at];
}

/* GB/s that all threads together need. */
static double bench_scaling_wanted(const struct scaling *scaling, int at)
{
    return bench_scaling_bytes(scaling) / scaling->step[at] / 1e6;
}

/* A figure in its six columns: with fewer decimals, or in thousands, if it would take more. */
static void bench_scaling_figure(struct buffer *out, double figure, int decimals)
{
    while (decimals > 0 && figure >= (decimals == 1 ? 9999.95 : 999.995))
        decimals--;
    if (figure < 999999.5)
        buffer_format(out, " %6.*f", decimals, figure);
    else
        buffer_format(out, " %5.0fk", figure / 1e3);
}

/* A row with a figure for each number of threads. */
static void bench_scaling_row(const struct scaling *scaling, struct buffer *out, const char *name, int decimals,
                              double (*figure)(const struct scaling *, int))
{
    buffer_format(out, "  %-49s", name);
    for (int at = 0; at < SCALES; at++)
        bench_scaling_figure(out, figure(scaling, at), decimals);
    buffer_text(out, "\n");
}

static double bench_scaling_gigaflop(const struct scaling *scaling, int at)
{
    return bench_scaling_busiest_flops(scaling, at) / 1e9;
}

static double bench_scaling_megabytes(const struct scaling *scaling, int at)
{
    return bench_scaling_busiest_bytes(scaling, at) / 1e6;
}

static double bench_scaling_step(const struct scaling *scaling, int at)
{
    return scaling->step[at];
}

static void bench_scaling_print_laps(const struct scaling *scaling, struct buffer *out)
{
    buffer_format(out, "\n  %-22s %5s %7s %13s %25s\n", "scaling, by counting", "", "serial", "largest share",
                  "ms with threads");
    buffer_format(out, "  %-22s %5s %7s %6s %6s", "", "MB", "ms", "of 8", "of 32");
    for (int at = 0; at < SCALES; at++)
        buffer_format(out, " %6d", scaling_threads[at]);
    buffer_text(out, "\n");
    for (int i = 0; i < LAPS; i++) {
        const struct scaling_lap *lap = &scaling->lap[i];
        buffer_format(out, "  %-22s %5.1f %7.3f %6.3f %6.3f", lap_names[i].name, lap->bytes / 1e6, lap->serial,
                      lap->share[SCALES - 2], lap->share[SCALES - 1]);
        for (int at = 0; at < SCALES; at++)
            bench_scaling_figure(out, lap->ms[at], 2);
        buffer_text(out, "\n");
    }
}

void scaling_print(const struct scaling *scaling, struct buffer *out)
{
    bench_scaling_print_laps(scaling, out);
    bench_scaling_row(scaling, out, "step, ms", 2, bench_scaling_step);
    bench_scaling_row(scaling, out, "target tokens/s, predicted (1: measured)", 0, bench_scaling_tokens);
    bench_scaling_row(scaling, out, "busiest thread, GFLOP of products", 2, bench_scaling_gigaflop);
    bench_scaling_row(scaling, out, "busiest thread, MB read and written", 1, bench_scaling_megabytes);
    bench_scaling_row(scaling, out, "all threads, GB/s wanted", 1, bench_scaling_wanted);
    bench_scaling_row(scaling, out, "jobs handed to more than one thread", 1, bench_scaling_jobs);
    buffer_text(out, "  " SCALING_FORMULA ",\n");
    buffer_format(out, "  serial in all %.3f ms, %.1f %% of one thread's step; call %.2f us\n",
                  bench_scaling_serial(scaling), 100 * bench_scaling_serial(scaling) / scaling->step[ONE],
                  1e3 * scaling->call);
    if (scaling->measured > 0)
        buffer_format(out, "  two threads measured: %.2f ms, predicted %.2f: %+.1f %%\n", scaling->measured,
                      scaling->step[TWO], 100 * (scaling->step[TWO] / scaling->measured - 1));
    buffer_format(out,
                  "  memory reads here %.1f GB/s by one thread, %.1f by all; a machine for\n  which the prediction "
                  "holds needs more\n",
                  scaling->read_one, scaling->read);
}

void scaling_json(const struct scaling *scaling, struct buffer *out)
{
    double tokens[SCALES], wanted[SCALES], flops[SCALES], bytes[SCALES], threads[SCALES];
    for (int at = 0; at < SCALES; at++) {
        threads[at] = scaling_threads[at];
        tokens[at] = bench_scaling_tokens(scaling, at);
        wanted[at] = bench_scaling_wanted(scaling, at);
        flops[at] = bench_scaling_gigaflop(scaling, at);
        bytes[at] = bench_scaling_megabytes(scaling, at);
    }
    buffer_text(out, "\"scaling\": {\"formula\": \"" SCALING_FORMULA "\"");
    json_print_number(out, "serial_ms", bench_scaling_serial(scaling));
    json_print_number(out, "rest_ms", scaling->rest);
    json_print_number(out, "call_ms", scaling->call);
    json_print_number(out, "read_one_gb_per_s", scaling->read_one);
    json_print_number(out, "read_gb_per_s", scaling->read);
    json_print_number(out, "measured_two_ms", scaling->measured);
    json_print_numbers(out, "threads", threads, SCALES);
    json_print_numbers(out, "ms", scaling->step, SCALES);
    json_print_numbers(out, "tgt_tok_per_s", tokens, SCALES);
    json_print_numbers(out, "busiest_gflop", flops, SCALES);
    json_print_numbers(out, "busiest_mb", bytes, SCALES);
    json_print_numbers(out, "gb_per_s_wanted", wanted, SCALES);
    buffer_text(out, ", \"phases\": {");
    for (int i = 0; i < LAPS; i++) {
        const struct scaling_lap *lap = &scaling->lap[i];
        buffer_format(out, "%s\"%s\": {", i > 0 ? ", " : "", lap_names[i].key);
        json_print_number(out, "gflop", lap->flops / 1e9);
        json_print_number(out, "mb", lap->bytes / 1e6);
        json_print_number(out, "serial_ms", lap->serial);
        json_print_numbers(out, "share", lap->share, SCALES);
        json_print_numbers(out, "jobs", lap->jobs, SCALES);
        json_print_numbers(out, "ms", lap->ms, SCALES);
        buffer_text(out, "}");
    }
    buffer_text(out, "}}");
}
