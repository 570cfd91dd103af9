/* Which states are of a run's course, when generations begin where others had been. */
#include "coordinator/cluster/branch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void where_nothing_began_every_state_counts(void **state)
{
    struct branch branch = {0};
    (void)state;
    assert_true(branch_has(&branch, 1, 1000));
    branch_begin(&branch, 7, 50);
    assert_true(branch_has(&branch, 7, 1000));
    assert_true(branch_has(&branch, 6, 50));
    assert_false(branch_has(&branch, 6, 51));
}

static void a_step_that_was_done_again_without_it_is_not_used(void **state)
{
    struct branch branch = {0};
    (void)state;
    branch_begin(&branch, 1, 0);
    branch_begin(&branch, 2, 3);
    branch_begin(&branch, 3, 8);
    assert_true(branch_has(&branch, 1, 3));
    assert_false(branch_has(&branch, 1, 4));
    assert_true(branch_has(&branch, 2, 8));
    assert_false(branch_has(&branch, 2, 9));
    assert_true(branch_has(&branch, 3, 9));
}

/* Back at a checkpoint: what was beyond it is of no use, of whatever generation. */
static void a_run_that_goes_back_leaves_all_behind(void **state)
{
    struct branch branch = {0};
    (void)state;
    branch_begin(&branch, 1, 0);
    branch_begin(&branch, 2, 30);
    branch_begin(&branch, 3, 60);
    branch_begin(&branch, 4, 20);
    assert_true(branch_has(&branch, 1, 20));
    assert_false(branch_has(&branch, 1, 21));
    assert_false(branch_has(&branch, 2, 31));
    assert_false(branch_has(&branch, 3, 60));
    assert_true(branch_has(&branch, 4, 60));
}

/* One that made no step before it ended takes nothing from those of the generation before. */
static void a_generation_without_a_step_changes_nothing(void **state)
{
    struct branch branch = {0};
    (void)state;
    branch_begin(&branch, 1, 0);
    branch_begin(&branch, 2, 3);
    branch_begin(&branch, 3, 3);
    assert_true(branch_has(&branch, 1, 3));
    assert_true(branch_has(&branch, 2, 3));
    assert_false(branch_has(&branch, 2, 4));
}

static void a_state_of_a_forgotten_generation_is_not_used(void **state)
{
    struct branch branch = {0};
    (void)state;
    for (uint64_t generation = 1; generation <= BRANCH_STARTS + 10; generation++)
        branch_begin(&branch, generation, 5 * generation);
    assert_false(branch_has(&branch, 9, 0));
    assert_true(branch_has(&branch, 10, 55));
    assert_false(branch_has(&branch, 10, 56));
    assert_true(branch_has(&branch, BRANCH_STARTS + 10, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_nothing_began_every_state_counts),
        cmocka_unit_test(a_step_that_was_done_again_without_it_is_not_used),
        cmocka_unit_test(a_run_that_goes_back_leaves_all_behind),
        cmocka_unit_test(a_generation_without_a_step_changes_nothing),
        cmocka_unit_test(a_state_of_a_forgotten_generation_is_not_used),
    };
    return cmocka_run_group_tests_name("branch", tests, NULL, NULL);
}
