/* projection.c - the argmax of each state under a projection: screened where that is possible, else from all logits.
 *
 * Each state is rounded. The threads share the blocks of the screen, and every part keeps candidates of its own. Then
 * each state's candidates are computed exactly. A state that cannot be screened, or that has too many candidates (a
 * projection that has learnt nothing yet), is computed from all its logits, together with others of its kind. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/decode/screen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* States whose logits are computed in one GEMM, and blocks that stay in a core's cache while all states use them. */
enum { ALL_LOGITS = 64, BLOCKS = 8 };

struct projection {
    const float *w, *bias;
    const struct prepacked *prepacked;
    int V, H;
    struct screen *screen; /* NULL: all logits, always */
    const struct screen_kernels *kernels;
};

/* What the threads of a running operation share. */
struct search {
    const struct projection *projection;
    const float *h;
    int32_t *index; /* [N] -1 = not found yet */
    int N, parts;
    struct screen_state *states; /* [parts][N] */
    uint8_t *codes;              /* [N][width] */
    size_t width;
};

struct projection *cpu_projection_open(struct backend *self, const float *w, const float *bias, int V, int H,
                                       const struct prepacked *prepacked, struct err *err)
{
    struct cpu *cpu = (struct cpu *)self;
    struct projection *projection = calloc(1, sizeof *projection);
    if (projection == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a projection");
        return NULL;
    }
    *projection = (struct projection){.w = w, .bias = bias, .prepacked = prepacked, .V = V, .H = H};
    projection->kernels = cpu->fma != NULL ? screen_kernels(cpu->vector->isa) : NULL;
    if (projection->kernels != NULL && (projection->screen = screen_open(w, bias, V, H, err)) == NULL) {
        free(projection);
        return NULL;
    }
    return projection;
}

void cpu_projection_close(struct backend *self, struct projection *projection)
{
    (void)self;
    if (projection != NULL)
        screen_close(&projection->screen);
    free(projection);
}

size_t cpu_projection_bytes(struct backend *self, const struct projection *projection)
{
    const struct screen *screen = projection->screen;
    (void)self;
    if (screen == NULL || !screen->usable)
        return ((size_t)projection->H + 1) * (size_t)projection->V * sizeof(float);
    size_t codes = (size_t)screen->quads * SCREEN_BLOCK * SCREEN_TERMS;
    return (size_t)screen->blocks * (codes + sizeof *screen->block);
}

/* ---- screening ---- */

static struct screen_state *projection_state(const struct search *search, int part, int n)
{
    return &search->states[(size_t)part * (size_t)search->N + (size_t)n];
}

static void projection_round_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct search *search = arguments;
    const struct projection *projection = search->projection;
    (void)cpu;
    for (size_t n = s.first; n < s.first + s.count; n++) {
        struct screen_state *state = projection_state(search, 0, (int)n);
        bool good = projection->kernels->round(projection->screen, search->h + n * (size_t)projection->H,
                                               search->codes + n * search->width, state);
        search->index[n] = good ? 0 : -1;
        if (!good) /* screened like the others, without effect */
            *state = (struct screen_state){.codes = search->codes + n * search->width, .candidates = state->candidates};
        state->least = -INFINITY;
        state->count = 0;
        for (int part = 1; part < search->parts; part++) {
            struct screen_state *other = projection_state(search, part, (int)n);
            struct screen_candidate *own = other->candidates;
            *other = *state;
            other->candidates = own;
        }
    }
}

static void projection_screen_part(void *context, int thread, int part, int parts)
{
    const struct search *search = context;
    const struct screen *screen = search->projection->screen;
    int64_t blocks = screen->blocks;
    int first = (int)(blocks * part / parts), last = (int)(blocks * (part + 1) / parts);
    int group = search->N > SCREEN_ROWS ? BLOCKS : last - first;
    (void)thread;
    for (int at = first; at < last; at += group) {
        int end = at + group < last ? at + group : last;
        for (int n = 0; n < search->N; n += SCREEN_ROWS) {
            int rows = search->N - n < SCREEN_ROWS ? search->N - n : SCREEN_ROWS;
            search->projection->kernels->rows(screen, at, end, rows, projection_state(search, part, n));
        }
    }
}

/* ---- candidates ---- */

/* The candidates of state n that reach the best lower bound of all parts; -1 when there were too many. */
static int projection_gather(const struct search *search, int n, int32_t *index)
{
    float least = -INFINITY;
    int count = 0;
    for (int part = 0; part < search->parts; part++)
        least = fmaxf(least, projection_state(search, part, n)->least);
    for (int part = 0; part < search->parts; part++) {
        const struct screen_state *state = projection_state(search, part, n);
        if (state->count > SCREEN_CANDIDATES)
            return -1;
        for (int i = 0; i < state->count; i++)
            if (state->candidates[i].upper >= least) {
                if (count == SCREEN_CANDIDATES)
                    return -1;
                index[count++] = state->candidates[i].index;
            }
    }
    return count;
}

