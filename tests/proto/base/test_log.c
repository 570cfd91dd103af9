/* test_log.c - events: the same call as a line of text, and as a JSON object that a parser reads. */
#include "proto/base/buffer.h"
#include "proto/base/log.h"
#include "tests/support/capture.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* stderr goes into a file from here to log_taken. */
static void log_take(bool json)
{
    capture_begin();
    log_open("worker", LOG_INFO);
    log_use_json(json);
}

/* What was logged; the caller frees it. */
static char *log_taken(void)
{
    log_use_json(false);
    log_open("lstmq", LOG_INFO);
    return capture_end();
}

/* The one object that was logged. */
static json_t *log_taken_object(void)
{
    char *text = log_taken();
    size_t size = strlen(text);
    json_error_t error;
    assert_true(size > 0 && text[size - 1] == '\n' && strchr(text, '\n') == text + size - 1 && size <= LOG_LINE);
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL)
        fail_msg("%s: %s", error.text, text);
    assert_true(json_is_object(object));
    free(text);
    return object;
}

static const char *log_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static void an_object_has_the_event_and_its_fields(void **state)
{
    (void)state;
    log_take(true);
    log_event(LOG_WARN, "worker_dead",
              LOG_FIELDS(LOG_COUNT("worker", UINT64_MAX >> 1), LOG_INT("left", -3), LOG_REAL("seconds", 1.25),
                         LOG_TEXT("reason", "silent"), LOG_BOOL("held", true), LOG_TEXT("address", NULL)),
              "worker %d is dead", 7);
    json_t *object = log_taken_object();
    assert_string_equal(log_string(object, "event"), "worker_dead");
    assert_string_equal(log_string(object, "level"), "warn");
    assert_string_equal(log_string(object, "role"), "worker");
    assert_string_equal(log_string(object, "text"), "worker 7 is dead");
    assert_string_equal(log_string(object, "reason"), "silent");
    assert_int_equal(json_integer_value(json_object_get(object, "pid")), getpid());
    assert_true(json_integer_value(json_object_get(object, "worker")) == INT64_MAX);
    assert_int_equal(json_integer_value(json_object_get(object, "left")), -3);
    assert_true(json_real_value(json_object_get(object, "seconds")) == 1.25);
    assert_true(json_is_true(json_object_get(object, "held")));
    assert_true(json_is_null(json_object_get(object, "address")));
    assert_null(json_object_get(object, "cut"));
    int year, month, day, hour, minute, second, ms, end = 0;
    sscanf(log_string(object, "time"), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute, &second,
           &ms, &end);
    assert_int_equal(end, strlen("2026-01-31T12:00:00.123Z"));
    assert_int_equal(strlen(log_string(object, "time")), end);
    json_decref(object);
}

static void a_number_that_is_not_finite_is_null(void **state)
{
    (void)state;
    log_take(true);
    log_event(LOG_INFO, "epoch_done",
              LOG_FIELDS(LOG_REAL("a", (double)INFINITY), LOG_REAL("b", (double)-INFINITY), LOG_REAL("c", (double)NAN)),
              "done");
    json_t *object = log_taken_object();
    for (const char *key = "a\0b\0c\0"; *key != '\0'; key += 2)
        assert_true(json_is_null(json_object_get(object, key)));
    json_decref(object);
}

static void control_characters_are_escaped_and_bad_utf8_is_replaced(void **state)
{
    (void)state;
    char all[161] = "";
    for (int i = 1; i < 128; i++)
        all[i - 1] = (char)i;
    log_take(true);
    log_event(LOG_INFO, "listening",
              LOG_FIELDS(LOG_TEXT("all", all), LOG_TEXT("bad", "a\xFFz\xC3"),
                         LOG_TEXT("good", "caf\xC3\xA9 \xF0\x9F\x98\x80")),
              "%s", "one\ntwo \x9F \"quoted\" back\\slash");
    json_t *object = log_taken_object();
    assert_string_equal(log_string(object, "all"), all);
    assert_string_equal(log_string(object, "bad"), "a\xEF\xBF\xBDz\xEF\xBF\xBD");
    assert_string_equal(log_string(object, "good"), "caf\xC3\xA9 \xF0\x9F\x98\x80");
    assert_string_equal(log_string(object, "text"), "one\ntwo \xEF\xBF\xBD \"quoted\" back\\slash");
    json_decref(object);
}

