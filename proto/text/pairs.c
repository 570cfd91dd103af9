/* pairs.c - from lines to pairs: check, split, normalise into the arena, keep or take back.
 *
 * s_add decides about every pair, whether it came from a TSV line or from two parallel lines; s_bad_line about every
 * line that cannot be used. Both sides are normalised straight into the arena; a pair outside the token limits is
 * undone by setting the arena's size back. */
#include "proto/text/pairs.h"

#include "proto/text/lines.h"
#include "proto/text/normalise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is the matter with a line by itself; NULL when nothing is. */
static const char *s_line_fault(const struct line *line, char *text, size_t size)
{
    size_t at;
    if (line->too_long) {
        snprintf(text, size, "the line has more than %d bytes; split it", PAIRS_LINE);
        return text;
    }
    if (utf8_valid(line->text, line->size, &at))
        return NULL;
    if (line->text[at] == '\0')
        snprintf(text, size, "a NUL at byte %zu; remove it, or convert the file if it is UTF-16", at + 1);
    else if (line->number == 1 && line->size >= 2 &&
             (memcmp(line->text, "\xFF\xFE", 2) == 0 || memcmp(line->text, "\xFE\xFF", 2) == 0))
        snprintf(text, size, "this is UTF-16; convert the file with iconv -f UTF-16 -t UTF-8");
    else
        snprintf(text, size, "invalid UTF-8 at byte %zu (0x%02X); convert the file with iconv -t UTF-8", at + 1,
                 (unsigned)(unsigned char)line->text[at]);
    return text;
}

/* Count a bad line and go on, or fail: what data.on_bad_line says. */
static bool s_bad_line(struct pairs *pairs, const struct pairs_source *source, const char *path, uint64_t number,
                       const char *fault, struct err *err)
{
    if (source->on_bad_line == BAD_LINE_FAIL)
        return err_set(err, ERR_DATA, "%s:%llu: %s, or leave such lines out with --data.on_bad_line skip", path,
                       (unsigned long long)number, fault);
    if (pairs->bad == 0)
        snprintf(pairs->first_bad, sizeof pairs->first_bad, "%s:%llu: %s", path, (unsigned long long)number, fault);
    pairs->bad++;
    return true;
}

/* Normalise one side into the arena, NUL behind it; returns its words. */
static size_t s_add_side(struct pairs *pairs, enum normalise rule, const char *text, size_t size, size_t *start,
                         size_t *length)
{
    struct buffer *arena = &pairs->text;
    *start = arena->size;
    normalise(rule, text, size, arena);
    if (arena->failed)
        return 0;
    *length = arena->size - *start;
    buffer_append(arena, "", 1);
    return arena->failed ? 0 : word_count(arena->data + *start, *length);
}

/* The newest pair's target as it was written. */
static bool s_keep_raw(struct pairs *pairs, const char *tgt, size_t size, struct err *err)
{
    if (pairs->raw.size > UINT32_MAX)
        return err_set(err, ERR_DATA, "more than 4 GiB of target sentences; train on a part of them");
    pairs->items[pairs->count - 1].raw = (uint32_t)pairs->raw.size;
    buffer_append(&pairs->raw, tgt, size);
    buffer_append(&pairs->raw, "", 1);
    return buffer_ok(&pairs->raw, err);
}

static bool s_add(struct pairs *pairs, const struct pairs_source *source, const char *src, size_t src_size,
                  const char *tgt, size_t tgt_size, struct err *err)
{
    size_t before = pairs->text.size, src_start, tgt_start, src_length = 0, tgt_length = 0;
    size_t src_words = s_add_side(pairs, source->rule, src, src_size, &src_start, &src_length);
    size_t tgt_words = s_add_side(pairs, source->rule, tgt, tgt_size, &tgt_start, &tgt_length);
    if (!buffer_ok(&pairs->text, err))
        return false;
    if (src_words < source->min_tokens || src_words > source->max_tokens || tgt_words < source->min_tokens ||
        tgt_words > source->max_tokens) {
        pairs->text.size = before;
        pairs->dropped++;
        return true;
    }
    if (pairs->text.size > UINT32_MAX)
        return err_set(err, ERR_DATA, "more than 4 GiB of sentences; train on a part of them");
    if (pairs->count == pairs->capacity) {
        size_t capacity = pairs->capacity == 0 ? 1024 : pairs->capacity + pairs->capacity / 2;
        struct pair *items = realloc(pairs->items, capacity * sizeof *items);
        if (items == NULL)
            return err_set(err, ERR_MEMORY, "out of memory after %zu pairs", pairs->count);
        pairs->items = items;
        pairs->capacity = capacity;
    }
    pairs->items[pairs->count++] = (struct pair){.src = (uint32_t)src_start,
                                                 .tgt = (uint32_t)tgt_start,
                                                 .src_size = (uint32_t)src_length,
                                                 .tgt_size = (uint32_t)tgt_length};
    return !source->keep_raw || s_keep_raw(pairs, tgt, tgt_size, err);
}

