/* test_config.c - options from the table, from text, from YAML and from recipes. */
#include "proto/base/config.h"
#include "tests/support/option_change.h"
#include "tests/support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static bool test_config_parse(struct config *config, const char *yaml, struct err *err)
{
    config_defaults(config);
    return config_parse(config, yaml, strlen(yaml), "file", NULL, err);
}

/* That `yaml` is refused with this text, and leaves the configuration as it was. */
static void config_refused(const char *yaml, const char *text)
{
    struct config config, untouched;
    struct err err = {0};
    config_defaults(&untouched);
    assert_false(test_config_parse(&config, yaml, &err));
    assert_string_equal(err.text, text);
    assert_int_equal(err.code, ERR_USAGE);
    assert_memory_equal(&config, &untouched, sizeof config);
}

static void config_not_set(const char *key, const char *value, const char *text)
{
    struct config config, untouched;
    struct err err = {0};
    config_defaults(&config);
    config_defaults(&untouched);
    assert_false(config_set(&config, key, value, &err));
    assert_string_equal(err.text, text);
    assert_int_equal(err.code, ERR_USAGE);
    assert_memory_equal(&config, &untouched, sizeof config);
}

static void each_row_of_the_table_is_sound(void **state)
{
    (void)state;
    size_t count;
    const struct option_row *rows = config_options(&count);
    assert_int_equal(count, CONFIG_OPTIONS);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(strchr(rows[i].key, '.'));
        assert_ptr_equal(config_option(rows[i].key), &rows[i]);
        assert_int_not_equal(rows[i].commands, 0);
        assert_true(strlen(rows[i].help) >= 10);
        assert_true(rows[i].type == OPTION_TYPE_TEXT || rows[i].type == OPTION_TYPE_LIST ? rows[i].unit[0] != '\0'
                                                                                         : true);
        assert_true((rows[i].type == OPTION_TYPE_CHOICE) == (rows[i].choices != NULL));
        assert_true(rows[i].least <= rows[i].most);
        /* A long option means one thing in each command. */
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(rows[i].key, rows[j].key);
            if (rows[i].alias != NULL && rows[j].alias != NULL && (rows[i].commands & rows[j].commands) != 0)
                assert_string_not_equal(rows[i].alias, rows[j].alias);
        }
    }
}

static void each_default_is_in_its_range(void **state)
{
    (void)state;
    size_t count;
    const struct option_row *rows = config_options(&count);
    struct config defaults, config;
    config_defaults(&defaults);
    config_defaults(&config);
    for (size_t i = 0; i < count; i++) {
        struct buffer text = {0};
        struct err err = {0};
        config_get(&defaults, &rows[i], &text);
        if (!config_set(&config, rows[i].key, text.size > 0 ? text.data : "", &err))
            fail_msg("%s", err.text);
        buffer_free(&text);
    }
    assert_memory_equal(&config, &defaults, sizeof config);
}

static void choices_are_the_enums_of_the_header(void **state)
{
    (void)state;
    struct config config;
    config_defaults(&config);
    assert_true(config_set(&config, "data.normalise", "none", NULL));
    assert_int_equal(config.data_normalise, NORMALISE_NONE);
    assert_true(config_set(&config, "train.keep_best", "bleu", NULL));
    assert_int_equal(config.train_keep_best, KEEP_BLEU);
    assert_true(config_set(&config, "model.cell", "rnn", NULL));
    assert_int_equal(config.model_cell, CELL_RNN);
    assert_true(config_set(&config, "run.progress", "plain", NULL));
    assert_int_equal(config.run_progress, PROGRESS_PLAIN);
    assert_true(config_set(&config, "train.reduce", "exact", NULL));
    assert_int_equal(config.train_reduce, REDUCE_EXACT);
    config_not_set("model.cell", "ls", "model.cell: \"ls\" is not one of lstm|rnn");
    config_not_set("model.cell", "lstm|rnn", "model.cell: \"lstm|rnn\" is not one of lstm|rnn");
    config_not_set("model.cell", "", "model.cell: \"\" is not one of lstm|rnn");
}

