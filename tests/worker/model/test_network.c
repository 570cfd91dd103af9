/* The model's gradients against finite differences, and what packing must not change. */
#include "proto/base/random.h"
#include "proto/text/vocab.h"
#include "worker/model/network.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 5, SRC_VOCAB = 11, TGT_VOCAB = 13, LENGTH = 7 };

struct fixture {
    struct config config;
    struct backend *backend;
    struct model *model;
    struct network network;
    struct batch batch;
    struct rows rows;
    uint16_t src_lengths[ROWS], tgt_lengths[ROWS], ids[ROWS * 2 * LENGTH];
    float *gradient;
    struct weights gradient_of;
};

static void network_draw_rows(struct fixture *fixture)
{
    static const uint16_t src[ROWS] = {3, 7, 1, 4, 4}, tgt[ROWS] = {2, 5, 6, 1, 5};
    struct mt19937 random;
    size_t used = 0;
    mt19937_seed(&random, 7);
    for (int r = 0; r < ROWS; r++) {
        fixture->src_lengths[r] = src[r];
        fixture->tgt_lengths[r] = tgt[r];
        for (int i = 0; i < src[r]; i++)
            fixture->ids[used++] = (uint16_t)(1 + mt19937_below(&random, SRC_VOCAB - 1));
        for (int i = 0; i < tgt[r]; i++)
            fixture->ids[used++] = (uint16_t)(1 + mt19937_below(&random, TGT_VOCAB - 1));
    }
    fixture->rows = (struct rows){.count = ROWS,
                                  .src_lengths = fixture->src_lengths,
                                  .tgt_lengths = fixture->tgt_lengths,
                                  .ids = fixture->ids,
                                  .id_count = used};
}

static void network_open(struct fixture *fixture, enum cell cell)
{
    struct err err;
    memset(fixture, 0, sizeof *fixture);
    config_defaults(&fixture->config);
    fixture->config.model_cell = cell;
    fixture->config.model_embed = 5;
    fixture->config.model_hidden = 6;
    fixture->backend = backend_open("cpu", 2, PRECISION_FP32, &err);
    assert_non_null(fixture->backend);
    fixture->model = model_new(fixture->backend, &fixture->config, SRC_VOCAB, TGT_VOCAB, &err);
    assert_non_null(fixture->model);
    assert_true(model_init(fixture->model, 3, &err));
    fixture->network.model = fixture->model;
    fixture->batch.backend = fixture->backend;
    fixture->gradient = fixture->backend->op->alloc(fixture->backend, fixture->model->elements * sizeof(float), &err);
    assert_non_null(fixture->gradient);
    fixture->gradient_of = model_weights(fixture->model, fixture->gradient);
    network_draw_rows(fixture);
}

static void network_close(struct fixture *fixture)
{
    fixture->backend->op->free(fixture->backend, fixture->gradient);
    network_free(&fixture->network);
    batch_free(&fixture->batch);
    model_destroy(&fixture->model);
    backend_close(&fixture->backend);
}

static void network_pack(struct fixture *fixture, uint32_t first, uint32_t count, int pad_to)
{
    struct err err = {0};
    struct rows from = fixture->rows;
    rows_take(&from, first);
    const struct rows rows = rows_take(&from, count);
    if (!batch_pack(&fixture->batch, &rows, pad_to, SRC_VOCAB, TGT_VOCAB, &err))
        fail_msg("%s", err.text);
}

/* The loss and the gradient of the batch. */
static struct figures network_differentiate(struct fixture *fixture)
{
    struct err err = {0};
    struct figures result;
    struct network *network = &fixture->network;
    memset(fixture->gradient, 0, fixture->model->elements * sizeof(float));
    if (!network_begin(network, &fixture->batch, &err))
        fail_msg("%s", err.text);
    network_forward(network, &fixture->batch);
    network_loss(network, &fixture->batch, &fixture->gradient_of);
    network_backward(network, &fixture->batch, &fixture->gradient_of);
    network_score(network, &fixture->batch, network->figures);
    fixture->backend->op->download(fixture->backend, &result, network->figures, sizeof result);
    if (!fixture->backend->op->check(fixture->backend, &err))
        fail_msg("%s", err.text);
    return result;
}

static double network_loss_sum(struct fixture *fixture)
{
    struct err err = {0};
    struct figures result;
    if (!network_evaluate(&fixture->network, &fixture->batch, &result, &err))
        fail_msg("%s", err.text);
    return result.loss_sum;
}

