/* cpu.c - the CPU backend: memory, failures, and the element-wise operations, cut over threads.
 *
 * The work of an operation is cut into rows or into fixed blocks of elements, and vector.h computes each; a cut never
 * changes what is added to what, so any number of threads gives the same bits. */
#include "kernels/cpu/cpu.h"

#include "kernels/cpu/panel.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Elements: a thread's part begins at a multiple of GRAIN, so that an element has the same place in a vector register
 * on any number of threads, and is at least WORTH long, below which waking a thread costs more than it gains. */
enum { GRAIN = 1024, WORTH = 16 * 1024 };

/* sum_squares: the block that backend.h fixes. column_sum: columns that go together, and rows that are summed first. */
enum { SQUARES_BLOCK = 64 * 1024, SUM_COLUMNS = 128, SUM_ROWS = 64 };

static struct cpu *s_cpu(struct backend *backend)
{
    return (struct cpu *)backend;
}

struct slice cpu_slice(size_t count, size_t grain)
{
    size_t blocks = (count + grain - 1) / grain;
    size_t part = (size_t)omp_get_thread_num(), parts = (size_t)omp_get_num_threads();
    size_t first = blocks * part / parts * grain, last = blocks * (part + 1) / parts * grain;
    if (first > count)
        first = count;
    if (last > count)
        last = count;
    return (struct slice){first, last - first};
}

int cpu_threads_for(const struct cpu *cpu, size_t count, size_t grain)
{
    size_t most = count / (grain > 0 ? grain : 1);
    return most < 2 ? 1 : most < (size_t)cpu->threads ? (int)most : cpu->threads;
}

/* Threads for `rows` rows of `width` elements. */
static int s_threads_for_rows(const struct cpu *cpu, int rows, int width)
{
    int threads = cpu_threads_for(cpu, (size_t)rows * (size_t)width, WORTH);
    return threads < rows ? threads : rows > 1 ? rows : 1;
}

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

static const char *s_version(const struct backend *self)
{
    return ((const struct cpu *)self)->version;
}

static const char *s_isa(const struct backend *self)
{
    (void)self;
    return panels_isa();
}

static int s_threads(const struct backend *self)
{
    return ((const struct cpu *)self)->threads;
}

static void s_close(struct backend *self)
{
    struct cpu *cpu = s_cpu(self);
    multiplier_close(&cpu->multiplier);
    free(cpu->scratch);
    free(cpu);
}

static bool s_check(struct backend *self, struct err *err)
{
    struct cpu *cpu = s_cpu(self);
    if (!cpu->failed)
        return true;
    cpu->failed = false;
    return err_set(err, cpu->failure.code, "%s", cpu->failure.text);
}

/* ---- memory ---- */

static void *s_alloc(struct backend *self, size_t bytes, struct err *err)
{
    (void)self;
    size_t rounded = (bytes + 63) / 64 * 64;
    void *memory = rounded >= bytes ? aligned_alloc(64, rounded > 0 ? rounded : 64) : NULL;
    if (memory == NULL) {
        err_set(err, ERR_MEMORY, "no memory for %zu bytes", bytes);
        return NULL;
    }
    return memset(memory, 0, rounded);
}

static void s_free(struct backend *self, void *memory)
{
    (void)self;
    free(memory);
}

static void s_copy(struct backend *self, void *to, const void *from, size_t bytes)
{
    (void)self;
    if (bytes > 0)
        memcpy(to, from, bytes);
}

static void s_zero(struct backend *self, void *memory, size_t bytes)
{
    (void)self;
    if (bytes > 0)
        memset(memory, 0, bytes);
}

/* ---- rows ---- */

void cpu_gemm(struct backend *self, const struct gemm *gemm)
{
    struct cpu *cpu = s_cpu(self);
    struct err err;
    if (!cpu->failed && !multiplier_run(cpu->multiplier, gemm, &err))
        cpu_fail(cpu, &err);
}

