/* gemm.c - matrix products cut into tiles: which rows, which part of K, on which thread.
 *
 * B is packed into a panel, the rows of C are shared out over threads, and each thread takes its rows in even tiles; fewer rows
 * than the smallest tile are padded in memory of ours. Where A is transposed (weight gradients, K = positions), the sum runs over
 * chunks of K, the last one padded with zeros to a multiple of K_UNIT, and the tiles of A are turned first. So M and K may be any
 * number, and the compiled shapes stay few. */
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/panel.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { K_CHUNK = 256, K_UNIT = 16 };

/* Multiply-adds below which another thread costs more than it gains. */
static const double WORTH = 256.0 * 1024.0;

struct area {
    char *memory; /* 4096-byte aligned */
    size_t size;
};

struct multiplier {
    int threads;
    struct panels *panels;
    struct area packed;   /* the packed B of the product that is running   */
    struct area stage;    /* a chunk of B on its way there                 */
    const void *kept;     /* B of multiplier_pack                          */
    struct area *scratch; /* [threads] a tile of C, a tile of A, oneDNN's  */
};

/* What the threads of a running product share: B, ready for panel_tile. */
struct plan {
    const struct gemm *gemm;
    struct panel *full, *tail; /* of K_CHUNK rows of K, NULL when there is none; of the rest of K */
    const char *full_b;        /* of the first chunk; `stride` bytes on lies that of the next     */
    size_t stride;
    const void *tail_b;
};

