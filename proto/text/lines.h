/* lines.h - a text file, plain or gzip, line by line.
 *
 * Lines end with LF or CRLF or at the end of the file; a BOM at the start is dropped. Whether a file is gzip is told
 * from its first bytes, and its checksums are verified: a cut or damaged one is an error that names it, never a shorter
 * file. Born in lines_open, ended by lines_close; one thread at a time. Memory is bounded whatever the file holds. */
#ifndef LSTMQ_LINES_H
#define LSTMQ_LINES_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct lines;

struct line {
    const char *text; /* not NUL-terminated; valid until the next call */
    size_t size;      /* bytes, the line end not counted               */
    uint64_t number;  /* 1 is the first                                */
    bool too_long;    /* passed over: text is empty                    */
};

/* Open `path`; lines of more than `longest` bytes come out empty, as too_long. ERR_IO: cannot read; ERR_DATA: empty
 * file. */
struct lines *lines_open(const char *path, size_t longest, struct err *err);
void lines_close(struct lines **lines);

/* The next line. At the end *end is true and `line` is left alone. ERR_IO: cannot read; ERR_DATA: damaged gzip. */
bool lines_next(struct lines *lines, struct line *line, bool *end, struct err *err);

#endif
