/* casing.c - what normalisation took from a sentence; see casing.h. */
#include "worker/serve/casing.h"

#include "proto/text/letter.h"
#include "proto/text/unicode.h"

#include <string.h>

/* What a source tells about its translation. */
enum casing_letters { CASING_NONE, CASING_FIRST, CASING_ALL };

static bool casing_is_final(uint32_t code)
{
    return code == '.' || code == '!' || code == '?' || code == ',' || code == ';' || code == 0x3002;
}

/* The last character of a text and its size; 0 = the text is empty. */
static size_t casing_last(const char *text, size_t size, uint32_t *code)
{
    size_t at = size;
    while (at > 0 && ((unsigned char)text[--at] & 0xC0) == 0x80)
        continue;
    return at < size ? utf8_next(text + at, size - at, code) : 0;
}

static enum casing_letters casing_of(const char *source, size_t size)
{
    const unsigned char *at = (const unsigned char *)source, *end = at + size;
    size_t upper = 0, lower = 0;
    bool first = false;
    while (at < end) {
        enum letter letter = letter_of(unicode_next(&at, end));
        first = first || (letter == LETTER_UPPER && upper + lower == 0);
        upper += letter == LETTER_UPPER;
        lower += letter == LETTER_LOWER;
    }
    if (upper >= 2 && lower == 0)
        return CASING_ALL;
    return first ? CASING_FIRST : CASING_NONE;
}

static void casing_write(struct buffer *out, const char *text, size_t size, enum casing_letters letters)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    while (at < end && letters != CASING_NONE) {
        const unsigned char *begin = at;
        uint32_t code = unicode_next(&at, end);
        bool letter = letter_of(code) != LETTER_NOT;
        if (letter)
            letter_append_upper(out, code);
        else
            buffer_append(out, begin, (size_t)(at - begin));
        if (letter && letters == CASING_FIRST)
            letters = CASING_NONE;
    }
    buffer_append(out, at, (size_t)(end - at));
}

/* The size of a text without the punctuation and white space at its end. */
static size_t casing_stem(const char *text, size_t size)
{
    uint32_t code;
    for (size_t last; (last = casing_last(text, size, &code)) > 0; size -= last)
        if (!casing_is_final(code) && !unicode_space(code))
            break;
    return size;
}

/* If the text is one word several times, its last word and the punctuation behind it. */
static const char *casing_once(const char *text, size_t *size)
{
    const char *end = text + *size, *stop = text + casing_stem(text, *size), *word = text, *last = text;
    size_t stem = casing_stem(text, strcspn(text, " ")), length = strcspn(text, " ");
    while (stem > 0 && (word += length) < stop) {
        word += strspn(word, " ");
        length = strcspn(word, " ");
        if (casing_stem(word, length) != stem || memcmp(word, text, stem) != 0)
            return text;
        last = word;
    }
    *size = (size_t)(end - last);
    return last;
}

static bool casing_is_one_word(const char *source, size_t size)
{
    const unsigned char *at = (const unsigned char *)source, *end = at + size;
    while (at < end)
        if (unicode_blank(unicode_next(&at, end)))
            return false;
    return true;
}

void casing_append(enum normalise rule, const char *source, size_t size, const char *translated, struct buffer *out)
{
    size_t length = strlen(translated), kept = length;
    uint32_t wanted = 0, found = 0;
    if (casing_is_one_word(source, size))
        translated = casing_once(translated, &length);
    kept = length;
    if (rule != NORMALISE_NOTEBOOK) {
        buffer_append(out, translated, length);
        return;
    }
    size_t mark = casing_last(source, size, &wanted);
    casing_last(translated, length, &found);
    bool final = casing_is_final(wanted);
    /* Other marks, as quotes, say nothing about what stands before them. */
    bool plain = letter_of(wanted) != LETTER_NOT || (wanted >= '0' && wanted <= '9');
    if ((final && wanted != found) || (plain && casing_is_final(found)))
        kept = casing_stem(translated, length);
    casing_write(out, translated, kept, casing_of(source, size));
    if (final && wanted != found)
        buffer_append(out, source + size - mark, mark);
}
