/* cpu.c - the CPU backend: memory, failures, and how the work of an operation is cut over threads.
 *
 * An operation is cut into rows, columns or fixed blocks of elements, and vector.h computes each. A cut never changes
 * the order of a sum, so any number of threads gives the same bits. */
#include "kernels/cpu/cpu.h"

#include "kernels/cpu/gemm/matmul.h"
#include "kernels/cpu/gemm/panel.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Elements that are worth a thread: for fewer, waking it costs more than it gains. */
enum { WORTH = 16 * 1024 };

/* Memory is aligned to CACHE_LINE; from LARGE bytes on to LARGE_PAGE. */
enum { CACHE_LINE = 64, LARGE = 8 << 20, LARGE_PAGE = 2 << 20 };

/* Parts for each thread: see cpu_parts_for. */
enum { PARTS = 4 };

static struct cpu *cpu_cpu(struct backend *backend)
{
    return (struct cpu *)backend;
}

/* ---- cutting ---- */

struct cut {
    const struct cpu *cpu;
    cpu_part *part;
    void *arguments;
    size_t count, grain;
};

/* A part of 0..count-1, cut at multiples of the grain. */
static struct slice cpu_slice(size_t count, size_t grain, int part, int parts)
{
    size_t blocks = (count + grain - 1) / grain, p = (size_t)part, all = (size_t)parts;
    size_t first = blocks * p / all * grain, last = blocks * (p + 1) / all * grain;
    if (first > count)
        first = count;
    if (last > count)
        last = count;
    return (struct slice){first, last - first};
}

static void cpu_cut_part(void *context, int thread, int part, int parts)
{
    const struct cut *cut = context;
    struct slice s = cpu_slice(cut->count, cut->grain, part, parts);
    (void)thread;
    if (s.count > 0)
        cut->part(cut->cpu, cut->arguments, s);
}

int cpu_threads_for(const struct cpu *cpu, size_t work, size_t pieces)
{
    size_t most = work / WORTH < pieces ? work / WORTH : pieces, all = (size_t)team_threads(cpu->team);
    return most < 2 ? 1 : most < all ? (int)most : (int)all;
}

int cpu_parts_for(int threads, size_t pieces)
{
    size_t most = (size_t)threads * PARTS;
    return threads < 2 ? 1 : pieces < most ? (int)pieces : (int)most;
}

void cpu_cut(struct cpu *cpu, size_t count, size_t grain, size_t work, cpu_part *part, void *arguments)
{
    struct cut cut = {.cpu = cpu, .part = part, .arguments = arguments, .count = count, .grain = grain};
    size_t pieces = (count + grain - 1) / grain;
    int threads = cpu_threads_for(cpu, work, pieces);
    if (!cpu->failed)
        team_run(cpu->team, threads, cpu_parts_for(threads, pieces), cpu_cut_part, &cut);
}

/* ---- failures and scratch ---- */

void cpu_fail(struct cpu *cpu, const struct err *failure)
{
    if (!cpu->failed)
        cpu->failure = *failure;
    cpu->failed = true;
}

void *cpu_scratch(struct cpu *cpu, size_t size)
{
    if (size > cpu->scratch_size) {
        size_t rounded = (size + 4095) / 4096 * 4096;
        free(cpu->scratch);
        cpu->scratch = aligned_alloc(4096, rounded);
        cpu->scratch_size = cpu->scratch != NULL ? rounded : 0;
    }
    if (cpu->scratch == NULL) {
        struct err err;
        err_set(&err, ERR_MEMORY, "no memory for scratch: %zu bytes", size);
        cpu_fail(cpu, &err);
    }
    return cpu->scratch;
}

/* ---- about the backend ---- */

static const char *cpu_version(const struct backend *self)
{
    return ((const struct cpu *)self)->version;
}

static const char *cpu_isa(const struct backend *self)
{
    (void)self;
    return panels_isa();
}

static const char *cpu_arithmetic(const struct backend *self)
{
    return ((const struct cpu *)self)->arithmetic;
}

