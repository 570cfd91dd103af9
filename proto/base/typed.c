/* typed.c - the edit distance for "did you mean", and text made safe to show. */
#include "proto/base/typed.h"

#include "proto/base/utf8.h"

#include <stdbool.h>
#include <string.h>

enum { SUGGEST_LONGEST = 63 };

struct typed typed_show(const char *text)
{
    static const char more[] = "...";
    struct typed typed;
    size_t size = strlen(text), used = 0;
    while (size > 0) {
        uint32_t code = 0;
        size_t length = utf8_next(text, size, &code);
        bool printable = length > 0 && code >= 0x20 && (code < 0x7f || code > 0x9f);
        size_t written = printable ? length : 1;
        if (used + written + sizeof more > sizeof typed.shown) {
            memcpy(typed.shown + used, more, sizeof more);
            return typed;
        }
        memcpy(typed.shown + used, printable ? text : "?", written);
        used += written;
        text += length > 0 ? length : 1;
        size -= length > 0 ? length : 1;
    }
    typed.shown[used] = '\0';
    return typed;
}

static size_t typed_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits from `a` to `b`, each at most SUGGEST_LONGEST bytes, with three rows of the usual table. */
static size_t typed_edits(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][SUGGEST_LONGEST + 1];
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t changed = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = typed_least(changed, typed_least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = typed_least(row[j], above_that[j - 2] + 1);
        }
    }
    return rows[a_size % 3][b_size];
}

struct suggest suggest_begin(const char *typed)
{
    return (struct suggest){.typed = typed};
}

void suggest_offer(struct suggest *suggest, const char *seen, const char *name)
{
    size_t typed_size = strlen(suggest->typed), seen_size = strlen(seen);
    if (typed_size == 0 || typed_size > SUGGEST_LONGEST || seen_size > SUGGEST_LONGEST)
        return;
    size_t cost = typed_edits(suggest->typed, typed_size, seen, seen_size);
    if (cost > (typed_size + 2) / 3 || (suggest->best != NULL && cost >= suggest->cost))
        return;
    suggest->best = name;
    suggest->cost = cost;
}

const char *suggest_best(const struct suggest *suggest)
{
    return suggest->best;
}

const char *suggest_nearer(const struct suggest *whole, const struct suggest *part)
{
    bool whole_wins = part->best == NULL || (whole->best != NULL && whole->cost <= part->cost + 1);
    return whole_wins ? whole->best : part->best;
}
