/* capture.h - what this process writes to stderr, and what a run of lstmq prints, as text. The test's own thread. */
#ifndef LSTMQ_TESTS_SUPPORT_CAPTURE_H
#define LSTMQ_TESTS_SUPPORT_CAPTURE_H

#include "proto/base/buffer.h"

/* From here to capture_end, stderr is a file. */
void capture_begin(void);

/* What was written; the caller frees it. stderr is what it was before. */
char *capture_end(void);

/* Run lstmq with these arguments, as a shell reads them, and an empty input. `out` becomes what it prints on stdout and
 * stderr. Returns the exit status. */
int capture_lstmq(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
