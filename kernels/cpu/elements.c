/* elements.c - the operations of the CPU backend on arrays whose elements stand alone, and sums over them: each is a
 * struct of its arguments, a function that computes a slice of it, and the call that cuts it. See backend.h for what
 * they mean. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* An operation's slices begin at multiples of it, so that an element has the same place in a vector register on any
 * number of threads. */
enum { GRAIN = 1024 };

/* sum_squares: the block that backend.h fixes. */
enum { SQUARES_BLOCK = 64 * 1024 };

static void elements_by_elements(struct backend *self, size_t count, cpu_part *part, void *arguments)
{
    cpu_cut((struct cpu *)self, count, GRAIN, count, part, arguments);
}

struct squares {
    const float *x;
    size_t count;
    double *partial; /* of each block */
};

static void elements_squares_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct squares *a = arguments;
    for (size_t b = s.first; b < s.first + s.count; b++) {
        size_t first = b * SQUARES_BLOCK, rest = a->count - first;
        a->partial[b] = cpu->vector->sum_squares(rest < SQUARES_BLOCK ? rest : SQUARES_BLOCK, a->x + first);
    }
}

double cpu_sum_squares(struct backend *self, const float *x, size_t count)
{
    struct cpu *cpu = (struct cpu *)self;
    size_t blocks = (count + SQUARES_BLOCK - 1) / SQUARES_BLOCK;
    double *partial = !cpu->failed && blocks > 0 ? cpu_scratch(cpu, blocks * sizeof *partial) : NULL;
    struct squares a = {x, count, partial};
    double sum = 0.0;
    if (partial == NULL)
        return 0.0;
    cpu_cut(cpu, blocks, 1, count, elements_squares_part, &a);
    for (size_t b = 0; b < blocks; b++)
        sum += partial[b];
    return sum;
}

struct norms {
    const struct cpu *cpu;
    const float *const *x;
    const size_t *sizes;
    float scale;
    float *norms;
};

/* From the last: a model's largest tensor stands there, and the others fill the time it takes. */
static void elements_norms_part(void *context, int thread, int part, int parts)
{
    const struct norms *a = context;
    int i = parts - 1 - part;
    (void)thread;
    a->norms[i] = sqrtf(a->cpu->vector->sum_squares_float(a->sizes[i], a->x[i], a->scale));
}

void cpu_norms_float(struct backend *self, const float *const *x, const size_t *sizes, int count, float scale,
                     float *norms)
{
    struct cpu *cpu = (struct cpu *)self;
    struct norms a = {.cpu = cpu, .x = x, .sizes = sizes, .scale = scale, .norms = norms};
    size_t elements = 0;
    for (int i = 0; i < count; i++) {
        norms[i] = 0;
        elements += sizes[i];
    }
    if (!cpu->failed)
        team_run(cpu->team, cpu_threads_for(cpu, elements, (size_t)count), count, elements_norms_part, &a);
}

struct update {
    float *p, *m, *v;
    const float *g;
    float scale;
    float lr, decay; /* sgd */
    const struct adam *adam;
    float step, root;
};

static void elements_sgd_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct update *a = arguments;
    cpu->vector->sgd(s.count, a->p + s.first, a->g + s.first, a->scale, a->lr, a->decay);
}

void cpu_sgd(struct backend *self, float *p, const float *g, size_t count, float scale, float lr, float decay)
{
    struct update a = {.p = p, .g = g, .scale = scale, .lr = lr, .decay = decay};
    elements_by_elements(self, count, elements_sgd_part, &a);
}

static void elements_adam_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct update *a = arguments;
    cpu->vector->adam(s.count, a->p + s.first, a->g + s.first, a->m + s.first, a->v + s.first, a->scale, a->adam,
                      a->step, a->root);
}

void cpu_adam(struct backend *self, float *p, const float *g, float *m, float *v, size_t count, float scale,
              const struct adam *adam)
{
    struct update a = {.p = p, .m = m, .v = v, .g = g, .scale = scale, .adam = adam};
    a.step = (float)((double)adam->lr / (1.0 - pow((double)adam->beta1, (double)adam->t)));
    a.root = (float)(1.0 / sqrt(1.0 - pow((double)adam->beta2, (double)adam->t)));
    elements_by_elements(self, count, elements_adam_part, &a);
}

struct quantise {
    const float *x[2]; /* [addends] */
    int addends;
    float below;
    bool accumulate;
    int64_t *sum;
    _Atomic size_t bad; /* the first element that cannot be added */
};

/* Elements whose sums are still in the nearest cache when they are added to, just after they were set to zero. */
enum { QUANTISE_BLOCK = 2048 };

/* How many of `count` elements from `at` on were added before one that cannot be. */
static size_t elements_quantise_block(const struct cpu *cpu, const struct quantise *a, size_t at, size_t count)
{
    size_t good = count;
    if (!a->accumulate)
        memset(a->sum + at, 0, count * sizeof *a->sum);
    for (int i = 0; i < a->addends; i++)
        good = cpu->vector->quantise(good, a->x[i] + at, a->below, a->sum + at);
    return good;
}

static void elements_quantise_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    struct quantise *a = arguments;
    size_t at = s.first, end = s.first + s.count, bad = a->bad;
    for (size_t next = at; at == next && at < end;) {
        size_t count = end - at < QUANTISE_BLOCK ? end - at : QUANTISE_BLOCK;
        next = at + count;
        at += elements_quantise_block(cpu, a, at, count);
    }
    while (at < end && at < bad && !atomic_compare_exchange_weak(&a->bad, &bad, at))
        ;
}

void cpu_quantise(struct backend *self, const float *x, const float *y, size_t count, float below, bool accumulate,
                  int64_t *sum)
{
    struct quantise a = {.x = {x, y}, .below = below, .accumulate = accumulate, .sum = sum, .bad = count};
    a.addends = y != NULL ? 2 : 1;
    elements_by_elements(self, count, elements_quantise_part, &a);
    if (a.bad < count) {
        struct err err;
        bool second = y != NULL && fabsf(x[a.bad]) < below;
        err_set(&err, ERR_FAILED, "element %zu is %g: the sums take finite values below %.0f", a.bad,
                (double)(second ? y : x)[a.bad], (double)below);
        cpu_fail((struct cpu *)self, &err);
    }
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
    elements_by_elements(self, count, elements_dequantise_part, &a);
}
