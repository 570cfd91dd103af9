/* test_recurrent.c - recurrent layers over packed sequences against a twin in double: states, and gradients by finite
 * differences; the same bits on any number of threads and with any other rows. */
#include "kernels/backend.h"
#include "proto/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_B = 40, MOST_T = 7, MOST_N = MOST_B * MOST_T, MOST_H = 37, MOST_G = 4 * MOST_H, MOST_U = 50 };

/* A whole layer with its gradients, as large as any test needs. */
struct trial {
    struct sequence seq;
    int32_t rows[MOST_T], offset[MOST_T], slot[MOST_N], first[MOST_U + 1], index[MOST_N];
    int H, G, U;
    enum cell cell;
    bool starts; /* h0 and c0 are given */
    float input[MOST_U * MOST_G], w_hh[MOST_G * MOST_H], h0[MOST_B * MOST_H], c0[MOST_B * MOST_H];
    float gates[MOST_N * MOST_G], c[MOST_N * MOST_H], h[MOST_N * MOST_H], h_before[MOST_N * MOST_H];
    float h_last[MOST_B * MOST_H], c_last[MOST_B * MOST_H];
    /* The loss's weight of each output; and gradients. */
    float dh[MOST_N * MOST_H], dh_last[MOST_B * MOST_H], dc_last[MOST_B * MOST_H];
    float dh0[MOST_B * MOST_H], dc0[MOST_B * MOST_H], dw[MOST_G * MOST_H], dinput[MOST_U * MOST_G];
};

static void recurrent_fill(float *x, size_t count, uint64_t seed, double scale)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(((double)(splitmix(seed * 1000003 + i) >> 11) * 0x1p-52 - 1.0) * scale);
}

static struct trial *recurrent_trial(enum cell cell, int H, const int32_t *rows, int T, bool starts)
{
    struct trial *x = calloc(1, sizeof *x);
    assert_non_null(x);
    x->cell = cell;
    x->H = H;
    x->G = cell == CELL_LSTM ? 4 * H : H;
    x->U = MOST_U;
    x->starts = starts;
    for (int t = 0; t < T; t++) {
        x->rows[t] = rows[t];
        x->offset[t] = t > 0 ? x->offset[t - 1] + rows[t - 1] : 0;
    }
    x->seq = (struct sequence){
        .B = rows[0], .T = T, .N = x->offset[T - 1] + rows[T - 1], .rows = x->rows, .offset = x->offset};
    for (int n = 0; n < x->seq.N; n++)
        x->slot[n] = (int32_t)(splitmix((uint64_t)n) % MOST_U);
    for (int u = 0; u < x->U; u++) {
        x->first[u + 1] = x->first[u];
        for (int n = 0; n < x->seq.N; n++)
            if (x->slot[n] == u)
                x->index[x->first[u + 1]++] = n;
    }
    recurrent_fill(x->input, MOST_U * MOST_G, 1, 1.5);
    recurrent_fill(x->w_hh, MOST_G * MOST_H, 2, 0.6);
    recurrent_fill(x->h0, MOST_B * MOST_H, 3, 1.0);
    recurrent_fill(x->c0, MOST_B * MOST_H, 4, 1.0);
    recurrent_fill(x->dh, MOST_N * MOST_H, 5, 1.0);
    recurrent_fill(x->dh_last, MOST_B * MOST_H, 6, 1.0);
    recurrent_fill(x->dc_last, MOST_B * MOST_H, 7, 1.0);
    return x;
}

static struct recurrent recurrent_layer(struct trial *x)
{
    bool lstm = x->cell == CELL_LSTM;
    return (struct recurrent){.cell = x->cell,
                              .seq = &x->seq,
                              .H = x->H,
                              .input = x->input,
                              .slot = x->slot,
                              .w_hh = x->w_hh,
                              .h0 = x->starts ? x->h0 : NULL,
                              .c0 = x->starts && lstm ? x->c0 : NULL,
                              .gates = x->gates,
                              .c = lstm ? x->c : NULL,
                              .h = x->h,
                              .h_before = x->h_before,
                              .h_last = x->h_last,
                              .c_last = lstm ? x->c_last : NULL};
}

static void test_recurrent_forward(struct backend *backend, struct trial *x)
{
    const struct recurrent layer = recurrent_layer(x);
    backend->op->recurrent_forward(backend, &layer);
}

static void test_recurrent_backward(struct backend *backend, struct trial *x)
{
    const struct recurrent layer = recurrent_layer(x);
    const struct segments positions = {.N = x->seq.N, .U = x->U, .first = x->first, .index = x->index};
    const struct recurrent_gradient gradient = {.dh = x->dh,
                                                .dh_last = x->dh_last,
                                                .dc_last = x->cell == CELL_LSTM ? x->dc_last : NULL,
                                                .dh0 = x->dh0,
                                                .dc0 = x->cell == CELL_LSTM ? x->dc0 : NULL};
    backend->op->recurrent_backward(backend, &layer, &gradient);
    backend->op->gemm(
        backend,
        &(struct gemm){
            .M = x->G, .N = x->H, .K = x->seq.N, .a = x->gates, .b = x->h_before, .c = x->dw, .transpose_a = true});
    backend->op->segment_sum(backend, x->gates, &positions, x->G, x->dinput);
}

