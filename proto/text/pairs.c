/* pairs.c - from lines to pairs: check, split, normalise into the arena, keep or drop.
 *
 * pairs_add decides about every pair, from a TSV line or from two parallel lines. pairs_bad_line decides about every
 * unusable line. Both sides are normalised directly into the arena. To drop a pair outside the token limits, the
 * arena's size is set back. */
#include "proto/text/pairs.h"

#include "proto/base/typed.h"
#include "proto/text/form.h"
#include "proto/text/lines.h"
#include "proto/text/unicode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One side of a pair as written, and its place. */
struct side {
    const char *text;
    size_t size;
    const char *path;
    uint64_t line;
};

/* A normalised side, by its place in the arena. */
struct pairs_placed {
    size_t start, size, words;
};

enum { FAULT_TEXT = 256 }; /* bytes of the message about a bad line */

/* The message about a line that is not UTF-8: its first bad byte, and how to convert the file. */
static void pairs_name_encoding(const struct line *line, size_t at, char *text, size_t size)
{
    unsigned byte = (unsigned char)line->text[at];
    const char *encoding = form_encoding(line->text, line->size);
    if (encoding == NULL)
        snprintf(text, size, "invalid UTF-8 at byte %zu (0x%02X); correct the line", at + 1, byte);
    else
        snprintf(text, size,
                 "invalid UTF-8 at byte %zu (0x%02X); convert the file with iconv -f %s -t UTF-8 FILE > NEW if it is "
                 "%s",
                 at + 1, byte, encoding, encoding);
}

/* The fault of a line, apart from its neighbours; NULL = none. */
static const char *pairs_line_fault(const struct line *line, char *text, size_t size)
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
    else
        pairs_name_encoding(line, at, text, size);
    return text;
}

/* Keep the first word that lost a letter, as an example. */
static bool pairs_keep_example(struct pairs_loss *loss, enum normalise rule, const struct side *side, struct err *err)
{
    if (loss->count.removed == 0 || loss->first[0] != '\0')
        return true;
    struct buffer word = {0}, became = {0};
    const unsigned char *next = (const unsigned char *)side->text, *end = next + side->size;
    struct normalise_count count = {0};
    while (next < end && count.removed == 0) {
        const unsigned char *start = next, *last = next;
        while (next < end && !unicode_space(unicode_next(&next, end)))
            last = next;
        buffer_clear(&word);
        buffer_clear(&became);
        buffer_append(&word, start, (size_t)(last - start));
        normalise_counted(rule, (const char *)start, (size_t)(last - start), &became, &count);
    }
    bool done = buffer_ok(&word, err) && buffer_ok(&became, err);
    if (done)
        snprintf(loss->first, sizeof loss->first, "%s:%" PRIu64 ": \"%s\" became \"%s\"", side->path, side->line,
                 typed_show(word.data).shown, typed_show(became.data).shown);
    buffer_free(&word);
    buffer_free(&became);
    return done;
}

/* Normalise one side into the arena; a NUL follows it. */
static void pairs_add_side(struct pairs *pairs, enum normalise rule, const struct side *side, struct pairs_loss *loss,
                           struct pairs_placed *placed)
{
    struct buffer *arena = &pairs->text;
    placed->start = arena->size;
    normalise_counted(rule, side->text, side->size, arena, &loss->count);
    if (arena->failed)
        return;
    placed->size = arena->size - placed->start;
    placed->words = word_count(arena->data + placed->start, placed->size);
    buffer_append(arena, "", 1);
}

/* Keep the newest pair's target as written. */
static bool pairs_keep_raw(struct pairs *pairs, const struct side *tgt, struct err *err)
{
    if (pairs->raw.size > UINT32_MAX)
        return err_set(err, ERR_DATA, "more than 4 GiB of target sentences; train on a part of them");
    pairs->items[pairs->count - 1].raw = (uint32_t)pairs->raw.size;
    buffer_append(&pairs->raw, tgt->text, tgt->size);
    buffer_append(&pairs->raw, "", 1);
    return buffer_ok(&pairs->raw, err);
}

