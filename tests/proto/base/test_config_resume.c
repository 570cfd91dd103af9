/* test_config_resume.c - which options a run keeps, and what may be given beside --resume. */
#include "proto/base/config.h"
#include "tests/support/option_change.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool config_resume_equal(const struct config *one, const struct config *other, const struct option_row *row)
{
    struct buffer first = {0}, second = {0};
    config_get(one, row, &first);
    config_get(other, row, &second);
    bool equal = first.size == second.size && (first.size == 0 || memcmp(first.data, second.data, first.size) == 0);
    buffer_free(&first);
    buffer_free(&second);
    return equal;
}

static void test_config_resume_rule(const char *key, enum option_resume rule)
{
    if (config_resume_rule(config_option(key)) != rule)
        fail_msg("%s has another rule", key);
}

static void the_rules_know_the_options_that_shape_a_run(void **state)
{
    (void)state;
    static const char *const same[] = {"data.take",   "data.normalise",  "model.hidden", "train.lr",   "train.seed",
                                       "train.batch", "train.keep_best", "train.shards", "train.bleu", "train.reduce"};
    static const char *const may_change[] = {"train.epochs", "train.patience", "train.threads", "run.progress",
                                             "log.level",    "cluster.bind",   "data.pairs",    "curve.key"};
    static const char *const not_kept[] = {"run.dir", "run.resume", "run.overwrite", "curve.insecure"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        test_config_resume_rule(same[i], RESUME_SAME);
    for (size_t i = 0; i < sizeof may_change / sizeof *may_change; i++)
        test_config_resume_rule(may_change[i], RESUME_MAY_CHANGE);
    for (size_t i = 0; i < sizeof not_kept / sizeof *not_kept; i++)
        test_config_resume_rule(not_kept[i], RESUME_NOT_KEPT);
}

static void options_that_must_agree_are_of_commands_that_train(void **state)
{
    (void)state;
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++)
        if (config_resume_rule(&rows[i]) == RESUME_SAME &&
            (rows[i].commands & (COMMAND_TRAIN | COMMAND_COORDINATOR)) == 0)
            fail_msg("%s", rows[i].key);
}

static void an_option_that_is_not_given_is_the_runs(void **state)
{
    (void)state;
    size_t count;
    const struct option_row *rows = config_options(&count);
    const struct config_given none = {0};
    struct config run, config;
    config_defaults(&run);
    for (size_t i = 0; i < count; i++)
        option_change(&run, &rows[i]);
    config_defaults(&config);
    const struct config before = config;
    assert_true(config_resume(&config, &none, &run, "runs/first", NULL));
    for (size_t i = 0; i < count; i++) {
        bool kept = config_resume_rule(&rows[i]) != RESUME_NOT_KEPT;
        if (!config_resume_equal(&config, kept ? &run : &before, &rows[i]))
            fail_msg("%s", rows[i].key);
    }
}

static void an_option_that_is_given_agrees_or_may_change(void **state)
{
    (void)state;
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        struct config run, config;
        struct config_given given = {0};
        struct err err = {0};
        config_defaults(&run);
        config_defaults(&config);
        given.row[i] = true;
        if (!config_resume(&config, &given, &run, "runs/first", &err))
            fail_msg("%s: %s", rows[i].key, err.text);
        option_change(&config, &rows[i]);
        const struct config changed = config;
        bool taken = config_resume(&config, &given, &run, "runs/first", &err);
        assert_memory_equal(&config, &changed, sizeof config);
        bool same = memcmp(&changed, &run, sizeof run) == 0; /* an option may have one value only */
        assert_int_equal(taken, same || config_resume_rule(&rows[i]) != RESUME_SAME);
        assert_int_equal(config_agrees(&changed, &run, "runs/first", NULL), taken);
        if (!taken && (err.code != ERR_USAGE || strncmp(err.text, rows[i].key, strlen(rows[i].key)) != 0))
            fail_msg("%s: %s", rows[i].key, err.text);
    }
}

