/* typed.h - what a user typed, in an error: shown safely, and with the name that was probably meant.
 *
 *     struct suggest suggest = suggest_begin("trian");
 *     suggest_offer(&suggest, "train", "train");
 *     suggest_best(&suggest)  ->  "train"
 *
 * Plain values; nothing is allocated. Any thread. */
#ifndef LSTMQ_PROTO_BASE_TYPED_H
#define LSTMQ_PROTO_BASE_TYPED_H

#include <stddef.h>

enum { TYPED_SHOWN = 96 };

struct typed {
    char shown[TYPED_SHOWN];
};

/* `text` as it can stand in a one-line error: control characters and broken UTF-8 become "?", a long text ends in
 * "...". */
struct typed typed_show(const char *text);

struct suggest {
    const char *typed;
    const char *best; /* NULL while nothing is near enough */
    size_t cost;      /* edits from `typed` to the best */
};

struct suggest suggest_begin(const char *typed);

/* Where `typed` is nearer to `seen` than to all before, propose `name` (kept as a pointer). At most a third of the
 * letters may differ; an inserted, lost, wrong or swapped letter counts one (Damerau 1964, adjacent swaps only). */
void suggest_offer(struct suggest *suggest, const char *seen, const char *name);

/* The name to propose, or NULL. */
const char *suggest_best(const struct suggest *suggest);

/* The nearer one of a search for the whole of a name and a search for its last part alone, or NULL. */
const char *suggest_nearer(const struct suggest *whole, const struct suggest *part);

#endif
