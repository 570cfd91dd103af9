/* Percentiles of a histogram of times. */
#include "worker/bench/serve/latency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A percentile is the true one, or at most 3 % above it. */
static void check(double found, double wanted)
{
    assert_true(found >= wanted);
    assert_true(found <= wanted * 1.032 + 1);
}

static void percentiles_of_a_line_are_within_3_percent(void **state)
{
    (void)state;
    struct latency latency = {0};
    for (int64_t ns = 1; ns <= 1000000; ns++)
        latency_add(&latency, ns);
    assert_int_equal(latency.count, 1000000);
    check(latency_at(&latency, 0.5), 500000);
    check(latency_at(&latency, 0.99), 990000);
    assert_true(latency_at(&latency, 1) == 1000000);
}

static void times_of_every_size_are_found_again(void **state)
{
    (void)state;
    for (int64_t ns = 0; ns < INT64_C(1) << 42; ns = ns * 5 / 3 + 1) {
        struct latency latency = {0};
        latency_add(&latency, ns);
        assert_true(latency_at(&latency, 0.5) == (double)ns);
        latency_add(&latency, INT64_C(1) << 43);
        check(latency_at(&latency, 0.5), (double)ns);
    }
}

static void extreme_times_and_no_times_are_accepted(void **state)
{
    (void)state;
    struct latency latency = {0};
    assert_true(latency_at(&latency, 0.99) == 0);
    latency_add(&latency, -5);
    assert_true(latency_at(&latency, 0.99) == 0);
    latency_add(&latency, INT64_MAX);
    assert_true(latency_at(&latency, 1) > 0x1p42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_of_a_line_are_within_3_percent),
        cmocka_unit_test(times_of_every_size_are_found_again),
        cmocka_unit_test(extreme_times_and_no_times_are_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