static struct backend *recurrent_open(int threads)
{
    struct err err = {.text = ""};
    struct backend *backend = backend_open("cpu", threads, PRECISION_FP32, &err);
    if (backend == NULL)
        fail_msg("%s", err.text);
    return backend;
}

static void recurrent_close(struct backend *backend)
{
    struct err err = {.text = ""};
    if (!backend->op->check(backend, &err))
        fail_msg("%s", err.text);
    backend_close(&backend);
}

/* ---- the twin ---- */

static double recurrent_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* One step of row r in double; h and c [H] are the row's state. */
static void recurrent_twin_step(const struct trial *x, int n, double *h, double *c)
{
    size_t H = (size_t)x->H, G = (size_t)x->G;
    double gate[MOST_G];
    for (size_t g = 0; g < G; g++) {
        gate[g] = (double)x->input[(size_t)x->slot[n] * G + g];
        for (size_t k = 0; k < H; k++)
            gate[g] += (double)x->w_hh[g * H + k] * h[k];
    }
    for (size_t j = 0; j < H; j++) {
        if (x->cell == CELL_RNN) {
            h[j] = tanh(gate[j]);
            continue;
        }
        c[j] = recurrent_sigmoid(gate[H + j]) * c[j] + recurrent_sigmoid(gate[j]) * tanh(gate[2 * H + j]);
        h[j] = recurrent_sigmoid(gate[3 * H + j]) * tanh(c[j]);
    }
}

/* The loss: each output times its weight. With `compare`, also each state against the backend's. */
static double recurrent_twin(const struct trial *x, bool compare)
{
    size_t H = (size_t)x->H;
    double loss = 0.0;
    for (int r = 0; r < x->seq.B; r++) {
        double h[MOST_H] = {0}, c[MOST_H] = {0};
        for (size_t j = 0; j < H && x->starts; j++) {
            h[j] = (double)x->h0[(size_t)r * H + j];
            c[j] = x->cell == CELL_LSTM ? (double)x->c0[(size_t)r * H + j] : 0.0;
        }
        for (int t = 0; t < x->seq.T && r < x->seq.rows[t]; t++) {
            size_t n = (size_t)(x->seq.offset[t] + r);
            for (size_t j = 0; j < H && compare; j++)
                assert_true(fabs(h[j] - (double)x->h_before[n * H + j]) < 3e-6);
            recurrent_twin_step(x, (int)n, h, c);
            for (size_t j = 0; j < H; j++) {
                loss += h[j] * (double)x->dh[n * H + j];
                assert_true(!compare || fabs(h[j] - (double)x->h[n * H + j]) < 3e-6);
            }
        }
        for (size_t j = 0; j < H; j++) {
            size_t at = (size_t)r * H + j;
            loss += h[j] * (double)x->dh_last[at] + (x->cell == CELL_LSTM ? c[j] * (double)x->dc_last[at] : 0.0);
            assert_true(!compare || fabs(h[j] - (double)x->h_last[at]) < 3e-6);
            assert_true(!compare || x->cell != CELL_LSTM || fabs(c[j] - (double)x->c_last[at]) < 3e-6);
        }
    }
    return loss;
}

/* d loss / d value[i] for each `stride`-th i, by finite differences of the twin, against `got`. */
static void recurrent_differences(struct trial *x, float *value, const float *got, size_t count, size_t stride,
                                  const char *what)
{
    for (size_t i = 0; i < count; i += stride) {
        const float kept = value[i], d = 1e-3f;
        value[i] = kept + d;
        double up = recurrent_twin(x, false), upper = (double)value[i];
        value[i] = kept - d;
        double down = recurrent_twin(x, false), lower = (double)value[i];
        value[i] = kept;
        double want = (up - down) / (upper - lower);
        if (!(fabs((double)got[i] - want) < 2e-5 * (1.0 + fabs(want))))
            fail_msg("%s[%zu]: %.9g, not %.9g", what, i, (double)got[i], want);
    }
}

/* ---- the tests ---- */

static const int32_t recurrent_falling[] = {9, 9, 5, 4, 1, 1}, recurrent_level[] = {3, 3, 3}, recurrent_single[] = {1},
                     recurrent_wide[] = {37, 20, 19, 8, 7, 7, 2};
static const struct {
    const int32_t *rows;
    int T, H;
} recurrent_shapes[] = {
    {recurrent_falling, 6, 5}, {recurrent_level, 3, 16}, {recurrent_single, 1, 3}, {recurrent_wide, 7, 37}};
enum { SHAPES = sizeof recurrent_shapes / sizeof recurrent_shapes[0] };

