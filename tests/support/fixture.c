/* fixture.c - checkpoints whose every byte is known; see fixture.h. */
#include "tests/support/fixture.h"

const char *const fixture_files[FIXTURE_FILES] = {"model.safetensors", "optimizer.safetensors", "state.json",
                                                  "src.vocab", "tgt.vocab"};

void fixture_state(struct checkpoint_state *state, uint64_t step, char letter)
{
    *state = (struct checkpoint_state){.step = step, .epoch = 1, .epoch_step = step, .tokens = 10, .correct = 3};
    state->loss_sum = 0.1 + letter;
    strcpy(state->created, "2026-01-31T12:00:00Z");
    snprintf(state->version, sizeof state->version, "0.1.0-%c", letter);
    config_defaults(&state->config);
}

void fixture_bytes(const char *file, uint64_t step, char letter, struct buffer *out)
{
    if (strstr(file, ".safetensors") != NULL) {
        struct tensor_entry entries[] = {{.name = "weight", .dtype = "F32", .dims = 2, .shape = {2, 3}},
                                         {.name = "bias", .dtype = "F32", .dims = 1, .shape = {2}}};
        assert_true(safetensors_header(entries, 2, out, NULL));
        for (int i = 0; i < 8; i++) {
            float value = (float)(letter + i) + (float)step;
            buffer_append(out, &value, sizeof value);
        }
    } else if (strcmp(file, "state.json") == 0) {
        struct checkpoint_state state;
        fixture_state(&state, step, letter);
        checkpoint_state_write(&state, out);
    } else {
        buffer_format(out, "<pad>\n<sos>\n<eos>\n<unk>\n%s-%c\n", file[0] == 's' ? "one" : "un", letter);
    }
    assert_true(buffer_ok(out, NULL));
}

/* Write a checkpoint; one of the 8 elements of FILE, where that is not NULL, becomes `value`. */
static bool fixture_fill(const char *run, uint64_t step, char letter, const char *file, int element, float value,
                         struct err *err)
{
    struct checkpoint_writer *writer = checkpoint_begin(run, step, err);
    if (writer == NULL)
        return false;
    struct buffer bytes = {0};
    bool ok = true;
    for (int i = 0; ok && i < FIXTURE_FILES; i++) {
        buffer_clear(&bytes);
        fixture_bytes(fixture_files[i], step, letter, &bytes);
        if (file != NULL && strcmp(fixture_files[i], file) == 0)
            memcpy(bytes.data + bytes.size - (size_t)(8 - element) * sizeof value, &value, sizeof value);
        size_t half = bytes.size / 2;
        ok = checkpoint_write(writer, fixture_files[i], bytes.data, half, err) &&
             checkpoint_write(writer, fixture_files[i], bytes.data + half, bytes.size - half, err);
    }
    buffer_free(&bytes);
    if (!ok) {
        checkpoint_abandon(&writer);
        return false;
    }
    return checkpoint_commit(&writer, err);
}

bool fixture_write(const char *run, uint64_t step, char letter, struct err *err)
{
    return fixture_fill(run, step, letter, NULL, 0, 0, err);
}

bool fixture_write_value(const char *run, uint64_t step, const char *file, int element, float value, struct err *err)
{
    return fixture_fill(run, step, 'a', file, element, value, err);
}

bool fixture_is(const struct checkpoint *checkpoint, uint64_t step, char letter)
{
    bool same = checkpoint->state.step == step;
    struct buffer wanted = {0}, found = {0};
    for (int i = 0; same && i < FIXTURE_FILES; i++) {
        buffer_clear(&wanted);
        buffer_clear(&found);
        fixture_bytes(fixture_files[i], step, letter, &wanted);
        same = checkpoint_file(checkpoint, fixture_files[i], &found, NULL) && found.size == wanted.size &&
               memcmp(found.data, wanted.data, wanted.size) == 0;
    }
    buffer_free(&wanted);
    buffer_free(&found);
    return same;
}

bool fixture_latest_is(const char *run, uint64_t step, char letter)
{
    static struct checkpoint checkpoint;
    bool found = false;
    bool same = checkpoint_latest(&checkpoint, run, &found, NULL) && found && fixture_is(&checkpoint, step, letter);
    if (found)
        checkpoint_close(&checkpoint);
    return same;
}

void fixture_copy(const char *run)
{
    static const char *const names[] = {"best", "latest"};
    char twin[FILE_PATH], link[FILE_PATH], name[STEP_NAME], folder[FILE_PATH];
    assert_true((size_t)snprintf(twin, sizeof twin, "%s-twin", run) < sizeof twin);
    assert_true(folder_remove(run, NULL) && folder_remove(twin, NULL));
    for (uint64_t step = 1; step <= 2; step++) {
        char letter = step == 1 ? 'a' : 'b';
        assert_true(fixture_write(run, step, letter, NULL) && fixture_write(twin, step, letter, NULL));
    }
    for (int i = 0; i < 2; i++) {
        step_name(name, (uint64_t)i + 1, STEP_COMMITTED);
        assert_true(path_join(folder, twin, name, NULL) && path_join(link, run, names[i], NULL));
        unlink(link);
        assert_int_equal(rename(folder, link), 0);
    }
    assert_true(folder_remove(twin, NULL));
}

void fixture_links_are(const char *run, uint64_t latest, char latest_letter, uint64_t best, char best_letter)
{
    static struct checkpoint checkpoint;
    char name[STEP_NAME];
    for (int i = 0; i < 2; i++) {
        const char *link = i == 0 ? STEP_LATEST : STEP_BEST;
        uint64_t step = i == 0 ? latest : best;
        step_name(name, step, STEP_COMMITTED);
        if (!step_is_linked(run, link, name))
            fail_msg("%s is no link to %s", link, name);
        assert_true(checkpoint_open(&checkpoint, run, link, NULL));
        assert_true(fixture_is(&checkpoint, step, i == 0 ? latest_letter : best_letter));
        checkpoint_close(&checkpoint);
    }
}
