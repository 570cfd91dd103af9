/* test_file.c - whole files, folders and links. */
#include "tests/support/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void file_expect(const char *path, const char *text)
{
    struct buffer found = {0};
    struct err err = {0};
    assert_ok(file_read(path, 1000, &found, &err), err);
    assert_string_equal(found.data == NULL ? "" : found.data, text);
    buffer_free(&found);
}

static void a_written_file_replaces_the_old_one(void **state)
{
    char path[FILE_PATH];
    struct err err = {0};
    assert_true(path_join(path, *state, "report.html", &err));
    assert_ok(file_write_atomic(path, "old", 3, &err), err);
    assert_ok(file_write_atomic(path, "newer", 5, &err), err);
    file_expect(path, "newer");
    assert_true(path_join(path, *state, ".report.html.partial", &err));
    assert_int_equal(access(path, F_OK), -1);
}

static void a_file_that_cannot_be_written_is_named(void **state)
{
    char path[FILE_PATH];
    struct err err;
    assert_true(path_join(path, *state, "no/file", NULL));
    assert_err(file_write_atomic(path, "x", 1, &err), err, ERR_IO, "no/.file.partial: cannot create: No such file");
    assert_err(file_append(path, "x", 1, &err), err, ERR_IO, "no/file: cannot open: No such file");
    assert_err(file_read(path, 1, &(struct buffer){0}, &err), err, ERR_IO, "no/file: cannot open: No such file");
    assert_true(path_join(path, *state, "folder", NULL));
    assert_ok(folder_make(path, &err), err);
    assert_err(file_write_atomic(path, "x", 1, &err), err, ERR_IO, "folder: cannot rename");
    assert_true(path_join(path, *state, ".folder.partial", NULL));
    assert_int_equal(access(path, F_OK), -1);
    assert_err(file_append("/dev/full", "x", 1, &err), err, ERR_IO, "/dev/full: cannot append: No space left");
}

static void a_file_beyond_the_limit_is_refused(void **state)
{
    char path[FILE_PATH];
    struct err err = {0};
    struct buffer text = {0};
    assert_true(path_join(path, *state, "five", NULL));
    assert_ok(file_write_atomic(path, "12345", 5, &err), err);
    assert_ok(file_read(path, 5, &text, &err), err);
    assert_ok(file_read(path, 5, &text, &err), err);
    assert_string_equal(text.data, "1234512345");
    assert_err(file_read(path, 4, &text, &err), err, ERR_DATA, "five: larger than 4 bytes");
    buffer_free(&text);
}

static void lines_are_appended(void **state)
{
    char path[FILE_PATH];
    struct err err = {0};
    assert_true(path_join(path, *state, "metrics.jsonl", NULL));
    assert_ok(file_append(path, "one\n", 4, &err), err);
    assert_ok(file_append(path, "two\n", 4, &err), err);
    file_expect(path, "one\ntwo\n");
}

static void folders_are_made_and_removed_with_what_is_in_them(void **state)
{
    char path[FILE_PATH], inner[FILE_PATH], outside[FILE_PATH];
    struct err err = {0};
    assert_true(path_join(path, *state, "a", NULL) && path_join(inner, *state, "a//b/c/", NULL));
    assert_ok(folder_make(inner, &err), err);
    assert_ok(folder_make(inner, &err), err);
    assert_true(path_join(outside, *state, "kept", NULL));
    assert_ok(file_write_atomic(outside, "kept", 4, &err), err);
    assert_true(path_join(inner, *state, "a/b/file", NULL));
    assert_ok(file_write_atomic(inner, "x", 1, &err), err);
    assert_err(folder_make(inner, &err), err, ERR_IO, "a/b/file: is there and is not a folder");
    assert_true(path_join(inner, *state, "a/b/c/link", NULL));
    assert_int_equal(symlink(*state, inner), 0);
    assert_ok(folder_remove(path, &err), err);
    assert_int_equal(access(path, F_OK), -1);
    file_expect(outside, "kept"); /* a link inside is removed, not followed */
    assert_ok(folder_remove(path, &err), err);
    assert_err(folder_remove(outside, &err), err, ERR_IO, "kept: cannot open folder");
}

static void a_link_changes_its_target(void **state)
{
    char path[FILE_PATH], target[16] = "";
    struct err err = {0};
    assert_true(path_join(path, *state, "latest", NULL));
    assert_ok(link_replace(path, "step-1", &err), err);
    assert_ok(link_replace(path, "step-2", &err), err);
    assert_int_equal(readlink(path, target, sizeof target), 6);
    assert_memory_equal(target, "step-2", 6);
    assert_true(path_join(path, *state, ".latest.partial", NULL));
    assert_int_equal(symlink("left by a crash", path), 0);
    assert_true(path_join(path, *state, "latest", NULL));
    assert_ok(link_replace(path, "step-3", &err), err);
}

static void paths_know_their_folder(void **unused)
{
    (void)unused;
    static const char *const cases[][2] = {{"a/b", "a"}, {"a/b/", "a"}, {"a", "."},    {"a/", "."},    {"/a", "/"},
                                           {"/", "/"},   {"//a", "/"},  {"a//b", "a"}, {"/a/b", "/a"}, {"", "."}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char parent[FILE_PATH];
        assert_true(path_parent(parent, cases[i][0], NULL));
        assert_string_equal(parent, cases[i][1]);
    }
    struct err err;
    char path[FILE_PATH], *name = malloc(FILE_PATH + 1);
    assert_non_null(name);
    memset(name, 'x', FILE_PATH);
    name[FILE_PATH] = '\0';
    assert_err(path_join(path, "a", name, &err), err, ERR_IO, "a path of more than 4095 bytes");
    assert_err(path_parent(path, name, &err), err, ERR_IO, "a path of more than 4095 bytes");
    assert_err(file_write_atomic(name, "", 0, &err), err, ERR_IO, "a path of more than 4095 bytes");
    assert_err(folder_make(name, &err), err, ERR_IO, "1 to 4095 bytes");
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_written_file_replaces_the_old_one, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_written_is_named, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(a_file_beyond_the_limit_is_refused, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(lines_are_appended, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(folders_are_made_and_removed_with_what_is_in_them, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(a_link_changes_its_target, scratch_make, scratch_remove),
        cmocka_unit_test(paths_know_their_folder),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
