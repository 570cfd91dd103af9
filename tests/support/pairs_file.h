/* pairs_file.h - files of pairs in a scratch folder (scratch.h), for tests that read them. */
#ifndef LSTMQ_TESTS_SUPPORT_PAIRS_FILE_H
#define LSTMQ_TESTS_SUPPORT_PAIRS_FILE_H

#include "proto/text/pairs.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

extern char pairs_file_path[3][64]; /* of a TSV, of a file of sources, of a file of targets */

/* A test's setup; scratch_remove is its teardown. */
int pairs_file_make(void **state);

/* A gzip file in memory; the caller frees it. */
unsigned char *gzip(const char *text, size_t size, size_t *packed_size);

/* The TSV, or the two files, to be read by the notebook's rule. */
struct pairs_source tsv_source(enum on_bad_line on_bad_line);
struct pairs_source parallel_source(enum on_bad_line on_bad_line);

void check_pair(const struct pairs *pairs, size_t index, const char *src, const char *tgt);

/* Read and expect a failure whose text holds `what`. */
void check_failure(const struct pairs_source *source, enum err_code code, const char *what);

#define BYTES(literal) (literal), sizeof(literal) - 1

#endif
