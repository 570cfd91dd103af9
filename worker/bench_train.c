/* bench_train.c - steps of training: their speed, where their time goes, and what the matrix products alone would take. */
#include "worker/bench_products.h"

#include <string.h>

/* Steps of drawn pairs, taken in turn. */
enum { STEPS = 16 };

struct train_bench {
    struct training training;
    struct bench_data data;
    size_t next;               /* of the drawn steps, the one to take now */
    struct step_counts counts; /* means over the drawn steps              */
    struct timing step;
    struct phases phases; /* of `taken` steps, which took `ns`       */
    uint64_t taken;
    int64_t ns;
    double phase_flops[PHASES]; /* of a step                                              */
    double phase_alone[PHASES]; /* ms of a step's products, each run by itself            */
    double flops, alone;        /* their sums                                             */
};

static const struct phase_row {
    const char *name, *key;
} s_phases[PHASES] = {
    [PHASE_BATCH] = {"pack the batch", "batch"},
    [PHASE_INPUT] = {"inputs", "input"},
    [PHASE_RECURRENCE] = {"recurrence", "recurrence"},
    [PHASE_LOGITS] = {"logits", "logits"},
    [PHASE_CROSS_ENTROPY] = {"softmax, cross-entropy", "cross_entropy"},
    [PHASE_PROJECTION_GRADIENT] = {"projection's gradient", "projection_gradient"},
    [PHASE_RECURRENCE_BACKWARD] = {"recurrence backward", "recurrence_backward"},
    [PHASE_INPUT_GRADIENT] = {"inputs' gradient", "input_gradient"},
    [PHASE_UPDATE] = {"norm, clip, update", "update"},
};

static bool s_step(void *context, struct err *err)
{
    struct train_bench *bench = context;
    struct step_result result;
    size_t first = bench->next * (size_t)bench->training.config.train_batch;
    bench->next = (bench->next + 1) % STEPS;
    int64_t begin = clock_ns();
    if (!bench_training_step(&bench->training, &bench->data, first, &result, err))
        return false;
    bench->ns += clock_ns() - begin;
    bench->taken++;
    return true;
}

/* Every drawn batch is seen before the first step that counts, so that no step waits for a shape to be compiled. The
 * means are theirs. */
static bool s_warm_up(struct train_bench *bench, struct err *err)
{
    struct step_counts *mean = &bench->counts;
    for (int i = 0; i < STEPS; i++) {
        if (!s_step(bench, err))
            return false;
        struct step_counts counts = products_count(&bench->training);
        mean->n += counts.n / STEPS;
        mean->m += counts.m / STEPS;
        mean->u += counts.u / STEPS;
        mean->v += counts.v / STEPS;
    }
    return true;
}

/* The products of a mean step, each timed alone: no step can be faster than their sum without doing less or computing
 * them faster. */
static bool s_roofline(struct train_bench *bench, double seconds, struct err *err)
{
    const struct model_shape *shape = &bench->training.model->shape;
    struct product list[PRODUCTS];
    products_list(shape, &bench->counts, list);
    for (int i = 0; i < PRODUCTS; i++) {
        struct timing timing;
        if (!product_time(bench->training.backend, &list[i], seconds / PRODUCTS, &timing, err))
            return false;
        bench->phase_flops[list[i].phase] += product_flops(&list[i]);
        bench->phase_alone[list[i].phase] += timing.median;
        bench->alone += timing.median;
    }
    bench->flops = products_flops(shape, &bench->counts);
    return true;
}

static double s_gigaflops(double flops, double ms)
{
    return ms > 0 ? flops / ms / 1e6 : 0;
}

static double s_phase_ms(const struct train_bench *bench, int phase)
{
    return (double)bench->phases.ns[phase] / 1e6 / (double)bench->taken;
}

static void s_print_phases(const struct train_bench *bench, struct buffer *out)
{
    double mean = (double)bench->ns / 1e6 / (double)bench->taken, rest = mean;
    buffer_format(out, "\n  %-24s %9s %7s %9s %9s %13s\n", "phase", "ms", "%", "GFLOP", "GFLOP/s", "alone GFLOP/s");
    for (int i = 0; i < PHASES; i++) {
        double ms = s_phase_ms(bench, i), flops = bench->phase_flops[i];
        rest -= ms;
        buffer_format(out, "  %-24s %9.3f %7.1f", s_phases[i].name, ms, 100 * ms / mean);
        if (flops > 0)
            buffer_format(out, " %9.3f %9.1f %13.1f", flops / 1e9, s_gigaflops(flops, ms),
                          s_gigaflops(flops, bench->phase_alone[i]));
        buffer_text(out, "\n");
    }
    buffer_format(out, "  %-24s %9.3f %7.1f\n", "rest", rest, 100 * rest / mean);
    buffer_format(out, "  %-24s %9.3f %7.1f\n", "mean step", mean, 100.0);
}