static void a_whole_number_is_nothing_but_one_in_its_range(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    " 3", "3 ",  "+3", "3x",    "0x10", "1e3",
                                      "3.0", "-",  "--3", "0",  "65537", "-1",   "99999999999999999999",
                                      "nan"};
    struct config config;
    config_defaults(&config);
    assert_true(config_set(&config, "train.batch", "1", NULL));
    assert_int_equal(config.train_batch, 1);
    assert_true(config_set(&config, "train.batch", "65536", NULL));
    assert_int_equal(config.train_batch, 65536);
    assert_true(config_set(&config, "train.seed", "4294967295", NULL));
    assert_true(config.train_seed == 4294967295);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "train.batch: \"%s\" is not a whole number from 1 to 65536", bad[i]);
        config_not_set("train.batch", bad[i], text);
    }
}

static void a_number_is_finite_and_in_its_range(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         " 1",    "1 ",    "nan",    "NaN", "inf",  "-inf",
                                      "infinity", "0x1p3", "1e999", "1e-999", "-1",  "1001", "1..2",
                                      "1e",       "e5",    "1,5",   "1-",     ".",   "0x"};
    static const char *const good[] = {"0", "1000", "5e-4", "0.0005", ".5", "1.", "1E-3", "4.9e-324"};
    struct config config;
    config_defaults(&config);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(config_set(&config, "train.lr", good[i], NULL));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "train.lr: \"%s\" is not a number from 0 to 1000", bad[i]);
        config_not_set("train.lr", bad[i], text);
    }
}

static void a_switch_is_true_or_false(void **state)
{
    (void)state;
    struct config config;
    config_defaults(&config);
    assert_true(config_set(&config, "run.resume", "true", NULL));
    assert_true(config.run_resume);
    assert_true(config_set(&config, "run.resume", "false", NULL));
    assert_false(config.run_resume);
    config_not_set("run.resume", "yes", "run.resume: \"yes\" is neither true nor false");
    config_not_set("run.resume", "", "run.resume: \"\" is neither true nor false");
}

static void a_text_fits_and_is_utf8(void **state)
{
    (void)state;
    struct config config, fresh;
    char text[CONFIG_TEXT + 1];
    memset(text, 'x', sizeof text);
    text[CONFIG_TEXT] = '\0';
    config_not_set("data.pairs", text, "data.pairs: a text of 1024 bytes; 1023 is the most");
    text[CONFIG_TEXT - 1] = '\0';
    config_defaults(&config);
    config_defaults(&fresh);
    assert_true(config_set(&config, "data.pairs", text, NULL));
    assert_string_equal(config.data_pairs, text);
    /* A shorter text leaves nothing of a longer one behind. */
    assert_true(config_set(&config, "data.pairs", "", NULL));
    assert_memory_equal(&config, &fresh, sizeof config);
    config_not_set("data.pairs", "caf\xe9", "data.pairs: \"caf?\" is not valid UTF-8 (byte 4)");
}

/* That the list has these entries, up to NULL. */
static void config_has_models(const struct config *config, const char *const *entries)
{
    const char *model = NULL;
    for (; *entries != NULL; entries++) {
        model = config_list_next(config->serve_model, model);
        assert_non_null(model);
        assert_string_equal(model, *entries);
    }
    assert_null(config_list_next(config->serve_model, model));
}

static void a_list_keeps_its_entries_in_order(void **state)
{
    (void)state;
    struct config config;
    struct buffer text = {0};
    config_defaults(&config);
    config_has_models(&config, (const char *const[]){NULL});
    assert_true(config_set(&config, "serve.model", "en-fr", NULL));
    assert_true(config_add(&config, "serve.model", "fr, en\n", NULL));
    config_has_models(&config, (const char *const[]){"en-fr", "fr, en\n", NULL});
    config_get(&config, config_option("serve.model"), &text);
    assert_string_equal(text.data, "en-fr, fr, en\n");
    assert_true(config_set(&config, "serve.model", "x", NULL));
    config_has_models(&config, (const char *const[]){"x", NULL});
    assert_true(config_set(&config, "serve.model", "", NULL));
    config_has_models(&config, (const char *const[]){NULL});
    buffer_free(&text);
}