static size_t s_round(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static bool s_reserve(struct area *area, size_t size, struct err *err)
{
    if (size <= area->size)
        return true;
    free(area->memory);
    area->size = s_round(size, 4096);
    area->memory = aligned_alloc(4096, area->size);
    if (area->memory != NULL)
        return true;
    area->size = 0;
    return err_set(err, ERR_MEMORY, "no memory for a matrix product: %zu bytes", size);
}

/* ---- a thread's part of a product ---- */

/* Where the tile of A and oneDNN's part of a thread's scratch begin; the tile of C is at 0. */
static size_t s_scratch_a(const struct panel *panel)
{
    return s_round((size_t)panel->unit * (size_t)panel->N * sizeof(float), 4096);
}

static size_t s_scratch_theirs(const struct panel *panel)
{
    return s_scratch_a(panel) + s_round((size_t)panel->most * (size_t)panel->K * sizeof(float), 4096);
}

static float *s_floats(char *memory)
{
    return (float *)(void *)memory;
}

/* out[r][k] = a[k][r] for `rows` x K of `height` x `width`; the rest is zero. `stride` is the stored row of a. */
static void s_turn(const float *a, size_t stride, int rows, int K, int height, int width, float *out)
{
    enum { STRIP = 16 };
    if (rows < height || K < width)
        memset(out, 0, (size_t)height * (size_t)width * sizeof *out);
    for (int first = 0; first < rows; first += STRIP) {
        int last = first + STRIP < rows ? first + STRIP : rows;
        for (int k = 0; k < K; k++)
            for (int r = first; r < last; r++)
                out[(size_t)r * (size_t)width + (size_t)k] = a[(size_t)k * stride + (size_t)r];
    }
}

/* `rows` rows of C (+)= A B (+ bias) in one tile; a is dense. Fewer than a unit go through a copy, padded with zeros; `padded`: a
 * has that many rows already. */
static bool s_tile(const struct multiplier *multiplier, const struct panel *panel, int thread, int rows, const float *a,
                   bool padded, const void *packed, const float *bias, bool accumulate, float *c)
{
    char *scratch = multiplier->scratch[thread].memory, *theirs = scratch + s_scratch_theirs(panel);
    size_t row_a = (size_t)panel->K * sizeof *a, row_c = (size_t)panel->N * sizeof *c;
    if (rows >= panel->unit)
        return panel_tile(multiplier->panels, panel, thread, rows, a, packed, bias, accumulate, c, theirs);

    char *own_c = scratch, *own_a = scratch + s_scratch_a(panel);
    if (!padded) {
        memcpy(own_a, a, (size_t)rows * row_a);
        memset(own_a + (size_t)rows * row_a, 0, (size_t)(panel->unit - rows) * row_a);
        a = s_floats(own_a);
    }
    if (accumulate) {
        memcpy(own_c, c, (size_t)rows * row_c);
        memset(own_c + (size_t)rows * row_c, 0, (size_t)(panel->unit - rows) * row_c);
    }
    bool ok = panel_tile(multiplier->panels, panel, thread, panel->unit, a, packed, bias, accumulate, s_floats(own_c),
                         theirs);
    memcpy(c, own_c, (size_t)rows * row_c);
    return ok;
}

/* How many of `rows` rows the next tile takes: even parts, each a multiple of the unit, until less than a unit is left. */
static int s_next_rows(const struct panel *panel, int rows)
{
    int tiles = (rows + panel->most - 1) / panel->most;
    int even = (rows / tiles + panel->unit - 1) / panel->unit * panel->unit;
    if (even > panel->most)
        even = panel->most;
    return rows < panel->unit ? rows : even <= rows ? even : rows / panel->unit * panel->unit;
}

/* Rows first..first+rows-1 of C, all of K: chunk after chunk for a transposed A. */
static bool s_rows(const struct multiplier *multiplier, const struct plan *plan, int thread, int first, int rows)
{
    const struct gemm *g = plan->gemm;
    float *c = g->c + (size_t)first * (size_t)g->N;
    bool ok = true;
    if (!g->transpose_a)
        return s_tile(multiplier, plan->tail, thread, rows, g->a + (size_t)first * (size_t)g->K, false, plan->tail_b,
                      g->bias, g->accumulate, c);
    for (int k = 0; k < g->K && ok; k += K_CHUNK) {
        bool full = g->K - k >= K_CHUNK;
        const char *b = full ? plan->full_b + (size_t)(k / K_CHUNK) * plan->stride : plan->tail_b;
        const struct panel *panel = full ? plan->full : plan->tail;
        float *a = s_floats(multiplier->scratch[thread].memory + s_scratch_a(panel));
        s_turn(g->a + (size_t)k * (size_t)g->M + (size_t)first, (size_t)g->M, rows, full ? K_CHUNK : g->K - k,
               rows < panel->unit ? panel->unit : rows, panel->K, a);
        ok = s_tile(multiplier, panel, thread, rows, a, true, b, k == 0 ? g->bias : NULL, k > 0 || g->accumulate, c);
    }
    return ok;
}

static bool s_part(const struct multiplier *multiplier, const struct plan *plan, int thread, int threads)
{
    const struct panel *panel = plan->tail != NULL ? plan->tail : plan->full;
    int M = plan->gemm->M, units = (M + panel->unit - 1) / panel->unit;
    int first = (int)((int64_t)units * thread / threads) * panel->unit;
    int last = (int)((int64_t)units * (thread + 1) / threads) * panel->unit;
    bool ok = true;
    last = last < M ? last : M;
    while (first < last && ok) {
        int rows = s_next_rows(panel, last - first);
        ok = s_rows(multiplier, plan, thread, first, rows);
        first += rows;
    }
    return ok;
}

/* ---- a product ---- */

static bool s_reserve_scratch(struct multiplier *multiplier, const struct panel *panel, struct err *err)
{
    bool ok = true;
    for (int thread = 0; thread < multiplier->threads && ok; thread++)
        ok = s_reserve(&multiplier->scratch[thread], s_scratch_theirs(panel) + panel->scratch, err);
    return ok;
}

/* B as it is for the whole of K. */
static bool s_plan_whole(struct multiplier *multiplier, struct plan *plan, struct err *err)
{
    const struct gemm *g = plan->gemm;
    plan->tail = panels_get(multiplier->panels, g->N, g->K, g->transpose_b, err);
    if (plan->tail == NULL ||
        !panel_prepare(multiplier->panels, plan->tail, g->M, g->bias != NULL, g->accumulate, err) ||
        !s_reserve_scratch(multiplier, plan->tail, err) || !s_reserve(&multiplier->packed, plan->tail->size, err))
        return false;
    plan->tail_b = panel_pack(multiplier->panels, plan->tail, g->b, multiplier->packed.memory, err);
    return plan->tail_b != NULL;
}

/* The panel of `width` rows of K, ready for a transposed A; NULL and err on failure. */
static struct panel *s_plan_panel(struct multiplier *multiplier, const struct gemm *g, int width, struct err *err)
{
    struct panel *panel = panels_get(multiplier->panels, g->N, width, false, err);
    bool ok = panel != NULL;
    for (int i = 0; i < 4 && ok; i++)
        if (i < 2 || g->bias != NULL)
            ok = panel_prepare(multiplier->panels, panel, g->M, i / 2 != 0, i % 2 != 0, err);
    return ok && s_reserve_scratch(multiplier, panel, err) ? panel : NULL;
}

/* The panels for chunks and for the rest, which must agree on the rows of a tile: else the rest is padded to a whole chunk. */
static bool s_plan_panels(struct multiplier *multiplier, struct plan *plan, struct err *err)
{
    const struct gemm *g = plan->gemm;
    int rest = g->K % K_CHUNK;
    if (g->K >= K_CHUNK && (plan->full = s_plan_panel(multiplier, g, K_CHUNK, err)) == NULL)
        return false;
    if (rest > 0 && (plan->tail = s_plan_panel(multiplier, g, (int)s_round((size_t)rest, K_UNIT), err)) == NULL)
        return false;
    if (rest > 0 && plan->full != NULL &&
        (plan->full->unit != plan->tail->unit || plan->full->most != plan->tail->most))
        plan->tail = plan->full;
    return true;
}

/* Rows k..k+rows-1 of B, plain and padded with zeros to `height` rows; where they lie so already, that is them. */
static const float *s_stage(struct multiplier *multiplier, const struct gemm *g, int k, int rows, int height)
{
    size_t N = (size_t)g->N, at = (size_t)k * N;
    float *stage = s_floats(multiplier->stage.memory);
    if (g->transpose_b) {
        s_turn(g->b + k, (size_t)g->K, rows, g->N, height, g->N, stage + at);
        return stage + at;
    }
    if (rows == height)
        return g->b + at;
    memcpy(stage, g->b + at, (size_t)rows * N * sizeof *stage);
    memset(stage + (size_t)rows * N, 0, (size_t)(height - rows) * N * sizeof *stage);
    return stage;
}

static bool s_plan_chunks(struct multiplier *multiplier, struct plan *plan, struct err *err)
{
    const struct gemm *g = plan->gemm;
    int rest = g->K % K_CHUNK, chunks = g->K / K_CHUNK;
    size_t staged = (size_t)(g->transpose_b ? chunks + 1 : 1) * K_CHUNK * (size_t)g->N * sizeof(float);
    if (!s_plan_panels(multiplier, plan, err) || !s_reserve(&multiplier->stage, staged, err))
        return false;
    size_t full = chunks > 0 ? plan->full->size : 0, size = (size_t)chunks * full + (rest > 0 ? plan->tail->size : 0);
    if (!s_reserve(&multiplier->packed, size, err))
        return false;

    plan->stride = full > 0 ? full : (size_t)K_CHUNK * (size_t)g->N * sizeof(float);
    for (int i = 0; i < chunks; i++) {
        const float *b = s_stage(multiplier, g, i * K_CHUNK, K_CHUNK, K_CHUNK);
        const void *ready =
            panel_pack(multiplier->panels, plan->full, b, multiplier->packed.memory + (size_t)i * full, err);
        if (ready == NULL)
            return false;
        if (i == 0)
            plan->full_b = ready;
    }
    if (rest > 0)
        plan->tail_b =
            panel_pack(multiplier->panels, plan->tail, s_stage(multiplier, g, chunks * K_CHUNK, rest, plan->tail->K),
                       multiplier->packed.memory + (size_t)chunks * full, err);
    return rest == 0 || plan->tail_b != NULL;
}

/* K = 0: C is the bias, or what was there. */
static void s_empty_sum(const struct gemm *gemm)
{
    for (int i = 0; i < gemm->M; i++)
        for (int j = 0; j < gemm->N; j++) {
            float *c = &gemm->c[(size_t)i * (size_t)gemm->N + (size_t)j];
            *c = (gemm->accumulate ? *c : 0.0f) + (gemm->bias != NULL ? gemm->bias[j] : 0.0f);
        }
}

bool multiplier_run(struct multiplier *multiplier, const struct gemm *gemm, struct err *err)
{
    struct plan plan = {.gemm = gemm};
    double work = (double)gemm->M * (double)gemm->N * (double)gemm->K / WORTH;
    int threads = work < 2.0 ? 1 : work < multiplier->threads ? (int)work : multiplier->threads, failed = 0;
    if (gemm->M <= 0 || gemm->N <= 0)
        return true;
    if (gemm->K <= 0) {
        s_empty_sum(gemm);
        return true;
    }
    if (!(gemm->transpose_a ? s_plan_chunks : s_plan_whole)(multiplier, &plan, err))
        return false;
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        omp_set_num_threads(1);
        failed += !s_part(multiplier, &plan, omp_get_thread_num(), omp_get_num_threads());
    }
    return failed == 0 ||
           err_set(err, ERR_FAILED, "a matrix product of %d x %d x %d failed", gemm->M, gemm->N, gemm->K);
}