static void s_print(const struct train_bench *bench, struct buffer *out)
{
    const struct model_shape *shape = &bench->training.model->shape;
    const struct step_counts *counts = &bench->counts;
    double ms = bench->step.median;
    buffer_format(out, "train: steps of drawn pairs, V %d and %d\n\n", shape->src_vocab, shape->tgt_vocab);
    buffer_format(out, "  step          %9.2f ms   median of %zu, %.2f to %.2f\n", ms, bench->step.runs,
                  bench->step.least, bench->step.most);
    buffer_format(out, "  target tokens %9.0f /s   %.1f a step\n", 1e3 * counts->n / ms, counts->n);
    buffer_format(out, "  products      %9.2f GFLOP a step,\n  %17s " PRODUCTS_FORMULA " with\n", bench->flops / 1e9,
                  "");
    buffer_format(out, "  %17s n %.1f target positions, m %.1f encoder positions,\n", "", counts->n, counts->m);
    buffer_format(out, "  %17s u %.1f and v %.1f distinct inputs of either\n", "", counts->u, counts->v);
    buffer_format(out, "  in a step     %9.1f GFLOP/s\n", s_gigaflops(bench->flops, ms));
    buffer_format(out, "  gemm alone    %9.1f GFLOP/s on the same shapes: %.2f ms, %.0f tokens/s\n",
                  s_gigaflops(bench->flops, bench->alone), bench->alone, 1e3 * counts->n / bench->alone);
    buffer_format(out, "  of roofline   %9.1f %%\n", 100 * bench->alone / ms);
    s_print_phases(bench, out);
}

static void s_print_json(const struct train_bench *bench, struct buffer *out)
{
    const struct model_shape *shape = &bench->training.model->shape;
    const struct step_counts *counts = &bench->counts;
    double ms = bench->step.median;
    buffer_format(out,
                  "\"train\": {\"src_vocab\": %d, \"tgt_vocab\": %d, \"steps\": %zu, \"ms\": %.6g, \"ms_least\": "
                  "%.6g, \"ms_most\": %.6g, \"tgt_tokens\": %.6g, \"tgt_tok_per_s\": %.6g, ",
                  shape->src_vocab, shape->tgt_vocab, bench->step.runs, ms, bench->step.least, bench->step.most,
                  counts->n, 1e3 * counts->n / ms);
    buffer_format(out,
                  "\"formula\": \"" PRODUCTS_FORMULA "\", \"n\": %.6g, \"m\": %.6g, \"u\": %.6g, \"v\": %.6g, "
                  "\"gflop\": %.6g, \"gflop_per_s\": %.6g, \"gemm_gflop_per_s\": %.6g, \"gemm_ms\": %.6g, "
                  "\"roofline_fraction\": %.6g, \"phases\": {",
                  counts->n, counts->m, counts->u, counts->v, bench->flops / 1e9, s_gigaflops(bench->flops, ms),
                  s_gigaflops(bench->flops, bench->alone), bench->alone, bench->alone / ms);
    double rest = (double)bench->ns / 1e6 / (double)bench->taken;
    for (int i = 0; i < PHASES; i++) {
        rest -= s_phase_ms(bench, i);
        buffer_format(out, "\"%s\": {\"ms\": %.6g, \"gflop\": %.6g, \"gemm_ms\": %.6g}, ", s_phases[i].key,
                      s_phase_ms(bench, i), bench->phase_flops[i] / 1e9, bench->phase_alone[i]);
    }
    buffer_format(out, "\"rest\": {\"ms\": %.6g}}}", rest);
}

bool bench_train(struct bench *bench, struct err *err)
{
    struct train_bench run = {0};
    size_t pairs = STEPS * (size_t)bench->config.train_batch;
    if (!bench_data_draw(&run.data, &bench->config, bench_src_vocab(&bench->config), bench_tgt_vocab(&bench->config),
                         pairs, err))
        return false;
    bool open = bench_training_open(&run.training, bench, &run.data, err), ok = open && s_warm_up(&run, err);
    if (ok) {
        run.training.network.phases = &run.phases;
        run.taken = 0;
        run.ns = 0;
        ok = bench_time(&(struct work){.run = s_step, .context = &run}, bench->config.bench_seconds, &run.step, err) &&
             s_roofline(&run, bench->config.bench_seconds, err);
    }
    if (ok && bench->config.output_json)
        s_print_json(&run, &bench->out);
    else if (ok)
        s_print(&run, &bench->out);
    if (open)
        training_close(&run.training);
    bench_data_free(&run.data);
    return ok;
}