/* oneDNN's tiles have different bits on each instruction set. */
static void cpu_name_arithmetic(struct cpu *cpu)
{
    if (cpu->fma != NULL)
        snprintf(cpu->arithmetic, sizeof cpu->arithmetic, "fp32-fma");
    else
        snprintf(cpu->arithmetic, sizeof cpu->arithmetic, "%s%s-onednn-%s-%s",
                 cpu->precision == PRECISION_BF16 ? "bf16" : "fp32", cpu->vector == &vector_scalar ? "-plain" : "",
                 cpu->version + strlen("oneDNN "), panels_isa());
}

/* The team's other threads keep what team_open set. */
static void cpu_take_over(struct backend *self)
{
    (void)self;
    panels_single_thread();
}

static int cpu_count_threads(const struct backend *self)
{
    return team_threads(((const struct cpu *)self)->team);
}

static void cpu_close(struct backend *self)
{
    struct cpu *cpu = cpu_cpu(self);
    multiplier_close(&cpu->multiplier);
    team_close(&cpu->team);
    free(cpu->scratch);
    free(cpu);
}

static bool cpu_check(struct backend *self, struct err *err)
{
    struct cpu *cpu = cpu_cpu(self);
    if (!cpu->failed)
        return true;
    cpu->failed = false;
    return err_set(err, cpu->failure.code, "%s", cpu->failure.text);
}

static bool cpu_failing(const struct backend *self)
{
    return ((const struct cpu *)self)->failed;
}

/* ---- memory ---- */

/* Arenas of parameters, gradients and moments are read from end to end: large pages, where the system gives them,
 * save a page-table walk every 4 KiB. */
static void *cpu_alloc(struct backend *self, size_t bytes, struct err *err)
{
    (void)self;
    size_t unit = bytes < LARGE ? CACHE_LINE : LARGE_PAGE, rounded = (bytes + unit - 1) / unit * unit;
    void *memory = rounded >= bytes ? aligned_alloc(unit, rounded > 0 ? rounded : unit) : NULL;
    if (memory == NULL) {
        err_set(err, ERR_MEMORY, "no memory for %zu bytes", bytes);
        return NULL;
    }
    if (unit == LARGE_PAGE)
        madvise(memory, rounded, MADV_HUGEPAGE);
    return memset(memory, 0, rounded);
}

static void cpu_free(struct backend *self, void *memory)
{
    (void)self;
    free(memory);
}

static void cpu_copy(struct backend *self, void *to, const void *from, size_t bytes)
{
    (void)self;
    if (bytes > 0)
        memcpy(to, from, bytes);
}

static void cpu_zero(struct backend *self, void *memory, size_t bytes)
{
    (void)self;
    if (bytes > 0)
        memset(memory, 0, bytes);
}

static void cpu_download_begin(struct backend *self, int ticket, void *to, const void *from, size_t bytes)
{
    (void)ticket;
    cpu_copy(self, to, from, bytes);
}

static bool cpu_download_end(struct backend *self, int ticket, struct err *err)
{
    (void)ticket;
    return cpu_check(self, err);
}

/* ---- the table ---- */

static void cpu_gemm(struct backend *self, const struct gemm *gemm)
{
    struct cpu *cpu = cpu_cpu(self);
    struct err err;
    if (!cpu->failed && !multiplier_run(cpu->multiplier, gemm, &err))
        cpu_fail(cpu, &err);
}

static struct prepacked *cpu_prepack(struct backend *self, const float *b, int N, int K, bool transposed,
                                     struct err *err)
{
    return multiplier_keep(cpu_cpu(self)->multiplier, b, N, K, transposed, err);
}

static void cpu_prepack_free(struct backend *self, struct prepacked *prepacked)
{
    (void)self;
    prepacked_destroy(&prepacked);
}

/* ---- measurements ---- */

static struct matmul *cpu_matmul_open(struct backend *self, const struct gemm *gemm, bool prepacked, struct err *err)
{
    const struct cpu *cpu = cpu_cpu(self);
    return matmul_open(team_threads(cpu->team), cpu->precision, gemm, prepacked, err);
}

static bool cpu_count_sharing(struct backend *self, struct sharing *sharing, struct err *err)
{
    return team_count_sharing(cpu_cpu(self)->team, sharing, err);
}

