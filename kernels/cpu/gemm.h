/* gemm.h - matrix products of any shape, made of panel.h's tiles.
 *
 * Every product is built from tiles of a few fixed shapes: some rows of A times a block of B, packed into the order
 * that oneDNN reads fastest. A tile runs on one thread, threads share out rows or columns of C, and a sum over K is cut
 * the same way whoever computes it: that is what keeps backend.h's promise about bits, whatever oneDNN does inside a
 * tile. It also keeps the number of shapes that oneDNN has to compile small, though every batch has another number of
 * positions.
 *
 * A multiplier holds the compiled shapes and the memory they need while they run. One thread owns it. Born in
 * multiplier_open, given back by multiplier_close. In bf16 both factors are rounded on their way into a tile; sums,
 * bias and C are fp32. */
#ifndef LSTMQ_GEMM_H
#define LSTMQ_GEMM_H

#include "kernels/backend.h"
#include "kernels/cpu/team.h"
#include "kernels/cpu/vector.h"

struct multiplier;

/* On the threads of `team`, which outlives it. */
struct multiplier *multiplier_open(struct team *team, enum precision type, const struct vector_table *vector,
                                   struct err *err);
void multiplier_close(struct multiplier **multiplier);

/* C (+)= A B (+ bias), see struct gemm, on all threads. An empty product (M or N 0) does nothing. */
bool multiplier_run(struct multiplier *multiplier, const struct gemm *gemm, struct err *err);

/* B [K, N] (stored [N, K] when transposed) packed to be kept: for struct gemm's `packed` and for multiplier_rows. The
 * caller's, until packed_destroy; B itself must stay where it is. NULL and err on failure. */
struct packed *multiplier_keep(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                               struct err *err);
void packed_destroy(struct packed **packed);

/* The same in the multiplier's own memory, until its next call. */
const struct packed *multiplier_pack(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                                     struct err *err);

/* Compile what multiplier_rows will need for a B that was packed by either. */
bool multiplier_prepare(struct multiplier *multiplier, const struct packed *packed, int rows, struct err *err);

/* C = A B for `rows` rows, for a loop of products inside a team_run of the caller's, by its thread number
 * `thread`. The same bits as multiplier_run. False when oneDNN failed. */
bool multiplier_rows(struct multiplier *multiplier, const struct packed *packed, int thread, int rows, const float *a,
                     float *c);

#endif