/* A terminal obeys U+0080 to U+009F too. */
static void no_control_character_is_written_as_it_is(void **state)
{
    (void)state;
    log_take(true);
    log_event(LOG_INFO, "listening", LOG_FIELDS(LOG_TEXT("all", "\x1B[31m \x7F \xC2\x9B[2J \xC2\x80 \xC2\xA0")), "x");
    char *text = log_taken();
    assert_non_null(strstr(text, "\"\\u001b[31m \\u007f \\u009b[2J \\u0080 \xC2\xA0\""));
    free(text);
}

/* Whatever has to be cut, the line is one object. */
static void a_long_event_is_cut_and_says_so(void **state)
{
    (void)state;
    static const char *const pieces[] = {"x", "\x01", "\"", "\xFF", "\xC3\xA9", "\xF0\x9F\x98\x80"};
    for (size_t piece = 0; piece < sizeof pieces / sizeof pieces[0]; piece++)
        for (size_t size = 100; size < 6000; size += 61) {
            struct buffer text = {0};
            for (size_t i = 0; i < size; i++)
                buffer_text(&text, pieces[piece]);
            log_take(true);
            log_event(LOG_INFO, "failed",
                      LOG_FIELDS(LOG_TEXT("reason", text.data), LOG_COUNT("step", 12), LOG_TEXT("more", text.data)),
                      "%s", text.data);
            json_t *object = log_taken_object();
            assert_string_equal(log_string(object, "event"), "failed");
            assert_true(strlen(log_string(object, "text")) > 300 || size < 400);
            if (size >= LOG_SENTENCE)
                assert_true(json_is_true(json_object_get(object, "cut")));
            if (size == 100 && piece == 0)
                assert_null(json_object_get(object, "cut"));
            json_decref(object);
            buffer_free(&text);
        }
}

static void the_text_form_is_the_sentence_alone(void **state)
{
    (void)state;
    log_take(false);
    log_event(LOG_INFO, "worker_left", LOG_FIELDS(LOG_COUNT("worker", 3)), "worker %d left", 3);
    char *text = log_taken();
    assert_non_null(strstr(text, "Z info worker["));
    assert_non_null(strstr(text, "] worker 3 left\n"));
    assert_null(strstr(text, "worker_left"));
    free(text);
}

static void a_fact_is_for_programs(void **state)
{
    (void)state;
    log_take(false);
    log_fact("checkpoint_written", NULL, "the checkpoint is written");
    char *text = log_taken();
    assert_string_equal(text, "");
    free(text);
    log_take(true);
    log_fact("checkpoint_written", NULL, "the checkpoint is written");
    json_t *object = log_taken_object();
    assert_string_equal(log_string(object, "event"), "checkpoint_written");
    assert_string_equal(log_string(object, "level"), "info");
    json_decref(object);
}

static void what_a_command_says_has_no_minimum_level(void **state)
{
    (void)state;
    for (int json = 0; json < 2; json++) {
        log_take(json == 1);
        log_open("train", LOG_OFF);
        log_say(LOG_ERROR, "failed", LOG_FIELDS(LOG_INT("status", 2)), "lstmq train: %s", "no pairs");
        if (json == 0) {
            char *text = log_taken();
            assert_string_equal(text, "lstmq train: no pairs\n");
            free(text);
            continue;
        }
        json_t *object = log_taken_object();
        assert_string_equal(log_string(object, "event"), "failed");
        assert_string_equal(log_string(object, "text"), "lstmq train: no pairs");
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_has_the_event_and_its_fields),
        cmocka_unit_test(a_number_that_is_not_finite_is_null),
        cmocka_unit_test(control_characters_are_escaped_and_bad_utf8_is_replaced),
        cmocka_unit_test(no_control_character_is_written_as_it_is),
        cmocka_unit_test(a_long_event_is_cut_and_says_so),
        cmocka_unit_test(the_text_form_is_the_sentence_alone),
        cmocka_unit_test(a_fact_is_for_programs),
        cmocka_unit_test(what_a_command_says_has_no_minimum_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
