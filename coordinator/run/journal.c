/* journal.c - append records to a file; see journal.h. */
#include "coordinator/run/journal.h"

#include "proto/base/buffer.h"
#include "proto/base/fault.h"
#include "proto/base/log.h"
#include "proto/store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <xxhash.h>

enum { RECORD = 48, HEAD = 2, JOURNAL_FORMAT = 2, PAGE = 4096 };
enum kind { KIND_RUN = 1, KIND_NUMBERS = 2, KIND_RESULT = 3, KIND_CUT = 4 };

struct record {
    uint32_t kind, check;
    uint64_t a, b;
    struct step_result result;
};
_Static_assert(sizeof(struct record) == RECORD && offsetof(struct record, result) == 24, "a record has no padding");
_Static_assert(sizeof(struct journal_origin) <= sizeof(struct step_result), "an origin lies in a result's place");

/* The most that is read. A longer journal belongs to a run that was not saved for a long time. */
static const size_t journal_most = (size_t)1 << 30;

static uint32_t journal_check(const struct record *record)
{
    return (uint32_t)XXH3_64bits_withSeed(&record->a, RECORD - offsetof(struct record, a), record->kind);
}

static struct record journal_record(enum kind kind, uint64_t a, uint64_t b, const struct step_result *result)
{
    struct record record = {.kind = kind, .a = a, .b = b};
    if (result != NULL)
        record.result = *result;
    record.check = journal_check(&record);
    return record;
}

static struct record journal_run(const struct journal *journal)
{
    struct step_result place = {0};
    memcpy(&place, &journal->origin, sizeof journal->origin);
    return journal_record(KIND_RUN, journal->run, JOURNAL_FORMAT, &place);
}

static struct record journal_record_of(const struct journal *journal)
{
    const struct step_result ranks = {.tokens = journal->ranks};
    return journal_record(KIND_NUMBERS, journal->generation, journal->workers, &ranks);
}

static struct journal_origin journal_origin_of(const struct record *run)
{
    struct journal_origin origin;
    memcpy(&origin, &run->result, sizeof origin);
    return origin;
}

static bool journal_same(const struct journal_origin *one, const struct journal_origin *other)
{
    return one->options == other->options && one->pairs == other->pairs;
}

static void journal_complain(struct journal *journal)
{
    if (!journal->complained)
        log_event(
            LOG_ERROR, "journal_failed",
            LOG_FIELDS(LOG_TEXT("path", journal->path), LOG_TEXT("reason", strerror(errno))),
            "%s: %s; training continues, but if the coordinator is killed now, it continues from the last checkpoint",
            journal->path, strerror(errno));
    journal->complained = true;
}

/* Write at the end of the valid part, so that a write that failed halfway is overwritten. False: it failed. */
static bool journal_append(struct journal *journal, const void *bytes, size_t size)
{
    if (journal->file < 0)
        return false;
    journal->numbers_last = false; /* part of the failed write may follow it */
    fault_point("journal");
    for (size_t done = 0; done < size;) {
        ssize_t part = pwrite(journal->file, (const char *)bytes + done, size - done, (off_t)(journal->size + done));
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0) {
            journal_complain(journal);
            return false;
        }
        done += (size_t)part;
    }
    journal->size += size;
    journal->complained = false;
    fault_point("journal");
    return true;
}

void journal_numbers(struct journal *journal)
{
    struct record record = journal_record_of(journal);
    uint64_t before = journal->size, last = before - RECORD;
    /* Within one page, a write is complete or absent when the process is killed; across two pages it may be partial. */
    if (journal->numbers_last && last / PAGE == (before - 1) / PAGE)
        journal->size = last;
    if (journal_append(journal, &record, sizeof record))
        journal->numbers_last = true;
    else
        journal->size = before;
}

static bool journal_put_results(struct buffer *out, uint64_t first_step, const struct step_result *results,
                                size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct record record = journal_record(KIND_RESULT, first_step + i, 0, &results[i]);
        buffer_append(out, &record, sizeof record);
    }
    return buffer_ok(out, NULL);
}

void journal_results(struct journal *journal, uint64_t first_step, const struct step_result *results, size_t count)
{
    struct buffer out = {0};
    if (journal_put_results(&out, first_step, results, count))
        journal_append(journal, out.data, out.size);
    buffer_free(&out);
}

void journal_cut(struct journal *journal, uint64_t step)
{
    struct record record = journal_record(KIND_CUT, step, 0, NULL);
    journal_append(journal, &record, sizeof record);
}

/* Replace the file by a new one with only the current records. */
static bool journal_write_anew(struct journal *journal, const struct ledger *ledger)
{
    struct buffer out = {0};
    struct record head[HEAD] = {journal_run(journal), journal_record_of(journal)};
    struct err err = {0};
    buffer_append(&out, head, sizeof head);
    bool done = journal_put_results(&out, ledger->first, ledger->results, ledger->count) &&
                file_write_atomic(journal->path, out.data, out.size, &err);
    if (!done)
        log_event(LOG_ERROR, "journal_failed",
                  LOG_FIELDS(LOG_TEXT("path", journal->path), LOG_TEXT("reason", err.text)),
                  "%s; training continues, but if the coordinator is killed now, it continues from the last checkpoint",
                  err.text);
    journal->size = out.size;
    journal->numbers_last = false;
    buffer_free(&out);
    return done;
}