/* Wait until every thread is here: an empty job would be over before the first thread is awake. */
static void cpu_meet(void *context, int thread, int part, int parts)
{
    atomic_int *here = context;
    (void)thread, (void)part;
    atomic_fetch_add_explicit(here, 1, memory_order_relaxed);
    while (atomic_load_explicit(here, memory_order_relaxed) < parts)
        sched_yield();
}

static void cpu_call_all(struct backend *self)
{
    struct team *team = cpu_cpu(self)->team;
    atomic_int here = 0;
    team_run(team, team_threads(team), team_threads(team), cpu_meet, &here);
}

static const struct decode_table cpu_decode_table = {
    .inputs_open = cpu_inputs_open,
    .inputs_close = cpu_inputs_close,
    .inputs_rows = cpu_inputs_rows,
    .single_open = cpu_single_open,
    .single_close = cpu_single_close,
    .single_run = cpu_single_run,
    .projection_open = cpu_projection_open,
    .projection_close = cpu_projection_close,
    .projection_bytes = cpu_projection_bytes,
    .projection_argmax = cpu_projection_argmax,
};

static const struct measure_table cpu_measure_table = {
    .sweep = cpu_sweep,
    .matmul_open = cpu_matmul_open,
    .matmul_run = matmul_run,
    .matmul_close = matmul_close,
    .count_sharing = cpu_count_sharing,
    .call_all = cpu_call_all,
};

static const struct backend_table cpu_table = {
    .name = "cpu",
    .version = cpu_version,
    .isa = cpu_isa,
    .arithmetic = cpu_arithmetic,
    .threads = cpu_count_threads,
    .take_over = cpu_take_over,
    .close = cpu_close,
    .check = cpu_check,
    .failing = cpu_failing,
    .host = true,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .zero = cpu_zero,
    .download_begin = cpu_download_begin,
    .download_end = cpu_download_end,
    .gemm = cpu_gemm,
    .prepack = cpu_prepack,
    .prepack_free = cpu_prepack_free,
    .gather = cpu_gather,
    .scatter_add = cpu_scatter_add,
    .zero_rows = cpu_zero_rows,
    .segment_sum = cpu_segment_sum,
    .column_sum = cpu_column_sum,
    .recurrent_forward = cpu_recurrent_forward,
    .recurrent_backward = cpu_recurrent_backward,
    .cross_entropy = cpu_cross_entropy,
    .argmax = cpu_argmax,
    .score = cpu_score,
    .quantise = cpu_quantise,
    .dequantise = cpu_dequantise,
    .clip = cpu_clip,
    .sgd = cpu_sgd,
    .adam = cpu_adam,
    .hash = cpu_hash,
    .decode = &cpu_decode_table,
    .measure = &cpu_measure_table,
};

struct backend *cpu_open(int threads, enum precision precision, struct err *err)
{
    const struct vector_table *vector = vector_best(err);
    if (vector == NULL)
        return NULL;
    if (precision == PRECISION_BF16 && !panels_have_bf16()) {
        err_set(err, ERR_USAGE,
                "train.precision bf16 wants a processor with AVX512_BF16 or AMX; oneDNN finds %s: use fp32",
                panels_isa());
        return NULL;
    }
    struct cpu *cpu = calloc(1, sizeof *cpu);
    if (cpu == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the CPU backend");
        return NULL;
    }
    cpu->backend.op = &cpu_table;
    cpu->vector = vector;
    cpu->precision = precision;
    cpu->fma = precision == PRECISION_FP32 ? fma_table(vector->isa) : NULL;
    panels_version(cpu->version, sizeof cpu->version);
    cpu_name_arithmetic(cpu);
    cpu->team = team_open(threads > 0 ? threads : team_cores(), panels_single_thread, err);
    cpu->multiplier = cpu->team != NULL ? multiplier_open(cpu->team, precision, vector, err) : NULL;
    if (cpu->multiplier == NULL) {
        team_close(&cpu->team);
        free(cpu);
        return NULL;
    }
    return &cpu->backend;
}

void cpu_describe(char *text, size_t size)
{
    char version[64];
    struct err err;
    const struct vector_table *vector = vector_best(&err);
    panels_version(version, sizeof version);
    snprintf(text, size, "%s, %s; vector %s", version, panels_isa(), vector != NULL ? vector->isa : "none");
}
