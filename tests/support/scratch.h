/* scratch.h - the folder of a test, or of a group of tests; in memory where the machine has a file system there.
 *
 * scratch_make is the setup and scratch_remove the teardown, which removes all that is in the folder. There is one
 * folder at a time, for the test's own thread. What fails here fails the test. */
#ifndef LSTMQ_TESTS_SUPPORT_SCRATCH_H
#define LSTMQ_TESTS_SUPPORT_SCRATCH_H

#include <stddef.h>

extern char scratch_folder[32];

/* *state = scratch_folder. */
int scratch_make(void **state);
int scratch_remove(void **state);

/* The path of a name in the folder. The last eight results stay valid. */
const char *scratch_path(const char *name);

/* Write a whole file, at any path. */
void scratch_write(const char *path, const void *bytes, size_t size);
void scratch_write_text(const char *path, const char *text);

#endif
