/* err.h - what went wrong, where, and what to do.
 *
 * A function that can fail returns bool (or a pointer) and takes a `struct err *` last. On failure it fills the struct
 * and returns false; on success it leaves it unchanged. Callers on the way up may prefix their own place with
 * err_context ("pairs.tsv:12: ..."). Only main.c prints an err and turns its code into an exit status. The struct is
 * plain memory that the caller owns; nothing here allocates. Any thread, one err per thread. */
#ifndef LSTMQ_PROTO_BASE_ERR_H
#define LSTMQ_PROTO_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

enum err_code {
    ERR_NONE = 0,
    ERR_FAILED,      /* something outside the program failed: exit 1 */
    ERR_IO,          /* a file or socket operation: exit 1 */
    ERR_MEMORY,      /* allocation failed: exit 1 */
    ERR_FULL,        /* a bounded table or queue is full; the caller keeps its work */
    ERR_PROTOCOL,    /* a peer sent a message that PROTOCOL.md does not allow: exit 1 */
    ERR_USAGE,       /* bad command line or configuration: exit 2 */
    ERR_DATA,        /* bad input data or a damaged file: exit 3 */
    ERR_INTERRUPTED, /* SIGINT, SIGTERM, SIGHUP: 130 */
    ERR_DIVERGED,    /* training diverged: its numbers are no longer finite, on any worker: exit 1 */
    ERR_ABORTED,     /* another thread ended the awaited operation; the caller starts again, users never see it */
};

enum { ERR_TEXT = 1024 };

/* What to do when no more files can be opened (EMFILE). */
#define ERR_FEW_FILES "raise ulimit -n"

struct err {
    enum err_code code;
    char text[ERR_TEXT]; /* one line, UTF-8, no full stop; "?" for other bytes */
};

/* Fill `err` (which may be NULL) and return false, so that `return err_set(err, ...)` is a whole failure path. */
bool err_set(struct err *err, enum err_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool err_vset(struct err *err, enum err_code code, const char *format, va_list args);

/* As err_set, with ": " and errno's text at the end, and with advice if no more files can be opened. Reads errno
 * first. */
bool err_errno(struct err *err, enum err_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put "PREFIX: " before the present text. Returns false. */
bool err_context(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit status of a code (1 failed, 2 usage, 3 data, 130 interrupted). */
int err_exit_status(enum err_code code);

#endif
