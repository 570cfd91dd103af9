/* checkpoint.c - write a checkpoint: fill a hidden folder, seal it with the manifest, rename it. */
#include "proto/store/checkpoint.h"

#include "proto/store/checkpoint_links.h"
#include "proto/store/file.h"
#include "proto/store/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct open_file {
    int fd; /* -1 once closed */
    XXH3_state_t *hash;
};

struct checkpoint_writer {
    char run[FILE_PATH];
    char partial[FILE_PATH]; /* the folder being filled */
    uint64_t step;
    bool renamed; /* the folder has its final name, so abandon keeps it */
    struct manifest manifest;
    struct open_file files[MANIFEST_FILES];
};

static bool checkpoint_is_there(const char *path)
{
    struct stat about;
    return lstat(path, &about) == 0;
}

/* Clean up after a crash: remove partial folders and links. A replaced folder is removed when its successor exists;
 * otherwise it gets its name back. */
static bool checkpoint_settle(const char *run, const struct step_folder *folder, struct err *err)
{
    char path[FILE_PATH], committed[FILE_PATH];
    if (folder->kind == STEP_COMMITTED)
        return true;
    if (folder->kind == STEP_REPLACED) {
        if (!path_join(path, run, folder->name, err) || !step_path(committed, run, folder->step, STEP_COMMITTED, err))
            return false;
        if (!checkpoint_is_there(committed)) {
            if (rename(path, committed) != 0)
                return err_errno(err, ERR_IO, "%s: cannot rename", path);
            return folder_sync(run, err);
        }
    }
    return step_retire(run, folder, err);
}