static void config_not_added(struct config *config, const char *key, const char *value, const char *text)
{
    const struct config untouched = *config;
    struct err err = {0};
    assert_false(config_add(config, key, value, &err));
    assert_string_equal(err.text, text);
    assert_int_equal(err.code, ERR_USAGE);
    assert_memory_equal(config, &untouched, sizeof *config);
}

static void an_entry_that_does_not_fit_a_list_is_refused(void **state)
{
    (void)state;
    struct config config;
    char text[CONFIG_TEXT + 1];
    memset(text, 'x', CONFIG_TEXT);
    text[CONFIG_TEXT] = '\0';
    config_defaults(&config);
    config_not_added(&config, "train.batch", "3", "train.batch takes one value, not several");
    config_not_added(&config, "serve.modle", "3", "unknown key \"serve.modle\"; did you mean \"serve.model\"?");
    config_not_added(&config, "serve.model", "", "serve.model: entry 1 is empty");
    config_not_added(&config, "serve.model", "\xff", "serve.model: \"?\" is not valid UTF-8 (byte 1)");
    config_not_added(&config, "serve.model", text, "serve.model: a text of 1024 bytes; 1023 is the most");
    config_not_set("serve.model", text, "serve.model: a text of 1024 bytes; 1023 is the most");
    for (int i = 0; i < CONFIG_ENTRIES; i++)
        assert_true(config_add(&config, "serve.model", "x", NULL));
    config_not_added(&config, "serve.model", "x", "serve.model: more than 64 entries");
    config_defaults(&config);
    text[CONFIG_TEXT - 1] = '\0';
    for (int i = 0; i < CONFIG_LIST / CONFIG_TEXT - 1; i++)
        assert_true(config_add(&config, "serve.model", text, NULL));
    config_not_added(&config, "serve.model", text, "serve.model: 8 entries of 8192 bytes together; 8191 is the most");
    assert_true(config_add(&config, "serve.model", text + 1, NULL));
    assert_int_equal(config.serve_model[CONFIG_LIST - 1], '\0');
    config_not_added(&config, "serve.model", "x", "serve.model: 9 entries of 8193 bytes together; 8191 is the most");
}

static void a_list_is_a_sequence_or_a_scalar(void **state)
{
    (void)state;
    struct config config;
    static const char *const two[] = {"a", "b: c", NULL}, *const one[] = {"a b", NULL}, *const none[] = {NULL};
    assert_true(test_config_parse(&config, "serve:\n  model:\n    - a\n    - 'b: c'\n", NULL));
    config_has_models(&config, two);
    assert_true(test_config_parse(&config, "serve.model: [a, \"b: c\"]\n", NULL));
    config_has_models(&config, two);
    assert_true(test_config_parse(&config, "serve:\n  model: a b\n", NULL));
    config_has_models(&config, one);
    static const char *const empty[] = {"serve:\n  model: []\n", "serve:\n  model:\n", "serve.model: ''\n"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        config_defaults(&config);
        assert_true(config_set(&config, "serve.model", "x", NULL));
        assert_true(config_parse(&config, empty[i], strlen(empty[i]), "file", NULL, NULL));
        config_has_models(&config, none);
    }
    config_refused("serve:\n  model:\n    - a\n    -\n", "file:4: serve.model: entry 2 is empty");
    config_refused("serve:\n  model:\n    - {a: b}\n", "file:3: serve.model: an entry is one text without a NUL");
    config_refused("serve:\n  model: [\"a\\0b\"]\n", "file:2: serve.model: an entry is one text without a NUL");
    config_refused("serve:\n  model: [a]\n  model: b\n", "file:3: serve.model is given again (first on line 2)");
    config_refused("serve:\n  model: a\n  model: [b]\n", "file:3: serve.model is given again (first on line 2)");
}

