/* The meeting of the ranks, of which a failure must be one that a worker comes back from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/wire/message.h"
#include "worker/train/reduce.h"

#include <math.h>
#include <string.h>

#include "tests/support/small_model.h"

static int64_t reduce_ranks; /* that a sum of ones comes to */

static bool reduce_all_reduce(struct collective *self, enum collective_element element, void *data, size_t count,
                              uint64_t *handle, struct err *err)
{
    (void)self, (void)err;
    assert_int_equal(element, ELEMENT_I64);
    assert_int_equal(count, 1);
    *(int64_t *)data = reduce_ranks;
    *handle = 1;
    return true;
}

static bool test_reduce_wait(struct collective *self, uint64_t handle, struct err *err)
{
    (void)self, (void)handle, (void)err;
    return true;
}

static void a_wrong_number_of_ranks_fails_the_generation(void **state)
{
    (void)state;
    const struct collective_table table = {.all_reduce = reduce_all_reduce, .wait = test_reduce_wait};
    struct collective collective = {.op = &table};
    struct small_model small;
    struct config config;
    small_model_open(&small, &config, 5, 5);
    for (reduce_ranks = 2; reduce_ranks <= 4; reduce_ranks++) {
        struct reducer reducer;
        struct err err = {0};
        reducer_open(&reducer, small.model, &config, NULL);
        reducer_join(&reducer, &collective, 0, 3);
        assert_int_equal(reducer_meet(&reducer, &err), reduce_ranks == 3);
        assert_int_equal(reducer.failed, reduce_ranks != 3);
        assert_int_equal(err.code, reduce_ranks == 3 ? ERR_NONE : ERR_PROTOCOL);
        reducer_close(&reducer);
    }
    small_model_close(&small);
}

/* A shard whose gradient cannot be summed gives no update on this rank, and a loss that no rank believes. */
static void reduce_check_bad_element(struct small_model *small, const struct config *config, size_t element,
                                     const char *name)
{
    struct backend *backend = small->backend;
    struct reducer reducer;
    struct err err = {0};
    struct outcome *outcome = backend->op->alloc(backend, sizeof *outcome, &err);
    reducer_open(&reducer, small->model, config, outcome);
    step_rows_add(&small->rows, SIDE_SRC, (const int32_t[]){2, 4}, 2);
    step_rows_list(&small->rows);
    assert_true(reducer_begin(&reducer, &small->rows, &err));
    struct figures *slot = reducer_slot(&reducer, 1, &err);
    small->gradient[element] = 5e6f;
    reducer_add(&reducer, small->gradient, slot);
    assert_true(reducer_end(&reducer, small->gradient, &err));
    assert_true((outcome->bad & OUTCOME_ELEMENT) != 0);
    assert_true(isnan(slot->loss_sum));
    assert_false(reducer_bad_element(&reducer, outcome, &err));
    assert_int_equal(err.code, ERR_DIVERGED);
    if (strstr(err.text, name) == NULL || strstr(err.text, "5e+06") == NULL)
        fail_msg("%s", err.text);
    small->gradient[element] = 0;
    step_rows_clear(&small->rows, small->gradient);
    reducer_close(&reducer);
    backend->op->free(backend, outcome);
}

static void a_bad_element_is_named_by_its_tensor(void **state)
{
    (void)state;
    struct small_model small;
    struct config config;
    small_model_open(&small, &config, 5, 6);
    config.train_reduce = REDUCE_EXACT;
    config.train_shards = 2;
    const struct tensor *embedding = small.rows.lists[SIDE_SRC].tensor;
    const struct tensor *bias = model_tensor(small.model, SIDE_TGT, ROLE_PROJECTION_BIAS);
    reduce_check_bad_element(&small, &config, embedding->offset + 4 * SMALL_EMBED + 3, embedding->name);
    reduce_check_bad_element(&small, &config, bias->offset + 5, bias->name);
    small_model_close(&small);
}

/* So that ranks can add what they hold without a look, and it makes no difference how many they are. */
static void no_sum_of_all_shards_leaves_an_int64(void **state)
{
    (void)state;
    const struct model model = {.tensor_count = 0};
    for (int shards = 1; shards <= SHARDS_MOST; shards++) {
        struct config config = {.train_shards = shards, .train_reduce = REDUCE_EXACT};
        struct reducer reducer;
        reducer_open(&reducer, &model, &config, NULL);
        const double largest = (double)nextafterf(reducer.below, 0) / (double)BACKEND_QUANTUM;
        assert_true((double)shards * largest < 0x1p63);
        assert_true(shards < 3 || 4 * (double)shards * largest > 0x1p63); /* nor is more refused than must be */
        assert_true(reducer.below <= 0x1p22f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_number_of_ranks_fails_the_generation),
        cmocka_unit_test(a_bad_element_is_named_by_its_tensor),
        cmocka_unit_test(no_sum_of_all_shards_leaves_an_int64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
