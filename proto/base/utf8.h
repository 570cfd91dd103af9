/* utf8.h - one character of UTF-8 at a time, strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef LSTMQ_UTF8_H
#define LSTMQ_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of the character at `text`, which has `size` bytes, and its code point; 0 where there is no valid character. */
static inline size_t utf8_next(const char *text, size_t size, uint32_t *code)
{
    if (size == 0)
        return 0;
    uint32_t lead = (unsigned char)text[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length > size)
        return 0;
    uint32_t value = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        uint32_t byte = (unsigned char)text[i];
        if ((byte & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (byte & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code = value;
    return length;
}

#endif