static void projection_choose_part(const struct cpu *cpu, void *arguments, struct slice s)
{
    const struct search *search = arguments;
    const struct projection *projection = search->projection;
    (void)cpu;
    for (size_t n = s.first; n < s.first + s.count; n++) {
        int32_t index[SCREEN_CANDIDATES];
        float logits[SCREEN_CANDIDATES];
        int count = search->index[n] < 0 ? -1 : projection_gather(search, (int)n, index), best = 0;
        if (count > 1)
            projection->kernels->exact(projection->screen, search->h + n * (size_t)projection->H, count, index, logits);
        for (int i = 1; i < count; i++)
            if (logits[i] > logits[best])
                best = i;
        search->index[n] = count > 0 ? index[best] : -1;
    }
}

/* ---- all logits ---- */

/* The argmax of `count` states from all their logits. */
static void projection_by_logits(struct cpu *cpu, const struct projection *projection, const float *h, int count,
                                 float *logits, int32_t *index)
{
    struct err err;
    const struct gemm gemm = {.M = count,
                              .N = projection->V,
                              .K = projection->H,
                              .a = h,
                              .b = projection->w,
                              .bias = projection->bias,
                              .c = logits,
                              .transpose_b = true,
                              .prepacked = projection->prepacked};
    if (cpu->failed)
        return;
    if (!multiplier_run(cpu->multiplier, &gemm, &err))
        cpu_fail(cpu, &err);
    cpu_argmax(&cpu->backend, logits, count, projection->V, index);
}

static void projection_rest(struct cpu *cpu, const struct projection *projection, const float *h, int N, int32_t *index)
{
    size_t H = (size_t)projection->H, most = N < ALL_LOGITS ? (size_t)N : ALL_LOGITS;
    float *logits = cpu_scratch(cpu, most * ((size_t)projection->V + H + 2) * sizeof *logits);
    if (logits == NULL)
        return;
    float *states = logits + most * (size_t)projection->V;
    int32_t *found = (int32_t *)(void *)(states + most * H), *place = found + most;
    for (int n = 0; n < N;) {
        int count = 0;
        for (; n < N && count < (int)most; n++)
            if (index[n] < 0) {
                memcpy(states + (size_t)count * H, h + (size_t)n * H, H * sizeof *states);
                place[count++] = n;
            }
        if (count > 0)
            projection_by_logits(cpu, projection, states, count, logits, found);
        for (int i = 0; i < count; i++)
            index[place[i]] = cpu->failed ? 0 : found[i];
    }
}

/* ---- the operation ---- */

/* States, codes and candidates of `search` in the backend's scratch. */
static bool projection_lay(struct cpu *cpu, struct search *search)
{
    size_t states = (size_t)search->parts * (size_t)search->N;
    size_t codes = ((size_t)search->N * search->width + 63) / 64 * 64;
    struct screen_candidate *candidates;
    char *memory = cpu_scratch(cpu, codes + states * (sizeof *search->states + SCREEN_CANDIDATES * sizeof *candidates));
    if (memory == NULL)
        return false;
    search->codes = (uint8_t *)memory;
    search->states = (struct screen_state *)(void *)(memory + codes);
    candidates = (struct screen_candidate *)(void *)(search->states + states);
    for (size_t i = 0; i < states; i++)
        search->states[i].candidates = candidates + i * SCREEN_CANDIDATES;
    return true;
}

void cpu_projection_argmax(struct backend *self, const struct projection *projection, const float *h, int N,
                           int32_t *index)
{
    struct cpu *cpu = (struct cpu *)self;
    size_t elements = (size_t)N * (size_t)projection->H;
    if (cpu->failed || N <= 0)
        return;
    for (int n = 0; n < N; n++)
        index[n] = -1;
    if (projection->screen != NULL && projection->screen->usable) {
        struct search search = {.projection = projection, .h = h, .index = index, .N = N};
        size_t blocks = (size_t)projection->screen->blocks;
        int threads = cpu_threads_for(cpu, elements * (size_t)projection->V / SCREEN_TERMS, blocks);
        /* One state's blocks stay with a thread from step to step, in its cache. */
        search.parts = N > SCREEN_ROWS ? cpu_parts_for(threads, blocks) : threads;
        search.width = (size_t)projection->screen->quads * SCREEN_TERMS;
        if (!projection_lay(cpu, &search))
            return;
        cpu_cut(cpu, (size_t)N, 1, elements, projection_round_part, &search);
        team_run(cpu->team, threads, search.parts, projection_screen_part, &search);
        cpu_cut(cpu, (size_t)N, 1, 4 * elements, projection_choose_part, &search);
    }
    projection_rest(cpu, projection, h, N, index);
}
