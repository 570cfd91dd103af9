/* test_checkpoint.c - checkpoints: what is written comes back to the bit, and no damage goes unseen. */
#include "tests/support/fixture.h"

#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <sys/stat.h>
#include <xxhash.h>

static struct checkpoint checkpoint_checkpoint; /* too large for a stack that a sanitizer watches */

static void checkpoint_path(char path[FILE_PATH], const char *run, const char *name)
{
    assert_true(path_join(path, run, name, NULL));
}

static bool test_checkpoint_open(const char *path, struct err *err)
{
    if (!checkpoint_open(&checkpoint_checkpoint, path, "latest", err))
        return false;
    checkpoint_close(&checkpoint_checkpoint);
    return true;
}

/* Write a file again as it is given, without manifest or fsync. */
static void checkpoint_overwrite(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && file_write_all(fd, bytes, size));
    assert_int_equal(close(fd), 0);
}

static void a_committed_checkpoint_comes_back(void **state)
{
    struct err err = {0};
    const char *run = *state;
    assert_ok(fixture_write(run, 1200, 'a', &err), err);
    assert_ok(checkpoint_open(&checkpoint_checkpoint, run, "latest", &err), err);
    assert_true(fixture_is(&checkpoint_checkpoint, 1200, 'a'));
    assert_false(fixture_is(&checkpoint_checkpoint, 1200, 'b'));
    assert_non_null(strstr(checkpoint_checkpoint.path, "/step-00001200"));
    assert_int_equal(vocab_size(checkpoint_checkpoint.src), 5);
    assert_string_equal(vocab_word(checkpoint_checkpoint.tgt, 4), "un-a");
    assert_err(checkpoint_file(&checkpoint_checkpoint, "other", &(struct buffer){0}, &err), err, ERR_DATA,
               "has no other");
    checkpoint_close(&checkpoint_checkpoint);
}

static void every_number_of_the_state_survives_to_the_bit(void **unused)
{
    (void)unused;
    static const double reals[] = {0.1, 1.0 / 3, -0.0, 5e-324, DBL_MAX, -DBL_MIN, INFINITY, -INFINITY, NAN, 1e22, 3};
    struct checkpoint_state before, after;
    struct buffer text = {0};
    struct err err = {0};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        fixture_state(&before, 7, 'a');
        before.loss_sum = before.batch_loss_sum = before.train_seconds = before.best_score = reals[i];
        before.has_best = i % 2 == 0;
        before.best_epoch = before.best_step = before.has_best ? 3 : 0;
        if (!before.has_best)
            before.best_score = 0;
        before.tokens = INT64_MAX;
        before.correct = INT64_MAX - 1;
        before.stale_epochs = 2;
        before.finished = i % 3 == 0;
        before.config.train_lr = 0.1 + 0.2;
        before.config.train_batch = 63;
        before.config.model_cell = CELL_RNN;
        before.config.train_bleu = false;
        strcpy(before.config.data_pairs, "a \"pair\"\t of\xc3\xa9 files\\");
        assert_true(config_set(&before.config, "serve.model", "one, two", NULL));
        assert_true(config_add(&before.config, "serve.model", "\"three\"\n", NULL));
        strcpy(before.dataset, "0123456789abcdef");
        buffer_clear(&text);
        checkpoint_state_write(&before, &text);
        assert_ok(buffer_ok(&text, &err), err);
        assert_ok(checkpoint_state_read(text.data, text.size, "state.json", &after, &err), err);
        if (isnan(reals[i])) {
            assert_true(isnan(after.loss_sum));
            continue;
        }
        assert_memory_equal(&before, &after, offsetof(struct checkpoint_state, has_best));
        assert_int_equal(before.has_best, after.has_best);
        assert_memory_equal(&before.best_score, &after.best_score, sizeof(double));
        assert_int_equal(before.best_step, after.best_step);
        assert_string_equal(before.dataset, after.dataset);
        assert_string_equal(before.created, after.created);
        assert_string_equal(before.version, after.version);
        assert_memory_equal(&before.config.train_lr, &after.config.train_lr, sizeof(double));
        assert_string_equal(before.config.data_pairs, after.config.data_pairs);
        assert_memory_equal(before.config.serve_model, after.config.serve_model, CONFIG_LIST);
        assert_int_equal(after.config.model_cell, CELL_RNN);
        assert_false(after.config.train_bleu);
        struct buffer again = {0};
        checkpoint_state_write(&after, &again);
        assert_string_equal(text.data, again.data);
        buffer_free(&again);
    }
    buffer_free(&text);
}

