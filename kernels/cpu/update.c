/* update.c - what ends a step on the CPU: score, norm and clip, and the update by parts. See backend.h for what they
 * mean. */
#include "kernels/cpu/cpu.h"

#include <math.h>

/* Slices begin at multiples of it, so that an element has the same place in a vector register on any number of
 * threads. */
enum { GRAIN = 1024 };

/* The block of a sum of squares that backend.h fixes. */
enum { SQUARES_BLOCK = 64 * 1024 };

/* torch.nn.utils.clip_grad_norm_ adds this to the norm before it divides. */
static const double CLIP_EPS = 1e-6;

void cpu_score(struct backend *self, const float *loss, const int32_t *predicted, const int32_t *target, int N,
               struct figures *figures)
{
    struct figures sum = {.tokens = N};
    if (((struct cpu *)self)->failed)
        return;
    for (int n = 0; n < N; n++) {
        sum.loss_sum += (double)loss[n];
        sum.correct += predicted[n] == target[n];
    }
    *figures = sum;
}

/* ---- norm and clip ---- */

struct squares {
    const float *x;
    size_t count;
    double *partial; /* of each block */
};

static void update_squares_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct squares *a = arguments;
    for (size_t b = s.first; b < s.first + s.count; b++) {
        size_t first = b * SQUARES_BLOCK, rest = a->count - first;
        a->partial[b] = cpu->vector->sum_squares(rest < SQUARES_BLOCK ? rest : SQUARES_BLOCK, a->x + first);
    }
}

static double update_sum_squares(struct cpu *cpu, const struct clip_part *part)
{
    size_t blocks = (part->size + SQUARES_BLOCK - 1) / SQUARES_BLOCK;
    double *partial = blocks > 0 ? cpu_scratch(cpu, blocks * sizeof *partial) : NULL;
    struct squares a = {part->x, part->size, partial};
    double sum = 0.0;
    if (partial == NULL)
        return 0.0;
    cpu_cut(cpu, blocks, 1, part->size, update_squares_part, &a);
    for (size_t b = 0; b < blocks; b++)
        sum += partial[b];
    return sum;
}

static double update_norm_double(struct cpu *cpu, const struct clip *clip, double scale)
{
    double sum = 0;
    for (int i = 0; i < clip->part_count; i++)
        sum += update_sum_squares(cpu, &clip->parts[i]);
    return scale * sqrt(sum);
}

struct norms {
    const struct cpu *cpu;
    const struct clip_part *parts;
    float scale;
    float *norms;
};

/* From the last: a model's largest tensor is there, and the other threads take the rest meanwhile. */
static void update_norms_part(void *context, int thread, int part, int parts)
{
    const struct norms *a = context;
    int i = parts - 1 - part;
    (void)thread;
    a->norms[i] = sqrtf(a->cpu->vector->sum_squares_float(a->parts[i].size, a->parts[i].x, a->scale));
}

static double update_norm_float(struct cpu *cpu, const struct clip *clip, float scale)
{
    size_t elements = 0;
    double sum = 0;
    float *norms = cpu_scratch(cpu, (size_t)clip->part_count * sizeof *norms);
    struct norms a = {.cpu = cpu, .parts = clip->parts, .scale = scale, .norms = norms};
    if (norms == NULL)
        return 0.0;
    for (int i = 0; i < clip->part_count; i++)
        elements += clip->parts[i].size;
    team_run(cpu->team, cpu_threads_for(cpu, elements, (size_t)clip->part_count), clip->part_count, update_norms_part,
             &a);
    for (int i = 0; i < clip->part_count; i++)
        sum += (double)norms[i] * (double)norms[i];
    return sqrt(sum);
}

