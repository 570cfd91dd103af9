/* test_links.c - the links of a run, where a copy lost them. */
#include "tests/support/fixture.h"

#include "proto/base/log.h"
#include "proto/store/checkpoint_links.h"

static void links_path(char path[FILE_PATH], const char *run, const char *name)
{
    assert_true(path_join(path, run, name, NULL));
}

static bool links_is_there(const char *run, const char *name)
{
    char path[FILE_PATH];
    links_path(path, run, name);
    return access(path, F_OK) == 0;
}

static void a_copy_gets_its_links_again(void **state)
{
    static const char *const without[] = {"nothing", "step-00000001", "step-00000002", "latest", "best"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        struct err err = {0};
        char run[FILE_PATH], path[FILE_PATH];
        links_path(run, *state, "run");
        fixture_copy(run);
        links_path(path, run, without[i]);
        assert_ok(folder_remove(path, &err), err);
        assert_ok(links_settle(run, &err), err);
        assert_ok(links_restore(run, 2, 1, &err), err);
        fixture_links_are(run, 2, 'b', 1, 'a');
        assert_ok(fixture_write(run, 3, 'c', &err), err);
        assert_ok(checkpoint_sweep(run, 1, &err), err);
        fixture_links_are(run, 3, 'c', 1, 'a');
    }
}

/* As an archive without links leaves it: the mark comes from what the state knows. */
static void a_run_without_links_keeps_its_best_checkpoint(void **state)
{
    struct err err = {0};
    char path[FILE_PATH];
    for (uint64_t step = 1; step <= 3; step++)
        assert_ok(fixture_write(*state, step, (char)('a' + step), &err), err);
    links_path(path, *state, "latest");
    assert_int_equal(unlink(path), 0);
    assert_ok(links_settle(*state, &err), err);
    assert_ok(links_restore(*state, 3, 1, &err), err);
    assert_ok(checkpoint_sweep(*state, 1, &err), err);
    fixture_links_are(*state, 3, 'd', 1, 'b');
    links_path(path, *state, "step-00000001");
    assert_ok(folder_remove(path, &err), err);
    assert_ok(links_restore(*state, 3, 1, &err), err); /* with a warning: the best one is not there */
}

static void a_copy_takes_the_place_of_a_damaged_checkpoint(void **state)
{
    struct err err = {0};
    char run[FILE_PATH], path[FILE_PATH];
    static const char *const files[] = {"model.safetensors", "manifest.json", "optimizer.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        links_path(run, *state, "run");
        fixture_copy(run);
        assert_true((size_t)snprintf(path, sizeof path, "%s/step-00000001/%s", run, files[i]) < sizeof path);
        assert_int_equal(unlink(path), 0);
        assert_ok(links_settle(run, &err), err);
        fixture_links_are(run, 2, 'b', 1, 'a');
    }
}

static void a_folder_in_the_place_of_a_link_is_named(void **state)
{
    struct err err = {0};
    char run[FILE_PATH], path[FILE_PATH];
    links_path(run, *state, "run");
    fixture_copy(run);
    links_path(path, run, "best/model.safetensors");
    assert_int_equal(truncate(path, 100), 0);
    assert_ok(links_settle(run, &err), err); /* the whole one is beside it */
    fixture_links_are(run, 2, 'b', 1, 'a');

    fixture_copy(run);
    assert_int_equal(truncate(path, 100), 0);
    links_path(path, run, "step-00000001");
    assert_ok(folder_remove(path, &err), err);
    assert_err(links_settle(run, &err), err, ERR_DATA, "/run/best: a folder in the place of a link, and damaged: move");
    assert_true(links_is_there(run, "best/state.json"));

    fixture_copy(run);
    links_path(path, run, "step-00000001");
    assert_ok(folder_remove(path, &err), err);
    char other[FILE_PATH], twin[FILE_PATH];
    links_path(other, *state, "other");
    assert_ok(fixture_write(other, 1, 'x', &err), err);
    links_path(twin, other, "step-00000001");
    assert_int_equal(rename(twin, path), 0);
    assert_err(links_settle(run, &err), err, ERR_DATA, "are different checkpoints of step 1: move one of them away");
    assert_true(links_is_there(run, "best/state.json") && links_is_there(run, "step-00000001/state.json"));

    /* So they are where the moments alone differ. */
    fixture_copy(run);
    links_path(path, run, "step-00000001");
    assert_ok(folder_remove(path, &err), err);
    assert_ok(folder_remove(other, &err), err);
    assert_ok(fixture_write_value(other, 1, "optimizer.safetensors", 0, 5, &err), err);
    assert_int_equal(rename(twin, path), 0);
    assert_err(links_settle(run, &err), err, ERR_DATA, "are different checkpoints of step 1: move one of them away");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_copy_gets_its_links_again),
        TEST(a_run_without_links_keeps_its_best_checkpoint),
        TEST(a_copy_takes_the_place_of_a_damaged_checkpoint),
        TEST(a_folder_in_the_place_of_a_link_is_named),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
