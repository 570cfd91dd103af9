/* fma_product.h - fp32 GEMMs of any shape, made of fma.h's tiles.
 *
 * backend.h fixes the result to the bit. This file decides the time: which part runs on which thread and in which
 * order, so that what is read again is still in the cache. A `struct fma_products` holds the memory of a running GEMM.
 * One thread owns it. Born in fma_products_open, given back by fma_products_close. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_FMA_PRODUCT_H
#define LSTMQ_KERNELS_CPU_GEMM_FMA_PRODUCT_H

#include "kernels/backend.h"
#include "kernels/cpu/gemm/fma.h"
#include "kernels/cpu/team.h"

struct fma_products;

/* B in the order that tiles read fastest, which may be the stored order. */
struct fma_packed;

/* On the threads of `team`, which outlives it. */
struct fma_products *fma_products_open(struct team *team, const struct fma_table *table, struct err *err);
void fma_products_close(struct fma_products **products);

/* As multiplier_run; `packed` is gemm's B, or NULL. */
bool fma_products_run(struct fma_products *products, const struct gemm *gemm, const struct fma_packed *packed,
                      struct err *err);

/* As multiplier_keep and multiplier_pack. */
struct fma_packed *fma_products_keep(struct fma_products *products, const float *b, int N, int K, bool transposed,
                                     struct err *err);
void fma_packed_destroy(struct fma_packed **packed);
struct fma_packed *fma_products_pack(struct fma_products *products, const float *b, int N, int K, bool transposed,
                                     struct err *err);

/* C = A B for `rows` rows of A and C. Any threads, at the same time. */
void fma_products_rows(const struct fma_products *products, const struct fma_packed *packed, int rows, const float *a,
                       float *c);

#endif