void cpu_clip(struct backend *self, const struct clip *clip, struct outcome *outcome)
{
    struct cpu *cpu = (struct cpu *)self;
    struct figures sum = {0};
    if (cpu->failed)
        return;
    for (int i = 0; i < clip->count; i++) {
        sum.loss_sum += clip->figures[i].loss_sum;
        sum.tokens += clip->figures[i].tokens;
        sum.correct += clip->figures[i].correct;
    }
    double scale = 1.0 / clip->tokens;
    double norm =
        clip->rule == NORM_DOUBLE ? update_norm_double(cpu, clip, scale) : update_norm_float(cpu, clip, (float)scale);
    if (clip->largest > 0 && norm > 0) {
        double share = clip->largest / (norm + CLIP_EPS);
        if (share < 1.0)
            scale *= share;
    }
    outcome->figures = sum;
    outcome->norm = norm;
    outcome->scale = (float)scale;
    outcome->bad |= (isfinite(sum.loss_sum) ? 0u : OUTCOME_LOSS) | (isfinite(norm) ? 0u : OUTCOME_NORM) |
                    (sum.tokens == clip->tokens ? 0u : OUTCOME_TOKENS);
}

/* ---- the update ---- */

struct update_run {
    const struct update *update;
    const struct update_part *part;
    const struct adam *adam; /* NULL: sgd */
    float lr, decay;         /* sgd       */
    float step, root;        /* adam      */
};

/* Elements first..first+count-1 of the arenas. */
static void update_elements(const struct cpu *cpu, const struct update_run *run, size_t first, size_t count)
{
    const struct update *a = run->update;
    if (run->adam != NULL)
        cpu->vector->adam(count, a->p + first, a->g + first, a->m + first, a->v + first, a->outcome->scale, run->adam,
                          run->step, run->root);
    else
        cpu->vector->sgd(count, a->p + first, a->g + first, a->outcome->scale, run->lr, run->decay);
}

static void update_elements_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct update_run *run = arguments;
    update_elements(cpu, run, run->part->offset + s.first, s.count);
}

static bool update_is_marked(const uint64_t *marks, size_t row)
{
    return (marks[row / 64] >> (row % 64) & 1) != 0;
}

/* Adjacent marked rows are one run of elements. */
static void update_rows_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct update_run *run = arguments;
    const struct update_part *part = run->part;
    size_t end = s.first + s.count;
    for (size_t first = s.first, row; first < end; first = row + 1) {
        for (row = first; row < end && update_is_marked(part->marks, row);)
            row++;
        if (row > first)
            update_elements(cpu, run, part->offset + first * part->width, (row - first) * part->width);
    }
}

static void update_run(struct cpu *cpu, struct update_run *run)
{
    const struct update *update = run->update;
    const struct adam *adam = run->adam;
    const float decay = run->decay;
    if (cpu->failed || update->outcome->bad != 0)
        return;
    for (int i = 0; i < update->count; i++) {
        const struct update_part *part = &update->parts[i];
        size_t elements = part->rows * part->width;
        struct adam without = adam != NULL ? *adam : (struct adam){0};
        without.decay = 0;
        run->part = part;
        run->decay = part->decays ? decay : 0;
        run->adam = adam != NULL && !part->decays ? &without : adam;
        if (part->marks != NULL)
            cpu_cut(cpu, part->rows, 64, elements, update_rows_part, run);
        else
            cpu_cut(cpu, elements, GRAIN, elements, update_elements_part, run);
    }
}

void cpu_sgd(struct backend *self, const struct update *update, float lr, float decay)
{
    update_run((struct cpu *)self, &(struct update_run){.update = update, .lr = lr, .decay = decay});
}

void cpu_adam(struct backend *self, const struct update *update, const struct adam *adam)
{
    struct update_run run = {.update = update, .adam = adam};
    run.step = (float)((double)adam->lr / (1.0 - pow((double)adam->beta1, (double)adam->t)));
    run.root = (float)(1.0 / sqrt(1.0 - pow((double)adam->beta2, (double)adam->t)));
    update_run((struct cpu *)self, &run);
}
