/* letter.c - letters and their case, by utf8proc; see letter.h. */
#include "proto/text/letter.h"

#include <utf8proc.h>

enum letter letter_of(uint32_t code)
{
    if (code < 0x80) {
        if (code >= 'a' && code <= 'z')
            return LETTER_LOWER;
        return code >= 'A' && code <= 'Z' ? LETTER_UPPER : LETTER_NOT;
    }
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
        return LETTER_UPPER;
    case UTF8PROC_CATEGORY_LL:
        return LETTER_LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER_OTHER;
    default:
        return LETTER_NOT;
    }
}

void letter_append_upper(struct buffer *out, uint32_t code)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t size = utf8proc_encode_char(utf8proc_toupper((utf8proc_int32_t)code), bytes);
    buffer_append(out, bytes, (size_t)size);
}