static void the_command_line_replaces_a_list_of_a_file(void **state)
{
    (void)state;
    char *argv[] = {"serve", "--model", "a", "--config", "./list.yaml", "--serve.model=b", "--model", "", NULL};
    struct config config;
    struct err err = {0};
    enum config_request what;
    int words;
    scratch_write_text("list.yaml", "serve.model: [x, y, z]\n");
    config_defaults(&config);
    assert_true(config_arguments(&config, COMMAND_SERVE, 6, argv, 0, &words, &what, NULL, &err));
    config_has_models(&config, (const char *const[]){"a", "b", NULL});
    assert_false(config_arguments(&config, COMMAND_SERVE, 8, argv, 0, &words, &what, NULL, &err));
    assert_string_equal(err.text, "serve.model: entry 3 is empty");
}

static void an_unknown_key_names_the_one_that_was_meant(void **state)
{
    (void)state;
    config_not_set("train.bach", "3", "unknown key \"train.bach\"; did you mean \"train.batch\"?");
    config_not_set("batch", "3", "unknown key \"batch\"; did you mean \"train.batch\"?");
    config_not_set("data.lr", "3", "unknown key \"data.lr\"; did you mean \"train.lr\"?");
    config_not_set("learning_rate", "3", "unknown key \"learning_rate\"; did you mean \"train.lr\"?");
    config_not_set("model.rnn-size", "3", "unknown key \"model.rnn-size\"; did you mean \"model.hidden\"?");
    config_not_set("log-steps", "3", "unknown key \"log-steps\"; did you mean \"log.steps\"?");
    config_not_set("log.stesp", "3", "unknown key \"log.stesp\"; did you mean \"log.steps\"?");
    config_not_set("train.steps", "3", "unknown key \"train.steps\"; training is counted in epochs: see train.epochs");
    config_not_set("max_steps", "3", "unknown key \"max_steps\"; training is counted in epochs: see train.epochs");
    config_not_set("train.max_update", "3",
                   "unknown key \"train.max_update\"; training is counted in epochs: see train.epochs");
    config_not_set("train.warmup_steps", "3", "unknown key \"train.warmup_steps\"");
    config_not_set("qqqqqqqq.zzzzzz", "3", "unknown key \"qqqqqqqq.zzzzzz\"");
    config_not_set("", "3", "unknown key \"\"");
    config_not_set("a\nb\xff", "3", "unknown key \"a?b?\"");
}

static void numbers_survive_the_round_trip_to_the_bit(void **state)
{
    (void)state;
    static const double values[] = {0.1, 1.0 / 3.0, 0.0005, 1e-5, 999.99999999999989, 4.9e-324, 2.2250738585072014e-308,
                                    0};
    const struct option_row *row = config_option("train.lr");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct config config, again;
        struct buffer text = {0};
        config_defaults(&config);
        config_defaults(&again);
        config.train_lr = values[i];
        config_get(&config, row, &text);
        assert_true(config_set(&again, row->key, text.data, NULL));
        assert_memory_equal(&again.train_lr, &config.train_lr, sizeof config.train_lr);
        buffer_free(&text);
    }
    struct config config;
    struct buffer text = {0};
    config_defaults(&config);
    config_get(&config, row, &text);
    assert_string_equal(text.data, "0.001");
    buffer_free(&text);
}

/* Another configuration: each option at another value than its default. */
static void config_other(struct config *config)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    config_defaults(config);
    for (size_t i = 0; i < count; i++)
        option_change(config, &rows[i]);
}

static void a_dump_reads_back_to_the_same_bytes(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        struct config config, again;
        struct buffer yaml = {0};
        struct err err = {0};
        config_defaults(&config);
        if (other)
            config_other(&config);
        config_dump(&config, &yaml);
        if (!test_config_parse(&again, yaml.data, &err))
            fail_msg("%s\n%s", err.text, yaml.data);
        assert_memory_equal(&again, &config, sizeof config);
        buffer_free(&yaml);
    }
}

