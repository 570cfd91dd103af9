/* shelf.h - checkpoints in memory, for a fuzz target that makes thousands of them a second.
 *
 * The linker redirects the functions of checkpoint.h that a coordinator calls to the __wrap_ functions below. It also
 * redirects run_open and run_resume (no other process can use their folder), the small files that are appended to, and
 * the journal, so no input needs a folder. Three properties are kept: a checkpoint is complete once committed and
 * absent before; its files are the bytes that were written; its state is the last one written. Of several checkpoints
 * the last counts. Other targets test the texts of state.json and of WELCOME's configuration. One thread. */
#ifndef LSTMQ_TESTS_FUZZ_SHELF_H
#define LSTMQ_TESTS_FUZZ_SHELF_H

#include "coordinator/run/run.h"
#include "proto/store/checkpoint.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { SHELF_FILES = 8 };

struct shelf_file {
    char name[64];
    struct buffer bytes;
};

struct checkpoint_writer {
    struct shelf_file files[SHELF_FILES];
    size_t count;
    struct checkpoint_state state;
};

static struct checkpoint_writer shelf_begun, shelf_kept; /* count 0 = no checkpoint */
static struct checkpoint_state shelf_written;

static void shelf_empty(struct checkpoint_writer *writer)
{
    for (size_t i = 0; i < writer->count; i++)
        buffer_clear(&writer->files[i].bytes);
    writer->count = 0;
}

static struct shelf_file *shelf_find(struct checkpoint_writer *writer, const char *name)
{
    for (size_t i = 0; i < writer->count; i++)
        if (strcmp(writer->files[i].name, name) == 0)
            return &writer->files[i];
    return NULL;
}

struct checkpoint_writer *__wrap_checkpoint_begin(const char *run, uint64_t step, struct err *err);
bool __wrap_checkpoint_write(struct checkpoint_writer *writer, const char *file, const void *bytes, size_t size,
                             struct err *err);
bool __wrap_checkpoint_commit(struct checkpoint_writer **writer, struct err *err);
void __wrap_checkpoint_abandon(struct checkpoint_writer **writer);
bool __wrap_checkpoint_mark_best(const char *run, uint64_t step, struct err *err);
bool __wrap_checkpoint_sweep(const char *run, size_t keep, struct err *err);
bool __wrap_checkpoint_latest(struct checkpoint *checkpoint, const char *run, bool *found, struct err *err);
bool __wrap_checkpoint_file(const struct checkpoint *checkpoint, const char *file, struct buffer *out, struct err *err);
void __wrap_checkpoint_close(struct checkpoint *checkpoint);

struct checkpoint_writer *__wrap_checkpoint_begin(const char *run, uint64_t step, struct err *err)
{
    (void)run, (void)step, (void)err;
    shelf_empty(&shelf_begun);
    return &shelf_begun;
}

bool __wrap_checkpoint_write(struct checkpoint_writer *writer, const char *file, const void *bytes, size_t size,
                             struct err *err)
{
    struct shelf_file *found = shelf_find(writer, file);
    if (found == NULL) {
        must(writer->count < SHELF_FILES);
        found = &writer->files[writer->count++];
        snprintf(found->name, sizeof found->name, "%s", file);
    }
    buffer_append(&found->bytes, bytes, size);
    return buffer_ok(&found->bytes, err);
}

bool __wrap_checkpoint_commit(struct checkpoint_writer **writer, struct err *err)
{
    struct checkpoint_writer before = shelf_kept;
    (void)err;
    shelf_kept = **writer;
    shelf_kept.state = shelf_written;
    shelf_begun = before;
    shelf_empty(&shelf_begun);
    *writer = NULL;
    return true;
}

void __wrap_checkpoint_abandon(struct checkpoint_writer **writer)
{
    shelf_empty(*writer);
    *writer = NULL;
}

bool __wrap_checkpoint_mark_best(const char *run, uint64_t step, struct err *err)
{
    (void)run, (void)step, (void)err;
    return true;
}

bool __wrap_checkpoint_sweep(const char *run, size_t keep, struct err *err)
{
    (void)run, (void)keep, (void)err;
    return true;
}

bool __wrap_checkpoint_latest(struct checkpoint *checkpoint, const char *run, bool *found, struct err *err)
{
    (void)run, (void)err;
    *found = shelf_kept.count > 0;
    checkpoint->path[0] = '\0';
    checkpoint->src = checkpoint->tgt = NULL;
    if (*found)
        checkpoint->state = shelf_kept.state;
    return true;
}

bool __wrap_checkpoint_file(const struct checkpoint *checkpoint, const char *file, struct buffer *out, struct err *err)
{
    struct shelf_file *found = shelf_find(&shelf_kept, file);
    (void)checkpoint;
    must(found != NULL);
    buffer_append(out, found->bytes.data, found->bytes.size);
    return buffer_ok(out, err);
}

