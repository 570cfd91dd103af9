/* recurrent.c - one recurrent layer over a whole packed sequence, forward and backward. */
#include "kernels/cpu/cpu.h"

#include <string.h>

enum { ROWS_WORTH = 8 };

static int s_gates(const struct recurrent *layer)
{
    return layer->cell == CELL_LSTM ? 4 * layer->H : layer->H;
}

static void s_copy_rows(float *to, const float *from, int rows, int width)
{
    if (to == NULL || rows <= 0)
        return;
    if (from == NULL)
        memset(to, 0, (size_t)rows * (size_t)width * sizeof *to);
    else
        memcpy(to, from, (size_t)rows * (size_t)width * sizeof *to);
}

/* Row r of a matrix that may be absent. */
static const float *s_row(const float *matrix, size_t row, int width)
{
    return matrix != NULL ? matrix + row * (size_t)width : NULL;
}

static void s_cell_forward(struct cpu *cpu, const struct recurrent *layer, size_t at, int rows, const float *c_before)
{
    int H = layer->H, G = s_gates(layer);
#pragma omp parallel num_threads(cpu_threads_for(cpu, (size_t)rows, ROWS_WORTH))
    {
        struct slice s = cpu_slice((size_t)rows, 1);
        size_t n = at + s.first;
        float *gates = layer->gates + n * (size_t)G, *h = layer->h + n * (size_t)H;
        if (layer->cell == CELL_LSTM) {
            cpu->vector->lstm_forward((int)s.count, H, gates, layer->input, layer->slot + n,
                                      s_row(c_before, s.first, H), layer->c + n * (size_t)H, h);
        } else {
            cpu->vector->rnn_forward((int)s.count, H, gates, layer->input, layer->slot + n);
            s_copy_rows(h, gates, (int)s.count, H);
        }
    }
}

void cpu_recurrent_forward(struct backend *self, const struct recurrent *layer)
{
    struct cpu *cpu = (struct cpu *)self;
    const struct sequence *seq = layer->seq;
    int H = layer->H, G = s_gates(layer);
    bool lstm = layer->cell == CELL_LSTM;
    const float *h = layer->h0, *c = lstm ? layer->c0 : NULL;

    for (int t = 0; t < seq->T && !cpu->failed; t++) {
        int rows = seq->rows[t], next = t + 1 < seq->T ? seq->rows[t + 1] : 0;
        size_t at = (size_t)seq->offset[t], ended = at + (size_t)next;
        float *gates = layer->gates + at * (size_t)G;
        if (h != NULL)
            cpu_gemm(self, &(struct gemm){
                               .M = rows, .N = G, .K = H, .a = h, .b = layer->w_hh, .c = gates, .transpose_b = true});
        else
            s_copy_rows(gates, NULL, rows, G);
        if (layer->h_before != NULL)
            s_copy_rows(layer->h_before + at * (size_t)H, h, rows, H);
        s_cell_forward(cpu, layer, at, rows, c);
        h = layer->h + at * (size_t)H;
        c = lstm ? layer->c + at * (size_t)H : NULL;
        if (layer->h_last != NULL)
            s_copy_rows(layer->h_last + (size_t)next * (size_t)H, layer->h + ended * (size_t)H, rows - next, H);
        if (lstm && layer->c_last != NULL)
            s_copy_rows(layer->c_last + (size_t)next * (size_t)H, layer->c + ended * (size_t)H, rows - next, H);
    }
}

/* dgates of `rows` positions from `at`: gates become dgates. */
static void s_cell_backward(struct cpu *cpu, const struct recurrent *layer, size_t at, int rows, const float *c_before,
                            const float *dh_above, float *dh, float *dc)
{
    int H = layer->H, G = s_gates(layer);
#pragma omp parallel num_threads(cpu_threads_for(cpu, (size_t)rows, ROWS_WORTH))
    {
        struct slice s = cpu_slice((size_t)rows, 1);
        size_t n = at + s.first, w = s.first * (size_t)H;
        float *gates = layer->gates + n * (size_t)G;
        if (dh_above != NULL)
            cpu->vector->add(s.count * (size_t)H, dh + w, dh_above + n * (size_t)H);
        if (layer->cell == CELL_LSTM)
            cpu->vector->lstm_backward((int)s.count, H, gates, c_before + w, layer->c + n * (size_t)H, dh + w, dc + w);
        else
            cpu->vector->rnn_backward((int)s.count, H, gates, dh + w);
    }
}

void cpu_recurrent_backward(struct backend *self, const struct recurrent *layer,
                            const struct recurrent_gradient *gradient)
{
    struct cpu *cpu = (struct cpu *)self;
    const struct sequence *seq = layer->seq;
    int H = layer->H, G = s_gates(layer);
    size_t size = (size_t)seq->B * (size_t)H;
    bool lstm = layer->cell == CELL_LSTM;
    float *dh = cpu->failed ? NULL : cpu_scratch(cpu, 3 * size * sizeof *dh), *dc, *zero;
    if (dh == NULL)
        return;
    dc = dh + size;
    zero = dc + size;
    memset(zero, 0, size * sizeof *zero);

    for (int t = seq->T - 1; t >= 0 && !cpu->failed; t--) {
        int rows = seq->rows[t], next = t + 1 < seq->T ? seq->rows[t + 1] : 0;
        size_t at = (size_t)seq->offset[t], first = (size_t)next * (size_t)H;
        if (next > 0)
            cpu_gemm(self, &(struct gemm){.M = next,
                                          .N = H,
                                          .K = G,
                                          .a = layer->gates + (size_t)seq->offset[t + 1] * (size_t)G,
                                          .b = layer->w_hh,
                                          .c = dh});
        s_copy_rows(dh + first, s_row(gradient->dh_last, (size_t)next, H), rows - next, H);
        s_copy_rows(dc + first, s_row(gradient->dc_last, (size_t)next, H), rows - next, H);
        const float *c_before = !lstm               ? NULL
                                : t > 0             ? layer->c + (size_t)seq->offset[t - 1] * (size_t)H
                                : layer->c0 != NULL ? layer->c0
                                                    : zero;
        s_cell_backward(cpu, layer, at, rows, c_before, gradient->dh, dh, dc);
    }
    if (gradient->dh0 != NULL && seq->T > 0)
        cpu_gemm(self, &(struct gemm){
                           .M = seq->rows[0], .N = H, .K = G, .a = layer->gates, .b = layer->w_hh, .c = gradient->dh0});
    if (lstm && gradient->dc0 != NULL)
        s_copy_rows(gradient->dc0, dc, seq->B, H);
}
