/* elements.c - the operations of the CPU backend on arrays whose elements do not depend on each other: each is a struct
 * of its arguments, a function that computes a slice of it, and the call that cuts it. See backend.h for what they
 * mean. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Slices begin at multiples of it, so that an element has the same place in a vector register on any number of
 * threads. */
enum { GRAIN = 1024 };

/* Elements whose sums are set to zero, and are still in the first-level cache when they are added to. */
enum { QUANTISE_BLOCK = 2048 };

struct quantise_run {
    const struct quantise *of;
    _Atomic size_t bad; /* the first bad element */
};

/* How many of `count` elements from `at` on were added before a bad one. */
static size_t elements_quantise_block(const struct cpu *cpu, const struct quantise *of, size_t at, size_t count)
{
    size_t good = count;
    if (!of->accumulate)
        memset(of->sum + at, 0, count * sizeof *of->sum);
    good = cpu->vector->quantise(good, of->x + at, of->below, of->sum + at);
    return of->y == NULL ? good : cpu->vector->quantise(good, of->y + at, of->below, of->sum + at);
}

static void elements_quantise_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    struct quantise_run *run = arguments;
    size_t at = s.first, end = s.first + s.count, bad = run->bad;
    for (size_t next = at; at == next && at < end;) {
        size_t count = end - at < QUANTISE_BLOCK ? end - at : QUANTISE_BLOCK;
        next = at + count;
        at += elements_quantise_block(cpu, run->of, at, count);
    }
    while (at < end && at < bad && !atomic_compare_exchange_weak(&run->bad, &bad, at))
        ;
}

void cpu_quantise(struct backend *self, const struct quantise *quantise, struct outcome *outcome,
                  struct figures *figures)
{
    struct quantise_run run = {.of = quantise, .bad = quantise->count};
    size_t bad;
    cpu_cut((struct cpu *)self, quantise->count, GRAIN, quantise->count, elements_quantise_part, &run);
    bad = run.bad;
    if (bad == quantise->count)
        return;
    figures->loss_sum = (double)NAN;
    if ((outcome->bad & OUTCOME_ELEMENT) != 0)
        return;
    bool second = quantise->y != NULL && fabsf(quantise->x[bad]) < quantise->below;
    outcome->value = second ? quantise->y[bad] : quantise->x[bad];
    outcome->element = quantise->first + bad;
    outcome->bad |= OUTCOME_ELEMENT;
}

struct dequantise {
    const int64_t *sum;
    float *x;
};

static void elements_dequantise_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct dequantise *a = arguments;
    cpu->vector->dequantise(s.count, a->sum + s.first, a->x + s.first);
}

void cpu_dequantise(struct backend *self, const int64_t *sum, size_t count, float *x)
{
    struct dequantise a = {sum, x};
    cpu_cut((struct cpu *)self, count, GRAIN, count, elements_dequantise_part, &a);
}

struct hash {
    const float *x;
    size_t count;
    uint64_t *hashes;
};

static uint64_t elements_hash_block(const float *x, size_t count)
{
    const uint32_t step = 0x9e3779b1u;
    uint32_t key = 0x85ebca77u, u[2];
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < count; i += 2, key += 2 * step) {
        memcpy(u, x + i, sizeof u);
        sum += (uint64_t)(u[0] + key) * (u[1] + key + step);
    }
    if (count % 2 != 0) {
        memcpy(u, x + count - 1, sizeof *u);
        sum += (uint64_t)(u[0] + key) * (key + step);
    }
    return sum;
}

static void elements_hash_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct hash *a = arguments;
    (void)cpu;
    for (size_t b = s.first; b < s.first + s.count; b++) {
        size_t first = b * HASH_BLOCK, rest = a->count - first;
        a->hashes[b] = elements_hash_block(a->x + first, rest < HASH_BLOCK ? rest : HASH_BLOCK);
    }
}

void cpu_hash(struct backend *self, const float *x, size_t count, uint64_t *hashes)
{
    struct hash a = {x, count, hashes};
    cpu_cut((struct cpu *)self, (count + HASH_BLOCK - 1) / HASH_BLOCK, 1, count, elements_hash_part, &a);
}