static void network_check_gradients(enum cell cell, int pad_to)
{
    struct fixture fixture;
    network_open(&fixture, cell);
    network_pack(&fixture, 0, ROWS, pad_to);
    network_differentiate(&fixture);
    struct model *model = fixture.model;
    const float step = 1.0f / 128;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        size_t skip = tensor->role == ROLE_EMBEDDING ? (size_t)tensor->shape[1] : 0; /* <pad> is fixed at zero */
        double worst = 0, scale = 1e-3;
        for (size_t k = skip; k < tensor->size; k++) {
            float *p = model->parameters + tensor->offset + k, kept = *p;
            *p = kept + step;
            double above = network_loss_sum(&fixture);
            *p = kept - step;
            double below = network_loss_sum(&fixture);
            *p = kept;
            double slope = (above - below) / (2.0 * (double)step);
            double given = (double)fixture.gradient[tensor->offset + k];
            worst = fmax(worst, fabs(slope - given));
            scale = fmax(scale, fabs(slope));
        }
        if (worst > 2e-3 * fmax(scale, 0.1))
            fail_msg("%s: gradient off by %g where the largest is %g", tensor->name, worst, scale);
    }
    network_close(&fixture);
}

static void lstm_gradients_are_finite_differences(void **state)
{
    (void)state;
    network_check_gradients(CELL_LSTM, 0);
}

static void lstm_gradients_over_padding_are_finite_differences(void **state)
{
    (void)state;
    network_check_gradients(CELL_LSTM, LENGTH + 1);
}

static void rnn_gradients_are_finite_differences(void **state)
{
    (void)state;
    network_check_gradients(CELL_RNN, 0);
    network_check_gradients(CELL_RNN, LENGTH + 1);
}

static void a_batch_is_the_sum_of_its_rows(void **state)
{
    (void)state;
    struct fixture fixture;
    network_open(&fixture, CELL_LSTM);
    network_pack(&fixture, 0, ROWS, 0);
    struct figures whole = network_differentiate(&fixture);
    size_t elements = fixture.model->elements;
    float *together = malloc(elements * sizeof *together), *added = calloc(elements, sizeof *added);
    assert_true(together != NULL && added != NULL);
    memcpy(together, fixture.gradient, elements * sizeof *together);
    struct figures sum = {0};
    for (uint32_t r = 0; r < ROWS; r++) {
        network_pack(&fixture, r, 1, 0);
        struct figures one = network_differentiate(&fixture);
        for (size_t i = 0; i < elements; i++)
            added[i] += fixture.gradient[i];
        sum.loss_sum += one.loss_sum;
        sum.tokens += one.tokens;
        sum.correct += one.correct;
    }
    assert_true(fabs(sum.loss_sum - whole.loss_sum) < 1e-5);
    assert_int_equal(sum.tokens, whole.tokens);
    assert_int_equal(sum.correct, whole.correct);
    for (size_t i = 0; i < elements; i++)
        if (fabsf(together[i] - added[i]) > 1e-5f)
            fail_msg("element %zu: %g together, %g row by row", i, (double)together[i], (double)added[i]);
    free(together);
    free(added);
    network_close(&fixture);
}

static void ids_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct err err = {0};
    network_open(&fixture, CELL_LSTM);
    fixture.ids[0] = SRC_VOCAB;
    assert_false(batch_pack(&fixture.batch, &fixture.rows, 0, SRC_VOCAB, TGT_VOCAB, &err));
    assert_int_equal(err.code, ERR_DATA);
    assert_non_null(strstr(err.text, "source id 11"));
    fixture.ids[0] = 1;
    fixture.ids[3] = ID_PAD;
    assert_false(batch_pack(&fixture.batch, &fixture.rows, 0, SRC_VOCAB, TGT_VOCAB, &err));
    assert_non_null(strstr(err.text, "target id 0"));
    network_close(&fixture);
}

/* Rows enough for 2^32 positions, were they all padded. */
static void a_batch_of_too_many_positions_is_refused(void **state)
{
    enum { MANY = 1 << 22, PADDED = 1 << 10 };
    struct fixture fixture;
    struct err err = {0};
    (void)state;
    network_open(&fixture, CELL_LSTM);
    uint16_t *ones = malloc(MANY * sizeof *ones);
    assert_non_null(ones);
    for (int r = 0; r < MANY; r++)
        ones[r] = 1;
    const struct rows rows = {.count = MANY, .src_lengths = ones, .tgt_lengths = ones, .ids = ones};
    assert_false(batch_pack(&fixture.batch, &rows, PADDED, SRC_VOCAB, TGT_VOCAB, &err));
    assert_int_equal(err.code, ERR_DATA);
    assert_non_null(strstr(err.text, "too many positions"));
    free(ones);
    network_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lstm_gradients_are_finite_differences),
        cmocka_unit_test(lstm_gradients_over_padding_are_finite_differences),
        cmocka_unit_test(rnn_gradients_are_finite_differences),
        cmocka_unit_test(a_batch_is_the_sum_of_its_rows),
        cmocka_unit_test(ids_outside_the_vocabulary_are_refused),
        cmocka_unit_test(a_batch_of_too_many_positions_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
