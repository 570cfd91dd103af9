/* access_log.c - lines in a buffer, written once a turn; see access_log.h. */
#include "coordinator/http/access_log.h"

#include "proto/base/buffer.h"
#include "proto/base/log.h"
#include "proto/base/typed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct access_log {
    int fd;
    bool failed; /* the last write did, and that was logged */
    struct buffer lines;
    time_t second;    /* of `stamp` */
    char stamp[32];   /* "2026-01-31T12:00:00" */
    const char *path; /* as named by the owner, behind this struct */
};

struct access_log *access_log_open(const char *path, struct err *err)
{
    struct access_log *log = calloc(1, sizeof *log + strlen(path) + 1);
    if (log == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for the access log");
        return NULL;
    }
    log->path = strcpy((char *)(log + 1), path);
    log->fd = strcmp(path, "-") == 0 ? STDERR_FILENO : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (log->fd >= 0)
        return log;
    err_errno(err, ERR_USAGE, "cannot open the access log %s", typed_show(path).shown);
    free(log);
    return NULL;
}

void access_log_close(struct access_log **log)
{
    if (*log == NULL)
        return;
    access_log_flush(*log);
    if ((*log)->fd != STDERR_FILENO)
        close((*log)->fd);
    buffer_free(&(*log)->lines);
    free(*log);
    *log = NULL;
}

/* Append text so that it stays one field of one line. */
static void access_log_field(struct buffer *lines, const char *text)
{
    if (text[0] == '\0')
        buffer_text(lines, "-");
    for (const char *c = text; *c != '\0'; c++) {
        size_t plain = 0;
        while (c[plain] > ' ' && c[plain] < 0x7f && c[plain] != '\\' && c[plain] != '"')
            plain++;
        buffer_append(lines, c, plain);
        c += plain;
        if (*c == '\0')
            break;
        buffer_format(lines, "\\x%02x", (unsigned char)*c);
    }
}

void access_log_add(struct access_log *log, const struct access_entry *entry)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != log->second || log->stamp[0] == '\0') {
        struct tm utc;
        gmtime_r(&now.tv_sec, &utc);
        strftime(log->stamp, sizeof log->stamp, "%Y-%m-%dT%H:%M:%S", &utc);
        log->second = now.tv_sec;
    }
    struct buffer *lines = &log->lines;
    buffer_format(lines, "%s.%03ldZ %s ", log->stamp, now.tv_nsec / 1000000, entry->address);
    access_log_field(lines, entry->method);
    buffer_text(lines, " ");
    access_log_field(lines, entry->path);
    buffer_format(lines, " %u %zu %.3f ", entry->status, entry->bytes, (double)entry->took_us / 1000);
    access_log_field(lines, entry->id);
    buffer_format(lines, " %s\n", entry->trace[0] == '\0' ? "-" : entry->trace);
}

void access_log_flush(struct access_log *log)
{
    size_t done = 0;
    bool good = buffer_ok(&log->lines, NULL);
    if (good && log->lines.size == 0)
        return;
    while (good && done < log->lines.size) {
        ssize_t size = write(log->fd, log->lines.data + done, log->lines.size - done);
        good = size > 0 || (size < 0 && errno == EINTR);
        done += size > 0 ? (size_t)size : 0;
    }
    if (!good && !log->failed)
        log_event(LOG_WARN, "access_log_failed", LOG_FIELDS(LOG_TEXT("path", log->path)),
                  "cannot write the access log %s: %s; its lines are lost until that works again", log->path,
                  strerror(errno));
    log->failed = !good;
    buffer_clear(&log->lines);
}
