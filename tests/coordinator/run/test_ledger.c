/* The ledger takes each step's result once, in order, and notices who computes something else. */
#include "coordinator/run/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { FIRST = 100, MANY = 3000 };

static struct step_result ledger_result(uint64_t step)
{
    return (struct step_result){.loss_sum = (double)step, .grad_norm = 0.5, .tokens = 7, .correct = 3};
}

/* Steps first..first+steps-1, as they always come out. */
static bool test_ledger_put(struct ledger *ledger, uint64_t first, uint32_t steps, struct err *err)
{
    static struct step_result results[MANY];
    for (uint32_t i = 0; i < steps; i++)
        results[i] = ledger_result(first + i);
    return ledger_put(ledger, first, results, steps, err);
}

static void ledger_holds(const struct ledger *ledger, uint64_t first, uint64_t end)
{
    assert_int_equal(ledger->first, first);
    assert_int_equal(ledger_end(ledger), end);
    for (uint64_t step = first; step < end; step++) {
        struct step_result right = ledger_result(step);
        assert_memory_equal(&ledger->results[step - first], &right, sizeof right);
    }
}

static int ledger_open(void **state)
{
    static struct ledger ledger;
    ledger_begin(&ledger, FIRST);
    *state = &ledger;
    return 0;
}

static int ledger_close(void **state)
{
    ledger_free(*state);
    return 0;
}

static void results_lie_in_the_order_of_their_steps(void **state)
{
    struct ledger *ledger = *state;
    ledger_holds(ledger, FIRST, FIRST);
    assert_true(test_ledger_put(ledger, FIRST, 3, NULL));
    assert_true(test_ledger_put(ledger, FIRST + 3, MANY, NULL));
    ledger_holds(ledger, FIRST, FIRST + 3 + MANY);
}

static void a_repeated_report_counts_once(void **state)
{
    struct ledger *ledger = *state;
    assert_true(test_ledger_put(ledger, FIRST, 4, NULL));
    assert_true(test_ledger_put(ledger, FIRST, 4, NULL));
    assert_true(test_ledger_put(ledger, FIRST + 2, 4, NULL));
    ledger_holds(ledger, FIRST, FIRST + 6);
}

static void results_after_a_gap_are_ignored(void **state)
{
    struct ledger *ledger = *state;
    assert_true(test_ledger_put(ledger, FIRST + 1, 2, NULL));
    ledger_holds(ledger, FIRST, FIRST);
    assert_true(test_ledger_put(ledger, FIRST, 2, NULL));
    assert_true(test_ledger_put(ledger, FIRST + 5, 2, NULL));
    ledger_holds(ledger, FIRST, FIRST + 2);
}

static void results_before_the_ledger_are_ignored(void **state)
{
    struct ledger *ledger = *state;
    struct step_result other = {.loss_sum = -1};
    assert_true(ledger_put(ledger, FIRST - 1, &other, 1, NULL));
    assert_true(test_ledger_put(ledger, FIRST - 3, 5, NULL));
    ledger_holds(ledger, FIRST, FIRST + 2);
}

static void other_results_of_a_step_are_found_and_the_first_kept(void **state)
{
    struct ledger *ledger = *state;
    struct err err = {0};
    struct step_result results[2] = {ledger_result(FIRST + 1), ledger_result(FIRST + 2)};
    assert_true(test_ledger_put(ledger, FIRST, 4, NULL));
    results[1].correct++;
    assert_false(ledger_put(ledger, FIRST + 1, results, 2, &err));
    assert_int_equal(err.code, ERR_FAILED);
    assert_non_null(strstr(err.text, "step 103"));
    ledger_holds(ledger, FIRST, FIRST + 4);
}

static void after_a_cut_a_step_may_come_out_differently(void **state)
{
    struct ledger *ledger = *state;
    struct step_result other = {.loss_sum = -1};
    assert_true(test_ledger_put(ledger, FIRST, 5, NULL));
    ledger_cut(ledger, FIRST + 9);
    ledger_holds(ledger, FIRST, FIRST + 5);
    ledger_cut(ledger, FIRST + 2);
    ledger_holds(ledger, FIRST, FIRST + 2);
    assert_true(ledger_put(ledger, FIRST + 2, &other, 1, NULL));
    assert_int_equal(ledger_end(ledger), FIRST + 3);
    ledger_cut(ledger, FIRST - 50);
    ledger_holds(ledger, FIRST, FIRST);
}

static void a_ledger_that_begins_again_is_empty(void **state)
{
    struct ledger *ledger = *state;
    assert_true(test_ledger_put(ledger, FIRST, 5, NULL));
    ledger_begin(ledger, FIRST + 5);
    ledger_holds(ledger, FIRST + 5, FIRST + 5);
    assert_true(test_ledger_put(ledger, FIRST + 4, 2, NULL));
    ledger_holds(ledger, FIRST + 5, FIRST + 6);
}

int main(void)
{
#define RUN(name) cmocka_unit_test_setup_teardown(name, ledger_open, ledger_close)
    const struct CMUnitTest tests[] = {
        RUN(results_lie_in_the_order_of_their_steps),
        RUN(a_repeated_report_counts_once),
        RUN(results_after_a_gap_are_ignored),
        RUN(results_before_the_ledger_are_ignored),
        RUN(other_results_of_a_step_are_found_and_the_first_kept),
        RUN(after_a_cut_a_step_may_come_out_differently),
        RUN(a_ledger_that_begins_again_is_empty),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
