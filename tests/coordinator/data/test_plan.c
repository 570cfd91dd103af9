/* test_plan.c - which rows a step trains on, and how they are shared. */
#include "coordinator/data/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct plan open_plan(uint32_t rows, uint32_t batch, uint32_t shards)
{
    struct mt19937 stream;
    struct plan plan;
    mt19937_seed(&stream, 42);
    assert_true(plan_open(&plan, rows, batch, shards, &stream, NULL));
    return plan;
}

static void an_epoch_is_cpythons_shuffle(void **state)
{
    /* random.Random(42): order = list(range(10)); shuffle(order); then once more from list(range(10)) */
    static const uint32_t first[10] = {7, 3, 2, 8, 5, 6, 9, 4, 0, 1}, second[10] = {3, 5, 2, 4, 1, 8, 7, 0, 6, 9};
    struct plan plan = open_plan(10, 4, 1);
    uint32_t count;
    (void)state;
    assert_int_equal(plan_steps(&plan), 3);
    for (uint64_t step = 0; step < 6; step++) {
        const uint32_t *rows = plan_batch(&plan, step, &count);
        assert_int_equal(count, step % 3 == 2 ? 2 : 4);
        assert_memory_equal(rows, (step < 3 ? first : second) + step % 3 * 4, count * sizeof *rows);
    }
    plan_close(&plan);
}

static void a_step_is_the_same_wherever_one_comes_from(void **state)
{
    struct plan plan = open_plan(23, 5, 1), later = open_plan(23, 5, 1);
    uint32_t count, again;
    uint32_t rows[5];
    (void)state;
    for (uint64_t step = 0; step < 40; step++) {
        memcpy(rows, plan_batch(&plan, step, &count), sizeof rows - (step % 5 == 4 ? 2 * sizeof *rows : 0));
        plan_batch(&later, (step * 7) % 40, &again);
        assert_memory_equal(plan_batch(&later, step, &again), rows, count * sizeof *rows);
        assert_int_equal(count, again);
    }
    plan_close(&plan);
    plan_close(&later);
}

static void shards_cover_a_batch_once_and_differ_by_at_most_one_row(void **state)
{
    (void)state;
    for (uint32_t rows = 0; rows < 20; rows++)
        for (uint32_t shards = 1; shards < 9; shards++) {
            uint32_t next = 0;
            for (uint32_t shard = 0; shard < shards; shard++) {
                struct share share = plan_shard(rows, shards, shard);
                assert_int_equal(share.first, next);
                assert_in_range(share.count, rows / shards, rows / shards + (rows % shards != 0));
                next += share.count;
            }
            assert_int_equal(next, rows);
        }
}

static void shares_cover_each_shard_once_and_are_at_most_the_ceiling(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards < 20; shards++)
        for (uint32_t size = 1; size < 25; size++) {
            uint32_t next = 0;
            for (uint32_t rank = 0; rank < size; rank++) {
                struct share share = plan_share(shards, rank, size);
                assert_int_equal(share.first, share.count > 0 ? next : shards);
                assert_true(share.count <= (shards + size - 1) / size);
                next += share.count;
            }
            assert_int_equal(next, shards);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_cpythons_shuffle),
        cmocka_unit_test(a_step_is_the_same_wherever_one_comes_from),
        cmocka_unit_test(shards_cover_a_batch_once_and_differ_by_at_most_one_row),
        cmocka_unit_test(shares_cover_each_shard_once_and_are_at_most_the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