static bool pairs_add(struct pairs *pairs, const struct pairs_source *source, const struct side *src,
                      const struct side *tgt, struct err *err)
{
    size_t before = pairs->text.size;
    struct pairs_placed at[2] = {0};
    pairs_add_side(pairs, source->rule, src, &pairs->src_loss, &at[0]);
    pairs_add_side(pairs, source->rule, tgt, &pairs->tgt_loss, &at[1]);
    if (!buffer_ok(&pairs->text, err) || !pairs_keep_example(&pairs->src_loss, source->rule, src, err) ||
        !pairs_keep_example(&pairs->tgt_loss, source->rule, tgt, err))
        return false;
    if (at[0].words < source->min_tokens || at[0].words > source->max_tokens || at[1].words < source->min_tokens ||
        at[1].words > source->max_tokens) {
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
    pairs->items[pairs->count++] = (struct pair){.src = (uint32_t)at[0].start,
                                                 .tgt = (uint32_t)at[1].start,
                                                 .src_size = (uint32_t)at[0].size,
                                                 .tgt_size = (uint32_t)at[1].size};
    return !source->keep_raw || pairs_keep_raw(pairs, tgt, err);
}

/* Add a pair of empty sides for a line that holds no pair. */
static bool pairs_keep_place(struct pairs *pairs, const struct pairs_source *source, const char *path, uint64_t number,
                             struct err *err)
{
    const struct side none = {"", 0, path, number};
    return pairs_add(pairs, source, &none, &none, err);
}

/* Count a bad line and continue, or fail, as data.on_bad_line says. */
static bool pairs_bad_line(struct pairs *pairs, const struct pairs_source *source, const char *path, uint64_t number,
                           const char *fault, struct err *err)
{
    if (source->on_bad_line == BAD_LINE_FAIL)
        return err_set(err, ERR_DATA, "%s:%llu: %s, or leave such lines out with --data.on_bad_line skip", path,
                       (unsigned long long)number, fault);
    if (pairs->bad == 0)
        snprintf(pairs->first_bad, sizeof pairs->first_bad, "%s:%llu: %s", path, (unsigned long long)number, fault);
    pairs->bad++;
    return !source->keep_places || pairs_keep_place(pairs, source, path, number, err);
}

/* The previous line, if a CR without LF joins it to the next. */
struct joint {
    bool joined;
    bool cut;  /* it has no TAB */
    bool good; /* it became a pair; a bad next line removes that pair */
    size_t text, raw, count;
    uint64_t dropped;
    struct normalise_count src_loss, tgt_loss;
};

static const char pairs_joined[] = "a CR without LF joins this line to one without a TAB. Remove the CR";

/* The first lost letter set the example. */
static void pairs_restore_loss(struct pairs_loss *loss, const struct normalise_count *before)
{
    loss->count = *before;
    if (before->removed == 0)
        loss->first[0] = '\0';
}

/* The previous line, `number`, became a pair and is now known to be bad. If bad lines are errors, the error names the
 * line without a TAB instead. */
static bool pairs_take_back(struct pairs *pairs, const struct pairs_source *source, const struct joint *before,
                            uint64_t number, struct err *err)
{
    if (!before->good || source->on_bad_line == BAD_LINE_FAIL)
        return true;
    pairs->text.size = before->text;
    pairs->raw.size = before->raw;
    pairs->count = before->count;
    pairs->dropped = before->dropped;
    pairs_restore_loss(&pairs->src_loss, &before->src_loss);
    pairs_restore_loss(&pairs->tgt_loss, &before->tgt_loss);
    return pairs_bad_line(pairs, source, source->pairs, number, pairs_joined, err);
}

static const char *pairs_tab_fault(const struct joint *before, const struct line *line, const char *tab)
{
    if (tab != NULL)
        return before->joined && before->cut ? pairs_joined : NULL;
    if (line->size > 0 && line->end == LINE_END_CR)
        return "no TAB; a line is SOURCE TAB TARGET, and this one ends in a CR without LF. Correct it";
    if (line->size > 0 && before->joined)
        return "no TAB; a line is SOURCE TAB TARGET, and the one before ends in a CR without LF. Correct it";
    return "no TAB; a line is SOURCE TAB TARGET. Correct it";
}

/* A line without a TAB is bad. Neighbours that a CR without LF joins to it are bad too: the CR may stand within a
 * sentence, and they would be parts of sentences. */
static bool pairs_add_tsv_line(struct pairs *pairs, const struct pairs_source *source, const struct line *line,
                               struct joint *joint, struct err *err)
{
    char text[FAULT_TEXT];
    const char *fault = pairs_line_fault(line, text, sizeof text);
    const char *tab = fault == NULL ? memchr(line->text, '\t', line->size) : NULL;
    bool cut = fault == NULL && tab == NULL && line->size > 0;
    struct joint before = *joint;
    if (fault == NULL)
        fault = pairs_tab_fault(&before, line, tab);
    *joint = (struct joint){.joined = line->end == LINE_END_CR,
                            .cut = cut,
                            .good = fault == NULL,
                            .text = pairs->text.size,
                            .raw = pairs->raw.size,
                            .count = pairs->count,
                            .dropped = pairs->dropped,
                            .src_loss = pairs->src_loss.count,
                            .tgt_loss = pairs->tgt_loss.count};
    if (cut && before.joined && !pairs_take_back(pairs, source, &before, line->number - 1, err))
        return false;
    if (fault != NULL)
        return pairs_bad_line(pairs, source, source->pairs, line->number, fault, err);
    const char *last = line->text + line->size, *tgt = tab + 1;
    const char *second = memchr(tgt, '\t', (size_t)(last - tgt));
    const char *tgt_end = second == NULL ? last : second;
    const struct side sides[2] = {{line->text, (size_t)(tab - line->text), source->pairs, line->number},
                                  {tgt, (size_t)(tgt_end - tgt), source->pairs, line->number}};
    return pairs_add(pairs, source, &sides[0], &sides[1], err);
}

/* Trailing empty lines of a TSV file do not count, unless places are kept. An empty line before another line is a bad
 * one. So empty lines are counted until the next line is known. */
static bool pairs_read_tsv(struct pairs *pairs, const struct pairs_source *source, struct lines *lines, struct err *err)
{
    struct line line;
    struct joint joint = {0};
    uint64_t first_empty = 0, empty = 0;
    for (;;) {
        bool end;
        if (!lines_next(lines, &line, &end, err))
            return false;
        if (end)
            break;
        if (line.size == 0 && !line.too_long) {
            first_empty = empty == 0 ? line.number : first_empty;
            empty++;
            continue;
        }
        for (pairs->lines += empty; empty > 0; empty--) {
            struct line skipped = {.text = "", .number = first_empty++};
            if (!pairs_add_tsv_line(pairs, source, &skipped, &joint, err))
                return false;
        }
        pairs->lines++;
        if (!pairs_add_tsv_line(pairs, source, &line, &joint, err))
            return false;
    }
    for (; source->keep_places && empty > 0; empty--, pairs->lines++)
        if (!pairs_keep_place(pairs, source, source->pairs, first_empty++, err))
            return false;
    return true;
}

/* In parallel files, a CR within a sentence would shift all pairs behind it. So a file must end its lines in one
 * way. */
static bool pairs_check_end(const char *path, const struct line *line, enum line_end *usual, struct err *err)
{
    if (*usual == LINE_END_FILE)
        *usual = line->end;
    if (line->end == LINE_END_FILE || line->end == *usual)
        return true;
    return err_set(err, ERR_DATA,
                   "%s:%llu: the line ends in %s and those before it in %s, so the ends of sentences are unclear; "
                   "replace each CR by a space (tr '\\r' ' ') or, where it ends sentences, by LF (tr '\\r' '\\n')",
                   path, (unsigned long long)line->number, line->end == LINE_END_CR ? "a CR without LF" : "LF",
                   line->end == LINE_END_CR ? "LF" : "a CR without LF");
}

static bool pairs_add_parallel_lines(struct pairs *pairs, const struct pairs_source *source, const struct line *src,
                                     const struct line *tgt, struct err *err)
{
    char text[FAULT_TEXT];
    const char *fault = pairs_line_fault(src, text, sizeof text);
    if (fault != NULL)
        return pairs_bad_line(pairs, source, source->src, src->number, fault, err);
    fault = pairs_line_fault(tgt, text, sizeof text);
    if (fault != NULL)
        return pairs_bad_line(pairs, source, source->tgt, tgt->number, fault, err);
    const struct side sides[2] = {{src->text, src->size, source->src, src->number},
                                  {tgt->text, tgt->size, source->tgt, tgt->number}};
    return pairs_add(pairs, source, &sides[0], &sides[1], err);
}

static bool pairs_read_parallel(struct pairs *pairs, const struct pairs_source *source, struct lines *src,
                                struct lines *tgt, struct err *err)
{
    enum line_end src_usual = LINE_END_FILE, tgt_usual = LINE_END_FILE;
    for (;;) {
        struct line src_line, tgt_line;
        bool src_end, tgt_end;
        if (!lines_next(src, &src_line, &src_end, err) || !lines_next(tgt, &tgt_line, &tgt_end, err))
            return false;
        if (src_end && tgt_end)
            return true;
        if ((!src_end && !pairs_check_end(source->src, &src_line, &src_usual, err)) ||
            (!tgt_end && !pairs_check_end(source->tgt, &tgt_line, &tgt_usual, err)))
            return false;
        if (src_end || tgt_end) {
            uint64_t shorter = src_end ? tgt_line.number - 1 : src_line.number - 1;
            return err_set(
                err, ERR_DATA, "%s ends after line %llu, but %s is longer; parallel files need equally many lines",
                src_end ? source->src : source->tgt, (unsigned long long)shorter, src_end ? source->tgt : source->src);
        }
        pairs->lines++;
        if (!pairs_add_parallel_lines(pairs, source, &src_line, &tgt_line, err))
            return false;
    }
}

static bool pairs_is_given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

static bool pairs_read_source(struct pairs *pairs, const struct pairs_source *source, struct err *err)
{
    bool tsv = pairs_is_given(source->pairs);
    struct lines *first = lines_open(tsv ? source->pairs : source->src, PAIRS_LINE, err);
    if (first == NULL)
        return false;
    struct lines *second = tsv ? NULL : lines_open(source->tgt, PAIRS_LINE, err);
    bool ok = (tsv || second != NULL) && (tsv ? pairs_read_tsv(pairs, source, first, err)
                                              : pairs_read_parallel(pairs, source, first, second, err));
    lines_close(&second);
    lines_close(&first);
    return ok;
}

const char *pairs_loss_show(const struct pairs_loss *loss, const char *side, char *text, size_t size)
{
    double percent = 100 * (double)loss->count.removed / (double)loss->count.letters;
    snprintf(text, size,
             "data.normalise notebook removed %" PRIu64 " of %" PRIu64
             " letters and digits of the %s (%.1f %%), such as %s",
             loss->count.removed, loss->count.letters, side, percent, loss->first);
    return text;
}

static bool pairs_refuse_loss(const struct pairs_loss *loss, const char *side, struct err *err)
{
    char text[PAIRS_LOSS_TEXT];
    if (loss->count.removed * 100 <= loss->count.letters * PAIRS_LOSS)
        return true;
    return err_set(err, ERR_DATA, "%s; give --data.normalise nfc, which keeps all of them",
                   pairs_loss_show(loss, side, text, sizeof text));
}

/* The error when no pair is left. */
static bool pairs_no_pairs(const struct pairs *pairs, const struct pairs_source *source, const struct pairs *before,
                           struct err *err)
{
    const bool targets = pairs->tgt_loss.count.removed > pairs->src_loss.count.removed;
    const struct pairs_loss *loss = targets ? &pairs->tgt_loss : &pairs->src_loss;
    char limits[128] = "", lost[PAIRS_LOSS_TEXT] = "; see data.min_tokens and data.max_tokens";
    if (source->max_tokens != SIZE_MAX)
        snprintf(limits, sizeof limits, ", %" PRIu64 " with a side outside %zu to %zu tokens",
                 pairs->dropped - before->dropped, source->min_tokens, source->max_tokens);
    if (loss->count.removed > 0)
        pairs_loss_show(loss, targets ? "targets" : "sources", lost + 2, sizeof lost - 2);
    else if (source->max_tokens == SIZE_MAX)
        lost[0] = '\0';
    return err_set(err, ERR_DATA, "%s: none of %" PRIu64 " lines is a usable pair (%" PRIu64 " bad%s)%s",
                   pairs_is_given(source->pairs) ? source->pairs : source->src, pairs->lines - before->lines,
                   pairs->bad - before->bad, limits, lost);
}

bool pairs_read(struct pairs *pairs, const struct pairs_source *source, struct err *err)
{
    bool parallel = pairs_is_given(source->src) && pairs_is_given(source->tgt);
    if (pairs_is_given(source->pairs) ? pairs_is_given(source->src) || pairs_is_given(source->tgt) : !parallel)
        return err_set(err, ERR_USAGE, "give either one file of pairs, or one of source and one of target sentences");
    const struct pairs before = *pairs;
    if (!pairs_read_source(pairs, source, err))
        return false;
    if (source->refuse_loss &&
        (!pairs_refuse_loss(&pairs->src_loss, "sources", err) || !pairs_refuse_loss(&pairs->tgt_loss, "targets", err)))
        return false;
    return pairs->count > before.count || pairs_no_pairs(pairs, source, &before, err);
}

void pairs_free(struct pairs *pairs)
{
    buffer_free(&pairs->text);
    buffer_free(&pairs->raw);
    free(pairs->items);
    *pairs = (struct pairs){0};
}