static void sections_and_whole_keys_are_read(void **state)
{
    (void)state;
    struct config config;
    struct err err = {0};
    assert_true(test_config_parse(
        &config, "# a comment\ntrain:\n  batch: 32 # behind\n  lr: 1e-3\nmodel: {cell: rnn, hidden: \"64\"}\n", &err));
    assert_int_equal(config.train_batch, 32);
    assert_true(config.train_lr == 0.001);
    assert_int_equal(config.model_cell, CELL_RNN);
    assert_int_equal(config.model_hidden, 64);
    assert_true(test_config_parse(&config,
                                  "\xef\xbb\xbftrain.batch: 16\r\nrun.dir: 'runs/a b'\r\ntrain:\r\n  lr: 2\r\n", &err));
    assert_int_equal(config.train_batch, 16);
    assert_string_equal(config.run_dir, "runs/a b");
    assert_true(config.train_lr == 2.0);
}

static void a_file_that_says_nothing_changes_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "\n", "# only a comment\n", "---\n", "---\n...\n", "{}", "train:\nmodel:\n  # all are comments\n"};
    struct config config, defaults;
    struct err err = {0};
    config_defaults(&defaults);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!test_config_parse(&config, texts[i], &err))
            fail_msg("%s", err.text);
        assert_memory_equal(&config, &defaults, sizeof config);
    }
}

static void errors_in_yaml_name_the_line(void **state)
{
    (void)state;
    config_refused("train:\n  batch: 3\n  bach: 4\n",
                   "file:3: unknown key \"train.bach\"; did you mean \"train.batch\"?");
    config_refused("train:\n  batch: many\n", "file:2: train.batch: \"many\" is not a whole number from 1 to 65536");
    config_refused("\n\ntrian:\n  batch: 3\n", "file:3: unknown section \"trian\"; did you mean \"train\"?");
    config_refused("zzzzzzzz:\n  batch: 3\n", "file:1: unknown section \"zzzzzzzz\"");
    config_refused("train: 3\n", "file:1: train is a section: its options stand below it, one on a line, indented");
    config_refused("train:\n  batch: {a: 1}\n", "file:2: train.batch takes one value, not a mapping");
    config_refused("train.batch: {a: 1}\n", "file:1: train.batch takes one value, not a mapping");
    config_refused("train:\n  model:\n    cell: rnn\n", "file:2: unknown section \"train.model\"");
    config_refused("words\n", "file:1: options are expected, as \"section:\" and, below it, \"name: value\"");
    config_refused("run:\n  dir: \"a\\0b\"\n", "file:2: run.dir: a NUL stands in the value");
    config_refused("\"train.batch\\0x\": 3\n", "file:1: a key is plain text");
    config_refused("train.batch: 3\n---\ntrain.batch: 4\n", "file:2: a second document");
    config_refused("{{a: b}: c}\n", "file:1: a key is plain text");
}

static void a_key_that_is_given_again_is_refused(void **state)
{
    (void)state;
    config_refused("train:\n  batch: 3\n  lr: 1\n  batch: 3\n", "file:4: train.batch is given again (first on line 2)");
    config_refused("train.batch: 3\ntrain:\n  batch: 3\n", "file:3: train.batch is given again (first on line 1)");
    config_refused("train:\n  batch: 3\nmodel:\n  cell: rnn\ntrain:\n  lr: 1\n",
                   "file:5: train is given again (first on line 1)");
}

