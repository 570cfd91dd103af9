/* access_log.h - one line for each HTTP request, in a file that other programs read.
 *
 *   2026-01-31T12:00:00.123Z 127.0.0.1 POST /translate 200 57 12.345 REQUEST-ID TRACE-ID
 *
 * That is: time of the answer, address, method, path, status (0 = no answer, 499 = the client left before), bytes of
 * the body, milliseconds from request line to end, and the two ids. No query, header or body: they hold texts and keys.
 * In a path, bytes that are not printable are written as \xHH. Lines are kept until access_log_flush. The file is
 * opened for appending, so a program that rotates logs may copy and truncate it. The server owns it. Loop thread. */
#ifndef LSTMQ_COORDINATOR_HTTP_ACCESS_LOG_H
#define LSTMQ_COORDINATOR_HTTP_ACCESS_LOG_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct access_log;

struct access_entry {
    const char *address, *method, *path, *id, *trace;
    unsigned status;
    size_t bytes;
    int64_t took_us;
};

/* "-" = standard error. ERR_USAGE: the file cannot be opened. */
struct access_log *access_log_open(const char *path, struct err *err);
void access_log_close(struct access_log **log);

void access_log_add(struct access_log *log, const struct access_entry *entry);

/* Write the lines that were added. A failure is logged once, and lines are lost until writing works again. */
void access_log_flush(struct access_log *log);

#endif
