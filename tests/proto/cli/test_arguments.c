/* test_arguments.c - options from a command line, and the pages of help that list them. */
#include "proto/base/config.h"
#include "proto/cli/help.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS_MOST = 16 };

/* A recipe to be found: seven, a batch of seven. */
static int arguments_enter(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    scratch_write_text(scratch_path("seven.yaml"), "train.batch: 7\n");
    return setenv("LSTMQ_RECIPES", scratch_folder, 1);
}

/* Arguments parted by "|": "train|--batch|3". The words that are left come back joined by "|". */
static bool arguments_arguments(struct config *config, unsigned command, const char *line, char words[256],
                                enum config_request *what, struct err *err)
{
    static char text[4096];
    char *argv[ARGUMENTS_MOST];
    int argc = 0, count = 0;
    config_defaults(config);
    snprintf(text, sizeof text, "%s", line);
    for (char *at = text; at != NULL && argc < ARGUMENTS_MOST; argc++)
        argv[argc] = strsep(&at, "|");
    bool ok = config_arguments(config, command, argc, argv, 2, &count, what, NULL, err);
    words[0] = '\0';
    for (int i = 1; ok && i <= count; i++)
        snprintf(words + strlen(words), 256 - strlen(words), "%s%s", i == 1 ? "" : "|", argv[i]);
    return ok;
}

static void arguments_train_refused(const char *line, const char *text)
{
    struct config config;
    struct err err = {0};
    enum config_request what;
    char words[256];
    assert_false(arguments_arguments(&config, COMMAND_TRAIN, line, words, &what, &err));
    assert_string_equal(err.text, text);
    assert_int_equal(err.code, ERR_USAGE);
}

static void a_command_line_is_read_in_order(void **state)
{
    (void)state;
    struct config config;
    struct err err = {0};
    enum config_request what;
    char words[256];
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|one|--train.batch|3|--lr=0.25|two|--batch|4", words,
                                    &what, &err));
    assert_int_equal(what, CONFIG_RUN);
    assert_int_equal(config.train_batch, 4);
    assert_true(config.train_lr == 0.25);
    assert_string_equal(words, "one|two");
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train", words, &what, &err));
    assert_string_equal(words, "");
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|--data.pairs|-|-|--|--batch", words, &what, &err));
    assert_string_equal(config.data_pairs, "-");
    assert_string_equal(words, "-|--batch");
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|--run.dir=|--data.pairs=--a=b", words, &what, &err));
    assert_string_equal(config.run_dir, "");
    assert_string_equal(config.data_pairs, "--a=b");
}

