/* run.c - the run folder; see run.h. */
#include "coordinator/run/run.h"

#include "proto/base/log.h"
#include "proto/store/checkpoint_links.h"
#include "proto/store/file.h"
#include "proto/store/json_print.h"
#include "proto/store/steps.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static const size_t run_most_records = (size_t)1 << 30; /* bytes of a records file that are read back, at most */

static bool run_path(char path[CHECKPOINT_PATH], const struct run *run, const char *name, struct err *err)
{
    int size = snprintf(path, CHECKPOINT_PATH, "%s/%s", run->dir, name);
    if (size < 0 || size >= CHECKPOINT_PATH)
        return err_set(err, ERR_USAGE, "run.dir: the path is too long");
    return true;
}

/* The lock file holds its owner's process id, for the message of a second training. */
static bool run_lock(struct run *run, struct err *err)
{
    char path[CHECKPOINT_PATH];
    if (!run_path(path, run, "lock", err))
        return false;
    run->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (run->lock < 0)
        return err_errno(err, ERR_IO, "%s", path);
    if (flock(run->lock, LOCK_EX | LOCK_NB) == 0) {
        if (ftruncate(run->lock, 0) != 0 || dprintf(run->lock, "%ld\n", (long)getpid()) < 0)
            log_event(LOG_DEBUG, "lock_unmarked",
                      LOG_FIELDS(LOG_TEXT("path", path), LOG_TEXT("reason", strerror(errno))),
                      "%s: the process id could not be written: %s", path, strerror(errno));
        return true;
    }
    if (errno != EWOULDBLOCK)
        return err_errno(err, ERR_IO, "%s: flock", path);
    char owner[32] = "";
    ssize_t size = pread(run->lock, owner, sizeof owner - 1, 0);
    owner[size > 0 ? (size_t)size : 0] = '\0';
    owner[strcspn(owner, "\n")] = '\0';
    return err_set(err, ERR_FAILED, "%s: process %s is training there: wait for it, or give another --run.dir",
                   run->dir, owner[0] != '\0' ? owner : "unknown");
}

/* The files of a folder that make it a run. The lock, the records of steps, the report and an empty metrics file do
 * not: a run that was interrupted before its first step leaves those. */
static bool run_makes_a_run(const struct run *run, const char *name)
{
    char path[CHECKPOINT_PATH];
    struct step_folder folder;
    struct stat about;
    if (strcmp(name, "metrics.jsonl") == 0)
        return !run_path(path, run, name, NULL) || stat(path, &about) != 0 || about.st_size > 0;
    return (step_parse(name, &folder) && folder.kind != STEP_PARTIAL) || strcmp(name, STEP_LATEST) == 0 ||
           strcmp(name, STEP_BEST) == 0;
}

static bool run_is_ours(const char *name)
{
    static const char *const names[] = {STEP_LATEST,   STEP_BEST, "metrics.jsonl", "steps.jsonl",
                                        "report.html", "journal", RUN_OPTIONS};
    struct step_folder folder;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return step_parse(name, &folder);
}

/* Scan the folder. *holds: it is a run. `remove`: delete all files that a run creates. */
static bool run_scan(const struct run *run, bool remove, bool *holds, struct err *err)
{
    *holds = false;
    DIR *folder = opendir(run->dir);
    if (folder == NULL)
        return err_errno(err, ERR_IO, "%s", run->dir);
    bool done = true;
    while (done) {
        char path[CHECKPOINT_PATH];
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            done = errno == 0 || err_errno(err, ERR_IO, "%s", run->dir);
            break;
        }
        *holds = *holds || run_makes_a_run(run, entry->d_name);
        if (!remove || !run_is_ours(entry->d_name))
            continue;
        done = run_path(path, run, entry->d_name, err);
        if (done && unlink(path) != 0)
            done = errno == EISDIR || errno == EPERM ? folder_remove(path, err) : err_errno(err, ERR_IO, "%s", path);
    }
    closedir(folder);
    return done;
}

