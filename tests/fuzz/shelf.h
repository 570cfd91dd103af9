/* shelf.h - checkpoints that are kept in memory, for a fuzz target that takes thousands of them a second.
 *
 * The linker hands the functions of checkpoint.h that a coordinator calls to the __wrap_ functions below; so it does with
 * run_open, whose folder nobody else can want, and with the small files that are written whole or appended to, which need
 * no disk under them. What is kept: a checkpoint is there whole when it was committed and not at all before, its files
 * are the bytes that were written, and its state is the one that was written last. Of several the last counts. What is
 * left to other targets is the text of state.json, and with it WELCOME's configuration, which is written once. One
 * thread. */
#ifndef LSTMQ_TESTS_FUZZ_SHELF_H
#define LSTMQ_TESTS_FUZZ_SHELF_H

#include "coordinator/run.h"
#include "proto/store/checkpoint.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
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

static struct checkpoint_writer shelf_begun, shelf_kept; /* count 0: there is none */
static struct checkpoint_state shelf_written;
static struct buffer shelf_config;

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
void __real_config_dump(const struct config *config, struct buffer *out);
void __wrap_config_dump(const struct config *config, struct buffer *out);

void __wrap_checkpoint_state_write(const struct checkpoint_state *state, struct buffer *out)
{
    shelf_written = *state;
    buffer_text(out, "{}");
}

/* Of the one configuration that there is. */
void __wrap_config_dump(const struct config *config, struct buffer *out)
{
    if (shelf_config.size == 0)
        __real_config_dump(config, &shelf_config);
    buffer_append(out, shelf_config.data, shelf_config.size);
}

/* ---- the run's folder, and files in it ---- */

bool __wrap_run_open(struct run *run, const struct config *config, struct err *err);
bool __wrap_file_write_atomic(const char *path, const void *bytes, size_t size, struct err *err);
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

/* The journal: it is opened again to be appended to, so it is a file. */
bool __wrap_file_write_atomic(const char *path, const void *bytes, size_t size, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    (void)err;
    must(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
    return true;
}

bool __wrap_file_append(const char *path, const void *bytes, size_t size, struct err *err)
{
    (void)path, (void)bytes, (void)size, (void)err;
    return true;
}

#endif
