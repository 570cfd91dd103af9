/* typed.h - text that a user typed, for an error: safe to show, and with the name that was probably meant.
 *
 *     struct suggest suggest = suggest_begin("trian");
 *     suggest_offer(&suggest, "train", "train");
 *     suggest_best(&suggest)  ->  "train"
 *
 * Plain values on the caller's stack; nothing is allocated. Any thread. */
#ifndef LSTMQ_PROTO_BASE_TYPED_H
#define LSTMQ_PROTO_BASE_TYPED_H

#include <stddef.h>

enum { TYPED_SHOWN = 96 };

struct typed {
    char shown[TYPED_SHOWN];
};

/* `text` for a one-line error: control characters and invalid UTF-8 become "?", a long text ends in "...". */
struct typed typed_show(const char *text);

struct suggest {
    const char *typed;
    const char *best; /* NULL = nothing is near enough */
    size_t cost;      /* edits from `typed` to the best */
};

struct suggest suggest_begin(const char *typed);

/* Suggest `name` (the pointer is kept) if `seen` is nearer to `typed` than all before. At most a third of the letters
 * may differ. An inserted, missing, wrong or swapped letter counts one (Damerau 1964, adjacent swaps only). */
void suggest_offer(struct suggest *suggest, const char *seen, const char *name);

/* The name to suggest; NULL = none. */
const char *suggest_best(const struct suggest *suggest);

/* The nearer result of two searches, for the whole name and for its last part; NULL = none. */
const char *suggest_nearer(const struct suggest *whole, const struct suggest *part);

#endif
