/* normalise.h - turn raw text into text that can be split into words.
 *
 * The notebook's rule, to the byte: Unicode lower case; strip; drop every character outside [a-zA-ZÀ-ÿ?.!'\s-] (À-ÿ is
 * U+00C0..U+00FF, × and ÷ included); fold each run of white space to one space; strip. White space is Python's \s for
 * str, which includes U+0085, U+00A0, U+202F and U+001C..U+001F. The other rules keep every letter, and also treat
 * ASCII's control characters as white space. Keeps no state; any thread. */
#ifndef LSTMQ_PROTO_TEXT_NORMALISE_H
#define LSTMQ_PROTO_TEXT_NORMALISE_H

#include "proto/base/buffer.h"
#include "proto/base/config.h"

#include <stdint.h>

/* True when `size` bytes at `text` are valid UTF-8 without NUL; otherwise *at is the offset of the first bad byte. */
bool utf8_valid(const char *text, size_t size, size_t *at);

/* Append the normalised form of `text`, which is valid UTF-8, to `out`. */
void normalise(enum normalise rule, const char *text, size_t size, struct buffer *out);

/* Letters, digits, and the combining marks of letters (Unicode's categories L, N, Mn and Mc). */
struct normalise_count {
    uint64_t letters; /* read */
    uint64_t removed; /* of them, lost */
};

/* Like normalise, and adds what the rule removes to `count`, which may be NULL. Only the notebook's rule removes
 * characters; the others leave `count` unchanged. */
void normalise_counted(enum normalise rule, const char *text, size_t size, struct buffer *out,
                       struct normalise_count *count);

/* Append `text` as a terminal can show it, with U+XXXX for invisible characters. A mark needs a visible character
 * before it. */
void normalise_show(const char *text, size_t size, struct buffer *out);

/* Append what the rule removes from `text`: each run of removed characters as in normalise_show, with spaces between
 * runs. Folded white space does not count. */
void normalise_removed(enum normalise rule, const char *text, size_t size, struct buffer *out);

/* Words of normalised text, separated by single spaces. */
size_t word_count(const char *text, size_t size);

/* The next word at or after *text. Returns its length, 0 at the end, and moves *text to the word's first byte. The
 * caller adds the length. */
size_t word_next(const char **text, const char *end);

/* True when a vocabulary can hold the word: it is valid UTF-8, not empty, without white space. Every word of normalised
 * text fits. */
bool word_fits(const char *word, size_t size);

#endif
