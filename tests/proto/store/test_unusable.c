/* test_unusable.c - what each command does with a checkpoint that is whole and of no use to it. */
#include "tests/support/fixture.h"

#include <math.h>
#include <sys/wait.h>

/* Run a command of lstmq with an empty input; what it prints on either stream into `out`, its exit status returned. */
static int unusable_lstmq(struct buffer *out, const char *format, const char *run, const char *pairs)
{
    char command[4 * FILE_PATH], chunk[4096];
    int size = snprintf(command, sizeof command, "'%s' ", LSTMQ_BINARY);
    size += snprintf(command + size, sizeof command - (size_t)size, format, run, pairs);
    snprintf(command + size, sizeof command - (size_t)size, " 2>&1 < /dev/null");
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    buffer_clear(out);
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, pipe)) > 0;)
        buffer_append(out, chunk, got);
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void unusable_expect(const struct buffer *out, const char *part)
{
    if (out->data == NULL || strstr(out->data, part) == NULL)
        fail_msg("no \"%s\" in\n%s", part, out->data == NULL ? "" : out->data);
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
        assert_int_equal(unusable_lstmq(&out, commands[i], run, pairs), 3);
        unusable_expect(&out, "/step-00000007/model.safetensors: tensor bias: element 0 is not a finite number");
    }
    buffer_free(&out);
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
    assert_int_equal(unusable_lstmq(&out, "inspect '%s'", run, pairs), 0);
    unusable_expect(&out, "  absent\n");
    unusable_expect(&out, "(cannot be resumed: optimizer.safetensors is absent)");
    assert_int_equal(unusable_lstmq(&out, "inspect '%s' --json", run, pairs), 0);
    unusable_expect(&out, "\"absent\": true");
    unusable_expect(&out, "\"resumable\": false");
    assert_int_equal(unusable_lstmq(&out, unusable_resume, run, pairs), 3);
    unusable_expect(
        &out, "/step-00000007/optimizer.safetensors: missing: the checkpoint translates, but training cannot continue");
    buffer_free(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parameters_that_are_not_finite_are_refused_by_name),
        TEST(without_its_moments_only_resume_refuses_by_name),
    };
    return cmocka_run_group_tests_name("unusable", tests, NULL, NULL);
}