static void a_refusal_names_the_option_and_both_values(void **state)
{
    (void)state;
    struct config run, config;
    struct err err = {0};
    config_defaults(&run);
    config_defaults(&config);
    config.train_lr = 0.5;
    assert_false(config_agrees(&config, &run, "runs/first", &err));
    assert_string_equal(err.text,
                        "train.lr is \"0.5\" but the run in runs/first was begun with \"0.001\": it can only be "
                        "continued with that");
}

/* The paths after a run with `had` goes on with `key` given as "new". */
static void config_resume_goes_on(struct config *config, const char *const *had, const char *key)
{
    size_t count;
    struct config run;
    struct config_given given = {0};
    config_defaults(&run);
    config_defaults(config);
    for (; *had != NULL; had++)
        assert_true(config_set(&run, *had, "old", NULL));
    assert_true(config_set(config, key, "new", NULL));
    given.row[config_option(key) - config_options(&count)] = true;
    assert_true(config_resume(config, &given, &run, "runs/first", NULL));
}

static void a_way_to_name_pairs_replaces_the_other(void **state)
{
    (void)state;
    static const char *const pairs[] = {"data.pairs", "data.valid_pairs", NULL};
    static const char *const sides[] = {"data.src", "data.tgt", "data.valid_src", "data.valid_tgt", NULL};
    struct config config;
    config_resume_goes_on(&config, sides, "data.pairs");
    assert_string_equal(config.data_pairs, "new");
    assert_string_equal(config.data_src, "");
    assert_string_equal(config.data_tgt, "");
    assert_string_equal(config.data_valid_src, "old");
    config_resume_goes_on(&config, sides, "data.valid_pairs");
    assert_string_equal(config.data_valid_src, "");
    assert_string_equal(config.data_valid_tgt, "");
    assert_string_equal(config.data_src, "old");
    config_resume_goes_on(&config, pairs, "data.tgt");
    assert_string_equal(config.data_pairs, "");
    assert_string_equal(config.data_valid_pairs, "old");
    config_resume_goes_on(&config, pairs, "data.valid_src");
    assert_string_equal(config.data_valid_pairs, "");
    assert_string_equal(config.data_pairs, "old");
    config_resume_goes_on(&config, sides, "data.src");
    assert_string_equal(config.data_tgt, "old");
}

static void what_a_file_and_a_command_line_give_is_known(void **state)
{
    (void)state;
    static const char yaml[] = "train:\n  lr: 0.5\nmodel.hidden: 256\n";
    scratch_write_text(scratch_path("lr.yaml"), yaml);
    char *argv[] = {"train",           "--epochs",   "7", "--config", (char *)(uintptr_t)scratch_path("lr.yaml"),
                    "--no-train.bleu", "--run.dir=x"};
    static const char *const expected[] = {"model.hidden", "train.epochs", "train.lr", "train.bleu", "run.dir"};
    struct config config;
    struct config_given given = {0};
    enum config_request what;
    int words;
    config_defaults(&config);
    assert_true(config_arguments(&config, COMMAND_TRAIN, 7, argv, 0, &words, &what, &given, NULL));
    size_t count, found = 0;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++)
        found += given.row[i];
    assert_int_equal(found, 5);
    for (size_t i = 0; i < 5; i++)
        assert_true(given.row[config_option(expected[i]) - rows]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rules_know_the_options_that_shape_a_run),
        cmocka_unit_test(options_that_must_agree_are_of_commands_that_train),
        cmocka_unit_test(an_option_that_is_not_given_is_the_runs),
        cmocka_unit_test(an_option_that_is_given_agrees_or_may_change),
        cmocka_unit_test(a_refusal_names_the_option_and_both_values),
        cmocka_unit_test(a_way_to_name_pairs_replaces_the_other),
        cmocka_unit_test(what_a_file_and_a_command_line_give_is_known),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
