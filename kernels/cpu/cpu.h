/* cpu.h - the CPU backend's own struct, shared by the files of this folder and nobody else. */
#ifndef LSTMQ_CPU_H
#define LSTMQ_CPU_H

#include "kernels/backend.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector.h"

struct cpu {
    struct backend backend; /* first: a struct backend * of this table is a struct cpu * */
    int threads;
    const struct vector_table *vector;
    struct multiplier *multiplier;
    bool failed; /* an operation since the last check; `failure` says how, and operations do nothing */
    struct err failure;
    char version[64];
    void *scratch; /* memory of the operation that is running */
    size_t scratch_size;
};

/* Open it; NULL and err when there is no memory, or when `precision` or $LSTMQ_ISA is more than this machine has. */
struct backend *cpu_open(int threads, enum precision precision, struct err *err);

/* "oneDNN 2.6.3, avx512_core_amx; vector avx512". */
void cpu_describe(char *text, size_t size);

/* Keep a failure, if it is the first since the last check. */
void cpu_fail(struct cpu *cpu, const struct err *failure);

/* At least `size` bytes, 64-byte aligned, for the operation that is running; NULL when there is none, which is kept as
 * its failure. */
void *cpu_scratch(struct cpu *cpu, size_t size);

/* The part of 0..count-1 that belongs to the calling thread of a parallel region, cut at multiples of `grain`. */
struct slice {
    size_t first, count;
};
struct slice cpu_slice(size_t count, size_t grain);

/* How many threads `count` items are worth when each should have at least `grain`. */
int cpu_threads_for(const struct cpu *cpu, size_t count, size_t grain);

/* See struct backend_table. */
void cpu_gemm(struct backend *self, const struct gemm *gemm);
void cpu_recurrent_forward(struct backend *self, const struct recurrent *layer);
void cpu_recurrent_backward(struct backend *self, const struct recurrent *layer,
                            const struct recurrent_gradient *gradient);

#endif
