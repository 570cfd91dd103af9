/* test_reconnect.c - when a worker without a connection logs a failure, and how its wait ends. */
#include "proto/base/log.h"
#include "worker/link/reconnect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct reconnect_server reconnect_server = {
    .endpoint = "tcp://127.0.0.1:1", .timeout_s = 1, .option = "worker.reconnect_timeout"};

static struct reconnect reconnect_start(void)
{
    struct reconnect reconnect = {.server = &reconnect_server};
    reconnect_begin(&reconnect);
    return reconnect;
}

static void one_failure_is_logged_once_a_minute(void **state)
{
    struct reconnect reconnect = reconnect_start();
    (void)state;
    reconnect_failed(&reconnect, MONITOR_REFUSED, false);
    assert_true(reconnect.warned_ms > 0);
    reconnect.warned_ms -= 30000;
    int64_t warned = reconnect.warned_ms;
    reconnect_failed(&reconnect, MONITOR_REFUSED, false);
    assert_true(reconnect.warned_ms == warned);
    reconnect.warned_ms -= 31000;
    reconnect_failed(&reconnect, MONITOR_REFUSED, false);
    assert_true(reconnect.warned_ms > warned);
}

static void another_failure_is_logged_at_once(void **state)
{
    struct reconnect reconnect = reconnect_start();
    (void)state;
    reconnect_failed(&reconnect, MONITOR_REFUSED, false);
    reconnect_failed(&reconnect, MONITOR_UNREACHED, false);
    assert_int_equal(reconnect.warned, MONITOR_REFUSED);
    reconnect_failed(&reconnect, MONITOR_SILENT, false);
    assert_int_equal(reconnect.warned, MONITOR_SILENT);
}

/* A coordinator that is ending breaks off one handshake. */
static void after_a_connection_the_second_refusal_is_logged(void **state)
{
    struct reconnect reconnect = reconnect_start();
    (void)state;
    reconnect_done(&reconnect);
    reconnect_begin(&reconnect);
    reconnect_failed(&reconnect, MONITOR_REFUSED, false);
    assert_true(reconnect.warned_ms == 0);
    reconnect_failed(&reconnect, MONITOR_REFUSED, false);
    assert_true(reconnect.warned_ms > 0);
}

static void a_spent_link_is_replaced_after_a_second(void **state)
{
    struct reconnect reconnect = reconnect_start();
    bool replace;
    (void)state;
    reconnect_failed(&reconnect, MONITOR_REFUSED, false);
    assert_true(reconnect_tick(&reconnect, &replace, NULL));
    assert_false(replace);
    assert_true(reconnect.replace_ms == 0);
    reconnect_failed(&reconnect, MONITOR_REFUSED, true);
    assert_true(reconnect.replace_ms > 0);
    reconnect.replace_ms += 500000; /* however long this takes */
    assert_true(reconnect_tick(&reconnect, &replace, NULL));
    assert_false(replace);
    reconnect.replace_ms -= 501000;
    assert_true(reconnect_tick(&reconnect, &replace, NULL));
    assert_true(replace);
}

static void the_end_of_the_wait_says_what_the_newest_attempt_met(void **state)
{
    static const struct {
        enum monitor_news failure;
        const char *text;
    } cases[] = {{MONITOR_REFUSED, "this worker has no key"},
                 {MONITOR_SILENT, "accepts connections but does not answer"},
                 {MONITOR_UNREACHED, "could not be reached for 1 s"}};
    struct reconnect reconnect = reconnect_start();
    struct err err = {0};
    bool replace;
    (void)state;
    reconnect.lost_ms -= 2000;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reconnect_failed(&reconnect, cases[i].failure, false);
        assert_false(reconnect_tick(&reconnect, &replace, &err));
        assert_non_null(strstr(err.text, cases[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_failure_is_logged_once_a_minute),
        cmocka_unit_test(another_failure_is_logged_at_once),
        cmocka_unit_test(after_a_connection_the_second_refusal_is_logged),
        cmocka_unit_test(a_spent_link_is_replaced_after_a_second),
        cmocka_unit_test(the_end_of_the_wait_says_what_the_newest_attempt_met),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("reconnect", tests, NULL, NULL);
}