static struct packed *s_pack(struct backend *self, const float *b, int N, int K, bool transposed, struct err *err)
{
    return multiplier_keep(s_cpu(self)->multiplier, b, N, K, transposed, err);
}

static void s_unpack(struct backend *self, struct packed *packed)
{
    (void)self;
    packed_destroy(&packed);
}

static void s_gather(struct backend *self, const float *table, const int32_t *index, int count, int width, float *out)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel for schedule(static) num_threads(s_threads_for_rows(cpu, count, width))
    for (int r = 0; r < count; r++)
        memcpy(out + (size_t)r * (size_t)width, table + (size_t)index[r] * (size_t)width, (size_t)width * sizeof *out);
}

static void s_scatter_add(struct backend *self, const float *rows, const int32_t *index, int count, int width,
                          float *table)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel for schedule(static) num_threads(s_threads_for_rows(cpu, count, width))
    for (int r = 0; r < count; r++)
        cpu->vector->add((size_t)width, table + (size_t)index[r] * (size_t)width, rows + (size_t)r * (size_t)width);
}

/* Cut by columns, so that each sum runs over n in order. */
static void s_fold(struct backend *self, const float *rows, const int32_t *slot, int N, int U, int width, float *out)
{
    struct cpu *cpu = s_cpu(self);
    size_t W = (size_t)width;
    int blocks = (width + SUM_COLUMNS - 1) / SUM_COLUMNS;
    int threads = cpu_threads_for(cpu, (size_t)N * W, WORTH);
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(threads < blocks || blocks == 0 ? threads : blocks)
    {
        struct slice s = cpu_slice(W, SUM_COLUMNS);
        for (size_t u = 0; u < (size_t)U && s.count > 0; u++)
            memset(out + u * W + s.first, 0, s.count * sizeof *out);
        for (size_t n = 0; n < (size_t)N && s.count > 0; n++)
            cpu->vector->add(s.count, out + (size_t)slot[n] * W + s.first, rows + n * W + s.first);
    }
}

static void s_column_block(const struct cpu *cpu, const float *rows, size_t count, size_t width, size_t columns,
                           float *out)
{
    float partial[SUM_COLUMNS];
    for (size_t first = 0; first < count; first += SUM_ROWS) {
        size_t last = first + SUM_ROWS < count ? first + SUM_ROWS : count;
        memset(partial, 0, columns * sizeof *partial);
        for (size_t r = first; r < last; r++)
            cpu->vector->add(columns, partial, rows + r * width);
        cpu->vector->add(columns, out, partial);
    }
}

static void s_column_sum(struct backend *self, const float *rows, int count, int width, bool accumulate, float *out)
{
    struct cpu *cpu = s_cpu(self);
    size_t W = (size_t)width;
    if (cpu->failed)
        return;
#pragma omp parallel for schedule(static) num_threads(cpu_threads_for(cpu, (size_t)count *W, WORTH))
    for (size_t first = 0; first < W; first += SUM_COLUMNS) {
        size_t columns = first + SUM_COLUMNS < W ? SUM_COLUMNS : W - first;
        if (!accumulate)
            memset(out + first, 0, columns * sizeof *out);
        s_column_block(cpu, rows + first, (size_t)count, W, columns, out + first);
    }
}

static void s_cross_entropy(struct backend *self, float *logits, const int32_t *target, int N, int V, bool gradient,
                            float *loss, int32_t *predicted)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(s_threads_for_rows(cpu, N, V))
    {
        struct slice s = cpu_slice((size_t)N, 1);
        cpu->vector->cross_entropy((int)s.count, V, logits + s.first * (size_t)V, target + s.first, gradient,
                                   loss != NULL ? loss + s.first : NULL,
                                   predicted != NULL ? predicted + s.first : NULL);
    }
}

