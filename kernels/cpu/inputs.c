/* inputs.c - the input's part of the gates, kept for tokens seen before.
 *
 * A token's W_ih x + b depends on the token alone. A row is computed when its token first occurs, and kept until there
 * is no space for the rows of one more call; then all are dropped. Frequent words are soon all there. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of rows to keep, unless one call needs more. */
static const size_t KEPT_BYTES = 16u << 20;

struct inputs {
    struct inputs_of of;
    int32_t *row_of; /* [V] row + 1, or 0 */
    float *rows;     /* [capacity, G]     */
    int capacity, used;
    /* Tokens that are new to a call, and their embeddings. */
    int32_t *fresh; /* [fresh_capacity]    */
    float *x;       /* [fresh_capacity, E] */
    int fresh_capacity;
};

static size_t inputs_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct inputs *cpu_inputs_open(struct backend *self, const struct inputs_of *of, struct err *err)
{
    struct inputs *inputs = calloc(1, sizeof *inputs);
    size_t row = (size_t)of->G * sizeof(float), rows = inputs_least((size_t)of->V, KEPT_BYTES / row + 1);
    if (inputs != NULL) {
        inputs->of = *of;
        inputs->capacity = (int)rows;
        inputs->row_of = calloc((size_t)of->V, sizeof *inputs->row_of);
        /* The system gives the pages at their first use. */
        inputs->rows = aligned_alloc(64, (rows * row + 63) / 64 * 64);
    }
    if (inputs == NULL || inputs->row_of == NULL || inputs->rows == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the inputs of %d tokens", of->V);
        cpu_inputs_close(self, inputs);
        return NULL;
    }
    return inputs;
}

void cpu_inputs_close(struct backend *self, struct inputs *inputs)
{
    (void)self;
    if (inputs != NULL) {
        free(inputs->row_of);
        free(inputs->rows);
        free(inputs->x);
        free(inputs->fresh);
    }
    free(inputs);
}

static bool inputs_drop(struct inputs *inputs, int count)
{
    memset(inputs->row_of, 0, (size_t)inputs->of.V * sizeof *inputs->row_of);
    inputs->used = 0;
    if (count <= inputs->capacity)
        return true;
    free(inputs->rows);
    inputs->rows = aligned_alloc(64, ((size_t)count * (size_t)inputs->of.G * sizeof(float) + 63) / 64 * 64);
    inputs->capacity = inputs->rows != NULL ? count : 0;
    return inputs->rows != NULL;
}

static bool inputs_reserve_fresh(struct inputs *inputs, int count)
{
    if (count <= inputs->fresh_capacity)
        return true;
    free(inputs->x);
    free(inputs->fresh);
    inputs->x = malloc((size_t)count * (size_t)inputs->of.E * sizeof *inputs->x);
    inputs->fresh = malloc((size_t)count * sizeof *inputs->fresh);
    inputs->fresh_capacity = inputs->x != NULL && inputs->fresh != NULL ? count : 0;
    return inputs->fresh_capacity > 0;
}

/* Space for the new tokens of a call; a token that occurs twice is counted twice. */
static bool inputs_make_space(struct inputs *inputs, const int32_t *token, int count)
{
    int fresh = 0;
    for (int n = 0; n < count; n++)
        fresh += inputs->row_of[token[n]] == 0;
    return (fresh <= inputs->capacity - inputs->used || inputs_drop(inputs, count)) &&
           inputs_reserve_fresh(inputs, count);
}

/* Compute the rows of the new tokens, in one GEMM. */
static bool inputs_compute(struct cpu *cpu, struct inputs *inputs, const int32_t *token, int count, struct err *err)
{
    const struct inputs_of *of = &inputs->of;
    int fresh = 0;
    for (int n = 0; n < count; n++)
        if (inputs->row_of[token[n]] == 0) {
            inputs->fresh[fresh++] = token[n];
            inputs->row_of[token[n]] = inputs->used + fresh;
        }
    if (fresh == 0)
        return true;
    cpu_gather(&cpu->backend, of->embedding, inputs->fresh, fresh, of->E, inputs->x);
    const struct gemm gemm = {.M = fresh,
                              .N = of->G,
                              .K = of->E,
                              .a = inputs->x,
                              .b = of->w_ih,
                              .bias = of->bias,
                              .c = inputs->rows + (size_t)inputs->used * (size_t)of->G,
                              .transpose_b = true,
                              .prepacked = of->prepacked};
    inputs->used += fresh;
    return multiplier_run(cpu->multiplier, &gemm, err);
}

const float *cpu_inputs_rows(struct backend *self, struct inputs *inputs, const int32_t *token, int count,
                             int32_t *slot)
{
    struct cpu *cpu = (struct cpu *)self;
    struct err err;
    if (cpu->failed)
        return NULL;
    bool ok = inputs_make_space(inputs, token, count);
    if (!ok)
        err_set(&err, ERR_MEMORY, "no memory for the inputs of %d tokens", count);
    if (!ok || !inputs_compute(cpu, inputs, token, count, &err)) {
        cpu_fail(cpu, &err);
        return NULL;
    }
    for (int n = 0; n < count; n++)
        slot[n] = inputs->row_of[token[n]] - 1;
    return inputs->rows;
}
