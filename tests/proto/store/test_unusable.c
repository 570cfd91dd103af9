/* test_unusable.c - what each command does with a checkpoint that is whole and of no use to it. */
#include "tests/support/capture.h"
#include "tests/support/fixture.h"

#include <math.h>

static void unusable_expect(const struct buffer *out, const char *part)
{
    if (strstr(out->data, part) == NULL)
        fail_msg("no \"%s\" in\n%s", part, out->data);
}

static void unusable_places(char run[FILE_PATH], char pairs[FILE_PATH], const char *folder)
{
    struct err err = {0};
    static const char text[] = "one\tun\ntwo\tdeux\nthree\ttrois\n";
    assert_true(path_join(run, folder, "run", NULL) && path_join(pairs, folder, "pairs.tsv", NULL));
    assert_ok(file_write_atomic(pairs, text, sizeof text - 1, &err), err);
}

static const char unusable_resume[] = "train --run.dir '%s' --data.pairs '%s' --resume --run.progress none";

static void parameters_that_are_not_finite_are_refused_by_name(void **state)
{
    static const char *const commands[] = {"translate --model '%s'", "evaluate --model '%s' --data.pairs '%s'",
                                           "inspect '%s'", unusable_resume};
    struct err err = {0};
    struct buffer out = {0};
    char run[FILE_PATH], pairs[FILE_PATH];
    unusable_places(run, pairs, *state);
    assert_ok(fixture_write_value(run, 7, "model.safetensors", 6, NAN, &err), err);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        assert_int_equal(capture_lstmq(&out, commands[i], run, pairs), 3);
        unusable_expect(&out, "/step-00000007/model.safetensors: tensor bias: element 0 is not a finite number");
    }
    buffer_free(&out);
}

/* A model of one tensor of 20,000 elements, which is scanned in several pieces; element 17,000 is NaN. */
static void an_element_is_named_by_its_place_in_the_whole_tensor(void **state)
{
    enum { ELEMENTS = 20000, BAD = 17000 };
    struct err err = {0};
    struct buffer bytes = {0};
    static struct checkpoint checkpoint;
    char run[FILE_PATH];
    assert_true(path_join(run, *state, "run", NULL));
    struct checkpoint_writer *writer = checkpoint_begin(run, 7, &err);
    assert_non_null(writer);
    for (int file = 0; file < FIXTURE_FILES; file++) {
        buffer_clear(&bytes);
        if (strcmp(fixture_files[file], "model.safetensors") == 0) {
            struct tensor_entry entry = {.name = "weight", .dtype = "F32", .dims = 1, .shape = {ELEMENTS}};
            assert_true(safetensors_header(&entry, 1, &bytes, NULL));
            for (int i = 0; i < ELEMENTS; i++)
                buffer_append(&bytes, &(float){i == BAD ? NAN : 1}, sizeof(float));
        } else {
            fixture_bytes(fixture_files[file], 7, 'a', &bytes);
        }
        assert_ok(checkpoint_write(writer, fixture_files[file], bytes.data, bytes.size, &err), err);
    }
    assert_ok(checkpoint_commit(&writer, &err), err);
    assert_false(checkpoint_open(&checkpoint, run, STEP_LATEST, &err));
    if (strstr(err.text, "tensor weight: element 17000 is not a finite number") == NULL)
        fail_msg("%s", err.text);
    buffer_free(&bytes);
}

/* Moments may be infinite, parameters not; neither may be NaN. */
static void infinity_is_refused_in_parameters_and_nan_everywhere(void **state)
{
    static const struct {
        const char *file;
        float value;
        bool refused;
    } cases[] = {{"model.safetensors", INFINITY, true},
                 {"model.safetensors", -INFINITY, true},
                 {"optimizer.safetensors", INFINITY, false},
                 {"optimizer.safetensors", -NAN, true}};
    struct err err = {0};
    static struct checkpoint checkpoint;
    char run[FILE_PATH];
    assert_true(path_join(run, *state, "run", NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(fixture_write_value(run, 7, cases[i].file, 2, cases[i].value, &err), err);
        assert_int_equal(checkpoint_open(&checkpoint, run, STEP_LATEST, &err), !cases[i].refused);
        if (cases[i].refused)
            assert_non_null(strstr(err.text, "tensor weight: element 2 is not a finite number"));
        else
            checkpoint_close(&checkpoint);
    }
}

static void without_its_moments_only_resume_refuses_by_name(void **state)
{
    struct err err = {0};
    struct buffer out = {0};
    char run[FILE_PATH], pairs[FILE_PATH], moments[FILE_PATH];
    unusable_places(run, pairs, *state);
    assert_ok(fixture_write(run, 7, 'a', &err), err);
    assert_true(path_join(moments, run, "step-00000007/optimizer.safetensors", NULL));
    assert_int_equal(unlink(moments), 0);
    assert_int_equal(capture_lstmq(&out, "inspect '%s'", run), 0);
    unusable_expect(&out, "  absent\n");
    unusable_expect(&out, "(cannot be resumed: optimizer.safetensors is absent)");
    assert_int_equal(capture_lstmq(&out, "inspect '%s' --json", run), 0);
    unusable_expect(&out, "\"absent\": true");
    unusable_expect(&out, "\"resumable\": false");
    assert_int_equal(capture_lstmq(&out, unusable_resume, run, pairs), 3);
    unusable_expect(
        &out, "/step-00000007/optimizer.safetensors: missing: the checkpoint translates, but training cannot continue");
    buffer_free(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parameters_that_are_not_finite_are_refused_by_name),
        TEST(infinity_is_refused_in_parameters_and_nan_everywhere),
        TEST(an_element_is_named_by_its_place_in_the_whole_tensor),
        TEST(without_its_moments_only_resume_refuses_by_name),
    };
    return cmocka_run_group_tests_name("unusable", tests, NULL, NULL);
}
