/* vector.h - the row kernels of the CPU backend: everything that is no GEMM.
 *
 * One source is compiled for several instruction sets; each gives a table, and vector_best picks one when the program
 * starts. The tables with fma have the same bits (tests/kernels/cpu/test_vector_tables.c). The scalar table has no fma:
 * tests compare the others with it. Kernels know nothing of threads: the caller cuts the work into rows or blocks. The
 * bits of an element depend on its inputs and its place in its row, never on the number of rows of a call or the
 * alignment of memory. Pure functions; any thread. Shapes: see kernels/shape.h. */
#ifndef LSTMQ_KERNELS_CPU_VECTOR_H
#define LSTMQ_KERNELS_CPU_VECTOR_H

#include "kernels/backend.h"

struct vector_table {
    const char *isa; /* "scalar", "avx2", "avx512" */

    /* gates [rows, 4H] hold W_hh h and become i, f, g, o after their nonlinearity; row r adds input[slot[r]] ([U, 4H])
     * first. c_before [rows, H] may be NULL (zeros). Writes c and h [rows, H]; c may be c_before. */
    void (*lstm_forward)(int rows, int H, float *gates, const float *input, const int32_t *slot, const float *c_before,
                         float *c, float *h);
    /* gates [rows, 4H] become dgates (before the nonlinearity). c_before may be NULL (zeros). dh [rows, H] is the whole
     * gradient of h; dc [rows, H] is on entry the gradient of c from the step after, on return that of c_before. */
    void (*lstm_backward)(int rows, int H, float *gates, const float *c_before, const float *c, const float *dh,
                          float *dc);
    /* gates [rows, H] hold W_hh h and become tanh(gates + input[slot[r]]), which is h. */
    void (*rnn_forward)(int rows, int H, float *gates, const float *input, const int32_t *slot);
    /* gates [rows, H] hold h and become dh (1 - h^2). */
    void (*rnn_backward)(int rows, int H, float *gates, const float *dh);

    /* As the operations of backend.h of the same name, for a slice of rows. loss and predicted may be NULL. */
    void (*cross_entropy)(int rows, int V, float *logits, const int32_t *target, bool gradient, float *loss,
                          int32_t *predicted);
    void (*argmax)(int rows, int V, const float *logits, int32_t *index);

    void (*add)(size_t count, float *to, const float *from); /* to += from */
    double (*sum_squares)(size_t count, const float *x); /* on 64 lanes, see backend.h: the same bits in every table */
    /* Of scale x, in fp32: element i of all whole eights in lane i mod 8, then the lanes in order, then the other
     * elements. The same bits in every table. */
    float (*sum_squares_float)(size_t count, const float *x, float scale);
    void (*sgd)(size_t count, float *p, const float *g, float scale, float lr, float decay);
    /* `step` = lr / (1 - beta1^t); `root` = 1 / sqrt(1 - beta2^t): p -= step * m / (sqrt(v) * root + eps). */
    void (*adam)(size_t count, float *p, const float *g, float *m, float *v, float scale, const struct adam *adam,
                 float step, float root);
    /* Add round(x[i] 2^40), ties to even, to sum[i], up to the first element that is not finite or whose size is not
     * below `below` (2^23 at most). Returns its index, or count. The caller makes sure that no sum overflows. */
    size_t (*quantise)(size_t count, const float *x, float below, int64_t *sum);
    void (*dequantise)(size_t count, const int64_t *sum, float *x);
    /* Round to bf16, to nearest, ties to even; NaN stays NaN. */
    void (*to_bf16)(size_t count, const float *x, uint16_t *half);
    /* half[r][k] = a[k][r], rounded in the same way, for r < rows and k < depth; zero for depth <= k < width. Rows of
     * a are `stride` apart, those of half `width`. */
    void (*turn_to_bf16)(size_t rows, size_t depth, const float *a, size_t stride, size_t width, uint16_t *half);
};

extern const struct vector_table vector_scalar;

/* The tables this machine can run, best first, ending with the scalar one; *count of them. */
const struct vector_table *const *vector_tables(size_t *count);

/* The first of vector_tables, or the one that $LSTMQ_ISA names ("scalar", "avx2", "avx512"), for tests and comparisons;
 * ERR_USAGE when this machine cannot run it. */
const struct vector_table *vector_best(struct err *err);

#endif
