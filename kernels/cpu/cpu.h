/* cpu.h - the CPU backend's own struct and calls, for the files of this folder only. */
#ifndef LSTMQ_KERNELS_CPU_CPU_H
#define LSTMQ_KERNELS_CPU_CPU_H

#include "kernels/backend.h"
#include "kernels/cpu/gemm/fma.h"
#include "kernels/cpu/gemm/gemm.h"
#include "kernels/cpu/team.h"
#include "kernels/cpu/vector.h"
#include "kernels/decode.h"
#include "kernels/measure.h"

struct cpu {
    struct backend backend; /* first: a struct backend * of this table is a struct cpu * */
    struct team *team;
    const struct vector_table *vector;
    const struct fma_table *fma; /* NULL: GEMMs are not chains of fused multiply-adds (bf16, or no such table) */
    struct multiplier *multiplier;
    enum precision precision;
    bool failed; /* since the last check; `failure` holds the error, and operations do nothing */
    struct err failure;
    char version[64], arithmetic[128];
    void *scratch; /* memory of the running operation */
    size_t scratch_size;
};

/* NULL and err when there is no memory, or when this machine lacks the instructions for `precision` or $LSTMQ_ISA. */
struct backend *cpu_open(int threads, enum precision precision, struct err *err);

/* "oneDNN 2.6.3, avx512_core_amx; vector avx512". */
void cpu_describe(char *text, size_t size);

/* Keep the first failure since the last check. */
void cpu_fail(struct cpu *cpu, const struct err *failure);

/* At least `size` bytes, 64-byte aligned, for the running operation. NULL when there is no memory: the backend keeps
 * that as its failure. */
void *cpu_scratch(struct cpu *cpu, size_t size);

/* A slice of an operation, computed by one thread. `arguments` is the operation's own struct. A slice is never empty.
 */
struct slice {
    size_t first, count;
};
typedef void cpu_part(const struct cpu *cpu, void *arguments, struct slice s);

/* Compute 0..count-1 in slices that begin at multiples of `grain`, on as many threads as `work` elements are worth.
 * After a failure it does nothing. */
void cpu_cut(struct cpu *cpu, size_t count, size_t grain, size_t work, cpu_part *part, void *arguments);

/* How many threads `work` elements in `pieces` pieces are worth. */
int cpu_threads_for(const struct cpu *cpu, size_t work, size_t pieces);

/* How many parts to cut a job of `pieces` pieces into: several for each thread, so that a thread that the system
 * suspends delays little. */
int cpu_parts_for(int threads, size_t pieces);

/* See struct backend_table. recurrent.c: */
void cpu_recurrent_forward(struct backend *self, const struct recurrent *layer);
void cpu_recurrent_backward(struct backend *self, const struct recurrent *layer,
                            const struct recurrent_gradient *gradient);

/* rows.c: */
void cpu_gather(struct backend *self, const float *table, const int32_t *index, int count, int width, float *out);
void cpu_scatter_add(struct backend *self, const float *rows, const int32_t *index, int count, int width, float *table);
void cpu_zero_rows(struct backend *self, const int32_t *index, int count, int width, float *table);
void cpu_segment_sum(struct backend *self, const float *rows, const struct segments *segments, int width, float *out);
void cpu_column_sum(struct backend *self, const float *rows, int count, int width, bool accumulate, float *out);
void cpu_cross_entropy(struct backend *self, float *logits, const int32_t *target, int N, int V, bool gradient,
                       float *loss, int32_t *predicted);
void cpu_argmax(struct backend *self, const float *logits, int N, int V, int32_t *index);

/* inputs.c: */
struct inputs *cpu_inputs_open(struct backend *self, const struct inputs_of *of, struct err *err);
void cpu_inputs_close(struct backend *self, struct inputs *inputs);
const float *cpu_inputs_rows(struct backend *self, struct inputs *inputs, const int32_t *token, int count,
                             int32_t *slot);

/* single.c: */
struct single *cpu_single_open(struct backend *self, enum cell cell, const float *w_hh, int H,
                               const struct prepacked *prepacked, struct err *err);
void cpu_single_close(struct backend *self, struct single *single);
void cpu_single_run(struct backend *self, struct single *single, const float *input, const int32_t *slot, int T,
                    float *h, float *c);

/* sweep.c: */
void cpu_sweep(struct backend *self, const void *memory, size_t bytes);

/* projection.c: */
struct projection *cpu_projection_open(struct backend *self, const float *w, const float *bias, int V, int H,
                                       const struct prepacked *prepacked, struct err *err);
void cpu_projection_close(struct backend *self, struct projection *projection);
size_t cpu_projection_bytes(struct backend *self, const struct projection *projection);
void cpu_projection_argmax(struct backend *self, const struct projection *projection, const float *h, int N,
                           int32_t *index);

/* elements.c: */
void cpu_quantise(struct backend *self, const struct quantise *quantise, struct outcome *outcome,
                  struct figures *figures);
void cpu_dequantise(struct backend *self, const int64_t *sum, size_t count, float *x);
void cpu_hash(struct backend *self, const float *x, size_t count, uint64_t *hashes);

/* update.c: */
void cpu_score(struct backend *self, const float *loss, const int32_t *predicted, const int32_t *target, int N,
               struct figures *figures);
void cpu_clip(struct backend *self, const struct clip *clip, struct outcome *outcome);
void cpu_sgd(struct backend *self, const struct update *update, float lr, float decay);
void cpu_adam(struct backend *self, const struct update *update, const struct adam *adam);

#endif