bool run_open(struct run *run, const struct config *config, struct err *err)
{
    *run = (struct run){.lock = -1, .metrics.key = "epoch", .steps.key = "step"};
    if (config->run_resume && config->run_overwrite)
        return err_set(err, ERR_USAGE, "run.resume and run.overwrite contradict each other: give one of them");
    if (config->run_dir[0] == '\0')
        return err_set(err, ERR_USAGE, "run.dir is empty: give --run.dir FOLDER");
    snprintf(run->dir, sizeof run->dir, "%s", config->run_dir);
    bool holds;
    if (!folder_make(run->dir, err) || !run_lock(run, err) || !run_scan(run, config->run_overwrite, &holds, err) ||
        !run_path(run->metrics.path, run, "metrics.jsonl", err) ||
        !run_path(run->steps.path, run, "steps.jsonl", err)) {
        run_close(run);
        return false;
    }
    if (holds && !config->run_resume && !config->run_overwrite) {
        err_set(err, ERR_USAGE,
                "%s holds a run already: add --resume to continue it, --run.overwrite to replace it, or give another "
                "--run.dir",
                run->dir);
        run_close(run);
        return false;
    }
    return true;
}

void run_close(struct run *run)
{
    if (run->lock >= 0)
        close(run->lock);
    run->lock = -1;
    buffer_free(&run->metrics.pending);
    buffer_free(&run->steps.pending);
}

bool run_origin(const struct config *config, const char *fingerprint, struct journal_origin *origin, struct err *err)
{
    struct buffer text = {0};
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (config_resume_rule(&rows[i]) != RESUME_SAME)
            continue;
        buffer_append(&text, rows[i].key, strlen(rows[i].key) + 1);
        config_get(config, &rows[i], &text);
        buffer_append(&text, "", 1);
    }
    bool whole = buffer_ok(&text, err);
    if (whole)
        *origin = (struct journal_origin){.options = XXH3_64bits(text.data, text.size),
                                          .pairs = XXH3_64bits(fingerprint, strlen(fingerprint))};
    buffer_free(&text);
    return whole;
}

/* Before its first checkpoint, a run exists only in the memory of workers; a coordinator's journal identifies it. */
static bool run_same_origin(const struct run *run, const struct config *config, const char *fingerprint,
                            struct err *err)
{
    struct journal_origin now, begun;
    if (!journal_origin(run->dir, &begun))
        return true;
    if (!run_origin(config, fingerprint, &now, err))
        return false;
    if (now.options != begun.options)
        return err_set(
            err, ERR_USAGE,
            "the options are not those that the run in %s was begun with, which has no checkpoint yet that "
            "holds them: it can only be continued with the same (\"lstmq help train\" names those that may change); to "
            "start over, give --run.overwrite in place of --resume, or another --run.dir",
            run->dir);
    return now.pairs == begun.pairs ||
           err_set(err, ERR_DATA,
                   "the pairs are not those that the run in %s was begun with: give the same files, or start over in "
                   "another --run.dir",
                   run->dir);
}

bool run_resume(struct run *run, const struct config *config, const char *fingerprint, struct checkpoint *checkpoint,
                bool *found, struct err *err)
{
    if (!links_settle(run->dir, err) || !checkpoint_latest(checkpoint, run->dir, found, err))
        return false;
    if (!*found)
        return run_same_origin(run, config, fingerprint, err);
    if (!config_agrees(config, &checkpoint->state.config, run->dir, err)) {
        checkpoint_close(checkpoint);
        return false;
    }
    if (strcmp(checkpoint->state.dataset, fingerprint) != 0) {
        err_set(err, ERR_DATA,
                "the pairs are not those that %s was begun with (dataset %s, now %s): give the same files, or start "
                "over in another --run.dir",
                run->dir, checkpoint->state.dataset, fingerprint);
        checkpoint_close(checkpoint);
        return false;
    }
    return true;
}

/* The integer `key` of a line of JSON; false = not there. */
static bool run_line_number(const char *line, size_t size, const char *key, uint64_t *number)
{
    json_t *object = json_loadb(line, size, 0, NULL);
    const json_t *value = json_object_get(object, key);
    bool found = json_is_integer(value) && json_integer_value(value) >= 0;
    if (found)
        *number = (uint64_t)json_integer_value(value);
    json_decref(object);
    return found;
}

