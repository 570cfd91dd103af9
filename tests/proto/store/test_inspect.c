/* test_inspect.c - `lstmq inspect` as a user runs it. */
#include "tests/support/capture.h"
#include "tests/support/fixture.h"

#include <jansson.h>

static void test_inspect_damage(const char *run)
{
    char path[FILE_PATH];
    assert_true(path_join(path, run, "step-00000002/model.safetensors", NULL));
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_int_equal(fputc('!', file), '!');
    assert_int_equal(fclose(file), 0);
}

static void inspect_make_run(const char *run)
{
    struct err err = {0};
    for (uint64_t step = 1; step <= 2; step++)
        assert_ok(fixture_write(run, step, 'a', &err), err);
    assert_ok(checkpoint_mark_best(run, 1, &err), err);
}

static void a_page_fits_80_columns_and_names_what_there_is(void **state)
{
    struct buffer out = {0};
    inspect_make_run(*state);
    assert_int_equal(capture_lstmq(&out, "inspect '%s'", (const char *)*state), 0);
    static const char *const parts[] = {
        "step-00000002",    "whole, latest\n", "whole, best\n",         "verdict      whole\n",
        "en to fr",         "5 source",        "8 in 2 tensors",        "2 x 3",
        "weight",           "step         1 ", "best score   none yet", "train.batch",
        "model.safetensors"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strstr(out.data, parts[i]) == NULL)
            fail_msg("no \"%s\" in\n%s", parts[i], out.data);
    }
    assert_null(strstr(out.data, " \n"));
    for (const char *line = strstr(out.data, "\n") + 1; *line != '\0'; line = strchr(line, '\n') + 1) {
        bool names_folder = strncmp(line, "Checkpoint ", 11) == 0;
        if (!names_folder && strchr(line, '\n') - line > 80)
            fail_msg("wider than 80 columns: %s", line);
    }
    buffer_free(&out);
}

static void json_holds_the_same_for_programs(void **state)
{
    struct buffer out = {0};
    char path[FILE_PATH];
    inspect_make_run(*state);
    assert_true(path_join(path, *state, "latest", NULL));
    assert_int_equal(capture_lstmq(&out, "inspect '%s' --json", path), 0);
    json_t *root = json_loadb(out.data, out.size, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_true(json_object_get(root, "whole")));
    assert_true(json_is_null(json_object_get(root, "run")));
    assert_int_equal(json_integer_value(json_object_get(root, "parameters")), 8);
    assert_int_equal(json_array_size(json_object_get(root, "files")), FIXTURE_FILES);
    json_t *config = json_object_get(json_object_get(root, "state"), "config");
    assert_int_equal(json_integer_value(json_object_get(config, "train.batch")), 64);
    json_decref(root);
    buffer_free(&out);
}

static void damage_is_shown_and_is_an_error(void **state)
{
    struct buffer out = {0};
    char path[FILE_PATH];
    inspect_make_run(*state);
    test_inspect_damage(*state);
    assert_int_equal(capture_lstmq(&out, "inspect '%s'", (const char *)*state),
                     3); /* the best one is whole, another one of the run is not */
    assert_non_null(strstr(out.data, "DAMAGED, latest"));
    assert_non_null(strstr(out.data, "model.safetensors: damaged: checksum"));
    assert_true(path_join(path, *state, "step-00000002", NULL));
    assert_int_equal(capture_lstmq(&out, "inspect '%s' 2>/dev/null", path), 3);
    assert_non_null(strstr(out.data, "verdict      DAMAGED"));
    assert_non_null(strstr(out.data, "2 x 3"));
    assert_int_equal(capture_lstmq(&out, "inspect '%s' --json 2>/dev/null", path), 3);
    json_t *root = json_loadb(out.data, out.size, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_false(json_object_get(root, "whole")));
    json_t *model = json_array_get(json_object_get(root, "files"), 0);
    assert_true(json_is_false(json_object_get(model, "whole")));
    assert_non_null(strstr(json_string_value(json_object_get(model, "reason")), "checksum"));
    json_decref(root);
    buffer_free(&out);
}

static void a_copy_with_folders_for_links_is_marked_by_step(void **state)
{
    struct buffer out = {0};
    char run[FILE_PATH];
    assert_true(path_join(run, *state, "run", NULL));
    fixture_copy(run);
    assert_int_equal(capture_lstmq(&out, "inspect '%s'", run), 0);
    assert_non_null(strstr(out.data, "whole, latest\n"));
    assert_non_null(strstr(out.data, "whole, best\n"));
    buffer_free(&out);
}

static void a_folder_without_checkpoints_is_named(void **state)
{
    struct buffer out = {0};
    assert_int_equal(capture_lstmq(&out, "inspect '%s'", (const char *)*state), 3);
    assert_non_null(strstr(out.data, "neither a checkpoint"));
    assert_int_equal(capture_lstmq(&out, "inspect /nowhere"), 1);
    assert_non_null(strstr(out.data, "/nowhere: no checkpoint and no run: No such file"));
    assert_int_equal(capture_lstmq(&out, "inspect '%s' another", (const char *)*state), 2);
    buffer_free(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_page_fits_80_columns_and_names_what_there_is),
        TEST(json_holds_the_same_for_programs),
        TEST(damage_is_shown_and_is_an_error),
        TEST(a_copy_with_folders_for_links_is_marked_by_step),
        TEST(a_folder_without_checkpoints_is_named),
    };
    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
