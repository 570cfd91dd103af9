/* gemm.h - GEMMs of any shape, on the threads of a team.
 *
 * There are two kinds. In fp32, where the processor has fused multiply-add, they are our own (fma_product.h). In bf16,
 * and on other processors, they are made of oneDNN's tiles (panel_product.h).
 *
 * A multiplier holds the memory of a running GEMM. One thread owns it. Born in multiplier_open, given back by
 * multiplier_close. In bf16 both factors are rounded on their way into a tile; sums, bias and C are fp32. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_GEMM_H
#define LSTMQ_KERNELS_CPU_GEMM_GEMM_H

#include "kernels/backend.h"
#include "kernels/cpu/team.h"
#include "kernels/cpu/vector.h"

struct multiplier;

/* It runs on the threads of `team`, which outlives it, with the instructions of `vector`. */
struct multiplier *multiplier_open(struct team *team, enum precision type, const struct vector_table *vector,
                                   struct err *err);
void multiplier_close(struct multiplier **multiplier);

/* C (+)= A B (+ bias), see struct gemm, on all threads. With M or N 0 it does nothing. */
bool multiplier_run(struct multiplier *multiplier, const struct gemm *gemm, struct err *err);

/* Prepack B [K, N] (stored [N, K] when transposed), for struct gemm's `prepacked` and for multiplier_rows. The caller
 * owns the result until prepacked_destroy; B must stay in place. NULL and err on failure. */
struct prepacked *multiplier_keep(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                                  struct err *err);
void prepacked_destroy(struct prepacked **prepacked);

/* The same in the multiplier's own memory, until its next call. */
const struct prepacked *multiplier_pack(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                                        struct err *err);

/* Compile what multiplier_rows needs for a B that either call prepacked. */
bool multiplier_prepare(struct multiplier *multiplier, const struct prepacked *prepacked, int rows, struct err *err);

/* C = A B for `rows` rows, on thread number `thread` inside a team_run of the caller: for loops of GEMMs. The bits of
 * multiplier_run. False when oneDNN failed. */
bool multiplier_rows(struct multiplier *multiplier, const struct prepacked *prepacked, int thread, int rows,
                     const float *a, float *c);

#endif
