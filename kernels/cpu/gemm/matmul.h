/* matmul.h - one product as oneDNN computes it when left to itself: whole matrices, threads of its own.
 *
 * It is the roof that our products are measured under, and part of no computation. Born in matmul_open, which compiles
 * it and, where wanted, rounds or packs its factors; given back by matmul_close. One thread makes all calls. Unlike the
 * tiles of panel.h its sums have an order of oneDNN's choosing. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_MATMUL_H
#define LSTMQ_KERNELS_CPU_GEMM_MATMUL_H

#include "kernels/backend.h"

struct matmul;

/* C = A B (+ bias) of `gemm`, whose matrices stay where they are until matmul_close; its accumulate and packed are not
 * looked at. In bf16 both factors are rounded here, into copies. `packed`: so is B put into the order that oneDNN reads
 * fastest. NULL and err (ERR_MEMORY, ERR_FAILED) when oneDNN cannot. */
struct matmul *matmul_open(int threads, enum precision type, const struct gemm *gemm, bool prepacked, struct err *err);
void matmul_close(struct matmul **matmul);

bool matmul_run(struct matmul *matmul, struct err *err);

#endif