struct panel *multiplier_pack(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                              struct err *err)
{
    const struct gemm gemm = {.M = PANEL_MOST, .N = N, .K = K, .b = b, .transpose_b = transposed};
    struct plan plan = {.gemm = &gemm};
    if (!s_plan_whole(multiplier, &plan, err))
        return NULL;
    multiplier->kept = plan.tail_b;
    return plan.tail;
}

bool multiplier_rows(struct multiplier *multiplier, struct panel *panel, int thread, int rows, const float *a, float *c)
{
    bool ok = true;
    while (rows > 0 && ok) {
        int next = s_next_rows(panel, rows);
        ok = s_tile(multiplier, panel, thread, next, a, false, multiplier->kept, NULL, false, c);
        a += (size_t)next * (size_t)panel->K;
        c += (size_t)next * (size_t)panel->N;
        rows -= next;
    }
    return ok;
}

/* ---- life ---- */

struct multiplier *multiplier_open(int threads, struct err *err)
{
    struct multiplier *multiplier = calloc(1, sizeof *multiplier);
    struct area *scratch = calloc((size_t)threads, sizeof *scratch);
    if (multiplier == NULL || scratch == NULL) {
        err_set(err, ERR_MEMORY, "no memory for matrix products");
        free(multiplier);
        free(scratch);
        return NULL;
    }
    multiplier->threads = threads;
    multiplier->scratch = scratch;
    multiplier->panels = panels_open(threads, err);
    if (multiplier->panels == NULL)
        multiplier_close(&multiplier);
    return multiplier;
}

void multiplier_close(struct multiplier **multiplier)
{
    struct multiplier *gone = *multiplier;
    *multiplier = NULL;
    if (gone == NULL)
        return;
    panels_close(&gone->panels);
    for (int thread = 0; thread < gone->threads; thread++)
        free(gone->scratch[thread].memory);
    free(gone->scratch);
    free(gone->packed.memory);
    free(gone->stage.memory);
    free(gone);
}