static void a_switch_needs_no_value(void **state)
{
    (void)state;
    static const struct {
        const char *line, *words;
        bool resume;
    } rows[] = {
        {"train|--resume", "", true},
        {"train|--run.resume", "", true},
        {"train|--resume=false", "", false},
        {"train|--resume|true", "", true},
        {"train|--resume|false", "", false},
        {"train|--resume|word", "word", true},
        {"train|--resume|--no-resume", "", false},
        {"train|--no-run.resume|word", "word", false},
        {"train|--no-resume|true", "true", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config config;
        struct err err = {0};
        enum config_request what;
        char words[256];
        if (!arguments_arguments(&config, COMMAND_TRAIN, rows[i].line, words, &what, &err))
            fail_msg("%s: %s", rows[i].line, err.text);
        assert_int_equal(config.run_resume, rows[i].resume);
        assert_string_equal(words, rows[i].words);
    }
}

static void the_command_line_wins_over_the_file_wherever_it_stands(void **state)
{
    (void)state;
    struct config config;
    struct err err = {0};
    enum config_request what;
    char words[256];
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|--batch|3|--config|seven", words, &what, &err));
    assert_int_equal(config.train_batch, 3);
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|--config=seven|--lr|3", words, &what, &err));
    assert_int_equal(config.train_batch, 7);
    assert_true(config.train_lr == 3.0);
}

static void help_and_dump_are_reported(void **state)
{
    (void)state;
    struct config config;
    struct err err = {0};
    enum config_request what;
    char words[256];
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|--batch|3|--help|--nonsense", words, &what, &err));
    assert_int_equal(what, CONFIG_HELP);
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|--config|./nope|-h", words, &what, &err));
    assert_int_equal(what, CONFIG_HELP);
    assert_true(arguments_arguments(&config, COMMAND_TRAIN, "train|--dump-config|--batch|3", words, &what, &err));
    assert_int_equal(what, CONFIG_DUMP);
    assert_int_equal(config.train_batch, 3);
}

static void a_mistake_on_a_command_line_is_named(void **state)
{
    (void)state;
    arguments_train_refused("train|--bach|3", "--bach is not an option; did you mean --batch?");
    arguments_train_refused("train|--bach=3", "--bach is not an option; did you mean --batch?");
    arguments_train_refused("train|--train.bach=3", "--train.bach is not an option; did you mean --train.batch?");
    arguments_train_refused("train|--layers=3", "--layers is not an option; did you mean --model.layers?");
    arguments_train_refused("train|--zzzzzzzz", "--zzzzzzzz is not an option; see \"lstmq help train\"");
    arguments_train_refused("train|--train.batc", "--train.batc is not an option; did you mean --train.batch?");
    arguments_train_refused("train|--no-bleu", "--no-bleu is not an option; did you mean --no-train.bleu?");
    arguments_train_refused("train|--no-batch", "--no-batch is not an option; see \"lstmq help train\"");
    arguments_train_refused("train|--no-resume=true", "--no-resume takes no value");
    arguments_train_refused("train|--help=x", "--help takes no value");
    arguments_train_refused("train|--json", "--json is an option of other commands; see \"lstmq help train\"");
    arguments_train_refused("train|--batch", "--batch needs a value");
    arguments_train_refused("train|--batch|--lr|3", "--batch needs a value");
    arguments_train_refused("train|--batch=", "train.batch: \"\" is not a whole number from 1 to 65536");
    arguments_train_refused("train|--resume=maybe", "run.resume: \"maybe\" is neither true nor false");
    arguments_train_refused("train|--config", "--config needs a value");
    arguments_train_refused("train|--config|a|--config|b", "--config is given twice");
    arguments_train_refused("train|-b|3", "-b is not an option; see \"lstmq help train\"");
    arguments_train_refused("train|a|b|c", "unexpected \"c\"; see \"lstmq help train\"");
    arguments_train_refused("train|--=3", "-- is not an option; see \"lstmq help train\"");
}

static void an_option_of_another_command_is_refused(void **state)
{
    (void)state;
    struct config config;
    struct err err = {0};
    enum config_request what;
    char words[256];
    assert_false(arguments_arguments(&config, COMMAND_TRANSLATE, "translate|--batch|3", words, &what, &err));
    assert_string_equal(err.text, "--batch is an option of other commands; did you mean --translate.batch?");
    assert_true(arguments_arguments(&config, COMMAND_TRANSLATE, "translate|--config|seven", words, &what, &err));
    assert_int_equal(config.train_batch, 7);
}

static void each_command_takes_its_options_and_no_others(void **state)
{
    (void)state;
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (unsigned command = 1; command < COMMAND_ALL; command <<= 1) {
        for (size_t i = 0; i < count; i++) {
            struct config config;
            struct err err = {0};
            struct buffer value = {0};
            enum config_request what;
            char line[256], words[256];
            config_defaults(&config);
            config_get(&config, &rows[i], &value);
            snprintf(line, sizeof line, "x|--%s=%s", rows[i].key, value.data == NULL ? "" : value.data);
            bool taken = arguments_arguments(&config, command, line, words, &what, &err);
            if (taken != ((rows[i].commands & command) != 0))
                fail_msg("command %u, %s: %s", command, line, err.text);
            buffer_free(&value);
        }
    }
}

static void a_page_of_help_is_as_wide_as_the_terminal(void **state)
{
    (void)state;
    static const size_t widths[] = {40, 72, 80, 99, 100, 120, 300};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        for (unsigned bit = 1; bit < COMMAND_ALL; bit <<= 1) {
            const struct command command = {.name = "name",
                                            .bit = (enum command_bit)bit,
                                            .synopsis = "[options]",
                                            .summary = "does something",
                                            .description = "A paragraph.\n\n  lstmq name --example"};
            struct buffer page = {0};
            help_command(&command, (struct help_style){.width = widths[i]}, &page);
            assert_true(buffer_ok(&page, NULL));
            for (char *line = strtok(page.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
                if (strlen(line) > (widths[i] < 120 ? widths[i] : 120) || line[strlen(line) - 1] == ' ')
                    fail_msg("%zu columns of %zu: %s", strlen(line), widths[i], line);
            buffer_free(&page);
        }
    }
}

static void a_command_that_is_broken_is_still_one_command(void **state)
{
    (void)state;
    const struct command command = {.name = "name",
                                    .bit = COMMAND_OR_GATE,
                                    .synopsis = "--first FIRST --second one|two|three|four|five",
                                    .summary = "does something",
                                    .description = "A paragraph.\n\n  lstmq name --example of --four words"};
    struct buffer page = {0};
    help_command(&command, (struct help_style){.width = 26}, &page);
    assert_true(buffer_ok(&page, NULL));
    assert_non_null(strstr(page.data, "\nusage\n  lstmq name --first FIRST\n      --second\n      one|two|three|four|\n"
                                      "      five\n"));
    assert_non_null(strstr(page.data, "\n  lstmq name --example \\\n      of --four words\n"));
    buffer_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_line_is_read_in_order),
        cmocka_unit_test(a_switch_needs_no_value),
        cmocka_unit_test(the_command_line_wins_over_the_file_wherever_it_stands),
        cmocka_unit_test(help_and_dump_are_reported),
        cmocka_unit_test(a_mistake_on_a_command_line_is_named),
        cmocka_unit_test(an_option_of_another_command_is_refused),
        cmocka_unit_test(each_command_takes_its_options_and_no_others),
        cmocka_unit_test(a_page_of_help_is_as_wide_as_the_terminal),
        cmocka_unit_test(a_command_that_is_broken_is_still_one_command),
    };
    return cmocka_run_group_tests(tests, arguments_enter, scratch_remove);
}
