/* catalog_look.c - looks for the checkpoint that a model is to serve, and offers it; see catalog.h.
 *
 * A run writes a checkpoint into a folder of another name and renames it, so a folder is whole. A look that finds the
 * manifest of the last one ends there: it reads a link and a small file. */
#include "coordinator/serve/catalog.h"

#include "proto/base/log.h"
#include "proto/store/checkpoint.h"
#include "proto/store/file.h"
#include "proto/store/steps.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { MANIFEST_MOST = 65536 };

/* The folder that the model is to serve: a pinned step of a run, the run's link, or a checkpoint. */
static bool look_locate(const struct catalog *catalog, const struct served_model *model, char folder[CHECKPOINT_PATH],
                        struct err *err)
{
    const struct config *config = catalog->config;
    char path[FILE_PATH];
    if (config->serve_step == 0)
        return checkpoint_locate(folder, model->path, config->serve_follow == FOLLOW_LATEST ? STEP_LATEST : STEP_BEST,
                                 err);
    return step_path(path, model->path, (uint64_t)config->serve_step, STEP_COMMITTED, err) &&
           checkpoint_locate(folder, path, STEP_BEST, err);
}

/* A pipe would stop the loop: open waits for its writer. */
static bool look_is_file(const char *path, struct err *err)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return err_errno(err, ERR_IO, "%s", path);
    return S_ISREG(found.st_mode) || err_set(err, ERR_DATA, "%s: not a regular file", path);
}

static bool look_open_file(struct version *version, const char *name, uint64_t hash, uint64_t size, struct err *err)
{
    char path[FILE_PATH];
    struct stat found;
    if (!path_join(path, version->path, name, err) || !look_is_file(path, err))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) != 0) {
        if (fd >= 0)
            close(fd);
        return err_errno(err, ERR_IO, "%s", path);
    }
    version->files[version->file_count++] = (struct version_file){hash, (uint64_t)found.st_size, fd};
    return (uint64_t)found.st_size == size ||
           err_set(err, ERR_DATA, "%s has %ju bytes instead of %" PRIu64, path, (uintmax_t)found.st_size, size);
}

static bool look_read_trigrams(struct version *version, struct err *err)
{
    char path[FILE_PATH];
    struct buffer bytes = {0};
    bool ok = path_join(path, version->path, DETECT_FILE, err) && file_read(path, DETECT_BYTES, &bytes, err) &&
              detect_read(bytes.data, bytes.size, path, &version->src_trigrams, &version->tgt_trigrams, err);
    buffer_free(&bytes);
    return ok;
}

/* Open each file that a translator needs, and verify the small ones. */
static bool look_open_files(struct version *version, const struct buffer *text, struct err *err)
{
    struct manifest manifest;
    if (!manifest_read(text->data, text->size, version->path, &manifest, err) ||
        !look_open_file(version, MANIFEST_FILE, version->manifest, text->size, err))
        return false;
    for (size_t i = 0; i < manifest.count; i++) {
        const struct manifest_entry *entry = &manifest.entries[i];
        if (strcmp(entry->name, "optimizer.safetensors") == 0)
            continue;
        if (!look_open_file(version, entry->name, entry->xxh3, entry->size, err))
            return false;
        if (strcmp(entry->name, "model.safetensors") != 0 && !manifest_check(entry, version->path, err))
            return false;
        if (strcmp(entry->name, DETECT_FILE) == 0 && !look_read_trigrams(version, err))
            return false;
    }
    return true;
}

static bool look_read(struct version *version, const struct buffer *text, struct err *err)
{
    struct checkpoint_state *state = malloc(sizeof *state);
    if (state == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a checkpoint's state");
    bool ok = look_open_files(version, text, err) && checkpoint_state_load(state, version->path, err);
    if (ok) {
        version->step = state->step;
        snprintf(version->source, sizeof version->source, "%.*s", MESSAGE_LANGUAGE, state->config.data_src_lang);
        snprintf(version->target, sizeof version->target, "%.*s", MESSAGE_LANGUAGE, state->config.data_tgt_lang);
        snprintf(version->label, sizeof version->label, "%s-%s step-%" PRIu64 " %016" PRIx64, version->source,
                 version->target, version->step, version->manifest);
    }
    free(state);
    return ok;
}

/* Offer the checkpoint in `folder`, whose manifest has this text. */
static bool look_offer(struct catalog *catalog, struct served_model *model, const char *folder,
                       const struct buffer *text, struct err *err)
{
    struct version *version = calloc(1, sizeof *version);
    if (version == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a checkpoint");
    version->model = model;
    version->manifest = XXH3_64bits(text->data, text->size);
    snprintf(version->path, sizeof version->path, "%s", folder);
    if (!look_read(version, text, err)) {
        version_free(version);
        return false;
    }
    version->number = ++catalog->numbers;
    version->next = model->versions;
    model->versions = version;
    log_event(LOG_INFO, "model_found",
              LOG_FIELDS(LOG_TEXT("model", version->label), LOG_COUNT("version", version->number),
                         LOG_TEXT("folder", version->path)),
              "found %s in %s", version->label, version->path);
    return true;
}

static bool look_model(struct catalog *catalog, struct served_model *model, struct err *err)
{
    char folder[CHECKPOINT_PATH], path[FILE_PATH];
    struct buffer text = {0};
    if (!look_locate(catalog, model, folder, err) || !path_join(path, folder, MANIFEST_FILE, err))
        return false;
    if (strlen(folder) >= sizeof model->seen)
        return err_set(err, ERR_USAGE, "the path of a checkpoint is too long: %.64s...", folder);
    bool ok = look_is_file(path, err) && file_read(path, MANIFEST_MOST, &text, err);
    uint64_t hash = ok ? XXH3_64bits(text.data, text.size) : 0;
    if (ok && (hash != model->seen_manifest || strcmp(folder, model->seen) != 0)) {
        ok = look_offer(catalog, model, folder, &text, err);
        snprintf(model->seen, sizeof model->seen, "%s", folder);
        model->seen_manifest = ok ? hash : 0;
    }
    buffer_free(&text);
    return ok;
}

void catalog_look(struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        struct served_model *model = &catalog->models[i];
        struct err err = {0};
        if (model->path == NULL)
            continue;
        if (look_model(catalog, model, &err)) {
            model->complaint[0] = '\0';
        } else if (strcmp(model->complaint, err.text) != 0) {
            snprintf(model->complaint, sizeof model->complaint, "%s", err.text);
            log_event(LOG_WARN, "model_unreadable", LOG_FIELDS(LOG_TEXT("reason", err.text)), "%s", err.text);
        }
    }
}
