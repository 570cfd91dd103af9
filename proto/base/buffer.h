/* buffer.h - bytes that grow.
 *
 * A buffer starts as all zeroes (`struct buffer b = {0}`) and owns its memory until buffer_free. A NUL always follows
 * the last byte, so `data` may be read as a string once anything was written. Appending fails only when memory runs
 * out. The failure is remembered and later appends do nothing, so one buffer_ok at the end checks a whole sequence of
 * appends. One thread at a time. */
#ifndef LSTMQ_PROTO_BASE_BUFFER_H
#define LSTMQ_PROTO_BASE_BUFFER_H

#include "proto/base/err.h"

#include <stddef.h>

struct buffer {
    char *data;      /* NULL until the first byte */
    size_t size;     /* bytes in use, without the final NUL */
    size_t capacity; /* bytes allocated */
    bool failed;     /* an append ran out of memory */
};

void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Make space for `more` bytes and return its address; the caller writes there and adds to `size`. NULL: out of
 * memory. */
void *buffer_reserve(struct buffer *buffer, size_t more);

/* Keep the memory; forget the contents and the failure. */
void buffer_clear(struct buffer *buffer);

void buffer_free(struct buffer *buffer);

/* False with ERR_MEMORY when any append failed since the last clear. */
bool buffer_ok(const struct buffer *buffer, struct err *err);

#endif
