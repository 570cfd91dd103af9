/* bench_products.c - the matrix products of a step and their cost; see bench_products.h. */
#include "worker/bench/bench_products.h"

#include "kernels/measure.h"
#include "proto/base/random.h"

#include <stdlib.h>

const struct lap_name lap_names[LAPS] = {
    [LAP_BATCH] = {"pack the batch", "batch"},
    [LAP_INPUT] = {"inputs", "input"},
    [LAP_RECURRENCE] = {"recurrence", "recurrence"},
    [LAP_LOGITS] = {"logits", "logits"},
    [LAP_CROSS_ENTROPY] = {"softmax, cross-entropy", "cross_entropy"},
    [LAP_PROJECTION_GRADIENT] = {"projection's gradient", "projection_gradient"},
    [LAP_RECURRENCE_BACKWARD] = {"recurrence backward", "recurrence_backward"},
    [LAP_INPUT_GRADIENT] = {"inputs' gradient", "input_gradient"},
    [LAP_UPDATE] = {"norm, clip, update", "update"},
};

/* Positions of a packed sequence, starting without a state, that multiply a state. */
static double bench_products_with_state(const struct sequence *seq)
{
    return seq->N - seq->B;
}

struct step_counts products_count(const struct training *training)
{
    const struct batch *batch = &training->batch;
    return (struct step_counts){.n = batch->tgt.seq.N,
                                .m = bench_products_with_state(&batch->src.seq),
                                .u = batch->src.real,
                                .v = batch->tgt.real};
}

void products_list(const struct model_shape *shape, const struct step_counts *counts, struct product list[PRODUCTS])
{
    int V = shape->tgt_vocab, E = shape->E, H = shape->H, G = shape->G;
    int n = (int)(counts->n + 0.5), m = (int)(counts->m + 0.5), u = (int)(counts->u + 0.5), v = (int)(counts->v + 0.5);
    const struct product products[PRODUCTS] = {
        {"encoder input", LAP_INPUT, u, G, E, false, true, true},
        {"decoder input", LAP_INPUT, v, G, E, false, true, true},
        {"encoder state", LAP_RECURRENCE, m, G, H, false, true, false},
        {"decoder state", LAP_RECURRENCE, n, G, H, false, true, false},
        {"logits", LAP_LOGITS, n, V, H, false, true, true},
        {"d projection", LAP_PROJECTION_GRADIENT, V, H, n, true, false, false},
        {"d decoder output", LAP_PROJECTION_GRADIENT, n, H, V, false, false, false},
        {"d decoder state", LAP_RECURRENCE_BACKWARD, n, H, G, false, false, false},
        {"d encoder state", LAP_RECURRENCE_BACKWARD, m, H, G, false, false, false},
        {"d decoder w_hh", LAP_INPUT_GRADIENT, G, H, n, true, false, false},
        {"d encoder w_hh", LAP_INPUT_GRADIENT, G, H, m, true, false, false},
        {"d decoder w_ih", LAP_INPUT_GRADIENT, G, E, v, true, false, false},
        {"d encoder w_ih", LAP_INPUT_GRADIENT, G, E, u, true, false, false},
        {"d decoder input", LAP_INPUT_GRADIENT, v, E, G, false, false, false},
        {"d encoder input", LAP_INPUT_GRADIENT, u, E, G, false, false, false},
    };
    for (int i = 0; i < PRODUCTS; i++)
        list[i] = products[i];
}

double product_flops(const struct product *product)
{
    return 2.0 * product->M * product->N * product->K;
}

double products_flops(const struct model_shape *shape, const struct step_counts *counts)
{
    double V = shape->tgt_vocab, E = shape->E, H = shape->H, G = shape->G;
    return 2 * 3 * (V * H * counts->n + G * H * (counts->m + counts->n) + G * E * (counts->u + counts->v));
}

struct product_run {
    struct backend *backend;
    struct gemm gemm;
};

static bool bench_products_run(void *context, struct err *err)
{
    struct product_run *run = context;
    run->backend->op->gemm(run->backend, &run->gemm);
    return run->backend->op->check(run->backend, err);
}

/* `count` floats in (-1, 1): zeroes could be faster than a step's real values. */
static float *bench_products_operand(struct backend *backend, size_t count, struct err *err)
{
    float *host = malloc(count * sizeof *host), *operand = NULL;
    if (host == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a matrix of %zu floats", count);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        host[i] = (float)(int32_t)splitmix(i) / 2147483648.0f;
    operand = backend->op->alloc(backend, count * sizeof(float), err);
    if (operand != NULL)
        backend->op->upload(backend, operand, host, count * sizeof(float));
    free(host);
    return operand;
}

struct library_run {
    struct backend *backend;
    struct matmul *matmul;
};

static bool bench_products_run_library(void *context, struct err *err)
{
    struct library_run *run = context;
    return run->backend->op->measure->matmul_run(run->matmul, err);
}

/* The faster of both ways; a way that the library lacks is skipped. */
static bool bench_products_time_library(struct backend *backend, const struct gemm *gemm, double seconds, double *ms,
                                        struct err *err)
{
    bool ok = true;
    *ms = 0;
    for (int packed = 0; packed < 2 && ok && backend->op->measure != NULL; packed++) {
        struct timing timing;
        struct library_run run = {.backend = backend,
                                  .matmul = backend->op->measure->matmul_open(backend, gemm, packed == 1, err)};
        if (run.matmul == NULL)
            continue;
        ok = bench_time(&(struct work){.run = bench_products_run_library, .context = &run}, seconds, &timing, err);
        if (ok && (*ms == 0 || timing.median < *ms))
            *ms = timing.median;
        backend->op->measure->matmul_close(&run.matmul);
    }
    return ok;
}

bool product_time(struct backend *backend, const struct product *product, double seconds, struct product_speed *speed,
                  struct err *err)
{
    size_t M = (size_t)product->M, N = (size_t)product->N, K = (size_t)product->K;
    float *a = bench_products_operand(backend, M * K, err), *b = NULL, *c = NULL, *bias = NULL;
    bool ok = a != NULL && (b = bench_products_operand(backend, K * N, err)) != NULL &&
              (bias = bench_products_operand(backend, N, err)) != NULL &&
              (c = bench_products_operand(backend, M * N, err)) != NULL;
    if (ok) {
        struct product_run run = {.backend = backend,
                                  .gemm = {.M = product->M,
                                           .N = product->N,
                                           .K = product->K,
                                           .a = a,
                                           .b = b,
                                           .bias = product->bias ? bias : NULL,
                                           .c = c,
                                           .transpose_a = product->transpose_a,
                                           .transpose_b = product->transpose_b}};
        ok = bench_time(&(struct work){.run = bench_products_run, .context = &run}, seconds / 3, &speed->own, err) &&
             bench_products_time_library(backend, &run.gemm, seconds / 3, &speed->library, err);
    }
    float *operands[] = {a, b, c, bias};
    for (int i = 0; i < 4; i++)
        if (operands[i] != NULL)
            backend->op->free(backend, operands[i]);
    return ok;
}
