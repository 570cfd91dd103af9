/* The meeting of the ranks, of which a failure must be one that a worker comes back from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/wire/message.h"
#include "worker/train/reduce.h"

#include <math.h>

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

static void ranks_that_are_not_as_many_as_were_told_of_fail_the_generation(void **state)
{
    (void)state;
    const struct collective_table table = {.all_reduce = reduce_all_reduce, .wait = test_reduce_wait};
    struct collective collective = {.op = &table};
    for (reduce_ranks = 2; reduce_ranks <= 4; reduce_ranks++) {
        struct reducer reducer = {.collective = &collective, .size = 3};
        struct err err = {0};
        assert_int_equal(reducer_meet(&reducer, &err), reduce_ranks == 3);
        assert_int_equal(reducer.failed, reduce_ranks != 3);
        assert_int_equal(err.code, reduce_ranks == 3 ? ERR_NONE : ERR_PROTOCOL);
    }
}

/* So that ranks can add what they hold without a look, and it makes no difference how many they are. */
static void no_sum_of_all_shards_leaves_an_int64(void **state)
{
    (void)state;
    const struct model model = {.tensor_count = 0};
    for (int shards = 1; shards <= SHARDS_MOST; shards++) {
        struct config config = {.train_shards = shards, .train_reduce = REDUCE_EXACT};
        struct reducer reducer;
        reducer_open(&reducer, &model, &config);
        const double largest = (double)nextafterf(reducer.below, 0) / (double)BACKEND_QUANTUM;
        assert_true((double)shards * largest < 0x1p63);
        assert_true(shards < 3 || 4 * (double)shards * largest > 0x1p63); /* nor is more refused than must be */
        assert_true(reducer.below <= 0x1p22f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_that_are_not_as_many_as_were_told_of_fail_the_generation),
        cmocka_unit_test(no_sum_of_all_shards_leaves_an_int64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