static struct trial *recurrent_shape(int i, enum cell cell, bool starts)
{
    return recurrent_trial(cell, recurrent_shapes[i].H, recurrent_shapes[i].rows, recurrent_shapes[i].T, starts);
}

static void states_are_those_of_the_formula(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++)
        for (int i = 0; i < SHAPES * 4; i++) {
            struct backend *backend = recurrent_open(threads);
            struct trial *x = recurrent_shape(i / 4, i % 2 == 0 ? CELL_LSTM : CELL_RNN, i / 2 % 2 == 0);
            test_recurrent_forward(backend, x);
            recurrent_twin(x, true);
            free(x);
            recurrent_close(backend);
        }
}

static void gradients_agree_with_finite_differences(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES * 2; i++) {
        struct backend *backend = recurrent_open(2);
        struct trial *x = recurrent_shape(i / 2, i % 2 == 0 ? CELL_LSTM : CELL_RNN, true);
        size_t H = (size_t)x->H, G = (size_t)x->G, B = (size_t)x->seq.B;
        test_recurrent_forward(backend, x);
        test_recurrent_backward(backend, x);
        recurrent_differences(x, x->w_hh, x->dw, G * H, 1 + G * H / 40, "w_hh");
        recurrent_differences(x, x->input, x->dinput, (size_t)x->U * G, 1 + (size_t)x->U * G / 40, "input");
        recurrent_differences(x, x->h0, x->dh0, B * H, 1 + B * H / 30, "h0");
        if (x->cell == CELL_LSTM)
            recurrent_differences(x, x->c0, x->dc0, B * H, 1 + B * H / 30, "c0");
        free(x);
        recurrent_close(backend);
    }
}

static void absent_gradients_are_zeros(void **state)
{
    (void)state;
    for (int cell = CELL_LSTM; cell <= CELL_RNN; cell++) {
        struct backend *backend = recurrent_open(2);
        struct trial *x = recurrent_shape(0, (enum cell)cell, false), *y = recurrent_shape(0, (enum cell)cell, false);
        memset(x->dh, 0, sizeof x->dh);
        memset(x->dc_last, 0, sizeof x->dc_last);
        test_recurrent_forward(backend, x);
        test_recurrent_forward(backend, y);
        test_recurrent_backward(backend, x);
        const struct recurrent layer = recurrent_layer(y);
        backend->op->recurrent_backward(backend, &layer, &(struct recurrent_gradient){.dh_last = y->dh_last});
        assert_memory_equal(x->gates, y->gates, sizeof x->gates);
        free(x);
        free(y);
        recurrent_close(backend);
    }
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES * 2; i++) {
        struct trial *x = recurrent_shape(i / 2, i % 2 == 0 ? CELL_LSTM : CELL_RNN, true);
        struct backend *one = recurrent_open(1);
        test_recurrent_forward(one, x);
        test_recurrent_backward(one, x);
        recurrent_close(one);
        for (int threads = 2; threads <= 5; threads++) {
            struct trial *y = recurrent_shape(i / 2, i % 2 == 0 ? CELL_LSTM : CELL_RNN, true);
            struct backend *many = recurrent_open(threads);
            test_recurrent_forward(many, y);
            test_recurrent_backward(many, y);
            x->seq = y->seq;
            assert_memory_equal(x, y, sizeof *x);
            free(y);
            recurrent_close(many);
        }
        free(x);
    }
}

/* The first rows of a batch, alone, and one step after the other as decoding does. */
static void a_row_does_not_depend_on_its_company(void **state)
{
    (void)state;
    enum { H = 37, B = 40, T = 3 };
    static const int32_t all[T] = {B, B, B};
    struct backend *backend = recurrent_open(2);
    for (int cell = CELL_LSTM; cell <= CELL_RNN; cell++) {
        struct trial *x = recurrent_trial((enum cell)cell, H, all, T, true);
        test_recurrent_forward(backend, x);
        for (int32_t few = 1; few < B; few += 6) {
            struct trial *y = recurrent_trial((enum cell)cell, H, &few, 1, true);
            struct recurrent layer = recurrent_layer(y);
            layer.h_before = NULL;
            layer.h_last = y->h0; /* a step's last state may take the place of its first */
            layer.c_last = cell == CELL_LSTM ? y->c0 : NULL;
            for (int t = 0; t < T; t++) {
                memcpy(y->slot, x->slot + t * B, (size_t)few * sizeof *y->slot);
                backend->op->recurrent_forward(backend, &layer);
                assert_memory_equal(y->h0, x->h + (size_t)t * B * H, (size_t)few * H * sizeof *y->h);
            }
            free(y);
        }
        free(x);
    }
    recurrent_close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_those_of_the_formula),
        cmocka_unit_test(gradients_agree_with_finite_differences),
        cmocka_unit_test(absent_gradients_are_zeros),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_row_does_not_depend_on_its_company),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
