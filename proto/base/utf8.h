/* utf8.h - decode one character of UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
 *
 * Inline, because it is the inner step of loops over text. A pure function; any thread. */
#ifndef LSTMQ_PROTO_BASE_UTF8_H
#define LSTMQ_PROTO_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Size of the character at `text`, which has `size` bytes, and its code point; 0 = not valid. */
static inline size_t utf8_next(const char *text, size_t size, uint32_t *code)
{
    const unsigned char *at = (const unsigned char *)text;
    if (size == 0)
        return 0;
    uint32_t lead = at[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    if (lead < 0xC2 || lead > 0xF4 || size < 2 || (at[1] & 0xC0) != 0x80)
        return 0;
    if (lead < 0xE0) {
        *code = (lead & 0x1F) << 6 | (at[1] & 0x3Fu);
        return 2;
    }
    if (size < 3 || (at[2] & 0xC0) != 0x80)
        return 0;
    uint32_t low = (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
    if (lead < 0xF0) {
        *code = (lead & 0x0F) << 12 | low;
        return *code < 0x800 || (*code >= 0xD800 && *code <= 0xDFFF) ? 0 : 3;
    }
    if (size < 4 || (at[3] & 0xC0) != 0x80)
        return 0;
    *code = (lead & 0x07) << 18 | low << 6 | (at[3] & 0x3Fu);
    return *code < 0x10000 || *code > 0x10FFFF ? 0 : 4;
}

#endif