static bool s_add_tsv_line(struct pairs *pairs, const struct pairs_source *source, const struct line *line,
                           struct err *err)
{
    char room[160];
    const char *fault = s_line_fault(line, room, sizeof room);
    const char *tab = fault == NULL ? memchr(line->text, '\t', line->size) : NULL;
    if (fault == NULL && tab == NULL)
        fault = "no TAB; a line is SOURCE TAB TARGET. Correct it";
    if (fault != NULL)
        return s_bad_line(pairs, source, source->pairs, line->number, fault, err);
    const char *last = line->text + line->size, *tgt = tab + 1;
    const char *second = memchr(tgt, '\t', (size_t)(last - tgt));
    const char *tgt_end = second == NULL ? last : second;
    return s_add(pairs, source, line->text, (size_t)(tab - line->text), tgt, (size_t)(tgt_end - tgt), err);
}

/* Empty lines at the end of a TSV file are no lines; before a line that is not empty they are bad ones. So they
 * wait. */
static bool s_read_tsv(struct pairs *pairs, const struct pairs_source *source, struct lines *lines, struct err *err)
{
    struct line line;
    uint64_t first_empty = 0, empty = 0;
    for (;;) {
        bool end;
        if (!lines_next(lines, &line, &end, err))
            return false;
        if (end)
            return true;
        if (line.size == 0 && !line.too_long) {
            first_empty = empty == 0 ? line.number : first_empty;
            empty++;
            continue;
        }
        for (pairs->lines += empty; empty > 0; empty--) {
            struct line skipped = {.text = "", .number = first_empty++};
            if (!s_add_tsv_line(pairs, source, &skipped, err))
                return false;
        }
        pairs->lines++;
        if (!s_add_tsv_line(pairs, source, &line, err))
            return false;
    }
}

static bool s_add_parallel_lines(struct pairs *pairs, const struct pairs_source *source, const struct line *src,
                                 const struct line *tgt, struct err *err)
{
    char room[160];
    const char *fault = s_line_fault(src, room, sizeof room);
    if (fault != NULL)
        return s_bad_line(pairs, source, source->src, src->number, fault, err);
    fault = s_line_fault(tgt, room, sizeof room);
    if (fault != NULL)
        return s_bad_line(pairs, source, source->tgt, tgt->number, fault, err);
    return s_add(pairs, source, src->text, src->size, tgt->text, tgt->size, err);
}

static bool s_read_parallel(struct pairs *pairs, const struct pairs_source *source, struct lines *src,
                            struct lines *tgt, struct err *err)
{
    for (;;) {
        struct line src_line, tgt_line;
        bool src_end, tgt_end;
        if (!lines_next(src, &src_line, &src_end, err) || !lines_next(tgt, &tgt_line, &tgt_end, err))
            return false;
        if (src_end && tgt_end)
            return true;
        if (src_end || tgt_end) {
            uint64_t shorter = src_end ? tgt_line.number - 1 : src_line.number - 1;
            return err_set(err, ERR_DATA, "%s ends after line %llu, %s goes on; parallel files need equally many lines",
                           src_end ? source->src : source->tgt, (unsigned long long)shorter,
                           src_end ? source->tgt : source->src);
        }
        pairs->lines++;
        if (!s_add_parallel_lines(pairs, source, &src_line, &tgt_line, err))
            return false;
    }
}

static bool s_is_given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

static bool s_read_source(struct pairs *pairs, const struct pairs_source *source, struct err *err)
{
    bool tsv = s_is_given(source->pairs);
    struct lines *first = lines_open(tsv ? source->pairs : source->src, PAIRS_LINE, err);
    if (first == NULL)
        return false;
    struct lines *second = tsv ? NULL : lines_open(source->tgt, PAIRS_LINE, err);
    bool ok = (tsv || second != NULL) &&
              (tsv ? s_read_tsv(pairs, source, first, err) : s_read_parallel(pairs, source, first, second, err));
    lines_close(&second);
    lines_close(&first);
    return ok;
}

bool pairs_read(struct pairs *pairs, const struct pairs_source *source, struct err *err)
{
    bool parallel = s_is_given(source->src) && s_is_given(source->tgt);
    if (s_is_given(source->pairs) ? s_is_given(source->src) || s_is_given(source->tgt) : !parallel)
        return err_set(err, ERR_USAGE, "give either one file of pairs, or one of source and one of target sentences");
    uint64_t lines = pairs->lines, bad = pairs->bad, dropped = pairs->dropped;
    size_t count = pairs->count;
    if (!s_read_source(pairs, source, err))
        return false;
    if (pairs->count > count)
        return true;
    const char *path = s_is_given(source->pairs) ? source->pairs : source->src;
    if (source->max_tokens == SIZE_MAX)
        return err_set(err, ERR_DATA, "%s: none of %llu lines is a usable pair (%llu bad)", path,
                       (unsigned long long)(pairs->lines - lines), (unsigned long long)(pairs->bad - bad));
    return err_set(err, ERR_DATA,
                   "%s: none of %llu lines is a usable pair (%llu bad, %llu with a side outside %zu to %zu tokens); "
                   "see data.min_tokens and data.max_tokens",
                   path, (unsigned long long)(pairs->lines - lines), (unsigned long long)(pairs->bad - bad),
                   (unsigned long long)(pairs->dropped - dropped), source->min_tokens, source->max_tokens);
}

void pairs_free(struct pairs *pairs)
{
    buffer_free(&pairs->text);
    buffer_free(&pairs->raw);
    free(pairs->items);
    *pairs = (struct pairs){0};
}