static void bleu_of_an_old_state_is_the_normalised_one(void **unused)
{
    (void)unused;
    static const char newer[] = "\"log.format\": \"text\",";
    for (int keep = KEEP_VAL_ACC; keep <= KEEP_BLEU_NORMALISED; keep++) {
        struct checkpoint_state before, after;
        struct buffer text = {0};
        struct err err = {0};
        fixture_state(&before, 7, 'a');
        before.config.train_keep_best = keep;
        checkpoint_state_write(&before, &text);
        assert_ok(checkpoint_state_read(text.data, text.size, "state.json", &after, &err), err);
        assert_int_equal(after.config.train_keep_best, keep);
        char *at = strstr(text.data, newer);
        assert_non_null(at);
        memset(at, ' ', sizeof newer - 1);
        assert_ok(checkpoint_state_read(text.data, text.size, "state.json", &after, &err), err);
        assert_int_equal(after.config.train_keep_best, keep == KEEP_BLEU ? KEEP_BLEU_NORMALISED : keep);
        buffer_free(&text);
    }
}

/* `from` replaced by `to` once in the text of a good state. */
static bool checkpoint_read_changed(const char *from, const char *to, struct err *err)
{
    struct checkpoint_state state;
    struct buffer text = {0}, changed = {0};
    fixture_state(&state, 7, 'a');
    strcpy(state.config.data_pairs, "pairs.tsv");
    state.has_best = true;
    state.best_step = 5;
    checkpoint_state_write(&state, &text);
    const char *at = strstr(text.data, from);
    if (at == NULL)
        fail_msg("no %s in %s", from, text.data);
    buffer_append(&changed, text.data, (size_t)(at - text.data));
    buffer_text(&changed, to);
    buffer_text(&changed, at + strlen(from));
    bool ok = checkpoint_state_read(changed.data, changed.size, "state.json", &state, err);
    buffer_free(&text);
    buffer_free(&changed);
    return ok;
}

static void a_state_that_makes_no_sense_is_named(void **unused)
{
    (void)unused;
    static const struct {
        const char *from, *to, *part;
    } cases[] = {
        {"\"format\": 1", "\"format\": 2", "format 2; this lstmq reads 1"},
        {"\"format\": 1,", "", "\"format\" is missing"},
        {"\"step\": 7", "\"step\": 7.0", "\"step\" is not a whole number"},
        {"\"step\": 7", "\"step\": -7", "\"step\" is not a whole number"},
        {"\"step\": 7", "\"step\": \"7\"", "\"step\" is not a whole number"},
        {"\"step\": 7", "\"step\": 18446744073709551615", "state.json:5: too big integer"},
        {"\"step\": 7,", "", "\"step\" is missing"},
        {"\"step\": 7", "\"step\": 6", "\"epoch_step\" is beyond"},
        {"\"step\": 7", "\"step\": 7, \"step\": 7", "duplicate"},
        {"\"epoch\": 1", "\"epoch\": 0", "epochs are counted from 1"},
        {"\"correct\": 3", "\"correct\": 11", "more \"correct\" answers"},
        {"\"train_seconds\": 0.0", "\"train_seconds\": 0", "\"train_seconds\" is not a real number"},
        {"\"train_seconds\": 0.0", "\"train_seconds\": \"many\"", "\"train_seconds\" is not a real number"},
        {"\"finished\": false", "\"finished\": 0", "\"finished\" is not true or false"},
        {"\"created\": \"", "\"created\": \"0123456789012345", "\"created\" is not a string of at most 31 bytes"},
        {"\"dataset\": \"\"", "\"dataset\": \"xyz\"", "\"dataset\" is not 16"},
        {"\"finished\"", "\"surprise\"", "unknown key \"surprise\" (a newer lstmq may have written this)"},
        {"\"best\": {", "\"best\": {\"surprise\": 1, ", "unknown key \"surprise\""},
        {"\"best\": {", "\"best\": {\"score\": 1.0}, \"config\": {", "duplicate"},
        {"\"step\": 5", "\"step\": 8", "the \"best\" step is beyond"},
        {"\"config\": {", "\"config\": {\"train.surprise\": 1, ", "unknown key \"train.surprise\""},
        {"\"train.batch\": 64", "\"train.batch\": 64.0", "\"train.batch\" is not a whole number"},
        {"\"train.batch\": 64", "\"train.batch\": 0", "train.batch"},
        {"\"train.lr\": ", "\"train.lr\": -", "train.lr"},
        {"\"train.bleu\": true", "\"train.bleu\": \"true\"", "\"train.bleu\" is not true or false"},
        {"\"lstm\"", "\"gru\"", "model.cell"},
        {"\"pairs.tsv\"", "\"a\\u0000b\"", "NUL"},
        {"\"pairs.tsv\"", "{}", "\"data.pairs\" is not a string"},
        {"\"serve.model\": []", "\"serve.model\": 1", "\"serve.model\" is not an array of strings"},
        {"\"serve.model\": []", "\"serve.model\": [\"a\", 1]", "\"serve.model\" has an entry that is not a string"},
        {"\"serve.model\": []", "\"serve.model\": [\"a\", \"\"]", "serve.model: entry 2 is empty"},
        {"{", "[", "state.json:"},
    };
    struct err err = {0};
    assert_ok(checkpoint_read_changed("\"step\"", "\"step\"", &err), err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_err(checkpoint_read_changed(cases[i].from, cases[i].to, &err), err, ERR_DATA, cases[i].part);
        assert_ptr_equal(strstr(err.text, "state.json:"), err.text);
    }
    /* An option that was one text may be a list today. */
    assert_ok(checkpoint_read_changed("\"serve.model\": []", "\"serve.model\": \"a\"", &err), err);
    /* An older lstmq had fewer options. */
    assert_ok(checkpoint_read_changed("\"model.layers\": 1,", "", &err), err);
}

