/* bench_steps.c - take training steps and time them; see bench_steps.h. */
#include "worker/bench/bench_steps.h"

bool bench_steps_take(void *context, struct err *err)
{
    struct bench_steps *steps = context;
    struct step_result result;
    size_t first = steps->next * (size_t)steps->training.config.train_batch;
    steps->next = (steps->next + 1) % BENCH_STEPS;
    int64_t begin = clock_ns();
    if (!bench_training_step(&steps->training, steps->data, first, &result, err))
        return false;
    steps->ns += clock_ns() - begin;
    steps->taken++;
    return true;
}

static bool bench_steps_warm_up(struct bench_steps *steps, struct err *err)
{
    struct step_counts *mean = &steps->counts;
    for (int i = 0; i < BENCH_STEPS; i++) {
        if (!bench_steps_take(steps, err))
            return false;
        struct step_counts counts = products_count(&steps->training);
        mean->n += counts.n / BENCH_STEPS;
        mean->m += counts.m / BENCH_STEPS;
        mean->u += counts.u / BENCH_STEPS;
        mean->v += counts.v / BENCH_STEPS;
    }
    return true;
}

bool bench_steps_open(struct bench_steps *steps, const struct bench *bench, struct bench_data *data, struct err *err)
{
    *steps = (struct bench_steps){.data = data};
    if (!bench_training_open(&steps->training, bench, data, err))
        return false;
    if (!bench_steps_warm_up(steps, err)) {
        bench_steps_close(steps);
        return false;
    }
    steps->training.network.stopwatch = &steps->stopwatch;
    bench_steps_count(steps, NULL);
    return true;
}

void bench_steps_close(struct bench_steps *steps)
{
    training_close(&steps->training);
}

void bench_steps_count(struct bench_steps *steps, const struct sharing *watched)
{
    steps->stopwatch = (struct stopwatch){.watched = watched};
    steps->taken = 0;
    steps->ns = 0;
}

double bench_steps_ms(const struct bench_steps *steps)
{
    return (double)steps->ns / 1e6 / (double)steps->taken;
}

double bench_steps_lap_ms(const struct bench_steps *steps, int lap)
{
    return (double)steps->stopwatch.ns[lap] / 1e6 / (double)steps->taken;
}
