/* unicode.h - decode UTF-8, and classify white space.
 *
 * Inline, because each function is the inner step of a loop over text. Pure functions; any thread. */
#ifndef LSTMQ_PROTO_TEXT_UNICODE_H
#define LSTMQ_PROTO_TEXT_UNICODE_H

#include "proto/base/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* unicode_next returns this plus the byte for a byte that begins no valid character; it lies outside of Unicode. */
enum { UNICODE_STRAY = 0x110000 };

/* The code point at *text, which must lie before `end`; *text moves behind it. Valid UTF-8 (utf8_valid) yields code
 * points only. In other text, a byte that cannot be decoded counts as one character. */
static inline uint32_t unicode_next(const unsigned char **text, const unsigned char *end)
{
    uint32_t code;
    size_t length = utf8_next((const char *)*text, (size_t)(end - *text), &code);
    if (length == 0) {
        code = UNICODE_STRAY + **text;
        length = 1;
    }
    *text += length;
    return code;
}

/* True for the white space of Python's str.isspace, str.split and \s: Unicode's White_Space and U+001C..U+001F. */
static inline bool unicode_space(uint32_t code)
{
    if (code < 0x1680)
        return code == ' ' || (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x1F) || code == 0x85 ||
               code == 0xA0;
    return code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
           code == 0x205F || code == 0x3000;
}

/* White space or an ASCII control character: the rules that keep every letter fold these to one space. */
static inline bool unicode_blank(uint32_t code)
{
    return code < 0x20 || code == 0x7F || unicode_space(code);
}

#endif
