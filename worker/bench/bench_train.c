/* bench_train.c - training steps: their speed, the time of each phase, the time of the matrix products alone, and the
 * gain from more cores. */
#include "proto/store/json_print.h"
#include "worker/bench/bench_scaling.h"

#include <string.h>

/* Rounds of alternating steps and products, because the speed of a shared machine varies. */
enum { ROUNDS = 3 };

struct train_bench {
    struct bench_steps steps;
    struct timing step;         /* median within a round, mean over the rounds */
    double lap_flops[LAPS];     /* of a step */
    double lap_own[LAPS];       /* ms of a step's products, each run alone, by our gemm */
    double lap_library[LAPS];   /* the same by oneDNN; 0 = the backend does not use it */
    double flops, own, library; /* their sums */
    struct scaling scaling;
    bool scales;
};

/* The products of a mean step, each timed alone. No step can be faster than their sum without computing less or
 * computing them faster. */
static bool bench_train_products(struct train_bench *bench, double seconds, struct err *err)
{
    struct product list[PRODUCTS];
    products_list(&bench->steps.training.model->shape, &bench->steps.counts, list);
    for (int i = 0; i < PRODUCTS; i++) {
        struct product_speed speed;
        if (!product_time(bench->steps.training.backend, &list[i], seconds / PRODUCTS, &speed, err))
            return false;
        bench->lap_own[list[i].lap] += speed.own.median / ROUNDS;
        bench->lap_library[list[i].lap] += speed.library / ROUNDS;
        bench->own += speed.own.median / ROUNDS;
        bench->library += speed.library / ROUNDS;
    }
    return true;
}

static void bench_train_add(struct timing *sum, const struct timing *round)
{
    sum->median += round->median / ROUNDS;
    sum->least = sum->runs == 0 || round->least < sum->least ? round->least : sum->least;
    sum->most = round->most > sum->most ? round->most : sum->most;
    sum->runs += round->runs;
}

static bool bench_train_measure(struct train_bench *bench, double seconds, struct err *err)
{
    const struct model_shape *shape = &bench->steps.training.model->shape;
    struct product list[PRODUCTS];
    bool ok = true;
    for (int i = 0; i < ROUNDS && ok; i++) {
        struct timing round;
        ok = bench_time(&(struct work){.run = bench_steps_take, .context = &bench->steps}, seconds / ROUNDS, &round,
                        err) &&
             bench_train_products(bench, seconds, err);
        if (ok)
            bench_train_add(&bench->step, &round);
    }
    products_list(shape, &bench->steps.counts, list);
    for (int i = 0; i < PRODUCTS; i++)
        bench->lap_flops[list[i].lap] += product_flops(&list[i]);
    bench->flops = products_flops(shape, &bench->steps.counts);
    return ok;
}

static double bench_train_gigaflops(double flops, double ms)
{
    return ms > 0 ? flops / ms / 1e6 : 0;
}

static void bench_train_print_laps(const struct train_bench *bench, struct buffer *out)
{
    double mean = bench_steps_ms(&bench->steps), rest = mean;
    buffer_format(out, "\n  %-22s %8s %6s %8s %9s %9s %9s\n", "phase", "ms", "%", "GFLOP", "GFLOP/s", "alone",
                  "oneDNN's");
    for (int i = 0; i < LAPS; i++) {
        double ms = bench_steps_lap_ms(&bench->steps, i), flops = bench->lap_flops[i];
        rest -= ms;
        buffer_format(out, "  %-22s %8.3f %6.1f", lap_names[i].name, ms, 100 * ms / mean);
        if (flops > 0)
            buffer_format(out, " %8.3f %9.1f %9.1f %9.1f", flops / 1e9, bench_train_gigaflops(flops, ms),
                          bench_train_gigaflops(flops, bench->lap_own[i]),
                          bench_train_gigaflops(flops, bench->lap_library[i]));
        buffer_text(out, "\n");
    }
    buffer_format(out, "  %-22s %8.3f %6.1f\n", "rest", rest, 100 * rest / mean);
    buffer_format(out, "  %-22s %8.3f %6.1f\n", "mean step", mean, 100.0);
}