void __wrap_checkpoint_close(struct checkpoint *checkpoint)
{
    (void)checkpoint;
}

/* ---- texts ---- */

void __wrap_checkpoint_state_write(const struct checkpoint_state *state, struct buffer *out);
void __wrap_config_dump(const struct config *config, struct buffer *out);

void __wrap_checkpoint_state_write(const struct checkpoint_state *state, struct buffer *out)
{
    shelf_written = *state;
    buffer_text(out, "{}");
}

/* No peer here reads it. */
void __wrap_config_dump(const struct config *config, struct buffer *out)
{
    (void)config;
    buffer_text(out, "train:\n  epochs: 1\n");
}

/* ---- the run's folder, and files in it ---- */

bool __wrap_run_open(struct run *run, const struct config *config, struct err *err);
bool __wrap_run_resume(struct run *run, const struct config *config, const char *fingerprint,
                       struct checkpoint *checkpoint, bool *found, struct err *err);
bool __wrap_file_append(const char *path, const void *bytes, size_t size, struct err *err);

/* Records of epochs and steps go nowhere, so nothing is there to be taken back. */
bool __wrap_run_open(struct run *run, const struct config *config, struct err *err)
{
    (void)err;
    run->lock = -1;
    run->metrics = run->steps = (struct record_file){.path = ""};
    snprintf(run->dir, sizeof run->dir, "%s", config->run_dir);
    return true;
}

/* With the configuration and the pairs that it had, since there are no others. */
bool __wrap_run_resume(struct run *run, const struct config *config, const char *fingerprint,
                       struct checkpoint *checkpoint, bool *found, struct err *err)
{
    (void)config, (void)fingerprint;
    return __wrap_checkpoint_latest(checkpoint, run->dir, found, err);
}

bool __wrap_file_append(const char *path, const void *bytes, size_t size, struct err *err)
{
    (void)path, (void)bytes, (void)size, (void)err;
    return true;
}

/* ---- the journal: written whole, opened, written on at a place, closed, looked for and read ---- */

enum { SHELF_JOURNAL = 1 << 20 }; /* its descriptor, higher than any that there is */

static struct buffer shelf_journal; /* size 0 = no journal */

bool __wrap_file_write_atomic(const char *path, const void *bytes, size_t size, struct err *err);
bool __real_file_read(const char *path, size_t most, struct buffer *out, struct err *err);
bool __wrap_file_read(const char *path, size_t most, struct buffer *out, struct err *err);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_access(const char *path, int how);
int __wrap_access(const char *path, int how);
int __real_close(int fd);
int __wrap_close(int fd);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at);

static bool shelf_is_journal(const char *path)
{
    const char *name = strrchr(path, '/');
    return name != NULL && strcmp(name, "/journal") == 0;
}

bool __wrap_file_write_atomic(const char *path, const void *bytes, size_t size, struct err *err)
{
    must(shelf_is_journal(path) && size > 0);
    buffer_clear(&shelf_journal);
    buffer_append(&shelf_journal, bytes, size);
    return buffer_ok(&shelf_journal, err);
}

bool __wrap_file_read(const char *path, size_t most, struct buffer *out, struct err *err)
{
    if (!shelf_is_journal(path))
        return __real_file_read(path, most, out, err);
    must(shelf_journal.size <= most);
    buffer_append(out, shelf_journal.data, shelf_journal.size);
    return buffer_ok(out, err);
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (!shelf_is_journal(path))
        return __real_open(path, flags, mode);
    must((flags & (O_CREAT | O_TRUNC)) == 0 && shelf_journal.size > 0);
    return SHELF_JOURNAL;
}

/* The records' files have no name (__wrap_run_open), and are not there. */
int __wrap_access(const char *path, int how)
{
    if (path[0] != '\0' && !shelf_is_journal(path))
        return __real_access(path, how);
    errno = ENOENT;
    return path[0] != '\0' && shelf_journal.size > 0 ? 0 : -1;
}

int __wrap_close(int fd)
{
    return fd == SHELF_JOURNAL ? 0 : __real_close(fd);
}

/* The journal's alone. What lies behind the bytes stays, as it does in a file. */
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    must(fd == SHELF_JOURNAL && at >= 0 && (size_t)at <= shelf_journal.size);
    size_t end = (size_t)at + size;
    if (end > shelf_journal.size) {
        must(buffer_reserve(&shelf_journal, end - shelf_journal.size) != NULL);
        shelf_journal.size = end;
    }
    memcpy(shelf_journal.data + at, bytes, size);
    return (ssize_t)size;
}

#endif
