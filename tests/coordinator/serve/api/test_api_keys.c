/* Keys come from a file, change with it, and appear in no message. */
#include "coordinator/serve/api/api_keys.h"

#include "tests/support/capture.h"
#include "tests/support/fixture.h"

#include <sys/stat.h>

static struct api_keys *keys_open(const char *text, struct err *err)
{
    scratch_write_text(scratch_path("keys"), text);
    return api_keys_open(scratch_path("keys"), 42, err);
}

static const struct api_key *keys_get(const struct api_keys *keys, const char *key)
{
    return api_keys_find(keys, key, strlen(key));
}

static void a_line_has_a_key_and_its_limits(void **state)
{
    (void)state;
    struct err err = {0};
    struct api_keys *keys = keys_open("# comment\n\nfirst\nsecond 60 2000 mastodon\r\n  third\t-  0\nfourth 5", &err);
    assert_ok(keys, err);
    const struct api_key *key = keys_get(keys, "first");
    assert_true(key && key->requests == 0 && key->characters == -1 && strlen(key->name) == 8);
    key = keys_get(keys, "second");
    assert_true(key && key->requests == 60 && key->characters == 2000 && strcmp(key->name, "mastodon") == 0);
    key = keys_get(keys, "third");
    assert_true(key && key->requests == 0 && key->characters == 0);
    key = keys_get(keys, "fourth");
    assert_true(key && key->requests == 5 && key->characters == -1);
    assert_null(keys_get(keys, "fifth"));
    assert_null(keys_get(keys, "firs"));
    assert_null(keys_get(keys, "#"));
    assert_null(keys_get(keys, ""));
    api_keys_close(&keys);
}

static void wrong_lines_are_named_without_their_key(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } wrong[] = {
        {"secret1 x\n", "keys:1: a limit must be a whole number"},
        {"a\nsecret1 1 -2\n", "keys:2: a limit must be a whole number"},
        {"secret1 1234567890\n", "keys:1: a limit must be a whole number"},
        {"secret1 1 2 na\"me\n", "keys:1: a name must be"},
        {"secret1 1 2 name more\n", "keys:1: a line is KEY"},
        {"secret\xC3\xA9\n", "keys:1: a key must be of ASCII"},
        {"secret1\nb\nsecret1 5\n", "is there twice"},
    };
    struct err err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_err(keys_open(wrong[i].text, &err), err, ERR_DATA, wrong[i].why);
        assert_null(strstr(err.text, "secret"));
    }
    assert_err(api_keys_open(scratch_path("none"), 42, &err), err, ERR_IO, "none");
    scratch_write_text(scratch_path("open"), "a\n");
    assert_int_equal(chmod(scratch_path("open"), 0666), 0);
    assert_err(api_keys_open(scratch_path("open"), 42, &err), err, ERR_USAGE, "other users can write");
}

static void a_changed_file_is_read_again(void **state)
{
    (void)state;
    struct err err = {0};
    struct api_keys *keys = keys_open("old\n", &err);
    assert_ok(keys, err);
    capture_begin();
    scratch_write_text(scratch_path("keys"), "new-one\n");
    api_keys_refresh(keys, 1000);
    assert_true(!keys_get(keys, "old") && keys_get(keys, "new-one"));
    scratch_write_text(scratch_path("keys"), "hidden x x\n");
    api_keys_refresh(keys, 1050); /* too soon to look */
    api_keys_refresh(keys, 2000);
    api_keys_refresh(keys, 3000);
    assert_non_null(keys_get(keys, "new-one"));
    unlink(scratch_path("keys"));
    api_keys_refresh(keys, 4000);
    api_keys_refresh(keys, 5000);
    assert_non_null(keys_get(keys, "new-one"));
    scratch_write_text(scratch_path("keys"), "third\n");
    api_keys_refresh(keys, 6000);
    char *log = capture_end();
    assert_non_null(keys_get(keys, "third"));
    assert_null(strstr(log, "hidden"));
    assert_null(strstr(log, "new-one"));
    /* Each refusal is logged once: the wrong line, and the missing file. */
    const char *first = strstr(log, "stay as they were"), *second = first ? strstr(first + 1, "stay as they") : NULL;
    assert_true(first && second && !strstr(second + 1, "stay as they"));
    free(log);
    api_keys_close(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_a_key_and_its_limits),
        cmocka_unit_test(wrong_lines_are_named_without_their_key),
        cmocka_unit_test(a_changed_file_is_read_again),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
