/* lines.h - a text file, plain, gzip or in a zip archive, line by line.
 *
 * A line ends with LF, CRLF, CR CR LF (a text file converted twice), a CR without LF, or the end of the file. A BOM at
 * the start is dropped. The first bytes show what a file is (form.h). In gzip, zero bytes between and behind members
 * are skipped; of a zip archive, the one text file is read (zip.h). Other archives and encodings are errors that name
 * them. Checksums are verified: a truncated or damaged file is an error, never a shorter file.
 *
 * Begins with lines_open, ends with lines_close; the caller owns it. One thread at a time. Memory is bounded for any
 * file. */
#ifndef LSTMQ_PROTO_TEXT_LINES_H
#define LSTMQ_PROTO_TEXT_LINES_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct lines;

enum line_end {
    LINE_END_FILE, /* also a last CR */
    LINE_END_LF,   /* also CRLF and CR CR LF */
    LINE_END_CR,   /* without LF */
};

struct line {
    const char *text; /* not NUL-terminated; valid until the next call */
    size_t size;      /* bytes, the line end not counted */
    uint64_t number;  /* 1 is the first */
    bool too_long;    /* skipped: text is empty */
    enum line_end end;
};

/* Open `path`. A line of more than `longest` bytes is returned empty, as too_long. ERR_IO: cannot read. ERR_DATA:
 * empty, or not a text. */
struct lines *lines_open(const char *path, size_t longest, struct err *err);
void lines_close(struct lines **lines);

/* The next line. At the end *end is true and `line` is unchanged. ERR_IO: cannot read. ERR_DATA: damaged archive. */
bool lines_next(struct lines *lines, struct line *line, bool *end, struct err *err);

/* The first CR or LF of `size` bytes; NULL = no line end. A pure function. */
const char *line_end_find(const char *text, size_t size);

/* Size of the line end that `text` begins with. `last`: nothing follows the `size` bytes. Without `last`, 0 = more
 * bytes are needed. A pure function. */
size_t line_end_size(const char *text, size_t size, bool last);

#endif
