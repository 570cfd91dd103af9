/* A request means the same in each encoding that clients use, and a value keeps its kind. */
#include "coordinator/serve/api/api_form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define JSON              "application/json"
#define FORM              "application/x-www-form-urlencoded"
#define MULTIPART         "multipart/form-data; boundary=xYz"
#define PART(name, value) "--xYz\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static struct api_form form;

static int test_form_free(void **state)
{
    (void)state;
    api_form_free(&form);
    form = (struct api_form){0};
    return 0;
}

/* The status of a refusal; 0: read. The body is in a block of its exact size, so that a sanitizer sees its end. */
static unsigned form_read_bytes(const char *type, const char *query, const char *body, size_t size, const char *why)
{
    struct api_error error = {0};
    char *copy = malloc(size ? size : 1);
    memcpy(copy, body, size);
    bool read = api_form_read(&form, type, query, copy, size, &error);
    free(copy);
    assert_int_equal(read, error.status == 0);
    if (why)
        assert_string_equal(error.text, why);
    return error.status;
}

static unsigned form_read(const char *type, const char *query, const char *body)
{
    return form_read_bytes(type, query, body, strlen(body), NULL);
}

/* The texts, each ended by |. */
static void assert_texts(enum api_shape shape, const char *expected)
{
    struct buffer texts = {0};
    const char *at = form.q.bytes.data;
    buffer_text(&texts, "");
    for (size_t i = 0; i < api_texts_count(&form.q); i++) {
        buffer_append(&texts, at, api_texts_lengths(&form.q)[i]);
        buffer_text(&texts, "|");
        at += api_texts_lengths(&form.q)[i];
    }
    assert_int_equal(form.shape, shape);
    assert_string_equal(texts.data, expected);
    buffer_free(&texts);
}

static void assert_value(enum api_field field, enum api_kind kind, const char *text)
{
    assert_int_equal(form.of[field].kind, kind);
    assert_string_equal(form.of[field].text.data, text);
}

static void json_keeps_kinds_and_bytes(void **state)
{
    (void)state;
    assert_int_equal(form_read(JSON, "",
                               "{\"q\":\"a\\r\\n\",\"source\":\"EN\",\"target\":3,\"format\":null,\"api_key\":\"\","
                               "\"alternatives\":1.9,\"details\":true,\"other\":{}}"),
                     0);
    assert_texts(API_ONE, "a\r\n|");
    assert_value(API_SOURCE, API_TEXT, "EN");
    assert_value(API_TARGET, API_NUMBER, "3");
    assert_value(API_FORMAT, API_ABSENT, "");
    assert_value(API_KEY, API_ABSENT, "");
    assert_value(API_ALTERNATIVES, API_NUMBER, "1.8999999999999999");
    assert_value(API_DETAILS, API_BOOL, "true");
    assert_int_equal(form_read("Application/LD+Json; charset=utf-8", "q=no&target=no", "{\"q\":[\"\",\"b\"]}"), 0);
    assert_texts(API_LIST, "|b|");
    assert_value(API_TARGET, API_ABSENT, "");
    assert_int_equal(form_read(JSON, "", "{\"q\":\"a\",\"q\":\"b\"}"), 0);
    assert_texts(API_ONE, "b|");
    assert_int_equal(form_read(JSON, "", "{\"q\":\"x\\u0000y\"}"), 0);
    assert_int_equal(form.q.bytes.size, 3);
    assert_int_equal(form_read(JSON, "",
                               "{\"\\u0000\\\\\" : {\"a\\u0000\":\"\\u0000:\"}, \"q\":\"\\u0000\\\":\","
                               "\"big\":12345678901234567890123}"),
                     0);
    assert_int_equal(form.q.bytes.size, 3);
    assert_memory_equal(form.q.bytes.data, "\0\":", 3);
    assert_int_equal(form_read(JSON, "", "{\"q\":[\"\"]}"), 0);
    assert_texts(API_LIST, "|");
    assert_int_equal(form_read(JSON, "", "{\"q\":\"a\",\"alternatives\":null,\"source\":[]}"), 0);
    assert_int_equal(form.of[API_ALTERNATIVES].kind, API_OTHER);
    assert_int_equal(form.of[API_SOURCE].kind, API_OTHER);
}

static void wrong_texts_are_seen(void **state)
{
    (void)state;
    static const char *const none[] = {"{}", "{\"q\":null}", "{\"q\":\"\"}", "{\"q\":[]}"};
    static const char *const wrong[] = {"{\"q\":1}",   "{\"q\":true}",         "{\"q\":{}}",
                                        "{\"q\":[1]}", "{\"q\":[\"a\",null]}", "{\"q\":[[\"a\"]]}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(form_read(JSON, "", none[i]), 0);
        assert_int_equal(form.shape, API_NO_TEXT);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(form_read(JSON, "", wrong[i]), 0);
        assert_int_equal(form.shape, API_WRONG);
    }
}

static void bodies_that_are_not_json_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "{\"q\":\"a\"} x", "{\"q\":\"\xFF\"}", "{\"q\":\"\\ud800\"}", "nope"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(form_read_bytes(JSON, "", bad[i], strlen(bad[i]), API_NOT_UNDERSTOOD), 400);
    static const char *const other[] = {"[]", "\"a\"", "3", "null"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        assert_int_equal(form_read_bytes(JSON, "", other[i], strlen(other[i]), "Invalid JSON format"), 400);
    assert_int_equal(form_read("text/plain", "", "{\"q\":\"a\"}"), 415);
    assert_int_equal(form_read("text/plain", "q=a", ""), 0);
    assert_int_equal(form_read(NULL, "", "{\"q\":\"a\"}"), 0);
    assert_int_equal(form.shape, API_NO_TEXT);
    assert_int_equal(form_read(FORM, "", "{\"q\":\"a\"}"), 0);
    assert_int_equal(form.shape, API_NO_TEXT);
}

