/* fuzz.h - what the fuzz targets share. A target is one reader and one function that hands it libFuzzer's bytes: what
 * the reader refuses must be an error of its kind, fit to be printed; what it accepts must keep the reader's promises.
 * A broken promise is abort(), which libFuzzer reports with the bytes that led to it. */
#ifndef LSTMQ_TESTS_FUZZ_FUZZ_H
#define LSTMQ_TESTS_FUZZ_FUZZ_H

#include "proto/base/err.h"
#include "proto/base/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* AddressSanitizer's options. Freed memory is kept from use for as long as a hundred messages take, not for 256 MiB, so
 * that it stays in the processor's cache. New memory is filled where a struct begins, not for 4 KiB. Only the direct
 * callers of allocations are recorded, because a message would otherwise take a third longer. For the whole call chain,
 * run the input again with ASAN_OPTIONS=malloc_context_size=30. */
__attribute__((weak, visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1:thread_local_quarantine_size_kb=256:max_malloc_fill_size=256:malloc_context_size=1";
}

/* Unlike assert, this stands in every build. */
static inline void must(bool kept)
{
    if (!kept)
        abort();
}

/* Whether text is strict UTF-8 without control characters, as one line of a terminal wants it. */
static inline bool is_one_line(const char *text, size_t size)
{
    uint32_t code = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_next(text + at, size - at, &code);
        if (length == 0 || code < 0x20 || (code >= 0x7F && code <= 0x9F))
            return false;
    }
    return true;
}

/* A refusal: of the kind that the reader documents, with a text. */
static inline void must_refuse(const struct err *err, enum err_code code)
{
    must(err->code == code);
    size_t size = strnlen(err->text, sizeof err->text);
    must(size > 0 && size < sizeof err->text && is_one_line(err->text, size));
}

/* The bytes in a block of their exact size, so that the sanitizer sees one byte too far; the caller frees it. */
static inline char *fuzz_copy(const uint8_t *data, size_t size)
{
    char *copy = malloc(size);
    must(copy != NULL || size == 0);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* The first byte of an input, which selects one of a target's ways; 0 for an empty input. */
static inline unsigned fuzz_choice(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    (*size)--;
    return *(*data)++;
}

#endif