/* Keep the complete lines of `text` whose `key` is at most `most`. They move to the front; returns their size. */
static size_t run_keep(char *text, size_t size, const char *key, uint64_t most)
{
    size_t kept = 0;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        if (end == NULL)
            break;
        size_t line = (size_t)(end - (text + at)) + 1;
        uint64_t number = 0;
        if (run_line_number(text + at, line, key, &number) && number <= most) {
            memmove(text + kept, text + at, line);
            kept += line;
        }
        at += line;
    }
    return kept;
}

/* Remove obsolete lines from a file. */
static bool run_cut(struct record_file *file, struct err *err)
{
    struct buffer text = {0};
    bool done = true;
    if (file->stale && access(file->path, F_OK) == 0) {
        done = file_read(file->path, run_most_records, &text, err);
        size_t kept = done ? run_keep(text.data, text.size, file->key, file->most) : 0;
        if (done && kept != text.size)
            done = file_write_atomic(file->path, kept > 0 ? text.data : "", kept, err);
        buffer_free(&text);
    }
    file->stale = !done;
    return done;
}

/* Write the pending lines. file_append removes a partial line again, so the file never holds one. */
static bool run_flush(struct record_file *file)
{
    struct err err = {0};
    if (run_cut(file, &err) &&
        (file->pending.size == 0 || file_append(file->path, file->pending.data, file->pending.size, &err))) {
        buffer_clear(&file->pending);
        file->complained = false;
        return true;
    }
    if (!file->complained)
        log_event(LOG_ERROR, "record_failed", LOG_FIELDS(LOG_TEXT("path", file->path), LOG_TEXT("reason", err.text)),
                  "%s; training continues, and the record is kept for a later try", err.text);
    file->complained = true;
    return false;
}

static void run_rewind_records(struct record_file *file, uint64_t most)
{
    file->pending.size = run_keep(file->pending.data, file->pending.size, file->key, most);
    if (file->pending.data != NULL)
        file->pending.data[file->pending.size] = '\0';
    file->most = file->stale && file->most < most ? file->most : most;
    file->stale = true;
    run_flush(file);
}

void run_rewind(struct run *run, uint64_t epoch, uint64_t step)
{
    run_rewind_records(&run->metrics, epoch - 1);
    run_rewind_records(&run->steps, step);
}

void run_log_epoch(struct run *run, const struct epoch_record *record)
{
    struct buffer *out = &run->metrics.pending;
    buffer_format(out, "{\"epoch\": %" PRIu64 ", \"step\": %" PRIu64, record->epoch, record->step);
    json_print_number(out, "train_loss", record->train_loss);
    json_print_number(out, "train_acc", record->train_acc);
    json_print_number(out, "val_loss", record->val_loss);
    json_print_number(out, "val_acc", record->val_acc);
    json_print_number(out, "val_tf_loss", record->val_tf_loss);
    json_print_number(out, "bleu", record->bleu);
    json_print_number(out, "bleu_normalised", record->bleu_normalised);
    buffer_format(out, ", \"tgt_tokens\": %" PRIu64, record->tgt_tokens);
    json_print_number(out, "tgt_tok_per_s", record->tgt_tok_per_s);
    json_print_number(out, "seconds", record->seconds);
    buffer_text(out, "}\n");
    run_flush(&run->metrics);
}

void run_log_steps(struct run *run, uint64_t first_step, const struct step_result *results, uint32_t count)
{
    struct buffer *out = &run->steps.pending;
    for (uint32_t i = 0; i < count; i++) {
        buffer_format(out, "{\"step\": %" PRIu64, first_step + i + 1);
        json_print_number(out, "loss", results[i].loss_sum / (double)results[i].tokens);
        json_print_number(out, "grad_norm", results[i].grad_norm);
        buffer_text(out, "}\n");
    }
    run_flush(&run->steps);
}

/* A run that is interrupted in its first epoch leaves an empty metrics file. */
static bool run_make(const struct record_file *file)
{
    struct err err = {0};
    if (access(file->path, F_OK) == 0 || file_append(file->path, "", 0, &err))
        return true;
    log_event(LOG_ERROR, "record_failed", LOG_FIELDS(LOG_TEXT("path", file->path), LOG_TEXT("reason", err.text)), "%s",
              err.text);
    return false;
}

bool run_flushed(struct run *run)
{
    bool metrics = run_flush(&run->metrics) && run_make(&run->metrics);
    return run_flush(&run->steps) && metrics;
}
