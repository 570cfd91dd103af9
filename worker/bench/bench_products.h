/* bench_products.h - the matrix products that a training step needs, and the best speed of each.
 *
 * A batch has n target positions and m encoder positions (padding included if the recipe runs over it). The first
 * position of each row multiplies no state. The two sides have u and v distinct inputs, each projected once. With V, E,
 * H and G as in kernels/shape.h, a step's products are 2 x 3 (V H n + G H (m + n) + G E (u + v)) floating point
 * operations: each product is needed forward, for its weights, and for its input. A recurrence counts as one product
 * over all its positions, which no step can reach. The roofline is oneDNN's time for these products.
 *
 * Plain memory of the caller. One compute thread. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_PRODUCTS_H
#define LSTMQ_WORKER_BENCH_BENCH_PRODUCTS_H

#include "worker/bench/bench.h"

#define PRODUCTS_FORMULA "2 x 3 (V H n + G H (m + n) + G E (u + v))"

/* The name of a lap in a table and in JSON. */
struct lap_name {
    const char *name, *key;
};
extern const struct lap_name lap_names[LAPS];

struct product {
    const char *name;
    enum lap lap; /* the lap of a step that computes it */
    int M, N, K;
    bool transpose_a, transpose_b, bias;
};

enum { PRODUCTS = 15 };

struct step_counts {
    double n, m, u, v; /* as above, means over steps */
};

/* The counts of a training's batch, for products_list and products_flops. */
struct step_counts products_count(const struct training *training);

/* The products of a step, with rounded counts. */
void products_list(const struct model_shape *shape, const struct step_counts *counts, struct product list[PRODUCTS]);

/* Floating point operations of one product, and of a step (the formula). */
double product_flops(const struct product *product);
double products_flops(const struct model_shape *shape, const struct step_counts *counts);

/* Time of a product alone, in ms, on its own memory: by the backend's gemm, and by the library below it, with B packed
 * beforehand or not, the faster of both (0 = no such library). */
struct product_speed {
    struct timing own;
    double library;
};
bool product_time(struct backend *backend, const struct product *product, double seconds, struct product_speed *speed,
                  struct err *err);

#endif
