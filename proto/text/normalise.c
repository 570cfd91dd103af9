/* normalise.c - the three rules; each is one pass over the text and never writes more bytes than it reads.
 *
 * Nearly all text is ASCII and Latin-1 letters, so a table handles those byte by byte. Only the rest is decoded and
 * looked up with utf8proc. White space is remembered, not written: the next kept character writes one space before
 * itself. This folds runs and strips both ends. */
#include "proto/text/normalise.h"

#include "proto/text/unicode.h"

#include <inttypes.h>
#include <string.h>
#include <utf8proc.h>

/* The notebook's rule for a byte of ASCII: 0 drops it, ' ' is white space, any other value is written. */
static const unsigned char normalise_notebook_map[128] = {
    ['\t'] = ' ', ['\n'] = ' ', ['\v'] = ' ', ['\f'] = ' ',  ['\r'] = ' ', [0x1C] = ' ', [0x1D] = ' ', [0x1E] = ' ',
    [0x1F] = ' ', [' '] = ' ',  ['!'] = '!',  ['\''] = '\'', ['-'] = '-',  ['.'] = '.',  ['?'] = '?',  ['A'] = 'a',
    ['B'] = 'b',  ['C'] = 'c',  ['D'] = 'd',  ['E'] = 'e',   ['F'] = 'f',  ['G'] = 'g',  ['H'] = 'h',  ['I'] = 'i',
    ['J'] = 'j',  ['K'] = 'k',  ['L'] = 'l',  ['M'] = 'm',   ['N'] = 'n',  ['O'] = 'o',  ['P'] = 'p',  ['Q'] = 'q',
    ['R'] = 'r',  ['S'] = 's',  ['T'] = 't',  ['U'] = 'u',   ['V'] = 'v',  ['W'] = 'w',  ['X'] = 'x',  ['Y'] = 'y',
    ['Z'] = 'z',  ['a'] = 'a',  ['b'] = 'b',  ['c'] = 'c',   ['d'] = 'd',  ['e'] = 'e',  ['f'] = 'f',  ['g'] = 'g',
    ['h'] = 'h',  ['i'] = 'i',  ['j'] = 'j',  ['k'] = 'k',   ['l'] = 'l',  ['m'] = 'm',  ['n'] = 'n',  ['o'] = 'o',
    ['p'] = 'p',  ['q'] = 'q',  ['r'] = 'r',  ['s'] = 's',   ['t'] = 't',  ['u'] = 'u',  ['v'] = 'v',  ['w'] = 'w',
    ['x'] = 'x',  ['y'] = 'y',  ['z'] = 'z',
};

enum {
    LATIN_LEAD = 0xC3,   /* first byte of U+00C0..U+00FF */
    LATIN_TIMES = 0x97,  /* second byte of ×, the only one in À..Þ that is not a letter */
    LATIN_SMALL = 0x20,  /* from À..Þ to à..þ */
    NFC_SAFE_LEAD = 0xCC /* first byte of U+0300; text below it is always NFC */
};

bool utf8_valid(const char *text, size_t size, size_t *at)
{
    const unsigned char *bytes = (const unsigned char *)text, *next = bytes, *end = bytes + size;
    while (next < end) {
        uint64_t eight;
        while (end - next >= 8) {
            memcpy(&eight, next, 8);
            /* A byte is 0 or above 0x7F exactly when its top bit is set here, or a higher byte's by a borrow. */
            if (((eight | (eight - 0x0101010101010101u)) & 0x8080808080808080u) != 0)
                break;
            next += 8;
        }
        if (next == end)
            break;
        const unsigned char *character = next;
        uint32_t code = unicode_next(&next, end);
        if (code == 0 || code >= UNICODE_STRAY) {
            if (at != NULL)
                *at = (size_t)(character - bytes);
            return false;
        }
    }
    return true;
}

/* One character under the notebook's rule: 0 = dropped, ' ' = white space, else the code point to write. */
static uint32_t normalise_notebook_character(uint32_t code)
{
    if (unicode_space(code))
        return ' ';
    uint32_t lower = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    if (lower < 0x80)
        return normalise_notebook_map[lower];
    return lower >= 0xC0 && lower <= 0xFF ? lower : 0;
}

/* Letters, digits, and marks that belong to letters. Variation selectors are marks too, mostly of emoji. */
static bool normalise_is_letter(uint32_t code)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    bool selector = (code >= 0xFE00 && code <= 0xFE0F) || (code >= 0xE0100 && code <= 0xE01EF);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO && category != UTF8PROC_CATEGORY_ME &&
           !selector;
}

/* Count the letters in the notebook rule's output, × and ÷ included. In that output, only a-z and the first byte of à-ÿ
 * have this bit set. */
static uint64_t normalise_written_letters(const char *text, const char *end)
{
    uint64_t letters = 0, eight;
    for (; end - text >= 8; text += 8) {
        memcpy(&eight, text, 8);
        letters += (uint64_t)__builtin_popcountll(eight & 0x4040404040404040u);
    }
    for (; text < end; text++)
        letters += (unsigned char)*text >> 6 & 1;
    return letters;
}