static void yaml_other_than_scalars_and_mappings_is_refused(void **state)
{
    (void)state;
    static const char rest[] = " is not accepted here: options are \"section:\" and, below it, \"name: value\"";
    static const char *const rows[][2] = {
        {"- a\n", "file:1: a sequence"},
        {"train:\n  batch: [3]\n", "file:2: a sequence"},
        {"train:\n  batch: &a 3\n", "file:2: an anchor"},
        {"train: &a\n  batch: 3\n", "file:1: an anchor"},
        {"serve:\n  model: &a [x]\n", "file:2: an anchor"},
        {"serve:\n  model: !x [x]\n", "file:2: a tag"},
        {"serve:\n  model: [[x]]\n", "file:2: a sequence"},
        {"train:\n  batch: *a\n", "file:2: an alias"},
        {"train:\n  batch: !!int 3\n", "file:2: a tag"},
        {"!x\ntrain:\n  batch: 3\n", "file:1: a tag"},
        {"? [a]\n: b\n", "file:1: a sequence"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s%s", rows[i][1], rest);
        config_refused(rows[i][0], text);
    }
}

static void invalid_yaml_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"train:\n\tbatch: 3\n", "file:2: not YAML: "},
        {"train:\n  dir: \"open\n", "file:3: not YAML: "},
        {"train:\n  batch: 3\n lr: 3\n", "file:3: not YAML: "},
        {"run.dir: b: c\n", "file:1: not YAML: "},
        {"train:\n  batch: 3\nrun:\n  dir: \xff\n", "file:4: not YAML: "},
        {"run:\n  dir: \x01\n", "file:2: not YAML: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config config;
        struct err err = {0};
        assert_false(test_config_parse(&config, rows[i][0], &err));
        if (strncmp(err.text, rows[i][1], strlen(rows[i][1])) != 0)
            fail_msg("\"%s\" is not \"%s...\"", err.text, rows[i][1]);
        assert_int_equal(err.code, ERR_USAGE);
    }
}

static void every_cut_or_flipped_bit_of_a_dump_is_handled(void **state)
{
    (void)state;
    struct config config, other;
    struct buffer yaml = {0};
    struct err err;
    config_other(&other);
    config_dump(&other, &yaml);
    for (size_t size = 0; size < yaml.size; size += 7) {
        config_defaults(&config);
        config_parse(&config, yaml.data, size, "file", NULL, &err);
    }
    for (size_t at = 0; at < yaml.size; at += 11) {
        yaml.data[at] = (char)(yaml.data[at] ^ (1 << at % 8));
        config_defaults(&config);
        config_parse(&config, yaml.data, yaml.size, "file", NULL, &err);
        yaml.data[at] = (char)(yaml.data[at] ^ (1 << at % 8));
    }
    buffer_free(&yaml);
}

static char config_was[4096]; /* the working folder before */

/* A folder of recipes, inside the working folder. */
static int config_enter(void **state)
{
    if (scratch_make(state) != 0 || getcwd(config_was, sizeof config_was) == NULL || chdir(scratch_folder) != 0)
        return -1;
    mkdir("recipes", 0700);
    scratch_write_text("recipes/small.yaml", "train.batch: 5\n");
    scratch_write_text("recipes/notebook.yaml", "train.batch: 6\n");
    scratch_write_text("recipes/broken.yaml", "train:\n  bach: 6\n");
    scratch_write_text("here.yaml", "train.batch: 7\n");
    scratch_write_text("readme.txt", "not a recipe\n");
    return setenv("LSTMQ_RECIPES", "recipes", 1);
}

static int config_leave(void **state)
{
    return chdir(config_was) != 0 || scratch_remove(state) != 0;
}

static int64_t config_loaded_batch(const char *path)
{
    struct config config;
    struct err err = {0};
    config_defaults(&config);
    if (!config_load(&config, path, NULL, &err))
        fail_msg("%s", err.text);
    return config.train_batch;
}

static void a_file_wins_over_recipes_and_the_chosen_folder_over_others(void **state)
{
    (void)state;
    assert_int_equal(config_loaded_batch("here.yaml"), 7);
    assert_int_equal(config_loaded_batch("./here.yaml"), 7);
    assert_int_equal(config_loaded_batch("small"), 5);
    assert_int_equal(config_loaded_batch("small.yaml"), 5);
    assert_int_equal(config_loaded_batch("notebook"), 6);
    scratch_write_text("small", "train.batch: 8\n");
    assert_int_equal(config_loaded_batch("small"), 8);
}