static bool checkpoint_settle_all(const char *run, struct err *err)
{
    struct step_folder *folders;
    size_t count;
    if (!links_settle(run, err))
        return false;
    if (!steps_list(run, &folders, &count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = checkpoint_settle(run, &folders[i], err);
    free(folders);
    return ok;
}

struct checkpoint_writer *checkpoint_begin(const char *run, uint64_t step, struct err *err)
{
    struct checkpoint_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        err_set(err, ERR_MEMORY, "%s: out of memory for a checkpoint", run);
        return NULL;
    }
    writer->step = step;
    for (size_t i = 0; i < MANIFEST_FILES; i++)
        writer->files[i].fd = -1;
    int length = snprintf(writer->run, sizeof writer->run, "%s", run);
    if (length < 0 || (size_t)length >= sizeof writer->run) {
        err_set(err, ERR_IO, "a path of more than %d bytes: %.200s...", FILE_PATH - 1, run);
        goto fail;
    }
    if (!step_path(writer->partial, run, step, STEP_PARTIAL, err) || !folder_make(run, err) ||
        !checkpoint_settle_all(run, err))
        goto fail;
    if (mkdir(writer->partial, 0777) != 0) {
        err_errno(err, ERR_IO, "%s: cannot make folder", writer->partial);
        goto fail;
    }
    return writer;

fail:
    free(writer);
    return NULL;
}

/* Close what is open and free all memory. */
static void checkpoint_destroy(struct checkpoint_writer **writer)
{
    struct checkpoint_writer *self = *writer;
    for (size_t i = 0; i < MANIFEST_FILES; i++) {
        if (self->files[i].fd >= 0)
            close(self->files[i].fd);
        XXH3_freeState(self->files[i].hash);
    }
    free(self);
    *writer = NULL;
}

void checkpoint_abandon(struct checkpoint_writer **writer)
{
    if (*writer == NULL)
        return;
    /* The next checkpoint_begin removes what cannot be removed now. */
    if (!(*writer)->renamed)
        folder_remove((*writer)->partial, NULL);
    checkpoint_destroy(writer);
}

static bool checkpoint_file_begin(struct checkpoint_writer *writer, const char *name, struct err *err)
{
    char path[FILE_PATH];
    if (!manifest_name_ok(name))
        return err_set(err, ERR_USAGE, "%s: \"%.80s\" cannot be the name of a checkpoint's file", writer->partial,
                       name);
    if (writer->manifest.count == MANIFEST_FILES)
        return err_set(err, ERR_FULL, "%s: more than %d files", writer->partial, MANIFEST_FILES);
    if (!path_join(path, writer->partial, name, err))
        return false;
    struct open_file *file = &writer->files[writer->manifest.count];
    file->hash = XXH3_createState();
    if (file->hash == NULL || XXH3_64bits_reset(file->hash) != XXH_OK)
        return err_set(err, ERR_MEMORY, "%s: out of memory for its checksum", path);
    file->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file->fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot create", path);
    strcpy(writer->manifest.entries[writer->manifest.count].name, name);
    writer->manifest.count++;
    return true;
}

bool checkpoint_write(struct checkpoint_writer *writer, const char *file, const void *bytes, size_t size,
                      struct err *err)
{
    if (manifest_find(&writer->manifest, file) == NULL && !checkpoint_file_begin(writer, file, err))
        return false;
    size_t i = (size_t)(manifest_find(&writer->manifest, file) - writer->manifest.entries);
    if (size == 0)
        return true;
    if (!file_write_all(writer->files[i].fd, bytes, size))
        return err_errno(err, ERR_IO, "%s/%s: cannot write", writer->partial, file);
    XXH3_64bits_update(writer->files[i].hash, bytes, size);
    writer->manifest.entries[i].size += size;
    return true;
}

/* Sync each file, then write the manifest, which makes the folder a checkpoint. The manifest's atomic write ends with
 * an fsync of the folder, and so of all names in it. */
static bool checkpoint_seal(struct checkpoint_writer *writer, struct err *err)
{
    for (size_t i = 0; i < writer->manifest.count; i++) {
        struct manifest_entry *entry = &writer->manifest.entries[i];
        int fd = writer->files[i].fd;
        writer->files[i].fd = -1;
        if (!file_sync_close(fd))
            return err_errno(err, ERR_IO, "%s/%s: cannot make durable", writer->partial, entry->name);
        entry->xxh3 = XXH3_64bits_digest(writer->files[i].hash);
    }
    char path[FILE_PATH];
    struct buffer text = {0};
    manifest_write(&writer->manifest, &text);
    bool ok = path_join(path, writer->partial, MANIFEST_FILE, err) && buffer_ok(&text, err) &&
              file_write_atomic(path, text.data, text.size, err);
    buffer_free(&text);
    return ok;
}

/* The step exists already: the two folders change places, so that one of them has the name at each moment. */
static bool checkpoint_exchange(struct checkpoint_writer *writer, const char *committed, struct err *err)
{
    if (renameat2(AT_FDCWD, writer->partial, AT_FDCWD, committed, RENAME_EXCHANGE) == 0) {
        writer->renamed = true;
        return true;
    }
    if (errno != EINVAL && errno != ENOSYS)
        return err_errno(err, ERR_IO, "%s: cannot exchange with %s", committed, writer->partial);
    char replaced[FILE_PATH];
    if (!step_path(replaced, writer->run, writer->step, STEP_REPLACED, err))
        return false;
    if (rename(committed, replaced) != 0)
        return err_errno(err, ERR_IO, "%s: cannot rename to %s", committed, replaced);
    if (rename(writer->partial, committed) != 0) {
        err_errno(err, ERR_IO, "%s: cannot rename to %s", writer->partial, committed);
        if (rename(replaced, committed) != 0)
            err_context(err, "the one before is now %s", replaced);
        return false;
    }
    writer->renamed = true;
    return true;
}

static bool checkpoint_publish(struct checkpoint_writer *writer, struct err *err)
{
    char committed[FILE_PATH], latest[FILE_PATH], name[STEP_NAME];
    step_name(name, writer->step, STEP_COMMITTED);
    if (!path_join(committed, writer->run, name, err) || !path_join(latest, writer->run, STEP_LATEST, err))
        return false;
    if (rename(writer->partial, committed) == 0)
        writer->renamed = true;
    else if (errno != EEXIST && errno != ENOTEMPTY)
        return err_errno(err, ERR_IO, "%s: cannot rename to %s", writer->partial, committed);
    else if (!checkpoint_exchange(writer, committed, err))
        return false;
    return folder_sync(writer->run, err) && link_replace(latest, name, err);
}

bool checkpoint_commit(struct checkpoint_writer **writer, struct err *err)
{
    struct checkpoint_writer *self = *writer;
    if (!checkpoint_seal(self, err) || !checkpoint_publish(self, err)) {
        checkpoint_abandon(writer);
        return false;
    }
    /* Remove the older checkpoint of the same step. If this fails, the next checkpoint_begin repeats it. */
    checkpoint_settle_all(self->run, NULL);
    checkpoint_destroy(writer);
    return true;
}

bool checkpoint_mark_best(const char *run, uint64_t step, struct err *err)
{
    char committed[FILE_PATH], manifest[FILE_PATH], best[FILE_PATH], name[STEP_NAME];
    step_name(name, step, STEP_COMMITTED);
    if (!path_join(committed, run, name, err) || !path_join(manifest, committed, MANIFEST_FILE, err) ||
        !path_join(best, run, STEP_BEST, err))
        return false;
    if (!checkpoint_is_there(manifest))
        return err_set(err, ERR_FAILED, "%s: no such checkpoint to mark as best", committed);
    return link_replace(best, name, err);
}

bool checkpoint_sweep(const char *run, size_t keep, struct err *err)
{
    if (!checkpoint_settle_all(run, err))
        return false;
    struct step_folder *folders;
    size_t count, kept = 0;
    if (!steps_list(run, &folders, &count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const struct step_folder *folder = &folders[i];
        if (kept++ < keep || step_is_linked(run, STEP_LATEST, folder->name) ||
            step_is_linked(run, STEP_BEST, folder->name))
            continue;
        ok = step_retire(run, folder, err);
    }
    free(folders);
    return ok;
}
