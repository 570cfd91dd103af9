/* unicode.h - code points of UTF-8 text, and which of them are white space.
 *
 * Inline because each is the inner step of a loop over text. Pure functions; any thread. */
#ifndef LSTMQ_UNICODE_H
#define LSTMQ_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What utf8_next returns for a byte that begins no well-formed character: this plus the byte, outside of Unicode. */
enum { UNICODE_STRAY = 0x110000 };

/* The code point at *text, which must lie before `end`; *text moves behind it. Text that utf8_valid accepted yields code
 * points only; in other text a byte that cannot be decoded counts as one character of its own. */
static inline uint32_t utf8_next(const unsigned char **text, const unsigned char *end)
{
    const unsigned char *at = *text;
    size_t left = (size_t)(end - at);
    uint32_t lead = at[0];
    if (lead < 0x80) {
        *text = at + 1;
        return lead;
    }
    if (lead >= 0xC2 && lead < 0xE0 && left >= 2 && (at[1] & 0xC0) == 0x80) {
        *text = at + 2;
        return (lead & 0x1F) << 6 | (at[1] & 0x3Fu);
    }
    if ((lead & 0xF0) == 0xE0 && left >= 3 && (at[1] & 0xC0) == 0x80 && (at[2] & 0xC0) == 0x80) {
        uint32_t code = (lead & 0x0F) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
        if (code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) {
            *text = at + 3;
            return code;
        }
    }
    if (lead >= 0xF0 && lead < 0xF5 && left >= 4 && (at[1] & 0xC0) == 0x80 && (at[2] & 0xC0) == 0x80 &&
        (at[3] & 0xC0) == 0x80) {
        uint32_t code = (lead & 0x07) << 18 | (at[1] & 0x3Fu) << 12 | (at[2] & 0x3Fu) << 6 | (at[3] & 0x3Fu);
        if (code >= 0x10000 && code <= 0x10FFFF) {
            *text = at + 4;
            return code;
        }
    }
    *text = at + 1;
    return UNICODE_STRAY + lead;
}

/* True for what Python's str.isspace, str.split and \s take as white space: Unicode's White_Space and U+001C..U+001F. */
static inline bool unicode_space(uint32_t code)
{
    if (code < 0x1680)
        return code == ' ' || (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x1F) || code == 0x85 ||
               code == 0xA0;
    return code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
           code == 0x205F || code == 0x3000;
}

#endif