static void the_recipes_of_the_sources_are_found_and_valid(void **state)
{
    (void)state;
    unsetenv("LSTMQ_RECIPES");
    struct config config;
    struct err err = {0};
    static const char *const names[] = {"notebook", "notebook-rnn", "default"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        config_defaults(&config);
        if (!config_load(&config, names[i], NULL, &err))
            fail_msg("%s", err.text);
        assert_int_equal(config.train_seed, 42);
    }
    setenv("LSTMQ_RECIPES", "recipes", 1);
}

static void a_missing_recipe_lists_those_there_are(void **state)
{
    (void)state;
    struct config config;
    struct err err = {0};
    config_defaults(&config);
    assert_false(config_load(&config, "smal", NULL, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_string_equal(err.text, "no file and no recipe \"smal\"; did you mean \"small\"? Recipes: broken, default, "
                                  "notebook, notebook-rnn, small");
    assert_false(config_load(&config, "zzzzzzzz", NULL, &err));
    assert_string_equal(err.text,
                        "no file and no recipe \"zzzzzzzz\"; recipes: broken, default, notebook, notebook-rnn, small");
}

static void a_file_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    struct config config;
    struct err err = {0};
    config_defaults(&config);
    assert_false(config_load(&config, "./nope.yaml", NULL, &err));
    assert_string_equal(err.text, "cannot read configuration \"./nope.yaml\": No such file or directory");
    assert_false(config_load(&config, "./recipes", NULL, &err));
    assert_string_equal(err.text, "cannot read configuration \"./recipes\": Is a directory");
    assert_false(config_load(&config, "broken", NULL, &err));
    assert_string_equal(err.text, "recipes/broken.yaml:2: unknown key \"train.bach\"; did you mean \"train.batch\"?");
    FILE *file = fopen("large.yaml", "wb");
    assert_non_null(file);
    for (int i = 0; i < (1 << 20) + 1; i++)
        fputc('#', file);
    fclose(file);
    assert_false(config_load(&config, "large.yaml", NULL, &err));
    assert_string_equal(err.text, "configuration \"large.yaml\" is larger than 1 MiB");
    assert_int_equal(err.code, ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_of_the_table_is_sound),
        cmocka_unit_test(each_default_is_in_its_range),
        cmocka_unit_test(choices_are_the_enums_of_the_header),
        cmocka_unit_test(a_whole_number_is_nothing_but_one_in_its_range),
        cmocka_unit_test(a_number_is_finite_and_in_its_range),
        cmocka_unit_test(a_switch_is_true_or_false),
        cmocka_unit_test(a_text_fits_and_is_utf8),
        cmocka_unit_test(a_list_keeps_its_entries_in_order),
        cmocka_unit_test(an_entry_that_does_not_fit_a_list_is_refused),
        cmocka_unit_test(a_list_is_a_sequence_or_a_scalar),
        cmocka_unit_test(the_command_line_replaces_a_list_of_a_file),
        cmocka_unit_test(an_unknown_key_names_the_one_that_was_meant),
        cmocka_unit_test(numbers_survive_the_round_trip_to_the_bit),
        cmocka_unit_test(a_dump_reads_back_to_the_same_bytes),
        cmocka_unit_test(sections_and_whole_keys_are_read),
        cmocka_unit_test(a_file_that_says_nothing_changes_nothing),
        cmocka_unit_test(errors_in_yaml_name_the_line),
        cmocka_unit_test(a_key_that_is_given_again_is_refused),
        cmocka_unit_test(yaml_other_than_scalars_and_mappings_is_refused),
        cmocka_unit_test(invalid_yaml_is_refused_with_its_line),
        cmocka_unit_test(every_cut_or_flipped_bit_of_a_dump_is_handled),
        cmocka_unit_test(a_file_wins_over_recipes_and_the_chosen_folder_over_others),
        cmocka_unit_test(the_recipes_of_the_sources_are_found_and_valid),
        cmocka_unit_test(a_missing_recipe_lists_those_there_are),
        cmocka_unit_test(a_file_that_cannot_be_used_is_named),
    };
    return cmocka_run_group_tests(tests, config_enter, config_leave);
}
