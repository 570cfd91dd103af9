/* What a step of Adam leaves in the moments, and when it leaves rows alone. */
#include "worker/train/optimizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/small_model.h"

enum { SRC_VOCAB = 7, TGT_VOCAB = 6, WIDTH = SMALL_EMBED };

struct bench {
    struct small_model small;
    struct optimizer optimizer;
    struct outcome outcome;
};

static int test_optimizer_open(void **state)
{
    static struct bench bench;
    struct err err;
    struct config config;
    small_model_open(&bench.small, &config, SRC_VOCAB, TGT_VOCAB);
    config.train_clip = 0;
    bench.outcome = (struct outcome){0};
    assert_true(optimizer_open(&bench.optimizer, bench.small.model, &config, &err));
    *state = &bench;
    return 0;
}

static int test_optimizer_close(void **state)
{
    struct bench *bench = *state;
    optimizer_close(&bench->optimizer);
    small_model_close(&bench->small);
    return 0;
}

/* Clip and update with the gradient as it is: a batch of one shard with `tokens` tokens and a loss of 2. */
static void optimizer_step(struct bench *bench, uint64_t t, uint32_t tokens)
{
    struct err err;
    const struct small_model *small = &bench->small;
    const struct figures figures = {.loss_sum = 2, .tokens = tokens};
    step_rows_list(&bench->small.rows);
    assert_true(
        optimizer_clip(&bench->optimizer, small->gradient, &small->rows, &figures, 1, tokens, &bench->outcome, &err));
    optimizer_update(&bench->optimizer, small->gradient, &small->rows, t, &bench->outcome);
}

/* A step whose gradient is 1 in every element. */
static void test_optimizer_step(struct bench *bench, uint64_t t)
{
    for (size_t i = 0; i < bench->small.model->elements; i++)
        bench->small.gradient[i] = 1;
    optimizer_step(bench, t, 1);
}

static bool optimizer_has_touched(const struct bench *bench, enum model_side side, int row)
{
    return (bench->optimizer.touched[side][0] >> row & 1) != 0;
}

static const struct tensor *optimizer_last(const struct bench *bench)
{
    return model_tensor(bench->small.model, SIDE_TGT, ROLE_PROJECTION_BIAS);
}

/* 1 - 0.999, both as doubles: a beta that was rounded to float first would leave 0.00099998713. */
static void a_squared_gradient_counts_a_thousandth(void **state)
{
    struct bench *bench = *state;
    const struct tensor *bias = optimizer_last(bench);
    test_optimizer_step(bench, 1);
    for (size_t i = 0; i < bias->size; i++) {
        assert_true(bench->optimizer.m[bias->offset + i] == (float)0.1);
        assert_true(bench->optimizer.v[bias->offset + i] == (float)0.001);
    }
}

static void a_row_that_nothing_touched_stays(void **state)
{
    struct bench *bench = *state;
    const int32_t touched[] = {2, 5};
    const float *p = bench->small.model->parameters;
    step_rows_add(&bench->small.rows, SIDE_SRC, touched, 2);
    test_optimizer_step(bench, 1);
    for (int row = 0; row < SRC_VOCAB; row++)
        for (int k = 0; k < WIDTH; k++)
            assert_true((p[row * WIDTH + k] != 0) == (row == 2 || row == 5));
}

static void a_row_is_found_again_by_its_moments(void **state)
{
    struct bench *bench = *state;
    const int32_t touched[] = {4};
    struct err err;
    step_rows_add(&bench->small.rows, SIDE_SRC, touched, 1);
    test_optimizer_step(bench, 1);
    bench->optimizer.touched[SIDE_SRC][0] = bench->optimizer.touched[SIDE_TGT][0] = 0;
    assert_true(optimizer_find_touched(&bench->optimizer, &err));
    for (int row = 0; row < SRC_VOCAB; row++)
        assert_int_equal(optimizer_has_touched(bench, SIDE_SRC, row), row == 4);
    assert_int_equal(bench->optimizer.touched[SIDE_TGT][0], 0);
}

static void a_reset_forgets_moments_and_rows(void **state)
{
    struct bench *bench = *state;
    const int32_t touched[] = {1, 3};
    step_rows_add(&bench->small.rows, SIDE_SRC, touched, 2);
    test_optimizer_step(bench, 1);
    optimizer_reset(&bench->optimizer);
    for (size_t i = 0; i < bench->small.model->elements; i++)
        assert_true(bench->optimizer.m[i] == 0 && bench->optimizer.v[i] == 0);
    for (int side = 0; side < MODEL_SIDES; side++)
        assert_int_equal(bench->optimizer.touched[side][0], 0);
}