/* `count` may be NULL. Only a removed character needs a look-up of its category; in ASCII, only digits count. */
static char *normalise_notebook(const unsigned char *next, const unsigned char *end, char *out,
                                struct normalise_count *count)
{
    char *start = out;
    bool space = false;
    uint64_t removed = 0;
    while (next < end) {
        uint32_t code;
        if (*next < 0x80) {
            code = normalise_notebook_map[*next++];
        } else if (*next == LATIN_LEAD && end - next >= 2 && (next[1] & 0xC0) == 0x80) {
            uint32_t second = next[1];
            if (second < 0x9F && second != LATIN_TIMES)
                second += LATIN_SMALL;
            code = 0x40 + second;
            next += 2;
        } else {
            uint32_t read = unicode_next(&next, end);
            code = normalise_notebook_character(read);
            removed += code == 0 && normalise_is_letter(read);
        }
        if (code == 0) {
            removed += next[-1] >= '0' && next[-1] <= '9';
            continue;
        }
        if (code == ' ') {
            space = out > start;
            continue;
        }
        if (space)
            *out++ = ' ';
        space = false;
        if (code >= 0x80) {
            *out++ = (char)LATIN_LEAD;
            code = 0x80 | (code & 0x3F);
        }
        *out++ = (char)code;
    }
    if (count != NULL) {
        count->removed += removed;
        count->letters += removed + normalise_written_letters(start, out);
    }
    return out;
}

/* Fold only white space and control characters. `out` may equal `next` or lie before it. */
static char *normalise_fold_space(const unsigned char *next, const unsigned char *end, char *out)
{
    char *start = out;
    bool space = false;
    while (next < end) {
        const unsigned char *character = next;
        if (unicode_blank(unicode_next(&next, end))) {
            space = out > start;
            continue;
        }
        if (space)
            *out++ = ' ';
        space = false;
        while (character < next)
            *out++ = (char)*character++;
    }
    return out;
}

static bool normalise_is_nfc_for_sure(const unsigned char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] >= NFC_SAFE_LEAD)
            return false;
    return true;
}

/* Compose `text` in the unused part of `out`, so that no other memory is needed. Returns the bytes, which lie behind
 * out->size and are not counted in it; NULL: out of memory. */
static unsigned char *normalise_compose(const char *text, size_t size, struct buffer *out, size_t *composed)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const size_t unit = sizeof(utf8proc_int32_t);
    size_t space = 2 * size + 2;
    for (;;) {
        char *free_space = buffer_reserve(out, (space + 1) * unit);
        if (free_space == NULL)
            return NULL;
        utf8proc_int32_t *codes =
            (utf8proc_int32_t *)(void *)(free_space + (unit - (uintptr_t)free_space % unit) % unit);
        utf8proc_ssize_t count = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, codes,
                                                    (utf8proc_ssize_t)space - 1, options);
        if (count >= (utf8proc_ssize_t)space) {
            space = (size_t)count + 1;
            continue;
        }
        utf8proc_ssize_t bytes = count < 0 ? count : utf8proc_reencode(codes, count, options);
        if (bytes < 0) { /* invalid UTF-8 only, which the caller has excluded */
            memcpy(codes, text, size);
            bytes = (utf8proc_ssize_t)size;
        }
        *composed = (size_t)bytes;
        return (unsigned char *)codes;
    }
}

void normalise(enum normalise rule, const char *text, size_t size, struct buffer *out)
{
    normalise_counted(rule, text, size, out, NULL);
}

void normalise_counted(enum normalise rule, const char *text, size_t size, struct buffer *out,
                       struct normalise_count *count)
{
    const unsigned char *bytes = (const unsigned char *)text;
    if (rule == NORMALISE_NFC && !normalise_is_nfc_for_sure(bytes, size))
        bytes = normalise_compose(text, size, out, &size);
    char *start = bytes == NULL ? NULL : buffer_reserve(out, bytes == (const unsigned char *)text ? size : 0);
    if (start == NULL)
        return;
    const unsigned char *last = bytes + size;
    char *end = rule == NORMALISE_NOTEBOOK ? normalise_notebook(bytes, last, start, count)
                                           : normalise_fold_space(bytes, last, start);
    *end = '\0';
    out->size += (size_t)(end - start);
}

void normalise_show(const char *text, size_t size, struct buffer *out)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;
    bool visible = false;
    while (next < end) {
        const unsigned char *character = next;
        uint32_t code = unicode_next(&next, end);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
        bool mark = category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
        visible = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_SO && (!mark || visible);
        if (visible)
            buffer_append(out, character, (size_t)(next - character));
        else
            buffer_format(out, "U+%04" PRIX32, code);
    }
}

void normalise_removed(enum normalise rule, const char *text, size_t size, struct buffer *out)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;
    while (rule == NORMALISE_NOTEBOOK && next < end) {
        const unsigned char *run = next, *last = next;
        while (next < end && normalise_notebook_character(unicode_next(&next, end)) == 0)
            last = next;
        if (last > run && out->size > 0)
            buffer_append(out, " ", 1);
        normalise_show((const char *)run, (size_t)(last - run), out);
    }
}

size_t word_count(const char *text, size_t size)
{
    size_t count = 0;
    char before = ' ';
    for (size_t i = 0; i < size; i++) {
        count += before == ' ' && text[i] != ' ';
        before = text[i];
    }
    return count;
}

size_t word_next(const char **text, const char *end)
{
    const char *start = *text;
    while (start < end && *start == ' ')
        start++;
    const char *last = start;
    while (last < end && *last != ' ')
        last++;
    *text = start;
    return (size_t)(last - start);
}

bool word_fits(const char *word, size_t size)
{
    const unsigned char *next = (const unsigned char *)word, *end = next + size;
    bool fits = size > 0 && utf8_valid(word, size, NULL);
    while (fits && next < end)
        fits = !unicode_space(unicode_next(&next, end));
    return fits;
}
