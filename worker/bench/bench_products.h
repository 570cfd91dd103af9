/* bench_products.h - the matrix products that a training step cannot do without, and how fast each of them can be.
 *
 * What counts: n positions of the target, m of the encoder (over padding where the recipe says so) of which the first
 * of each row multiplies no state, and u and v distinct inputs of either side, each projected once. With V, E, H and G
 * as in kernels/shape.h a step's products are 2 x 3 (V H n + G H (m + n) + G E (u + v)) floating point operations: each
 * is needed forward, for its weights and for what it read. A recurrence counts as one product over all its positions,
 * which no step can reach. The roofline is the time that oneDNN, left to itself, takes for these products. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_PRODUCTS_H
#define LSTMQ_WORKER_BENCH_BENCH_PRODUCTS_H

#include "worker/bench/bench.h"

#define PRODUCTS_FORMULA "2 x 3 (V H n + G H (m + n) + G E (u + v))"

/* How a phase is called in a table and in JSON. */
struct phase_name {
    const char *name, *key;
};
extern const struct phase_name phase_names[PHASES];

struct product {
    const char *name;
    enum phase phase; /* in which a step does it */
    int M, N, K;
    bool transpose_a, transpose_b, bias;
};

enum { PRODUCTS = 15 };

struct step_counts {
    double n, m, u, v; /* as above, means over steps */
};

/* What the batch in a training comes to, in numbers that products_list and products_flops take. */
struct step_counts products_count(const struct training *training);

/* The products of a step, its counts rounded. */
void products_list(const struct model_shape *shape, const struct step_counts *counts, struct product list[PRODUCTS]);

/* Floating point operations of one product, and of a step (the formula). */
double product_flops(const struct product *product);
double products_flops(const struct model_shape *shape, const struct step_counts *counts);

/* How long a product takes alone, ms, on memory of its own: by the backend's gemm, and by the library beneath, with B
 * packed beforehand or as it lies, whichever is quicker (0 = there is no such library). */
struct product_speed {
    struct timing own;
    double library;
};
bool product_time(struct backend *backend, const struct product *product, double seconds, struct product_speed *speed,
                  struct err *err);

#endif
