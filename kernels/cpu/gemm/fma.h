/* fma.h - the innermost fp32 GEMMs: a few rows of A times a panel of B, with sums that stay in registers.
 *
 * A panel is `width` columns of B, K rows deep. Each element of C is one chain of fused multiply-adds over rising k,
 * whatever the instruction set and the cut into tiles: a cut of K only stores the sum and loads it again. So there is
 * one right answer to the bit, and fma_product.c may cut as it likes.
 *
 * One source is compiled for each instruction set with fused multiply-add; each gives a table. Pure functions; any
 * thread; memory need not be aligned. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_FMA_H
#define LSTMQ_KERNELS_CPU_GEMM_FMA_H

#include <stdbool.h>
#include <stddef.h>

/* Rows of the largest tile. */
enum { FMA_ROWS = 6 };

/* C[rows, columns] = A[rows, K] B[K, columns] (+ bias) (+ C when accumulate). Distances are in floats. */
struct fma_tile {
    int rows, columns, K; /* 1..FMA_ROWS, 1..width, any */
    const float *a;
    size_t a_row, a_k; /* from a row of A to the next, from a column to the next */
    const float *b;    /* may be read beyond `columns`, up to a whole vector     */
    size_t b_k;        /* from a row of B to the next                            */
    const float *bias; /* [columns] or NULL                                      */
    float *c;
    size_t c_row;
    bool accumulate;
};

struct fma_table {
    const char *isa; /* as the vector table that goes with it         */
    int width;       /* columns of a panel                                 */
    int lanes;       /* columns of a vector; width is a multiple           */
    void (*tile)(const struct fma_tile *tile);
    /* to[k][j] = from[k][j] for K rows of `columns`, then zeros up to a multiple of `lanes`; stored rows are from_k and
     * to_k apart. */
    void (*copy)(size_t K, size_t columns, const float *from, size_t from_k, float *to, size_t to_k);
    /* A panel of a B that is stored transposed: to[k * width + j] = from[j * from_row + k] for j < columns <= width;
     * zeros up to `width`. */
    void (*turn)(size_t K, size_t columns, const float *from, size_t from_row, float *to);
};

/* The table that goes with the vector table of this name; NULL: that instruction set has no fma. */
const struct fma_table *fma_table(const char *isa);

#endif