static void the_query_wins_over_a_form(void **state)
{
    (void)state;
    assert_int_equal(form_read(NULL, "q=a+b%21&source=en&target=fr&format=text&api_key=", ""), 0);
    assert_texts(API_ONE, "a b!|");
    assert_value(API_SOURCE, API_TEXT, "en");
    assert_value(API_KEY, API_ABSENT, "");
    assert_int_equal(form_read(FORM, "q=a&source=en", "q=b&q=c&source=de&target=fr&api_key"), 0);
    assert_texts(API_ONE, "a|");
    assert_value(API_SOURCE, API_TEXT, "en");
    assert_value(API_TARGET, API_TEXT, "fr");
    assert_value(API_KEY, API_ABSENT, "");
    assert_int_equal(form_read(FORM, "q=", "q=b"), 0);
    assert_texts(API_ONE, "b|");
    assert_int_equal(form_read(FORM "; charset=utf-8", "", "q=a&q=&q=b&&=x&alternatives="), 0);
    assert_texts(API_LIST, "a||b|");
    assert_int_equal(form.of[API_ALTERNATIVES].kind, API_OTHER);
}

static void forms_have_plain_lines_and_valid_text(void **state)
{
    (void)state;
    assert_int_equal(form_read(FORM, "", "q=a%0D%0Ab%0Dc%E2%80%A8d%0A"), 0);
    assert_texts(API_ONE, "a\nb\nc\nd|");
    assert_int_equal(form_read(FORM, "", "q=%FF%c3%a9%C3%2&source=\xFFx%zz"), 0);
    assert_texts(API_ONE, "%FF\xC3\xA9%C3%2|");
    assert_value(API_SOURCE, API_TEXT, "%FFx%zz");
    assert_int_equal(form_read(FORM, "", "q=%0D%0A"), 0);
    assert_texts(API_ONE, "\n|");
    assert_int_equal(form_read(FORM, "", "q=%00a%FF"), 0);
    assert_int_equal(form.q.bytes.size, 5);
}

static void multipart_parts_are_fields(void **state)
{
    (void)state;
    assert_int_equal(form_read(MULTIPART, "", PART("q", "a\r\nb") PART("source", "en") "--xYz--\r\n"), 0);
    assert_texts(API_ONE, "a\nb|");
    assert_value(API_SOURCE, API_TEXT, "en");
    assert_int_equal(form_read("multipart/form-data; charset=x; boundary=\"xYz\"", "target=fr",
                               "preamble\r\n" PART("q", "-xYz") PART("target", "de") PART("q", "") "--xYz--epilogue"),
                     0);
    assert_texts(API_LIST, "-xYz||");
    assert_value(API_TARGET, API_TEXT, "fr");
    assert_int_equal(form_read(MULTIPART, "q=a", "--xYz--\r\n"), 0);
    assert_texts(API_ONE, "a|");
    assert_int_equal(form_read(MULTIPART, "q=a", ""), 0);
    assert_int_equal(form_read(MULTIPART, "",
                               "--xYz\r\nContent-Disposition: form-data; name=\"q\"; filename=\"f\"\r\n\r\n"
                               "a\r\n--xYz\r\n\r\nnameless\r\n--xYz--"),
                     0);
    assert_int_equal(form.shape, API_NO_TEXT);
    static const char *const bad[] = {"x",          "--xYz",        "--xYz\r\n",
                                      "--xYz\r\nq", PART("q", "a"), "--xYz\r\nA: b\r\n--xYz--"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(form_read_bytes(MULTIPART, "", bad[i], strlen(bad[i]), API_NOT_UNDERSTOOD), 400);
    assert_int_equal(form_read("multipart/form-data", "", PART("q", "a") "--xYz--"), 400);
}

static void a_list_may_be_wrapped_in_a_part(void **state)
{
    (void)state;
    assert_int_equal(form_read(MULTIPART, "", PART("q", "%5B%22a+b%22%2C%22%5Cu00e9%22%5D") "--xYz--"), 0);
    assert_texts(API_WRAPPED, "a b|\xC3\xA9|");
    assert_int_equal(form_read(MULTIPART, "", PART("q", "%5B%22a%22%2C1%5D") "--xYz--"), 0);
    assert_texts(API_ONE, "%5B%22a%22%2C1%5D|");
    assert_int_equal(form_read(FORM, "", "q=%255B%2522a%2522%255D"), 0);
    assert_texts(API_ONE, "%5B%22a%22%5D|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(json_keeps_kinds_and_bytes, test_form_free),
        cmocka_unit_test_teardown(wrong_texts_are_seen, test_form_free),
        cmocka_unit_test_teardown(bodies_that_are_not_json_are_refused, test_form_free),
        cmocka_unit_test_teardown(the_query_wins_over_a_form, test_form_free),
        cmocka_unit_test_teardown(forms_have_plain_lines_and_valid_text, test_form_free),
        cmocka_unit_test_teardown(multipart_parts_are_fields, test_form_free),
        cmocka_unit_test_teardown(a_list_may_be_wrapped_in_a_part, test_form_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
