/* buffer.c - grows by half; a failure is remembered; see buffer.h. */
#include "proto/base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_FIRST = 256 };

void *buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return NULL;
    if (more >= SIZE_MAX / 2 - buffer->size) {
        buffer->failed = true;
        return NULL;
    }
    size_t needed = buffer->size + more + 1;
    if (needed > buffer->capacity) {
        size_t capacity = buffer->capacity < BUFFER_FIRST ? BUFFER_FIRST : buffer->capacity;
        while (capacity < needed)
            capacity += capacity / 2;
        char *data = realloc(buffer->data, capacity);
        if (data == NULL) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    char *end = buffer_reserve(buffer, size);
    if (end == NULL)
        return;
    if (size > 0)
        memcpy(end, bytes, size);
    end[size] = '\0';
    buffer->size += size;
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *end = length < 0 ? NULL : buffer_reserve(buffer, (size_t)length);
    if (end == NULL) {
        buffer->failed = true;
    } else {
        vsnprintf(end, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
    if (buffer->data != NULL)
        buffer->data[0] = '\0';
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

bool buffer_ok(const struct buffer *buffer, struct err *err)
{
    if (buffer->failed)
        return err_set(err, ERR_MEMORY, "out of memory after %zu bytes", buffer->size);
    return true;
}
