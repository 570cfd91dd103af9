/* A caller has its limit in any 60 seconds, and each answer says what is left. */
#include "coordinator/serve/api/api_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int test_window_open(void **state)
{
    *state = api_windows_new(NULL);
    return *state ? 0 : -1;
}

static int test_window_close(void **state)
{
    struct api_windows *windows = *state;
    api_windows_destroy(&windows);
    return 0;
}

static void a_limit_holds_within_any_minute(void **state)
{
    enum { LIMIT = 20, SECONDS = 600 };
    int64_t accepted[SECONDS * 4];
    size_t count = 0;
    srand(1);
    for (int64_t ms = 0; ms < SECONDS * 1000; ms += 250) {
        if (rand() % 3 > 0 && !api_windows_take(*state, 7, LIMIT, 1, ms).refused)
            accepted[count++] = ms;
    }
    assert_true(count > (SECONDS / 61 - 1) * LIMIT);
    for (size_t i = LIMIT; i < count; i++)
        assert_true(accepted[i] - accepted[i - LIMIT] >= 60000);
}

static void what_is_left_is_told(void **state)
{
    struct api_allowance one = api_windows_take(*state, 1, 6, 1, 10000);
    assert_false(one.refused);
    assert_int_equal(one.remaining, 5);
    assert_int_equal(one.reset_s, 61);
    struct api_allowance list = api_windows_take(*state, 1, 6, 5, 15000);
    assert_false(list.refused);
    assert_int_equal(list.remaining, 0);
    assert_int_equal(list.reset_s, 56);
    struct api_allowance refused = api_windows_take(*state, 1, 6, 2, 20000);
    assert_true(refused.refused);
    assert_int_equal(refused.remaining, 0);
    assert_int_equal(refused.retry_s, 56);
    assert_int_equal(api_windows_take(*state, 1, 6, 1, 20000).retry_s, 51);
    assert_false(api_windows_take(*state, 1, 6, 1, 20000 + 51000).refused);
    assert_true(api_windows_take(*state, 1, 6, 7, 1000000).refused);
    assert_false(api_windows_take(*state, 2, 6, 6, 20000).refused);
}

static void many_callers_do_not_disturb_the_busy_ones(void **state)
{
    assert_false(api_windows_take(*state, 3, 1, 1, 0).refused);
    for (uint64_t id = 10; id < 4000; id++)
        assert_false(api_windows_take(*state, id * 0x9E3779B97F4A7C15u, 1, 1, 0).refused);
    assert_true(api_windows_take(*state, 3, 1, 1, 1000).refused);
    /* Without end, only the memory is bounded: the quiet ones are forgotten. */
    for (uint64_t id = 10; id < 200000; id++)
        api_windows_take(*state, id * 0x9E3779B97F4A7C15u, 1, 1, 2000 + (int64_t)id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_limit_holds_within_any_minute, test_window_open, test_window_close),
        cmocka_unit_test_setup_teardown(what_is_left_is_told, test_window_open, test_window_close),
        cmocka_unit_test_setup_teardown(many_callers_do_not_disturb_the_busy_ones, test_window_open, test_window_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
