/* rows.c - the operations of the CPU backend on the rows and columns of a matrix: each is a struct of its arguments, a
 * function that computes a slice of it, and the call that cuts it. See backend.h for what they mean. */
#include "kernels/cpu/cpu.h"

#include <string.h>

/* SUM_COLUMNS: columns of a slice, in column_sum and segment_sum. SUM_ROWS: rows of a block of column_sum. */
enum { SUM_COLUMNS = 128, SUM_ROWS = 64 };

static void rows_by_rows(struct backend *self, int rows, int width, cpu_part *part, void *arguments)
{
    cpu_cut((struct cpu *)self, (size_t)rows, 1, (size_t)rows * (size_t)width, part, arguments);
}

static void rows_by_columns(struct backend *self, int rows, int width, cpu_part *part, void *arguments)
{
    cpu_cut((struct cpu *)self, (size_t)width, SUM_COLUMNS, (size_t)rows * (size_t)width, part, arguments);
}

struct gather {
    const float *table;
    const int32_t *index;
    size_t width;
    float *out;
};

static void rows_gather_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct gather *a = arguments;
    (void)cpu;
    for (size_t r = s.first; r < s.first + s.count; r++)
        memcpy(a->out + r * a->width, a->table + (size_t)a->index[r] * a->width, a->width * sizeof *a->out);
}

void cpu_gather(struct backend *self, const float *table, const int32_t *index, int count, int width, float *out)
{
    struct gather a = {table, index, (size_t)width, out};
    rows_by_rows(self, count, width, rows_gather_part, &a);
}

struct scatter {
    const float *rows;
    const int32_t *index;
    size_t width;
    float *table;
};

static void rows_scatter_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct scatter *a = arguments;
    for (size_t r = s.first; r < s.first + s.count; r++)
        cpu->vector->add(a->width, a->table + (size_t)a->index[r] * a->width, a->rows + r * a->width);
}

void cpu_scatter_add(struct backend *self, const float *rows, const int32_t *index, int count, int width, float *table)
{
    struct scatter a = {rows, index, (size_t)width, table};
    rows_by_rows(self, count, width, rows_scatter_part, &a);
}

static void rows_zero_rows_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct scatter *a = arguments;
    (void)cpu;
    for (size_t r = s.first; r < s.first + s.count; r++)
        memset(a->table + (size_t)a->index[r] * a->width, 0, a->width * sizeof *a->table);
}

void cpu_zero_rows(struct backend *self, const int32_t *index, int count, int width, float *table)
{
    struct scatter a = {.index = index, .width = (size_t)width, .table = table};
    rows_by_rows(self, count, width, rows_zero_rows_part, &a);
}

struct segment_sum {
    const float *rows;
    const struct segments *segments;
    size_t width;
    float *out;
};

/* A slice is some columns, so that each sum runs over n in order. */
static void rows_segment_sum_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct segment_sum *a = arguments;
    const struct segments *segments = a->segments;
    for (int u = 0; u < segments->U; u++) {
        float *sum = a->out + (size_t)u * a->width + s.first;
        memset(sum, 0, s.count * sizeof *sum);
        for (int32_t i = segments->first[u]; i < segments->first[u + 1]; i++)
            cpu->vector->add(s.count, sum, a->rows + (size_t)segments->index[i] * a->width + s.first);
    }
}

void cpu_segment_sum(struct backend *self, const float *rows, const struct segments *segments, int width, float *out)
{
    struct segment_sum a = {rows, segments, (size_t)width, out};
    rows_by_columns(self, segments->N, width, rows_segment_sum_part, &a);
}

static void rows_column_block(const struct cpu *cpu, const float *rows, size_t count, size_t width, size_t columns,
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

struct column_sum {
    const float *rows;
    size_t count, width;
    bool accumulate;
    float *out;
};

static void rows_column_sum_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct column_sum *a = arguments;
    for (size_t at = s.first; at < s.first + s.count; at += SUM_COLUMNS) {
        size_t columns = at + SUM_COLUMNS < a->width ? SUM_COLUMNS : a->width - at;
        if (!a->accumulate)
            memset(a->out + at, 0, columns * sizeof *a->out);
        rows_column_block(cpu, a->rows + at, a->count, a->width, columns, a->out + at);
    }
}

void cpu_column_sum(struct backend *self, const float *rows, int count, int width, bool accumulate, float *out)
{
    struct column_sum a = {rows, (size_t)count, (size_t)width, accumulate, out};
    rows_by_columns(self, count, width, rows_column_sum_part, &a);
}

struct cross_entropy {
    float *logits;
    const int32_t *target;
    int V;
    bool gradient;
    float *loss;
    int32_t *predicted;
};

static void rows_cross_entropy_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct cross_entropy *a = arguments;
    cpu->vector->cross_entropy((int)s.count, a->V, a->logits + s.first * (size_t)a->V, a->target + s.first, a->gradient,
                               a->loss != NULL ? a->loss + s.first : NULL,
                               a->predicted != NULL ? a->predicted + s.first : NULL);
}

void cpu_cross_entropy(struct backend *self, float *logits, const int32_t *target, int N, int V, bool gradient,
                       float *loss, int32_t *predicted)
{
    struct cross_entropy a = {logits, target, V, gradient, loss, predicted};
    rows_by_rows(self, N, V, rows_cross_entropy_part, &a);
}

struct argmax {
    const float *logits;
    int V;
    int32_t *index;
};

static void rows_argmax_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct argmax *a = arguments;
    cpu->vector->argmax((int)s.count, a->V, a->logits + s.first * (size_t)a->V, a->index + s.first);
}

void cpu_argmax(struct backend *self, const float *logits, int N, int V, int32_t *index)
{
    struct argmax a = {logits, V, index};
    rows_by_rows(self, N, V, rows_argmax_part, &a);
}