static void s_argmax(struct backend *self, const float *logits, int N, int V, int32_t *index)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(s_threads_for_rows(cpu, N, V))
    {
        struct slice s = cpu_slice((size_t)N, 1);
        cpu->vector->argmax((int)s.count, V, logits + s.first * (size_t)V, index + s.first);
    }
}

/* Insertion into the k best so far; almost every logit loses its first comparison. */
static void s_top_k_row(const float *logits, int V, int k, float *values, int32_t *index)
{
    int held = 0;
    for (int v = 0; v < V; v++) {
        if (held == k && !(logits[v] > values[k - 1]))
            continue;
        int at = held < k ? held++ : k - 1;
        for (; at > 0 && logits[v] > values[at - 1]; at--) {
            values[at] = values[at - 1];
            index[at] = index[at - 1];
        }
        values[at] = logits[v];
        index[at] = v;
    }
}

static void s_top_k(struct backend *self, const float *logits, int N, int V, int k, float *values, int32_t *index)
{
    struct cpu *cpu = s_cpu(self);
    struct err err;
    if (cpu->failed)
        return;
    if (k < 1 || k > V) {
        err_set(&err, ERR_USAGE, "top_k: k is %d of %d", k, V);
        cpu_fail(cpu, &err);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(s_threads_for_rows(cpu, N, V))
    for (int n = 0; n < N; n++)
        s_top_k_row(logits + (size_t)n * (size_t)V, V, k, values + (size_t)n * (size_t)k,
                    index + (size_t)n * (size_t)k);
}

/* ---- elements ---- */

static void s_sigmoid(struct backend *self, float *x, size_t count)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(cpu_threads_for(cpu, count, WORTH))
    {
        struct slice s = cpu_slice(count, GRAIN);
        cpu->vector->sigmoid(s.count, x + s.first);
    }
}

static void s_sigmoid_backward(struct backend *self, const float *y, float *dy, size_t count)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(cpu_threads_for(cpu, count, WORTH))
    {
        struct slice s = cpu_slice(count, GRAIN);
        cpu->vector->sigmoid_backward(s.count, y + s.first, dy + s.first);
    }
}

static double s_sum_squares(struct backend *self, const float *x, size_t count)
{
    struct cpu *cpu = s_cpu(self);
    size_t blocks = (count + SQUARES_BLOCK - 1) / SQUARES_BLOCK;
    double *partial = !cpu->failed && blocks > 0 ? cpu_scratch(cpu, blocks * sizeof *partial) : NULL;
    double sum = 0.0;
    if (partial == NULL)
        return 0.0;
#pragma omp parallel for schedule(static) num_threads(cpu_threads_for(cpu, blocks, 1))
    for (size_t b = 0; b < blocks; b++) {
        size_t first = b * SQUARES_BLOCK;
        partial[b] = cpu->vector->sum_squares(count - first < SQUARES_BLOCK ? count - first : SQUARES_BLOCK, x + first);
    }
    for (size_t b = 0; b < blocks; b++)
        sum += partial[b];
    return sum;
}

/* One chain of additions a lane, so that no other order can give these bits. */
static float s_norm_float(const float *x, size_t count, float scale)
{
    typedef float lanes __attribute__((vector_size(32)));
    enum { LANES = sizeof(lanes) / sizeof(float) };
    lanes sum = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes next;
        memcpy(&next, x + i, sizeof next);
        next *= scale;
        sum += next * next;
    }
    float total = sum[0];
    for (int lane = 1; lane < LANES; lane++)
        total += sum[lane];
    for (; i < count; i++)
        total += (scale * x[i]) * (scale * x[i]);
    return sqrtf(total);
}

static void s_norms_float(struct backend *self, const float *const *x, const size_t *sizes, int count, float scale,
                          float *norms)
{
    struct cpu *cpu = s_cpu(self);
    size_t elements = 0;
    for (int i = 0; i < count; i++) {
        norms[i] = 0;
        elements += sizes[i];
    }
    if (cpu->failed)
        return;
        /* From the last: a model's largest tensor stands there, and the others fill the time it takes. */
#pragma omp parallel for schedule(dynamic, 1) num_threads(cpu_threads_for(cpu, elements, WORTH))
    for (int i = count - 1; i >= 0; i--)
        norms[i] = s_norm_float(x[i], sizes[i], scale);
}

