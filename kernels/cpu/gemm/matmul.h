/* matmul.h - one GEMM as oneDNN computes it by default: whole matrices, its own threads.
 *
 * It is the ceiling that `lstmq bench` compares our GEMMs with, and no model is computed with it. Born in matmul_open,
 * which compiles it and rounds or reorders its factors; given back by matmul_close. One thread makes all calls. Unlike
 * the tiles of panel.h, oneDNN chooses the order of its sums. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_MATMUL_H
#define LSTMQ_KERNELS_CPU_GEMM_MATMUL_H

#include "kernels/backend.h"

struct matmul;

/* C = A B (+ bias) of `gemm`, whose matrices stay in place until matmul_close; its fields accumulate and prepacked
 * are ignored. In bf16 both factors are rounded here, into copies. `prepacked`: B is copied in the order that oneDNN
 * reads fastest. NULL and err (ERR_MEMORY, ERR_FAILED) when oneDNN cannot. */
struct matmul *matmul_open(int threads, enum precision type, const struct gemm *gemm, bool prepacked, struct err *err);
void matmul_close(struct matmul **matmul);

bool matmul_run(struct matmul *matmul, struct err *err);

#endif
