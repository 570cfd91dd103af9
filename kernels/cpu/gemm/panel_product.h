/* panel_product.h - GEMMs of any shape, made of panel.h's tiles: in bf16, and in fp32 on processors that fma.h has no
 * tiles for.
 *
 * Every GEMM is built from tiles of a few fixed shapes: some rows of A times a block of B, packed in the order that
 * oneDNN reads fastest. A tile runs on one thread, threads share the rows or columns of C, and a sum over K is always
 * cut in the same way. That keeps backend.h's promise about bits, whatever oneDNN does inside a tile. It also keeps the
 * number of compiled shapes small, although every batch has another number of positions.
 *
 * A `struct panel_products` holds the compiled shapes and the memory of a running GEMM. One thread owns it. Born in
 * panel_products_open, given back by panel_products_close. In bf16 both factors are rounded on their way into a tile;
 * sums, bias and C are fp32. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_PANEL_PRODUCT_H
#define LSTMQ_KERNELS_CPU_GEMM_PANEL_PRODUCT_H

#include "kernels/backend.h"
#include "kernels/cpu/team.h"
#include "kernels/cpu/vector.h"

struct panel_products;

/* B in the order that oneDNN reads fastest. */
struct panel_packed;

/* On the threads of `team`, which outlives it. */
struct panel_products *panel_products_open(struct team *team, enum precision type, const struct vector_table *vector,
                                           struct err *err);
void panel_products_close(struct panel_products **products);

/* As multiplier_run; `packed` is gemm's B, or NULL. */
bool panel_products_run(struct panel_products *products, const struct gemm *gemm, const struct panel_packed *packed,
                        struct err *err);

/* As multiplier_keep and multiplier_pack. */
struct panel_packed *panel_products_keep(struct panel_products *products, const float *b, int N, int K, bool transposed,
                                         struct err *err);
void panel_packed_destroy(struct panel_packed **packed);
struct panel_packed *panel_products_pack(struct panel_products *products, const float *b, int N, int K, bool transposed,
                                         struct err *err);

/* Compile what panel_products_rows needs for a B that either call packed. */
bool panel_products_prepare(struct panel_products *products, const struct panel_packed *packed, int rows,
                            struct err *err);

/* As multiplier_rows. */
bool panel_products_rows(struct panel_products *products, const struct panel_packed *packed, int thread, int rows,
                         const float *a, float *c);

#endif
