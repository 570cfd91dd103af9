/* single.c - the recurrence of one row.
 *
 * A step of one row is a read of W_hh and little else. The units are cut into strips, each with all gates of its units,
 * so a strip's part of a step, nonlinearity included, needs no other strip. W_hh is stored strip by strip in reading
 * order, and each thread keeps its own share of the strips, which stays in its cache from step to step. A sequence is
 * one job of the team, in which threads wait for one another between steps. If a share's thread does not run (the
 * system has suspended it), a waiting thread takes its share over. */
#include "kernels/cpu/cpu.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Units of a strip; LSTM gates. */
enum { UNITS = 16, GATES = 4 };

/* Multiply-adds of a step that are worth a thread, and the largest number of threads that share a step. */
enum { WORTH = 64 * 1024, MOST_THREADS = 16 };

/* How often a thread checks for the others before it takes over an unbegun share, and before it yields the core. */
enum { PATIENCE = 40, YIELD = 1000 };

enum { CACHE_LINE = 64 };

struct share {
    _Alignas(CACHE_LINE) atomic_int begun; /* steps of it that a thread has begun */
    int first, count;                      /* strips                              */
};

struct single {
    enum cell cell;
    int H, G, strips, shares;
    const struct prepacked *prepacked; /* for the plain form */
    const float *w_hh;
    const struct fma_table *fma; /* NULL: the plain form only */
    float *w;                    /* [strips][panels][H][width]: columns of a strip are gate by gate          */
    float *h[2], *c;             /* [strips * UNITS] before and after a step, in turn; beyond H they are zero */
    void *memory;
    struct share share[MOST_THREADS];
    _Alignas(CACHE_LINE) atomic_int done; /* shares of steps that are done, since the run began */
};

/* What the threads of a running sequence share. */
struct sequence_of_one {
    const struct cpu *cpu;
    struct single *single;
    const float *input;
    const int32_t *slot;
    int T;
};

static int single_gates(const struct single *single)
{
    return single->cell == CELL_LSTM ? GATES : 1;
}

/* Floats of a strip of W_hh. */
static size_t single_strip_size(const struct single *single)
{
    return (size_t)(single_gates(single) * UNITS) * (size_t)single->H;
}

/* ---- a step ---- */

/* gates = W_hh h for one strip. */
static void single_strip_product(const struct single *single, int strip, const float *h, float *gates)
{
    int columns = single_gates(single) * UNITS, width = columns < single->fma->width ? columns : single->fma->width;
    const float *w = single->w + (size_t)strip * single_strip_size(single);
    for (int at = 0; at < columns; at += width)
        single->fma->tile(&(struct fma_tile){.rows = 1,
                                             .columns = width,
                                             .K = single->H,
                                             .a = h,
                                             .a_k = 1,
                                             .b = w + (size_t)at * (size_t)single->H,
                                             .b_k = (size_t)width,
                                             .c = gates + at});
}

/* The strip's part of an input's row [G], gate by gate. */
static void single_strip_input(const struct single *single, int strip, const float *input, float *out)
{
    int first = strip * UNITS, units = single->H - first < UNITS ? single->H - first : UNITS;
    for (int gate = 0; gate < single_gates(single); gate++) {
        memcpy(out + gate * UNITS, input + (size_t)gate * (size_t)single->H + first, (size_t)units * sizeof *out);
        memset(out + gate * UNITS + units, 0, (size_t)(UNITS - units) * sizeof *out);
    }
}

/* Strips of one share, step t. Units beyond H have gates of W_hh h + input = 0 and stay zero. */
static void single_share_step(const struct sequence_of_one *run, const struct share *share, int t)
{
    static const int32_t first_row = 0;
    const struct single *single = run->single;
    const struct vector_table *vector = run->cpu->vector;
    const float *row = run->input + (size_t)run->slot[t] * (size_t)single->G, *before = single->h[t % 2];
    for (int strip = share->first; strip < share->first + share->count; strip++) {
        float gates[GATES * UNITS], input[GATES * UNITS], *h = single->h[1 - t % 2] + strip * UNITS;
        single_strip_product(single, strip, before, gates);
        single_strip_input(single, strip, row, input);
        if (single->cell == CELL_LSTM) {
            float *c = single->c + strip * UNITS;
            vector->lstm_forward(1, UNITS, gates, input, &first_row, c, c, h);
        } else {
            vector->rnn_forward(1, UNITS, gates, input, &first_row);
            memcpy(h, gates, UNITS * sizeof *h);
        }
    }
}

