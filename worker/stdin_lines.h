/* stdin_lines.h - the lines of standard input, as sentences: UTF-8 text, each line checked and NUL-terminated.
 *
 * A line ends in LF, CR or CR LF; the last one may lack its end. A line is taken as soon as its end is there, so that a
 * pipe that is fed line by line is answered line by line. A byte order mark is removed. Lines stay where they were
 * read, until stdin_lines_drop. A struct of zeroes has read nothing; its owner frees `bytes`. One thread. */
#ifndef LSTMQ_WORKER_STDIN_LINES_H
#define LSTMQ_WORKER_STDIN_LINES_H

#include "proto/base/buffer.h"

#include <stdint.h>

struct stdin_lines {
    struct buffer bytes; /* read but not yet dropped */
    size_t taken;        /* bytes of lines that were taken */
    uint64_t lines;      /* taken so far */
    bool ended;
    bool at_end; /* `taken` is at the CR that ends the last line; an LF may follow */
};

/* Take lines until none waits, at most `most`, and at most `most_bytes` besides the last one. Blocks only with `wait`,
 * until the first line is complete or the input ends. `offsets` are the lines' starts in `bytes`, which may move until
 * this returns. On failure *count lines before the bad one were taken. ERR_DATA: the input is not text, not UTF-8, or a
 * line is too long. */
bool stdin_lines_take(struct stdin_lines *input, bool wait, size_t most, size_t most_bytes, size_t *offsets,
                      size_t *count, struct err *err);

/* Forget the lines that were taken. */
void stdin_lines_drop(struct stdin_lines *input);

#endif
