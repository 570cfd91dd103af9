/* The rows that a step looked up: listed once each, and the only ones that become zero again. */
#include "worker/step_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { SRC_VOCAB = 200, TGT_VOCAB = 130, WIDTH = 4, SRC = 0, TGT = 4 };

struct bench {
    struct backend *backend;
    struct model *model;
    struct step_rows rows;
    float *gradient;
};

static int s_open(void **state)
{
    static struct bench bench;
    struct err err;
    struct config config;
    config_defaults(&config);
    config.model_embed = WIDTH;
    config.model_hidden = 3;
    bench.backend = backend_open("cpu", 1, PRECISION_FP32, &err);
    assert_non_null(bench.backend);
    bench.model = model_new(bench.backend, &config, SRC_VOCAB, TGT_VOCAB, &err);
    assert_non_null(bench.model);
    assert_true(step_rows_open(&bench.rows, bench.model, &err));
    bench.gradient = bench.backend->op->alloc(bench.backend, bench.model->elements * sizeof(float), &err);
    assert_non_null(bench.gradient);
    *state = &bench;
    return 0;
}

static int s_close(void **state)
{
    struct bench *bench = *state;
    bench->backend->op->free(bench->backend, bench->gradient);
    step_rows_close(&bench->rows);
    model_destroy(&bench->model);
    backend_close(&bench->backend);
    return 0;
}

static void s_check_list(const struct row_list *list, const int32_t *right, int count)
{
    assert_int_equal(list->count, count);
    assert_memory_equal(list->host, right, (size_t)count * sizeof *right);
    assert_memory_equal(list->index, right, (size_t)count * sizeof *right);
}

static void rows_are_listed_once_and_rising(void **state)
{
    struct bench *bench = *state;
    step_rows_add(&bench->rows, SRC, (const int32_t[]){64, 199, 3}, 3);
    step_rows_add(&bench->rows, TGT, (const int32_t[]){129, 0}, 2);
    step_rows_add(&bench->rows, SRC, (const int32_t[]){3, 63, 128}, 3);
    step_rows_list(&bench->rows);
    s_check_list(&bench->rows.lists[0], (const int32_t[]){3, 63, 64, 128, 199}, 5);
    s_check_list(&bench->rows.lists[1], (const int32_t[]){0, 129}, 2);
    assert_string_equal(bench->rows.lists[1].tensor->name, bench->model->tensors[TGT].name);
}

static void clearing_zeroes_these_rows_and_no_others(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < bench->model->elements; i++)
        bench->gradient[i] = 1;
    step_rows_add(&bench->rows, SRC, (const int32_t[]){64, 3}, 2);
    step_rows_add(&bench->rows, TGT, (const int32_t[]){129}, 1);
    step_rows_clear(&bench->rows, bench->gradient);
    size_t src = bench->model->tensors[SRC].offset, tgt = bench->model->tensors[TGT].offset, zeroes = 0;
    for (size_t i = 0; i < bench->model->elements; i++)
        zeroes += bench->gradient[i] == 0;
    assert_int_equal(zeroes, 3 * WIDTH);
    for (size_t k = 0; k < WIDTH; k++)
        assert_true(bench->gradient[src + 64 * WIDTH + k] == 0 && bench->gradient[src + 3 * WIDTH + k] == 0 &&
                    bench->gradient[tgt + 129 * WIDTH + k] == 0);

    step_rows_list(&bench->rows);
    assert_int_equal(bench->rows.lists[0].count, 0);
    assert_int_equal(bench->rows.lists[1].count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_listed_once_and_rising, s_open, s_close),
        cmocka_unit_test_setup_teardown(clearing_zeroes_these_rows_and_no_others, s_open, s_close),
    };
    return cmocka_run_group_tests_name("step_rows", tests, NULL, NULL);
}
