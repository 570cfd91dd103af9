/* The rows that a step looked up: listed once each, and the only ones that become zero again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/small_model.h"

enum { SRC_VOCAB = 200, TGT_VOCAB = 130, WIDTH = SMALL_EMBED };

static int test_step_rows_open(void **state)
{
    static struct small_model small;
    struct config config;
    small_model_open(&small, &config, SRC_VOCAB, TGT_VOCAB);
    *state = &small;
    return 0;
}

static int test_step_rows_close(void **state)
{
    small_model_close(*state);
    return 0;
}

static void step_rows_check_list(const struct row_list *list, const int32_t *right, int count)
{
    assert_int_equal(list->count, count);
    assert_memory_equal(list->host, right, (size_t)count * sizeof *right);
    assert_memory_equal(list->index, right, (size_t)count * sizeof *right);
}

static void rows_are_listed_once_and_rising(void **state)
{
    struct small_model *small = *state;
    step_rows_add(&small->rows, SIDE_SRC, (const int32_t[]){64, 199, 3}, 3);
    step_rows_add(&small->rows, SIDE_TGT, (const int32_t[]){129, 0}, 2);
    step_rows_add(&small->rows, SIDE_SRC, (const int32_t[]){3, 63, 128}, 3);
    step_rows_list(&small->rows);
    step_rows_check_list(&small->rows.lists[0], (const int32_t[]){3, 63, 64, 128, 199}, 5);
    step_rows_check_list(&small->rows.lists[1], (const int32_t[]){0, 129}, 2);
    assert_string_equal(small->rows.lists[1].tensor->name, model_tensor(small->model, SIDE_TGT, ROLE_EMBEDDING)->name);
}

static void clearing_zeroes_these_rows_and_no_others(void **state)
{
    struct small_model *small = *state;
    for (size_t i = 0; i < small->model->elements; i++)
        small->gradient[i] = 1;
    step_rows_add(&small->rows, SIDE_SRC, (const int32_t[]){64, 3}, 2);
    step_rows_add(&small->rows, SIDE_TGT, (const int32_t[]){129}, 1);
    step_rows_clear(&small->rows, small->gradient);
    size_t src = small->rows.lists[SIDE_SRC].tensor->offset, tgt = small->rows.lists[SIDE_TGT].tensor->offset,
           zeroes = 0;
    for (size_t i = 0; i < small->model->elements; i++)
        zeroes += small->gradient[i] == 0;
    assert_int_equal(zeroes, 3 * WIDTH);
    for (size_t k = 0; k < WIDTH; k++)
        assert_true(small->gradient[src + 64 * WIDTH + k] == 0 && small->gradient[src + 3 * WIDTH + k] == 0 &&
                    small->gradient[tgt + 129 * WIDTH + k] == 0);

    step_rows_list(&small->rows);
    assert_int_equal(small->rows.lists[0].count, 0);
    assert_int_equal(small->rows.lists[1].count, 0);
}

/* So that several gradients of a step can be cleared before its rows are forgotten. */
static void zeroing_leaves_the_list_as_it_was(void **state)
{
    struct small_model *small = *state;
    size_t src = small->rows.lists[SIDE_SRC].tensor->offset, zeroes = 0;
    for (size_t i = 0; i < small->model->elements; i++)
        small->gradient[i] = 1;
    step_rows_add(&small->rows, SIDE_SRC, (const int32_t[]){7}, 1);
    step_rows_list(&small->rows);
    step_rows_zero(&small->rows, small->gradient);
    for (size_t i = 0; i < small->model->elements; i++)
        zeroes += small->gradient[i] == 0;
    assert_int_equal(zeroes, WIDTH);
    for (size_t k = 0; k < WIDTH; k++)
        assert_true(small->gradient[src + 7 * WIDTH + k] == 0);
    step_rows_check_list(&small->rows.lists[0], (const int32_t[]){7}, 1);
    assert_true(step_rows_have(&small->rows, SIDE_SRC, (const int32_t[]){7}, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_listed_once_and_rising, test_step_rows_open, test_step_rows_close),
        cmocka_unit_test_setup_teardown(clearing_zeroes_these_rows_and_no_others, test_step_rows_open,
                                        test_step_rows_close),
        cmocka_unit_test_setup_teardown(zeroing_leaves_the_list_as_it_was, test_step_rows_open, test_step_rows_close),
    };
    return cmocka_run_group_tests_name("step_rows", tests, NULL, NULL);
}
