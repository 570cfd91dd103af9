/* The recurrence of one row, and inputs that are kept: the values of the general operations, to the bit. */
#include "kernels/backend.h"
#include "kernels/decode.h"
#include "proto/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void *single_alloc(struct backend *backend, size_t size)
{
    struct err err;
    void *memory = backend->op->alloc(backend, size, &err);
    assert_non_null(memory);
    return memory;
}

static float *single_draw(struct backend *backend, struct mt19937 *random, size_t count, double scale)
{
    float *x = single_alloc(backend, count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(scale * mt19937_gauss(random));
    return x;
}

/* ---- one row ---- */

enum { STEPS = 14, TABLE = 5, LARGEST = 320 };

struct row {
    struct backend *backend;
    enum cell cell;
    int H, G;
    float *w_hh, *input, *h0, *c0; /* [G, H], [TABLE, G], [H], [H] */
    int32_t *slot;                 /* [STEPS] */
};

static void single_general(const struct row *row, int T, float *h, float *c)
{
    struct backend *backend = row->backend;
    size_t H = (size_t)row->H;
    int32_t rows[STEPS], offset[STEPS];
    for (int t = 0; t < T; t++) {
        rows[t] = 1;
        offset[t] = t;
    }
    struct sequence seq = {.B = 1, .T = T, .N = T, .rows = rows, .offset = offset};
    float *gates = single_alloc(backend, STEPS * (size_t)row->G * sizeof(float));
    float *all = single_alloc(backend, 2 * STEPS * H * sizeof(float));
    bool lstm = row->cell == CELL_LSTM;
    backend->op->recurrent_forward(backend, &(struct recurrent){.cell = row->cell,
                                                                .seq = &seq,
                                                                .H = row->H,
                                                                .input = row->input,
                                                                .slot = row->slot,
                                                                .w_hh = row->w_hh,
                                                                .h0 = row->h0,
                                                                .c0 = lstm ? row->c0 : NULL,
                                                                .gates = gates,
                                                                .c = all,
                                                                .h = all + STEPS * H,
                                                                .h_last = h,
                                                                .c_last = c});
    backend->op->free(backend, gates);
    backend->op->free(backend, all);
}

/* T steps in runs of `run`. */
static void single_check_row(const struct row *row, struct single *single, int T, int run)
{
    struct backend *backend = row->backend;
    float h[LARGEST], c[LARGEST], expected_h[LARGEST], expected_c[LARGEST];
    size_t size = (size_t)row->H * sizeof(float);
    struct err err;
    memcpy(h, row->h0, size);
    memcpy(c, row->c0, size);
    for (int t = 0; t < T; t += run)
        backend->op->decode->single_run(backend, single, row->input, row->slot + t, T - t < run ? T - t : run, h, c);
    single_general(row, T, expected_h, expected_c);
    assert_true(backend->op->check(backend, &err));
    assert_memory_equal(h, expected_h, size);
    if (row->cell == CELL_LSTM)
        assert_memory_equal(c, expected_c, size);
}

static void single_check_cell(enum cell cell, int H, int threads)
{
    struct mt19937 random;
    struct err err;
    struct row row = {.cell = cell, .H = H, .G = cell == CELL_LSTM ? 4 * H : H};
    row.backend = backend_open("cpu", threads, PRECISION_FP32, &err);
    assert_non_null(row.backend);
    mt19937_seed(&random, (uint64_t)H);
    size_t G = (size_t)row.G, width = (size_t)H;
    row.w_hh = single_draw(row.backend, &random, G * width, 0.2);
    row.input = single_draw(row.backend, &random, TABLE * G, 1);
    row.h0 = single_draw(row.backend, &random, width, 0.5);
    row.c0 = single_draw(row.backend, &random, width, 1);
    row.slot = single_alloc(row.backend, STEPS * sizeof *row.slot);
    for (int t = 0; t < STEPS; t++)
        row.slot[t] = (int32_t)mt19937_below(&random, TABLE);
    struct single *single = row.backend->op->decode->single_open(row.backend, cell, row.w_hh, H, NULL, &err);
    assert_non_null(single);
    single_check_row(&row, single, STEPS, STEPS);
    single_check_row(&row, single, STEPS, 1);
    single_check_row(&row, single, STEPS - 1, 3);
    row.backend->op->decode->single_close(row.backend, single);
    void *memory[] = {row.w_hh, row.input, row.h0, row.c0, row.slot};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        row.backend->op->free(row.backend, memory[i]);
    backend_close(&row.backend);
}

static void a_single_row_has_the_states_of_the_general_recurrence(void **state)
{
    (void)state;
    static const int widths[] = {1, 5, 16, 17, 48, 100, 256, LARGEST};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (int threads = 1; threads <= 4; threads++) {
            single_check_cell(CELL_LSTM, widths[i], threads);
            single_check_cell(CELL_RNN, widths[i], threads);
        }
}

/* ---- remembered inputs ---- */

struct inputs_fixture {
    struct backend *backend;
    struct inputs_of of;
    struct inputs *inputs;
    float *embedding, *w_ih, *bias;
};

static void single_open_inputs(struct inputs_fixture *fixture, int V, int E, int G)
{
    struct mt19937 random;
    struct err err;
    mt19937_seed(&random, 7);
    fixture->backend = backend_open("cpu", 2, PRECISION_FP32, &err);
    assert_non_null(fixture->backend);
    fixture->embedding = single_draw(fixture->backend, &random, (size_t)V * (size_t)E, 1);
    fixture->w_ih = single_draw(fixture->backend, &random, (size_t)G * (size_t)E, 0.1);
    fixture->bias = single_draw(fixture->backend, &random, (size_t)G, 0.1);
    fixture->of = (struct inputs_of){
        .V = V, .E = E, .G = G, .embedding = fixture->embedding, .w_ih = fixture->w_ih, .bias = fixture->bias};
    fixture->inputs = fixture->backend->op->decode->inputs_open(fixture->backend, &fixture->of, &err);
    assert_non_null(fixture->inputs);
}

static void single_close_inputs(struct inputs_fixture *fixture)
{
    struct backend *backend = fixture->backend;
    backend->op->decode->inputs_close(backend, fixture->inputs);
    backend->op->free(backend, fixture->embedding);
    backend->op->free(backend, fixture->w_ih);
    backend->op->free(backend, fixture->bias);
    backend_close(&fixture->backend);
}

/* Ask for tokens and compare with gather and gemm of the same. */
static void single_check_inputs(struct inputs_fixture *fixture, int32_t *token, int count)
{
    struct backend *backend = fixture->backend;
    struct err err;
    int E = fixture->of.E, G = fixture->of.G;
    float *x = single_alloc(backend, (size_t)count * (size_t)E * sizeof *x);
    float *expected = single_alloc(backend, (size_t)count * (size_t)G * sizeof *expected);
    int32_t *slot = single_alloc(backend, (size_t)count * sizeof *slot);
    const float *rows = backend->op->decode->inputs_rows(backend, fixture->inputs, token, count, slot);
    backend->op->gather(backend, fixture->embedding, token, count, E, x);
    backend->op->gemm(backend, &(struct gemm){.M = count,
                                              .N = G,
                                              .K = E,
                                              .a = x,
                                              .b = fixture->w_ih,
                                              .bias = fixture->bias,
                                              .c = expected,
                                              .transpose_b = true});
    assert_true(backend->op->check(backend, &err));
    for (int n = 0; n < count; n++)
        assert_memory_equal(rows + (size_t)slot[n] * (size_t)G, expected + (size_t)n * (size_t)G,
                            (size_t)G * sizeof(float));
    backend->op->free(backend, x);
    backend->op->free(backend, expected);
    backend->op->free(backend, slot);
}

static void single_ask(struct inputs_fixture *fixture, struct mt19937 *random, int count)
{
    int32_t *token = single_alloc(fixture->backend, (size_t)count * sizeof *token);
    for (int n = 0; n < count; n++)
        token[n] = (int32_t)mt19937_below(random, (uint32_t)fixture->of.V);
    single_check_inputs(fixture, token, count);
    fixture->backend->op->free(fixture->backend, token);
}

static void a_remembered_input_is_that_of_the_product(void **state)
{
    (void)state;
    struct inputs_fixture fixture;
    struct mt19937 random;
    mt19937_seed(&random, 8);
    single_open_inputs(&fixture, 50, 19, 44);
    for (int round = 0; round < 100; round++)
        single_ask(&fixture, &random, 1 + (int)mt19937_below(&random, 70));
    single_close_inputs(&fixture);
}

/* Rows of 64 KiB: there is space for a few hundred, then for as many as one call needs. */
static void inputs_beyond_the_memory_are_dropped_and_return(void **state)
{
    (void)state;
    struct inputs_fixture fixture;
    struct mt19937 random;
    mt19937_seed(&random, 9);
    single_open_inputs(&fixture, 2000, 2, 16 * 1024);
    for (int round = 0; round < 8; round++)
        single_ask(&fixture, &random, 100);
    single_ask(&fixture, &random, 500);
    single_ask(&fixture, &random, 3);
    single_close_inputs(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_row_has_the_states_of_the_general_recurrence),
        cmocka_unit_test(a_remembered_input_is_that_of_the_product),
        cmocka_unit_test(inputs_beyond_the_memory_are_dropped_and_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