static void optimizer_check_norm(struct bench *bench, enum norm kind)
{
    struct model *model = bench->small.model;
    const int32_t rows[] = {1, 5};
    const struct tensor *weight = model_tensor(model, SIDE_SRC, ROLE_INPUT_WEIGHT);
    double sum = 0;
    size_t offset = bench->small.rows.lists[SIDE_SRC].tensor->offset;
    for (size_t i = 0; i < model->elements; i++)
        bench->small.gradient[i] = 0;
    for (int r = 0; r < 2; r++)
        for (int k = 0; k < WIDTH; k++)
            bench->small.gradient[offset + (size_t)(rows[r] * WIDTH + k)] = 0.1f * (float)(r + k + 1);
    for (size_t i = 0; i < weight->size; i++)
        bench->small.gradient[weight->offset + i] = 0.2f;
    for (size_t i = 0; i < model->elements; i++)
        sum += (double)bench->small.gradient[i] * (double)bench->small.gradient[i] / 9;
    bench->optimizer.norm = kind;
    step_rows_add(&bench->small.rows, SIDE_SRC, rows, 2);
    optimizer_step(bench, 1, 3);
    assert_true(fabs(bench->outcome.norm / sqrt(sum) - 1) < (kind == NORM_DOUBLE ? 1e-14 : 1e-6));
}

static void a_norm_is_that_of_the_rows_of_the_step_and_of_all_else(void **state)
{
    optimizer_check_norm(*state, NORM_DOUBLE);
    optimizer_check_norm(*state, NORM_FLOAT);
}

/* So that a checkpoint of a run that diverged cannot be taken for a good one. */
static void a_step_that_is_not_finite_changes_nothing_nor_do_later_ones(void **state)
{
    struct bench *bench = *state;
    const struct model *model = bench->small.model;
    bench->small.gradient[model->elements - 1] = INFINITY;
    optimizer_step(bench, 1, 1);
    assert_int_equal(bench->outcome.bad, OUTCOME_NORM);
    test_optimizer_step(bench, 2);
    assert_int_equal(bench->outcome.bad, OUTCOME_NORM);
    for (size_t i = 0; i < model->elements; i++)
        assert_true(model->parameters[i] == 0 && bench->optimizer.m[i] == 0 && bench->optimizer.v[i] == 0);
}

static void a_tensor_without_the_flag_does_not_decay(void **state)
{
    struct bench *bench = *state;
    struct model *model = bench->small.model;
    struct config config;
    struct err err;
    config_defaults(&config);
    config.train_optimizer = OPTIMIZER_SGD;
    config.train_weight_decay = 0.5;
    config.train_lr = 1;
    struct tensor *bias = &model->tensors[optimizer_last(bench) - model->tensors];
    bias->flags &= ~(unsigned)TENSOR_DECAYS;
    optimizer_close(&bench->optimizer);
    assert_true(optimizer_open(&bench->optimizer, model, &config, &err));
    for (size_t i = 0; i < model->elements; i++)
        model->parameters[i] = 1;
    optimizer_step(bench, 1, 1);
    for (size_t i = 0; i < model->elements; i++)
        assert_true(model->parameters[i] == (i < bias->offset ? 0.5f : 1.0f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_squared_gradient_counts_a_thousandth, test_optimizer_open,
                                        test_optimizer_close),
        cmocka_unit_test_setup_teardown(a_row_that_nothing_touched_stays, test_optimizer_open, test_optimizer_close),
        cmocka_unit_test_setup_teardown(a_row_is_found_again_by_its_moments, test_optimizer_open, test_optimizer_close),
        cmocka_unit_test_setup_teardown(a_reset_forgets_moments_and_rows, test_optimizer_open, test_optimizer_close),
        cmocka_unit_test_setup_teardown(a_step_that_is_not_finite_changes_nothing_nor_do_later_ones,
                                        test_optimizer_open, test_optimizer_close),
        cmocka_unit_test_setup_teardown(a_tensor_without_the_flag_does_not_decay, test_optimizer_open,
                                        test_optimizer_close),
        cmocka_unit_test_setup_teardown(a_norm_is_that_of_the_rows_of_the_step_and_of_all_else, test_optimizer_open,
                                        test_optimizer_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
