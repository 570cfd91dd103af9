/* tokenise13a.c - replacements, then four passes; each pass is one regular expression of mteval-v13a.
 *
 * The passes are not merged: each pass reads the spaces that the one before it wrote. A match consumes its characters,
 * so in ",,," only the right commas pair with a neighbour. The passes test ASCII only, so they work on bytes: "not a
 * digit" holds for the last byte of a longer character too. */
#include "proto/score/tokenise13a.h"

#include "proto/text/unicode.h"

#include <string.h>

enum { GROWTH = 3 }; /* bytes that a pass writes for one byte, at most */

static bool tokenise_is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool tokenise_is_stop(unsigned char byte)
{
    return byte == '.' || byte == ',';
}

/* ASCII punctuation except apostrophe, comma, hyphen and period; and the space. */
static bool tokenise_is_symbol(unsigned char byte)
{
    return (byte >= ' ' && byte <= '&') || (byte >= '(' && byte <= '+') || byte == '/' ||
           (byte >= ':' && byte <= '@') || (byte >= '[' && byte <= '`') || (byte >= '{' && byte <= '~');
}

/* Replace each `from` by `to` in place. `to` is not longer. Returns the new size. */
static size_t tokenise_replace(char *text, size_t size, const char *from, const char *to)
{
    size_t from_size = strlen(from), to_size = strlen(to), out = 0;
    for (size_t i = 0; i < size;) {
        if (size - i >= from_size && memcmp(text + i, from, from_size) == 0) {
            memcpy(text + out, to, to_size);
            out += to_size;
            i += from_size;
        } else {
            text[out++] = text[i++];
        }
    }
    return out;
}

/* symbol -> space symbol space */
static size_t tokenise_split_symbols(const char *in, size_t size, char *out)
{
    char *start = out;
    for (size_t i = 0; i < size; i++) {
        bool symbol = tokenise_is_symbol((unsigned char)in[i]);
        if (symbol)
            *out++ = ' ';
        *out++ = in[i];
        if (symbol)
            *out++ = ' ';
    }
    return (size_t)(out - start);
}

/* non-digit, stop -> non-digit space stop space */
static size_t tokenise_split_stops_behind(const char *in, size_t size, char *out)
{
    char *start = out;
    for (size_t i = 0; i < size; i++) {
        *out++ = in[i];
        if (i + 1 < size && !tokenise_is_digit((unsigned char)in[i]) && tokenise_is_stop((unsigned char)in[i + 1])) {
            *out++ = ' ';
            *out++ = in[++i];
            *out++ = ' ';
        }
    }
    return (size_t)(out - start);
}

/* stop, non-digit -> space stop space non-digit */
static size_t tokenise_split_stops_before(const char *in, size_t size, char *out)
{
    char *start = out;
    for (size_t i = 0; i < size; i++) {
        if (i + 1 < size && tokenise_is_stop((unsigned char)in[i]) && !tokenise_is_digit((unsigned char)in[i + 1])) {
            *out++ = ' ';
            *out++ = in[i++];
            *out++ = ' ';
        }
        *out++ = in[i];
    }
    return (size_t)(out - start);
}

/* digit, hyphen -> digit space hyphen space */
static size_t tokenise_split_hyphens(const char *in, size_t size, char *out)
{
    char *start = out;
    for (size_t i = 0; i < size; i++) {
        *out++ = in[i];
        if (i + 1 < size && tokenise_is_digit((unsigned char)in[i]) && in[i + 1] == '-') {
            *out++ = ' ';
            *out++ = in[++i];
            *out++ = ' ';
        }
    }
    return (size_t)(out - start);
}

/* Size of `text` without trailing white space. */
static size_t tokenise_stripped_size(const char *text, size_t size)
{
    const unsigned char *start = (const unsigned char *)text, *next = start, *end = start + size, *last = start;
    while (next < end)
        if (!unicode_space(unicode_next(&next, end)))
            last = next;
    return (size_t)(last - start);
}

static void tokenise_join_tokens(const char *text, size_t size, struct buffer *out)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;
    bool first = true, space = true;
    while (next < end) {
        const unsigned char *character = next;
        bool here = unicode_space(unicode_next(&next, end));
        if (!here) {
            if (space && !first)
                buffer_append(out, " ", 1);
            buffer_append(out, character, (size_t)(next - character));
            first = false;
        }
        space = here;
    }
}

void tokenise13a(const char *text, struct buffer *out)
{
    static const char *const replacements[][2] = {{"<skipped>", ""}, {"-\n", ""},   {"\n", " "},  {"&quot;", "\""},
                                                  {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"}};
    static size_t (*const passes[])(const char *, size_t, char *) = {
        tokenise_split_symbols, tokenise_split_stops_behind, tokenise_split_stops_before, tokenise_split_hyphens};
    size_t size = tokenise_stripped_size(text, strlen(text));
    struct buffer from = {0}, to = {0};
    buffer_append(&from, " ", 1);
    buffer_append(&from, text, size);
    if (from.failed)
        goto done;
    for (size_t i = 0; i < sizeof replacements / sizeof *replacements; i++)
        from.size = 1 + tokenise_replace(from.data + 1, from.size - 1, replacements[i][0], replacements[i][1]);
    buffer_append(&from, " ", 1);
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        buffer_clear(&to);
        char *space = buffer_reserve(&to, GROWTH * from.size);
        if (space == NULL)
            goto done;
        to.size = passes[i](from.data, from.size, space);
        struct buffer swap = from;
        from = to;
        to = swap;
    }
    tokenise_join_tokens(from.data, from.size, out);
done:
    out->failed = out->failed || from.failed || to.failed;
    buffer_free(&from);
    buffer_free(&to);
}
