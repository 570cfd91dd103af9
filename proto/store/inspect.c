/* inspect.c - read a checkpoint file by file; see inspect.h. */
#include "proto/store/inspect.h"

#include "proto/store/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void inspect_blame(struct inspection *found, const struct err *why)
{
    if (found->reason[0] == '\0')
        snprintf(found->reason, sizeof found->reason, "%s", why->text);
}

static void inspect_read_files(struct inspection *found)
{
    struct manifest manifest;
    struct err why = {0};
    if (!manifest_load(&manifest, found->folder, &why)) {
        inspect_blame(found, &why);
        return;
    }
    for (size_t i = 0; i < manifest.count; i++) {
        struct inspect_file *file = &found->files[i];
        file->entry = manifest.entries[i];
        file->absent =
            found->reason[0] == '\0' && !found->resumable && strcmp(file->entry.name, "optimizer.safetensors") == 0;
        if (!file->absent && !manifest_check(&file->entry, found->folder, &why)) {
            snprintf(file->reason, sizeof file->reason, "%s", why.text);
            inspect_blame(found, &why);
        }
    }
    found->file_count = manifest.count;
}

/* Read each file's content, although the checkpoint as a whole may be damaged. */
static void inspect_read_state(struct inspection *found)
{
    struct err why = {0};
    found->has_state = checkpoint_state_load(&found->state, found->folder, &why);
    if (!found->has_state)
        inspect_blame(found, &why);
}

static size_t inspect_read_words(struct inspection *found, const char *file)
{
    char path[FILE_PATH];
    struct buffer text = {0};
    struct err why = {0};
    struct vocab *vocab = NULL;
    if (path_join(path, found->folder, file, &why) && file_read(path, INT_MAX, &text, &why))
        vocab = vocab_read(text.data == NULL ? "" : text.data, text.size, path, &why);
    size_t words = vocab == NULL ? 0 : vocab_size(vocab);
    if (vocab == NULL)
        inspect_blame(found, &why);
    vocab_destroy(&vocab);
    buffer_free(&text);
    return words;
}

uint64_t inspect_elements(const struct tensor_entry *tensor)
{
    uint64_t elements = 1;
    for (int i = 0; i < tensor->dims; i++)
        elements *= tensor->shape[i];
    return elements;
}

static void inspect_read_model(struct inspection *found)
{
    struct err why = {0};
    if (!checkpoint_tensors(found->folder, "model.safetensors", &found->model, &why))
        inspect_blame(found, &why);
    for (size_t i = 0; i < found->model.count; i++)
        found->parameters += inspect_elements(&found->model.tensors[i]);
}

/* Whether RUN/LINK marks that checkpoint: as a link or, in a copied run, as a folder of the same step. */
static bool inspect_is_marked(const char *run, const char *link, const struct inspect_row *row,
                              struct checkpoint *checkpoint)
{
    char path[FILE_PATH];
    struct stat about;
    if (!path_join(path, run, link, NULL) || lstat(path, &about) != 0)
        return false;
    if (!S_ISDIR(about.st_mode))
        return step_is_linked(run, link, row->name);
    return checkpoint_state_load(&checkpoint->state, path, NULL) && checkpoint->state.step == row->step;
}

static void inspect_read_row(struct inspect_row *row, const char *run, struct checkpoint *checkpoint)
{
    char path[FILE_PATH];
    struct err why = {0};
    row->latest = inspect_is_marked(run, STEP_LATEST, row, checkpoint);
    row->best = inspect_is_marked(run, STEP_BEST, row, checkpoint);
    if (!path_join(path, run, row->name, &why) || !checkpoint_open(checkpoint, path, STEP_LATEST, &why)) {
        snprintf(row->reason, sizeof row->reason, "%s", why.text);
        return;
    }
    row->step = checkpoint->state.step;
    row->epoch = checkpoint->state.epoch;
    for (size_t i = 0; i < checkpoint->manifest.count; i++)
        row->size += checkpoint->manifest.entries[i].size;
    checkpoint_close(checkpoint);
}

static bool inspect_read_run(struct inspection *found, struct err *err)
{
    struct step_folder *folders;
    size_t count;
    if (!steps_list(found->run, &folders, &count, err))
        return false;
    struct checkpoint *checkpoint = malloc(sizeof *checkpoint);
    found->rows = calloc(count > 0 ? count : 1, sizeof *found->rows);
    bool ok = checkpoint != NULL && found->rows != NULL;
    if (!ok)
        err_set(err, ERR_MEMORY, "%s: out of memory for its %zu checkpoints", found->run, count);
    for (size_t i = 0; ok && i < count; i++) {
        if (folders[i].kind == STEP_PARTIAL)
            continue;
        struct inspect_row *row = &found->rows[found->row_count++];
        memcpy(row->name, folders[i].name, sizeof row->name);
        row->step = folders[i].step;
        inspect_read_row(row, found->run, checkpoint);
    }
    free(checkpoint);
    free(folders);
    return ok;
}

/* Check what only checkpoint_open checks: required files, and the step in the folder's name. */
static bool inspect_read_whole(struct inspection *found, struct err *err)
{
    struct checkpoint *checkpoint = malloc(sizeof *checkpoint);
    struct err why = {0};
    if (checkpoint == NULL)
        return err_set(err, ERR_MEMORY, "%s: out of memory", found->folder);
    if (checkpoint_open(checkpoint, found->folder, STEP_LATEST, &why)) {
        found->resumable = checkpoint->resumable;
        checkpoint_close(checkpoint);
    } else {
        inspect_blame(found, &why);
    }
    free(checkpoint);
    return true;
}

static bool inspect_look(struct inspection *found, const char *path, struct err *err)
{
    char real[FILE_PATH];
    if (!checkpoint_locate(found->folder, path, STEP_BEST, err))
        return false;
    if (realpath(path, real) == NULL)
        return err_errno(err, ERR_IO, "%s: cannot follow", path);
    if (strcmp(real, found->folder) != 0) {
        memcpy(found->run, real, sizeof real);
        if (!inspect_read_run(found, err))
            return false;
    }
    if (!inspect_read_whole(found, err))
        return false;
    inspect_read_files(found);
    inspect_read_state(found);
    inspect_read_model(found);
    found->src_words = inspect_read_words(found, "src.vocab");
    found->tgt_words = inspect_read_words(found, "tgt.vocab");
    return true;
}

bool inspect_read(struct inspection *found, const char *path, struct err *err)
{
    *found = (struct inspection){0};
    if (inspect_look(found, path, err))
        return true;
    inspect_free(found);
    return false;
}

void inspect_free(struct inspection *found)
{
    free(found->rows);
    safetensors_free(&found->model);
    *found = (struct inspection){0};
}

const char *inspect_damage(const struct inspection *found)
{
    if (found->reason[0] != '\0')
        return found->reason;
    for (size_t i = 0; i < found->row_count; i++) {
        if (found->rows[i].reason[0] != '\0')
            return found->rows[i].reason;
    }
    return "";
}