static void each_flipped_byte_is_seen(void **state)
{
    struct err err = {0};
    char folder[FILE_PATH], path[FILE_PATH];
    assert_ok(fixture_write(*state, 12, 'a', &err), err);
    checkpoint_path(folder, *state, "step-00000012");
    static const int masks[] = {0x01, 0x20, 0x80};
    for (int f = 0; f <= FIXTURE_FILES; f++) {
        struct buffer bytes = {0};
        checkpoint_path(path, folder, f < FIXTURE_FILES ? fixture_files[f] : "manifest.json");
        assert_ok(file_read(path, 1 << 20, &bytes, &err), err);
        int fd = open(path, O_WRONLY);
        assert_true(fd >= 0);
        for (size_t i = 0; i < bytes.size; i++) {
            char flipped = (char)(bytes.data[i] ^ masks[i % 3]);
            assert_int_equal(pwrite(fd, &flipped, 1, (off_t)i), 1);
            assert_err(test_checkpoint_open(folder, &err), err, ERR_DATA, path);
            assert_int_equal(pwrite(fd, bytes.data + i, 1, (off_t)i), 1);
        }
        close(fd);
        buffer_free(&bytes);
    }
    assert_ok(test_checkpoint_open(folder, &err), err);
}

static void each_truncation_and_each_missing_file_is_seen(void **state)
{
    struct err err = {0};
    char folder[FILE_PATH], path[FILE_PATH];
    assert_ok(fixture_write(*state, 12, 'a', &err), err);
    checkpoint_path(folder, *state, "step-00000012");
    for (int f = 0; f <= FIXTURE_FILES; f++) {
        struct buffer bytes = {0};
        checkpoint_path(path, folder, f < FIXTURE_FILES ? fixture_files[f] : "manifest.json");
        assert_ok(file_read(path, 1 << 20, &bytes, &err), err);
        for (size_t size = bytes.size; size-- > 0;) {
            assert_int_equal(truncate(path, (off_t)size), 0);
            assert_err(test_checkpoint_open(folder, &err), err, ERR_DATA, path);
        }
        assert_int_equal(unlink(path), 0);
        if (f < FIXTURE_FILES && strcmp(fixture_files[f], "optimizer.safetensors") == 0) {
            assert_ok(test_checkpoint_open(folder, &err), err); /* translating needs none */
        } else {
            assert_err(test_checkpoint_open(folder, &err), err, ERR_DATA, ": missing");
            assert_non_null(strstr(err.text, path));
        }
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        close(fd);
        buffer_append(&bytes, "x", 1);
        checkpoint_overwrite(path, bytes.data, bytes.size);
        assert_err(test_checkpoint_open(folder, &err), err, ERR_DATA, path);
        checkpoint_overwrite(path, bytes.data, bytes.size - 1);
        buffer_free(&bytes);
    }
    checkpoint_path(path, folder, "notes.txt"); /* not in the manifest */
    assert_ok(file_write_atomic(path, "mine", 4, &err), err);
    assert_ok(test_checkpoint_open(folder, &err), err);
}