void journal_restart(struct journal *journal, const struct ledger *ledger)
{
    uint64_t before = journal->size;
    fault_point("journal");
    if (!journal_write_anew(journal, ledger)) {
        journal->size = before;
        return;
    }
    if (journal->file >= 0)
        close(journal->file);
    journal->file = open(journal->path, O_WRONLY | O_CLOEXEC);
    if (journal->file < 0)
        journal_complain(journal);
    fault_point("journal");
}

/* The first two records, of the run and of numbers, which are written together. */
static bool journal_is_head(const struct record head[HEAD], struct err *err)
{
    bool run = head[0].kind == KIND_RUN && head[0].check == journal_check(&head[0]);
    if (run && head[0].b != JOURNAL_FORMAT)
        return err_set(err, ERR_DATA, "a journal of format %" PRIu64 ", not %d", head[0].b, JOURNAL_FORMAT);
    return (run && head[0].a >= 1 && head[0].a <= INT64_MAX && head[1].kind == KIND_NUMBERS &&
            head[1].check == journal_check(&head[1])) ||
           err_set(err, ERR_DATA, "not a journal");
}

/* Apply a valid record. */
static bool journal_take(struct journal *journal, const struct record *record, struct ledger *ledger, struct err *err)
{
    if (record->kind == KIND_NUMBERS) {
        journal->generation = record->a;
        journal->workers = record->b;
        journal->ranks = record->result.tokens;
    }
    if (record->kind == KIND_CUT)
        ledger_cut(ledger, record->a);
    return record->kind != KIND_RESULT || ledger_put(ledger, record->a, &record->result, 1, err);
}

/* Read identity, numbers and results from the valid records. False: the file is not a journal, or one of a run with
 * another origin. */
static bool journal_read(struct journal *journal, const struct buffer *bytes, struct ledger *ledger, struct err *err)
{
    struct record head[HEAD] = {0};
    if (bytes->size >= sizeof head)
        memcpy(head, bytes->data, sizeof head);
    if (!journal_is_head(head, err))
        return false;
    struct journal_origin origin = journal_origin_of(&head[0]);
    if (!journal_same(&origin, &journal->origin))
        return err_set(err, ERR_DATA, "it belongs to a run with other options or pairs");
    journal->run = head[0].a;
    for (size_t at = RECORD; at + RECORD <= bytes->size; at += RECORD) {
        struct record record;
        memcpy(&record, bytes->data + at, sizeof record);
        if (record.kind == KIND_RUN || record.check != journal_check(&record))
            return true;
        if (!journal_take(journal, &record, ledger, err))
            return false;
    }
    return true;
}

static bool journal_new_identity(struct journal *journal, struct err *err)
{
    while (journal->run == 0) {
        if (getrandom(&journal->run, sizeof journal->run, 0) != (ssize_t)sizeof journal->run)
            return err_errno(err, ERR_FAILED, "getrandom");
        journal->run &= (uint64_t)INT64_MAX;
    }
    return true;
}

static bool journal_name(char path[CHECKPOINT_PATH], const char *dir)
{
    int size = snprintf(path, CHECKPOINT_PATH, "%s/journal", dir);
    return size >= 0 && size < CHECKPOINT_PATH;
}

bool journal_is_there(const char *dir)
{
    char path[CHECKPOINT_PATH];
    return journal_name(path, dir) && access(path, F_OK) == 0;
}

bool journal_origin(const char *dir, struct journal_origin *origin)
{
    char path[CHECKPOINT_PATH];
    struct record head[HEAD];
    struct err ignored;
    int file = journal_name(path, dir) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return false;
    bool read = pread(file, head, sizeof head, 0) == (ssize_t)sizeof head && journal_is_head(head, &ignored);
    close(file);
    if (read)
        *origin = journal_origin_of(&head[0]);
    return read;
}

bool journal_open(struct journal *journal, const char *dir, bool resume, const struct journal_origin *origin,
                  struct ledger *ledger, struct err *err)
{
    struct buffer bytes = {0};
    struct err failure = {0};
    *journal = (struct journal){.file = -1, .origin = *origin};
    if (!journal_name(journal->path, dir))
        return err_set(err, ERR_USAGE, "run.dir: the path is too long");
    if (resume && access(journal->path, F_OK) == 0) {
        if (!file_read(journal->path, journal_most, &bytes, &failure) ||
            !journal_read(journal, &bytes, ledger, &failure)) {
            log_event(LOG_WARN, "journal_unreadable",
                      LOG_FIELDS(LOG_TEXT("path", journal->path), LOG_TEXT("reason", failure.text)),
                      "%s: %s; a new one begins, and workers that hold this run's state count as new", journal->path,
                      failure.text);
            ledger_cut(ledger, 0);
            journal->run = journal->generation = journal->workers = 0;
            journal->ranks = 0;
        }
        journal->resumed = journal->run != 0;
        buffer_free(&bytes);
    }
    if (!journal_new_identity(journal, err))
        return false;
    journal_restart(journal, ledger);
    return true;
}

void journal_close(struct journal *journal)
{
    if (journal->file >= 0)
        close(journal->file);
    journal->file = -1;
}

void journal_remove(struct journal *journal)
{
    journal_close(journal);
    if (unlink(journal->path) != 0 && errno != ENOENT)
        log_event(LOG_WARN, "journal_remains",
                  LOG_FIELDS(LOG_TEXT("path", journal->path), LOG_TEXT("reason", strerror(errno))), "%s: %s",
                  journal->path, strerror(errno));
}
