/* gemm.h - matrix products of any shape, made of panel.h's tiles.
 *
 * Every product is built from tiles of a few fixed shapes: some rows of A times a panel, which is B packed into the
 * order that oneDNN reads fastest. A tile runs on one thread, threads share out the rows of C, and a sum over K is cut
 * the same way whoever computes it: that is what keeps backend.h's promise about bits, whatever oneDNN does inside a
 * tile. It also keeps the number of shapes that oneDNN has to compile small, though every batch has another number of
 * positions.
 *
 * A multiplier holds the compiled shapes and the memory they need while they run. One thread owns it. Born in
 * multiplier_open, given back by multiplier_close. */
#ifndef LSTMQ_GEMM_H
#define LSTMQ_GEMM_H

#include "kernels/backend.h"

struct multiplier;

struct multiplier *multiplier_open(int threads, struct err *err);
void multiplier_close(struct multiplier **multiplier);

/* C (+)= A B (+ bias), see struct gemm, on all threads. An empty product (M or N 0) does nothing. */
bool multiplier_run(struct multiplier *multiplier, const struct gemm *gemm, struct err *err);

/* For a loop of products with one B inside a parallel region of the caller's: pack B [K, N] (stored [N, K] when
 * transposed) once; it lasts until the multiplier's next call. NULL and err on failure. */
struct panel;
struct panel *multiplier_pack(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                              struct err *err);

/* C = A B for `rows` rows, from inside a parallel region, by its thread number `thread`. The same bits as
 * multiplier_run. False when oneDNN failed. */
bool multiplier_rows(struct multiplier *multiplier, struct panel *panel, int thread, int rows, const float *a,
                     float *c);

#endif
