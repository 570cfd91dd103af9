/* recurrent.c - one recurrent layer over a whole packed sequence, forward and backward.
 *
 * Rows do not depend on each other, so each thread takes some of them through all steps: no thread waits for another
 * between steps, its rows stay in its cache, and the recurrent matrix is packed once for the whole sequence. */
#include "kernels/cpu/cpu.h"

#include <stdatomic.h>
#include <string.h>

/* A thread's rows begin at a multiple of this, the smallest tile of a GEMM. */
enum { ROWS_UNIT = 8 };

/* Rows of a part with which its GEMMs run well. */
enum { PART_ROWS = 16 };

/* What the threads of a running sequence share. */
struct pass {
    struct cpu *cpu;
    const struct recurrent *layer;
    const struct recurrent_gradient *gradient; /* backward only                                  */
    const struct prepacked *prepacked;         /* W_hh; NULL when no step has a state before it  */
    float *dh, *dc;                            /* [B, H] backward only: of the step in progress  */
    int G;
    atomic_bool failed;
};

static int recurrent_gates(const struct recurrent *layer)
{
    return layer->cell == CELL_LSTM ? 4 * layer->H : layer->H;
}

/* Copy rows of `width` floats. from NULL = zeros; to NULL = no copy. */
static void recurrent_copy(float *to, const float *from, int rows, int width)
{
    size_t size = rows > 0 ? (size_t)rows * (size_t)width * sizeof *to : 0;
    if (to == NULL || size == 0)
        return;
    if (from == NULL)
        memset(to, 0, size);
    else
        memcpy(to, from, size);
}

/* Row `row` of a matrix that may be NULL. */
static const float *recurrent_row(const float *matrix, int row, int width)
{
    return matrix != NULL ? matrix + (size_t)row * (size_t)width : NULL;
}

static float *recurrent_row_of(float *matrix, int row, int width)
{
    return matrix != NULL ? matrix + (size_t)row * (size_t)width : NULL;
}

/* Rows that run at step t; 0 after the last step. */
static int recurrent_running(const struct sequence *seq, int t)
{
    return t < seq->T ? seq->rows[t] : 0;
}

/* The first row of part `part`. Parts get about the same number of positions, not of rows, because long rows come
 * first. */
static int recurrent_first_row(const struct sequence *seq, int part, int parts)
{
    int64_t wanted = (int64_t)seq->N * part / parts, positions = 0;
    int row = 0, steps = seq->T;
    if (part >= parts)
        return seq->B;
    while (row < seq->B) {
        for (int i = row; i < row + ROWS_UNIT && i < seq->B; i++) {
            while (steps > 0 && seq->rows[steps - 1] <= i)
                steps--;
            positions += steps;
        }
        if (positions > wanted)
            break;
        row += ROWS_UNIT;
    }
    return row < seq->B ? row : seq->B;
}

static int recurrent_threads(const struct cpu *cpu, const struct sequence *seq)
{
    int units = (seq->B + ROWS_UNIT - 1) / ROWS_UNIT;
    return units < 2 ? 1 : units < team_threads(cpu->team) ? units : team_threads(cpu->team);
}

/* ---- forward ---- */

/* Step t of rows first..first+rows-1. Rows that end here write their final state. */
static bool recurrent_forward_step(const struct pass *pass, int thread, int t, int first, int rows, int next)
{
    const struct recurrent *layer = pass->layer;
    const struct sequence *seq = layer->seq;
    const struct vector_table *vector = pass->cpu->vector;
    int H = layer->H, at = seq->offset[t] + first, before = t > 0 ? seq->offset[t - 1] + first : first;
    bool lstm = layer->cell == CELL_LSTM, ok = true;
    const float *h_before = recurrent_row(t > 0 ? layer->h : layer->h0, before, H);
    float *gates = recurrent_row_of(layer->gates, at, pass->G), *h = recurrent_row_of(layer->h, at, H);

    if (h_before != NULL)
        ok = multiplier_rows(pass->cpu->multiplier, pass->prepacked, thread, rows, h_before, gates);
    else
        recurrent_copy(gates, NULL, rows, pass->G);
    recurrent_copy(recurrent_row_of(layer->h_before, at, H), h_before, rows, H);
    if (lstm) {
        vector->lstm_forward(rows, H, gates, layer->input, layer->slot + at,
                             recurrent_row(t > 0 ? layer->c : layer->c0, before, H), recurrent_row_of(layer->c, at, H),
                             h);
        recurrent_copy(recurrent_row_of(layer->c_last, first + next, H), recurrent_row(layer->c, at + next, H),
                       rows - next, H);
    } else {
        vector->rnn_forward(rows, H, gates, layer->input, layer->slot + at);
        recurrent_copy(h, gates, rows, H);
    }
    recurrent_copy(recurrent_row_of(layer->h_last, first + next, H), recurrent_row(layer->h, at + next, H), rows - next,
                   H);
    return ok;
}

/* How many of rows first..last-1 run at step t. */
static int recurrent_mine(const struct sequence *seq, int t, int first, int last)
{
    int rows = recurrent_running(seq, t) < last ? recurrent_running(seq, t) : last;
    return rows > first ? rows - first : 0;
}

static bool recurrent_forward_rows(const struct pass *pass, int thread, int first, int last)
{
    const struct sequence *seq = pass->layer->seq;
    bool ok = true;
    for (int t = 0; t < seq->T && ok; t++) {
        int rows = recurrent_mine(seq, t, first, last);
        if (rows == 0)
            break;
        ok = recurrent_forward_step(pass, thread, t, first, rows, recurrent_mine(seq, t + 1, first, last));
    }
    return ok;
}