/* Files may carry the right checksums and still not be a checkpoint. */
static void a_whole_folder_of_wrong_files_is_refused(void **state)
{
    struct err err = {0};
    static const struct {
        const char *file, *bytes, *part;
    } cases[] = {
        {"model.safetensors", "no tensors", "model.safetensors: "},
        {"state.json", "{}", "state.json: \"format\" is missing"},
        {"src.vocab", "one\n", "src.vocab:"},
        {NULL, NULL, "does not list"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct checkpoint_writer *writer = checkpoint_begin(*state, 12, &err);
        assert_non_null(writer);
        for (int f = 0; f < FIXTURE_FILES; f++) {
            struct buffer bytes = {0};
            fixture_bytes(fixture_files[f], 12, 'a', &bytes);
            if (cases[c].file != NULL && strcmp(cases[c].file, fixture_files[f]) == 0)
                assert_true(checkpoint_write(writer, fixture_files[f], cases[c].bytes, strlen(cases[c].bytes), &err));
            else if (cases[c].file != NULL || f > 0)
                assert_true(checkpoint_write(writer, fixture_files[f], bytes.data, bytes.size, &err));
            buffer_free(&bytes);
        }
        assert_ok(checkpoint_commit(&writer, &err), err);
        assert_err(test_checkpoint_open(*state, &err), err, ERR_DATA, cases[c].part);
    }
}

static void a_checkpoint_without_moments_opens_but_cannot_go_on(void **state)
{
    struct err err = {0};
    char path[FILE_PATH];
    bool found;
    for (uint64_t step = 1; step <= 2; step++)
        assert_ok(fixture_write(*state, step, 'a', &err), err);
    checkpoint_path(path, *state, "step-00000002/optimizer.safetensors");
    assert_int_equal(unlink(path), 0);
    assert_ok(checkpoint_open(&checkpoint_checkpoint, *state, "latest", &err), err);
    assert_int_equal(checkpoint_checkpoint.state.step, 2);
    assert_false(checkpoint_checkpoint.resumable);
    checkpoint_close(&checkpoint_checkpoint);
    assert_ok(checkpoint_latest(&checkpoint_checkpoint, *state, &found, &err), err);
    assert_int_equal(checkpoint_checkpoint.state.step, 1);
    assert_true(checkpoint_checkpoint.resumable);
    checkpoint_close(&checkpoint_checkpoint);
    checkpoint_path(path, *state, "step-00000001/optimizer.safetensors");
    assert_int_equal(unlink(path), 0);
    assert_err(checkpoint_latest(&checkpoint_checkpoint, *state, &found, &err), err, ERR_DATA, path);
    assert_non_null(strstr(err.text, "copy the file back"));
}

static void numbers_that_are_not_finite_are_named(void **state)
{
    static const struct {
        const char *file;
        float value;
        bool opens;
    } cases[] = {
        {"model.safetensors", NAN, false},         {"model.safetensors", -INFINITY, false},
        {"model.safetensors", FLT_MAX, true},      {"optimizer.safetensors", NAN, false},
        {"optimizer.safetensors", INFINITY, true},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (int element = 0; element < 8; element++) {
            struct err err = {0};
            char run[FILE_PATH], part[64];
            checkpoint_path(run, *state, "run");
            assert_ok(folder_remove(run, &err), err);
            assert_ok(fixture_write_value(run, 12, cases[c].file, element, cases[c].value, &err), err);
            snprintf(part, sizeof part, "%s: tensor %s: element %d is not", cases[c].file,
                     element < 6 ? "weight" : "bias", element < 6 ? element : element - 6);
            if (cases[c].opens)
                assert_ok(test_checkpoint_open(run, &err), err);
            else
                assert_err(test_checkpoint_open(run, &err), err, ERR_DATA, part);
        }
    }
}

static void a_damaged_checkpoint_offers_the_next_older_one(void **state)
{
    struct err err = {0};
    char path[FILE_PATH];
    bool found;
    const char *run = *state;
    assert_ok(checkpoint_latest(&checkpoint_checkpoint, run, &found, &err), err);
    assert_false(found);
    for (uint64_t step = 1; step <= 3; step++)
        assert_ok(fixture_write(run, step, 'a', &err), err);
    checkpoint_path(path, run, "step-00000003/model.safetensors");
    assert_int_equal(truncate(path, 100), 0);
    assert_err(test_checkpoint_open(run, &err), err, ERR_DATA, "model.safetensors: damaged: 100 bytes instead of");
    assert_non_null(strstr(err.text, "the newest valid older one: "));
    assert_non_null(strstr(err.text, "/step-00000002"));
    assert_true(fixture_latest_is(run, 2, 'a'));
    checkpoint_path(path, run, "step-00000002/state.json");
    assert_int_equal(unlink(path), 0);
    assert_true(fixture_latest_is(run, 1, 'a'));
    checkpoint_path(path, run, "step-00000001/manifest.json");
    assert_int_equal(unlink(path), 0);
    assert_err(checkpoint_latest(&checkpoint_checkpoint, run, &found, &err), err, ERR_DATA,
               "training can continue from none of its checkpoints (3 tried)");
    assert_err(test_checkpoint_open(run, &err), err, ERR_DATA, "damaged");
    assert_null(strstr(err.text, "older"));
}

static void a_step_done_again_replaces_the_old_one(void **state)
{
    struct err err = {0};
    assert_ok(fixture_write(*state, 5, 'a', &err), err);
    assert_ok(checkpoint_mark_best(*state, 5, &err), err);
    assert_ok(fixture_write(*state, 5, 'b', &err), err);
    assert_true(fixture_latest_is(*state, 5, 'b'));
    assert_ok(checkpoint_open(&checkpoint_checkpoint, *state, "best", &err), err);
    assert_true(fixture_is(&checkpoint_checkpoint, 5, 'b'));
    checkpoint_close(&checkpoint_checkpoint);
    char path[FILE_PATH];
    checkpoint_path(path, *state, ".step-00000005.partial");
    assert_int_equal(access(path, F_OK), -1);
}

static void links_lead_to_checkpoints(void **state)
{
    struct err err = {0};
    char path[FILE_PATH];
    assert_err(checkpoint_open(&checkpoint_checkpoint, *state, "best", &err), err, ERR_DATA, "neither a checkpoint");
    checkpoint_path(path, *state, "absent");
    assert_err(checkpoint_open(&checkpoint_checkpoint, path, "best", &err), err, ERR_IO,
               "absent: no checkpoint and no run");
    assert_err(checkpoint_mark_best(*state, 1, &err), err, ERR_FAILED, "step-00000001: no such checkpoint");
    for (uint64_t step = 1; step <= 3; step++) {
        assert_ok(fixture_write(*state, step, 'a', &err), err);
        assert_ok(checkpoint_open(&checkpoint_checkpoint, *state, "best", &err), err);
        assert_int_equal(checkpoint_checkpoint.state.step, step == 3 ? 2 : step); /* best falls back on latest */
        checkpoint_close(&checkpoint_checkpoint);
        if (step == 2)
            assert_ok(checkpoint_mark_best(*state, 2, &err), err);
    }
    checkpoint_path(path, *state, "latest");
    assert_ok(checkpoint_open(&checkpoint_checkpoint, path, "best", &err), err);
    assert_int_equal(checkpoint_checkpoint.state.step, 3);
    checkpoint_close(&checkpoint_checkpoint);
    assert_int_equal(unlink(path), 0); /* as after a crash right before the link is made */
    assert_ok(checkpoint_open(&checkpoint_checkpoint, *state, "latest", &err), err);
    assert_int_equal(checkpoint_checkpoint.state.step, 3);
    checkpoint_close(&checkpoint_checkpoint);
    checkpoint_path(path, *state, "step-00000002");
    assert_ok(folder_remove(path, &err), err);
    assert_err(checkpoint_open(&checkpoint_checkpoint, *state, "best", &err), err, ERR_DATA,
               "best: names step-00000002, which does not exist");
}

static void a_renamed_checkpoint_opens_but_not_as_another_step(void **state)
{
    struct err err = {0};
    char path[FILE_PATH], other[FILE_PATH];
    assert_ok(fixture_write(*state, 5, 'a', &err), err);
    checkpoint_path(path, *state, "step-00000005");
    checkpoint_path(other, *state, "step-00000006");
    assert_int_equal(rename(path, other), 0);
    assert_err(test_checkpoint_open(other, &err), err, ERR_DATA, "is of step 5, which its folder is not");
    checkpoint_path(path, *state, "english-french");
    assert_int_equal(rename(other, path), 0);
    assert_ok(test_checkpoint_open(path, &err), err);
}

static bool test_checkpoint_is_there(const char *run, const char *name)
{
    char path[FILE_PATH];
    checkpoint_path(path, run, name);
    return access(path, F_OK) == 0;
}

static void a_sweep_keeps_the_newest_and_what_is_linked(void **state)
{
    struct err err = {0};
    char path[FILE_PATH];
    for (uint64_t step = 1; step <= 6; step++)
        assert_ok(fixture_write(*state, step, 'a', &err), err);
    assert_ok(checkpoint_mark_best(*state, 2, &err), err);
    checkpoint_path(path, *state, ".step-00000009.partial/left");
    assert_ok(folder_make(path, &err), err);
    checkpoint_path(path, *state, "step-00000006.replaced");
    assert_ok(folder_make(path, &err), err);
    checkpoint_path(path, *state, "step-by-step");
    assert_ok(folder_make(path, &err), err);
    assert_ok(checkpoint_sweep(*state, 2, &err), err);
    static const char *const stay[] = {"step-00000006", "step-00000005", "step-00000002", "step-by-step"};
    static const char *const go[] = {"step-00000004",          "step-00000003",          "step-00000001",
                                     ".step-00000009.partial", ".step-00000001.partial", "step-00000006.replaced"};
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        assert_true(test_checkpoint_is_there(*state, stay[i]));
    for (size_t i = 0; i < sizeof go / sizeof *go; i++)
        assert_false(test_checkpoint_is_there(*state, go[i]));
    assert_true(fixture_latest_is(*state, 6, 'a'));
}

static void a_sweep_keeps_what_a_link_written_otherwise_names(void **state)
{
    struct err err = {0};
    char target[FILE_PATH], path[FILE_PATH];
    for (uint64_t step = 1; step <= 3; step++)
        assert_ok(fixture_write(*state, step, 'a', &err), err);
    checkpoint_path(target, *state, "step-00000001/");
    checkpoint_path(path, *state, "best");
    assert_int_equal(symlink(target, path), 0);
    assert_ok(checkpoint_sweep(*state, 1, &err), err);
    fixture_links_are(*state, 3, 'a', 1, 'a');
    assert_false(test_checkpoint_is_there(*state, "step-00000002"));
}

static void a_replaced_checkpoint_without_successor_is_restored(void **state)
{
    struct err err = {0};
    char path[FILE_PATH], replaced[FILE_PATH];
    assert_ok(fixture_write(*state, 5, 'a', &err), err);
    checkpoint_path(path, *state, "step-00000005");
    checkpoint_path(replaced, *state, "step-00000005.replaced");
    assert_int_equal(rename(path, replaced), 0);
    assert_true(fixture_latest_is(*state, 5, 'a'));
    assert_ok(test_checkpoint_open(*state, &err), err);
    assert_ok(fixture_write(*state, 6, 'b', &err), err);
    assert_true(test_checkpoint_is_there(*state, "step-00000005"));
    assert_false(test_checkpoint_is_there(*state, "step-00000005.replaced"));
    assert_ok(test_checkpoint_open(path, &err), err);
}

static void a_writer_takes_known_names_only_and_leaves_nothing(void **state)
{
    struct err err = {0};
    char run[FILE_PATH];
    checkpoint_path(run, *state, "runs/new");
    struct checkpoint_writer *writer = checkpoint_begin(run, 5, &err);
    assert_non_null(writer);
    static const char *const names[] = {"", ".hidden", "../escape", "a/b", "manifest.json", "sp ace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_err(checkpoint_write(writer, names[i], "x", 1, &err), err, ERR_USAGE, "cannot be the name");
    for (int i = 0; i < MANIFEST_FILES; i++) {
        char name[] = {'f', (char)('0' + i), '\0'};
        assert_ok(checkpoint_write(writer, name, "x", 1, &err), err);
    }
    assert_err(checkpoint_write(writer, "one-more", "x", 1, &err), err, ERR_FULL, "more than 8 files");
    checkpoint_abandon(&writer);
    assert_null(writer);
    checkpoint_abandon(&writer);
    assert_false(test_checkpoint_is_there(run, ".step-00000005.partial"));
    assert_false(test_checkpoint_is_there(run, "step-00000005"));
}

static void equal_states_are_equal_files(void **state)
{
    struct err err = {0};
    char one[FILE_PATH], other[FILE_PATH];
    struct buffer first = {0}, second = {0};
    checkpoint_path(one, *state, "one");
    checkpoint_path(other, *state, "other");
    assert_ok(fixture_write(one, 5, 'a', &err), err);
    assert_ok(fixture_write(other, 5, 'a', &err), err);
    checkpoint_path(one, *state, "one/step-00000005/manifest.json");
    checkpoint_path(other, *state, "other/step-00000005/manifest.json");
    assert_ok(file_read(one, 10000, &first, &err), err);
    assert_ok(file_read(other, 10000, &second, &err), err);
    assert_string_equal(first.data, second.data); /* which holds the checksum of every other file */
    buffer_free(&first);
    buffer_free(&second);
}

/* A forger can also write the checksum at a manifest's end, so it proves nothing about the rest. */
static void a_manifest_of_another_form_is_refused_whatever_its_checksum(void **state)
{
    static const char *const bodies[] = {
        "{\"format\": 1,\n \"files\": {},\n \"more\": 2,\n ",
        "{\"format\": 1, \"files\": {},\n ",
        "{\"files\": {},\n \"format\": 1,\n ",
        "{\"format\": 1,\n \"files\": {\n  \"a\": {\"xxh3\": \"0123456789abcdef\", \"size\": 1}},\n ",
        "{\"format\": 1,\n \"files\": {\n  \"a\": {\"size\": 1, \"xxh3\": \"0123456789abcdef\", \"mode\": 7}},\n ",
    };
    (void)state;
    struct manifest manifest;
    for (size_t i = 0; i <= sizeof bodies / sizeof *bodies; i++) {
        struct err err = {0};
        struct buffer text = {0};
        bool right = i == sizeof bodies / sizeof *bodies;
        buffer_text(&text, right ? "{\"format\": 1,\n \"files\": {},\n " : bodies[i]);
        uint64_t hash = XXH3_64bits(text.data, text.size);
        buffer_format(&text, "\"xxh3\": \"%016" PRIx64 "\"}\n", hash);
        if (right)
            assert_ok(manifest_read(text.data, text.size, "m.json", &manifest, &err), err);
        else
            assert_err(manifest_read(text.data, text.size, "m.json", &manifest, &err), err, ERR_DATA,
                       "does not have the form");
        buffer_free(&text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_committed_checkpoint_comes_back),
        cmocka_unit_test(every_number_of_the_state_survives_to_the_bit),
        cmocka_unit_test(bleu_of_an_old_state_is_the_normalised_one),
        cmocka_unit_test(a_state_that_makes_no_sense_is_named),
        cmocka_unit_test(a_manifest_of_another_form_is_refused_whatever_its_checksum),
        TEST(each_flipped_byte_is_seen),
        TEST(each_truncation_and_each_missing_file_is_seen),
        TEST(a_whole_folder_of_wrong_files_is_refused),
        TEST(a_checkpoint_without_moments_opens_but_cannot_go_on),
        TEST(numbers_that_are_not_finite_are_named),
        TEST(a_damaged_checkpoint_offers_the_next_older_one),
        TEST(a_step_done_again_replaces_the_old_one),
        TEST(links_lead_to_checkpoints),
        TEST(a_renamed_checkpoint_opens_but_not_as_another_step),
        TEST(a_sweep_keeps_the_newest_and_what_is_linked),
        TEST(a_sweep_keeps_what_a_link_written_otherwise_names),
        TEST(a_replaced_checkpoint_without_successor_is_restored),
        TEST(a_writer_takes_known_names_only_and_leaves_nothing),
        TEST(equal_states_are_equal_files),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