/* ---- the steps ---- */

/* Do step t of a share, unless another thread has begun it. */
static void single_try(const struct sequence_of_one *run, struct share *share, int t)
{
    /* Relaxed: a share is begun once in any order; `done` publishes what was computed. */
    int begun = t;
    if (!atomic_compare_exchange_strong_explicit(&share->begun, &begun, t + 1, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    single_share_step(run, share, t);
    /* Release: a thread that sees all shares of a step done may read its states. Each addition continues the releases
     * before it. */
    atomic_fetch_add_explicit(&run->single->done, 1, memory_order_release);
}

static void single_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Wait until step t is done, and take over unbegun shares. Returns whether there was one. */
static bool single_await(const struct sequence_of_one *run, int t, int patience)
{
    struct single *single = run->single;
    bool alone = false;
    for (int looks = 0; atomic_load_explicit(&single->done, memory_order_acquire) < (t + 1) * single->shares; looks++) {
        single_pause();
        if (looks % YIELD == YIELD - 1)
            sched_yield();
        if (looks != patience)
            continue;
        for (int i = 0; i < single->shares; i++)
            if (atomic_load_explicit(&single->share[i].begun, memory_order_relaxed) == t) {
                alone = true;
                single_try(run, &single->share[i], t);
            }
    }
    return alone;
}

/* A thread's loop over a sequence. A late thread begins at the step in progress. */
static void single_steps_part(void *context, int thread, int part, int parts)
{
    const struct sequence_of_one *run = context;
    struct single *single = run->single;
    int patience = PATIENCE;
    (void)part;
    (void)parts;
    for (;;) {
        int t = atomic_load_explicit(&single->done, memory_order_acquire) / single->shares;
        if (t >= run->T)
            return;
        single_try(run, &single->share[thread % single->shares], t);
        if (single_await(run, t, patience))
            patience = 0;
    }
}

/* ---- where there is no table of tiles ---- */

static void single_plain(struct cpu *cpu, const struct single *single, const float *input, const int32_t *slot, int T,
                         float *h, float *c)
{
    size_t steps = (size_t)T, H = (size_t)single->H;
    float *memory = calloc(steps * ((size_t)single->G + 2 * H) + 2 * steps, sizeof *memory);
    if (memory == NULL) {
        struct err err;
        err_set(&err, ERR_MEMORY, "no memory for a sequence of %d steps", T);
        cpu_fail(cpu, &err);
        return;
    }
    float *all_c = memory + steps * (size_t)single->G, *all_h = all_c + steps * H;
    int32_t *rows = (int32_t *)(void *)(all_h + steps * H), *offset = rows + steps;
    for (int t = 0; t < T; t++) {
        rows[t] = 1;
        offset[t] = t;
    }
    struct sequence seq = {.B = 1, .T = T, .N = T, .rows = rows, .offset = offset};
    cpu_recurrent_forward(&cpu->backend, &(struct recurrent){.cell = single->cell,
                                                             .seq = &seq,
                                                             .H = single->H,
                                                             .input = input,
                                                             .slot = slot,
                                                             .w_hh = single->w_hh,
                                                             .prepacked = single->prepacked,
                                                             .h0 = h,
                                                             .c0 = single->cell == CELL_LSTM ? c : NULL,
                                                             .gates = memory,
                                                             .c = all_c,
                                                             .h = all_h,
                                                             .h_last = h,
                                                             .c_last = single->cell == CELL_LSTM ? c : NULL});
    free(memory);
}

/* ---- the operation ---- */

static void single_copy(float *to, const float *from, int count)
{
    memcpy(to, from, (size_t)count * sizeof *to);
}

void cpu_single_run(struct backend *self, struct single *single, const float *input, const int32_t *slot, int T,
                    float *h, float *c)
{
    struct cpu *cpu = (struct cpu *)self;
    if (cpu->failed || T <= 0)
        return;
    if (single->fma == NULL) {
        single_plain(cpu, single, input, slot, T, h, c);
        return;
    }
    struct sequence_of_one run = {.cpu = cpu, .single = single, .input = input, .slot = slot, .T = T};
    single_copy(single->h[0], h, single->H);
    if (single->cell == CELL_LSTM)
        single_copy(single->c, c, single->H);
    /* Relaxed: team_run releases. */
    atomic_store_explicit(&single->done, 0, memory_order_relaxed);
    for (int i = 0; i < single->shares; i++)
        atomic_store_explicit(&single->share[i].begun, 0, memory_order_relaxed);
    team_run(cpu->team, single->shares, single->shares, single_steps_part, &run);
    single_copy(h, single->h[T % 2], single->H);
    if (single->cell == CELL_LSTM)
        single_copy(c, single->c, single->H);
}

/* ---- life ---- */

/* Rows of W_hh that are a strip's columns, gate by gate, then turned into panels. */
static void single_pack_strip(struct single *single, int strip, float *rows)
{
    int columns = single_gates(single) * UNITS, width = columns < single->fma->width ? columns : single->fma->width;
    size_t H = (size_t)single->H;
    float *to = single->w + (size_t)strip * single_strip_size(single);
    for (int column = 0; column < columns; column++) {
        int gate = column / UNITS, unit = strip * UNITS + column % UNITS;
        if (unit < single->H)
            memcpy(rows + (size_t)column * H, single->w_hh + ((size_t)gate * H + (size_t)unit) * H, H * sizeof *rows);
        else
            memset(rows + (size_t)column * H, 0, H * sizeof *rows);
    }
    for (int column = 0; column < columns; column++)
        for (size_t k = 0; k < H; k++)
            to[((size_t)(column / width) * H + k) * (size_t)width + (size_t)(column % width)] =
                rows[(size_t)column * H + k];
}

static bool single_pack(struct single *single, struct err *err)
{
    size_t strip = single_strip_size(single), strips = (size_t)single->strips, units = strips * UNITS;
    float *rows = malloc(strip * sizeof *rows);
    single->memory = aligned_alloc(CACHE_LINE, (strips * strip + 3 * units) * sizeof *single->w);
    if (rows == NULL || single->memory == NULL) {
        free(rows);
        return err_set(err, ERR_MEMORY, "no memory for a recurrent matrix of %d columns", single->H);
    }
    single->w = single->memory;
    single->h[0] = single->w + strips * strip;
    single->h[1] = single->h[0] + units;
    single->c = single->h[1] + units;
    memset(single->h[0], 0, 3 * units * sizeof *single->w);
    for (int i = 0; i < single->strips; i++)
        single_pack_strip(single, i, rows);
    free(rows);
    return true;
}

struct single *cpu_single_open(struct backend *self, enum cell cell, const float *w_hh, int H,
                               const struct prepacked *prepacked, struct err *err)
{
    const struct cpu *cpu = (const struct cpu *)self;
    struct single *single = aligned_alloc(CACHE_LINE, sizeof *single);
    if (single == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a recurrence");
        return NULL;
    }
    memset(single, 0, sizeof *single);
    single->cell = cell;
    single->H = H;
    single->G = single_gates(single) * H;
    single->w_hh = w_hh;
    single->prepacked = prepacked;
    single->fma = cpu->fma;
    single->strips = (H + UNITS - 1) / UNITS;
    size_t worth = single_strip_size(single) * (size_t)single->strips / WORTH, most = (size_t)team_threads(cpu->team);
    most = worth < most ? worth : most;
    most = most < (size_t)single->strips ? most : (size_t)single->strips;
    single->shares = most < 2 ? 1 : most < MOST_THREADS ? (int)most : MOST_THREADS;
    for (int i = 0; i < single->shares; i++) {
        int first = single->strips * i / single->shares, last = single->strips * (i + 1) / single->shares;
        single->share[i].first = first;
        single->share[i].count = last - first;
        atomic_init(&single->share[i].begun, 0);
    }
    atomic_init(&single->done, 0);
    if (single->fma != NULL && !single_pack(single, err))
        cpu_single_close(self, single);
    else
        return single;
    return NULL;
}

void cpu_single_close(struct backend *self, struct single *single)
{
    (void)self;
    if (single != NULL)
        free(single->memory);
    free(single);
}