static void bench_train_print(const struct train_bench *bench, struct buffer *out)
{
    const struct model_shape *shape = &bench->steps.training.model->shape;
    const struct step_counts *counts = &bench->steps.counts;
    double ms = bench->step.median;
    buffer_format(out, "train: steps of drawn pairs, V %d and %d\n\n", shape->src_vocab, shape->tgt_vocab);
    buffer_format(out, "  step          %9.2f ms   median of %zu, %.2f to %.2f\n", ms, bench->step.runs,
                  bench->step.least, bench->step.most);
    buffer_format(out, "  target tokens %9.0f /s   %.1f a step\n", 1e3 * counts->n / ms, counts->n);
    buffer_format(out, "  products      %9.2f GFLOP a step,\n  %17s " PRODUCTS_FORMULA " with\n", bench->flops / 1e9,
                  "");
    buffer_format(out, "  %17s n %.1f target positions, m %.1f encoder positions,\n", "", counts->n, counts->m);
    buffer_format(out, "  %17s u %.1f and v %.1f distinct inputs of either\n", "", counts->u, counts->v);
    buffer_format(out, "  in a step     %9.1f GFLOP/s\n", bench_train_gigaflops(bench->flops, ms));
    buffer_format(out, "  alone         %9.1f GFLOP/s by our products: %.2f ms, %.0f tokens/s\n",
                  bench_train_gigaflops(bench->flops, bench->own), bench->own, 1e3 * counts->n / bench->own);
    if (bench->library > 0)
        buffer_format(out,
                      "  oneDNN        %9.1f GFLOP/s on the same shapes: %.2f ms, %.0f tokens/s\n"
                      "  of roofline   %9.1f %%, oneDNN's time for the products over the step's\n",
                      bench_train_gigaflops(bench->flops, bench->library), bench->library,
                      1e3 * counts->n / bench->library, 100 * bench->library / ms);
    bench_train_print_laps(bench, out);
    if (bench->scales)
        scaling_print(&bench->scaling, out);
}

static void bench_train_print_json(const struct train_bench *bench, struct buffer *out)
{
    const struct model_shape *shape = &bench->steps.training.model->shape;
    const struct step_counts *counts = &bench->steps.counts;
    double ms = bench->step.median;
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"ms", ms},
        {"ms_least", bench->step.least},
        {"ms_most", bench->step.most},
        {"tgt_tokens", counts->n},
        {"tgt_tok_per_s", 1e3 * counts->n / ms},
        {"n", counts->n},
        {"m", counts->m},
        {"u", counts->u},
        {"v", counts->v},
        {"gflop", bench->flops / 1e9},
        {"gflop_per_s", bench_train_gigaflops(bench->flops, ms)},
        {"gemm_gflop_per_s", bench_train_gigaflops(bench->flops, bench->own)},
        {"gemm_ms", bench->own},
        {"onednn_gflop_per_s", bench_train_gigaflops(bench->flops, bench->library)},
        {"onednn_ms", bench->library},
        {"roofline_fraction", bench->library / ms},
    };
    buffer_format(
        out, "\"train\": {\"formula\": \"" PRODUCTS_FORMULA "\", \"src_vocab\": %d, \"tgt_vocab\": %d, \"steps\": %zu",
        shape->src_vocab, shape->tgt_vocab, bench->step.runs);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_print_number(out, numbers[i].key, numbers[i].value);
    buffer_text(out, ", \"phases\": {");
    double rest = bench_steps_ms(&bench->steps);
    for (int i = 0; i < LAPS; i++) {
        double lap = bench_steps_lap_ms(&bench->steps, i);
        rest -= lap;
        buffer_format(out, "\"%s\": {", lap_names[i].key);
        json_print_number(out, "ms", lap);
        json_print_number(out, "gflop", bench->lap_flops[i] / 1e9);
        json_print_number(out, "gemm_ms", bench->lap_own[i]);
        json_print_number(out, "onednn_ms", bench->lap_library[i]);
        buffer_text(out, "}, ");
    }
    buffer_text(out, "\"rest\": {");
    json_print_number(out, "ms", rest);
    buffer_text(out, "}}");
    if (bench->scales) {
        buffer_text(out, ", ");
        scaling_json(&bench->scaling, out);
    }
    buffer_text(out, "}");
}

bool bench_train(struct bench *bench, struct err *err)
{
    struct train_bench run = {0};
    struct bench_data data;
    size_t pairs = BENCH_STEPS * (size_t)bench->config.train_batch;
    if (!bench_data_draw(&data, &bench->config, bench_src_vocab(&bench->config), bench_tgt_vocab(&bench->config), pairs,
                         err))
        return false;
    bool ok = bench_steps_open(&run.steps, bench, &data, err) &&
              bench_train_measure(&run, bench->config.bench_seconds, err) &&
              scaling_measure(&run.scaling, bench, &data, run.lap_flops, &run.scales, err);
    if (ok && bench->config.output_json)
        bench_train_print_json(&run, &bench->out);
    else if (ok)
        bench_train_print(&run, &bench->out);
    bench_steps_close(&run.steps);
    bench_data_free(&data);
    return ok;
}