static void s_sgd(struct backend *self, float *p, const float *g, size_t count, float scale, float lr, float decay)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(cpu_threads_for(cpu, count, WORTH))
    {
        struct slice s = cpu_slice(count, GRAIN);
        cpu->vector->sgd(s.count, p + s.first, g + s.first, scale, lr, decay);
    }
}

static void s_adam(struct backend *self, float *p, const float *g, float *m, float *v, size_t count, float scale,
                   const struct adam *adam)
{
    struct cpu *cpu = s_cpu(self);
    float step = (float)((double)adam->lr / (1.0 - pow((double)adam->beta1, (double)adam->t)));
    float root = (float)(1.0 / sqrt(1.0 - pow((double)adam->beta2, (double)adam->t)));
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(cpu_threads_for(cpu, count, WORTH))
    {
        struct slice s = cpu_slice(count, GRAIN);
        cpu->vector->adam(s.count, p + s.first, g + s.first, m + s.first, v + s.first, scale, adam, step, root);
    }
}

static void s_quantise(struct backend *self, const float *x, size_t count, int64_t *sum)
{
    struct cpu *cpu = s_cpu(self);
    size_t bad = count;
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(cpu_threads_for(cpu, count, WORTH)) reduction(min : bad)
    {
        struct slice s = cpu_slice(count, GRAIN);
        size_t at = cpu->vector->quantise(s.count, x + s.first, sum + s.first);
        if (at < s.count)
            bad = s.first + at;
    }
    if (bad < count) {
        struct err err;
        err_set(&err, ERR_FAILED, "element %zu is %g: exact sums take finite values below 2^22", bad, (double)x[bad]);
        cpu_fail(cpu, &err);
    }
}

static void s_dequantise(struct backend *self, const int64_t *sum, size_t count, float *x)
{
    struct cpu *cpu = s_cpu(self);
    if (cpu->failed)
        return;
#pragma omp parallel num_threads(cpu_threads_for(cpu, count, WORTH))
    {
        struct slice s = cpu_slice(count, GRAIN);
        cpu->vector->dequantise(s.count, sum + s.first, x + s.first);
    }
}

/* ---- the table ---- */

static const struct backend_table s_table = {
    .name = "cpu",
    .version = s_version,
    .isa = s_isa,
    .threads = s_threads,
    .close = s_close,
    .check = s_check,
    .alloc = s_alloc,
    .free = s_free,
    .upload = s_copy,
    .download = s_copy,
    .zero = s_zero,
    .gemm = cpu_gemm,
    .pack = s_pack,
    .unpack = s_unpack,
    .gather = s_gather,
    .scatter_add = s_scatter_add,
    .fold = s_fold,
    .column_sum = s_column_sum,
    .recurrent_forward = cpu_recurrent_forward,
    .recurrent_backward = cpu_recurrent_backward,
    .cross_entropy = s_cross_entropy,
    .argmax = s_argmax,
    .top_k = s_top_k,
    .sigmoid = s_sigmoid,
    .sigmoid_backward = s_sigmoid_backward,
    .sum_squares = s_sum_squares,
    .norms_float = s_norms_float,
    .sgd = s_sgd,
    .adam = s_adam,
    .quantise = s_quantise,
    .dequantise = s_dequantise,
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
    cpu->backend.op = &s_table;
    cpu->threads = threads > 0 ? threads : omp_get_num_procs();
    cpu->vector = vector;
    panels_version(cpu->version, sizeof cpu->version);
    cpu->multiplier = multiplier_open(cpu->threads, precision, vector, err);
    if (cpu->multiplier == NULL) {
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