/* ---- backward ---- */

/* Step t of rows first..first+rows-1, of which `next` also run at step t + 1: gates become dgates. */
static bool recurrent_backward_step(const struct pass *pass, int thread, int t, int first, int rows, int next)
{
    const struct recurrent *layer = pass->layer;
    const struct recurrent_gradient *gradient = pass->gradient;
    const struct sequence *seq = layer->seq;
    const struct vector_table *vector = pass->cpu->vector;
    int H = layer->H, at = seq->offset[t] + first, before = t > 0 ? seq->offset[t - 1] + first : first;
    float *dh = recurrent_row_of(pass->dh, first, H), *dc = recurrent_row_of(pass->dc, first, H);
    float *gates = recurrent_row_of(layer->gates, at, pass->G);
    bool ok = next == 0 || multiplier_rows(pass->cpu->multiplier, pass->prepacked, thread, next,
                                           recurrent_row(layer->gates, seq->offset[t + 1] + first, pass->G), dh);

    recurrent_copy(recurrent_row_of(dh, next, H), recurrent_row(gradient->dh_last, first + next, H), rows - next, H);
    recurrent_copy(recurrent_row_of(dc, next, H), recurrent_row(gradient->dc_last, first + next, H), rows - next, H);
    if (gradient->dh != NULL)
        vector->add((size_t)rows * (size_t)H, dh, recurrent_row(gradient->dh, at, H));
    if (layer->cell == CELL_LSTM)
        vector->lstm_backward(rows, H, gates, recurrent_row(t > 0 ? layer->c : layer->c0, before, H),
                              recurrent_row(layer->c, at, H), dh, dc);
    else
        vector->rnn_backward(rows, H, gates, dh);
    return ok;
}

static bool recurrent_backward_rows(const struct pass *pass, int thread, int first, int last)
{
    const struct recurrent *layer = pass->layer;
    const struct recurrent_gradient *gradient = pass->gradient;
    const struct sequence *seq = layer->seq;
    int H = layer->H;
    bool ok = true;
    for (int t = seq->T - 1; t >= 0 && ok; t--) {
        int rows = recurrent_mine(seq, t, first, last);
        if (rows > 0)
            ok = recurrent_backward_step(pass, thread, t, first, rows, recurrent_mine(seq, t + 1, first, last));
    }
    if (ok && gradient->dh0 != NULL)
        ok = multiplier_rows(pass->cpu->multiplier, pass->prepacked, thread, last - first,
                             recurrent_row(layer->gates, first, pass->G), recurrent_row_of(gradient->dh0, first, H));
    if (layer->cell == CELL_LSTM)
        recurrent_copy(recurrent_row_of(gradient->dc0, first, H), recurrent_row(pass->dc, first, H), last - first, H);
    return ok;
}

/* ---- the operations ---- */

static void recurrent_run_part(void *context, int thread, int part, int parts)
{
    struct pass *pass = context;
    const struct sequence *seq = pass->layer->seq;
    int first = recurrent_first_row(seq, part, parts), last = recurrent_first_row(seq, part + 1, parts);
    if (first < last &&
        !(pass->gradient != NULL ? recurrent_backward_rows : recurrent_forward_rows)(pass, thread, first, last))
        pass->failed = true;
}

/* Pack W_hh, share the rows among the threads, and run the sequence. */
static void recurrent_run(struct pass *pass, bool needs_prepacked)
{
    struct cpu *cpu = pass->cpu;
    const struct recurrent *layer = pass->layer;
    bool backward = pass->gradient != NULL;
    int N = backward ? layer->H : pass->G, K = backward ? pass->G : layer->H;
    struct err err;

    if (needs_prepacked) {
        pass->prepacked = !backward && layer->prepacked != NULL
                              ? layer->prepacked
                              : multiplier_pack(cpu->multiplier, layer->w_hh, N, K, !backward, &err);
        if (pass->prepacked == NULL || !multiplier_prepare(cpu->multiplier, pass->prepacked, layer->seq->B, &err)) {
            cpu_fail(cpu, &err);
            return;
        }
    }
    int threads = recurrent_threads(cpu, layer->seq), most = layer->seq->B / PART_ROWS;
    int parts = most < threads ? threads : cpu_parts_for(threads, (size_t)most);
    team_run(cpu->team, threads, parts, recurrent_run_part, pass);
    if (pass->failed) {
        err_set(&err, ERR_FAILED, "a matrix product of a recurrent layer failed");
        cpu_fail(cpu, &err);
    }
}

void cpu_recurrent_forward(struct backend *self, const struct recurrent *layer)
{
    struct cpu *cpu = (struct cpu *)self;
    struct pass pass = {.cpu = cpu, .layer = layer, .G = recurrent_gates(layer)};
    if (!cpu->failed && layer->seq->T > 0)
        recurrent_run(&pass, layer->h0 != NULL || layer->seq->T > 1);
}

void cpu_recurrent_backward(struct backend *self, const struct recurrent *layer,
                            const struct recurrent_gradient *gradient)
{
    struct cpu *cpu = (struct cpu *)self;
    struct pass pass = {.cpu = cpu, .layer = layer, .gradient = gradient, .G = recurrent_gates(layer)};
    size_t size = (size_t)layer->seq->B * (size_t)layer->H;
    if (cpu->failed || layer->seq->T <= 0)
        return;
    pass.dh = cpu_scratch(cpu, 2 * size * sizeof *pass.dh);
    if (pass.dh == NULL)
        return;
    pass.dc = pass.dh + size;
    recurrent_run(&pass, gradient->dh0 != NULL || layer->seq->T > 1);
}
