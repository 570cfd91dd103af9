/* detect.h - which language a text is in, from the character trigrams of a model's own training pairs.
 *
 * A trigram is three characters of one word, in lower case. A space stands for each end of the word, so "a" has one
 * trigram and "the" has three. Letters and their marks form words; all other characters only separate them.
 *
 * A table has the DETECT_ENTRIES most frequent trigrams of a language's side of the pairs, and how often each was seen.
 * The coordinator counts them while it reads the pairs (detect_count), and keeps both sides' tables in the checkpoint
 * as the file DETECT_FILE. A server compares a text with the tables of all loaded languages (detect_text). The score of
 * a text is a sum over its trigrams, near their log-probability.
 *
 * DETECT_FILE, little-endian: "trigram1", then the source's table, then the target's. A table begins with the number of
 * trigrams counted (u32) and the number of entries (u32). An entry is three code points (u64, 21 bits each, the first
 * one highest) and a count (u32). Entries are sorted by falling count, then by code points.
 *
 * Plain memory owned by the caller; any thread. */
#ifndef LSTMQ_PROTO_TEXT_DETECT_H
#define LSTMQ_PROTO_TEXT_DETECT_H

#include "proto/base/buffer.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define DETECT_FILE "trigrams.bin"

enum {
    DETECT_ENTRIES = 2000,
    DETECT_SAMPLE = 1 << 17, /* trigrams counted of a side; this also bounds the memory of the counter */
    DETECT_BYTES = 8 + 2 * (8 + DETECT_ENTRIES * 12), /* of the file, at most */
    DETECT_READ = 4096,                               /* trigrams of a text that are compared */
};

struct detect_counter; /* counts while pairs are read */
struct detect_table;   /* of one language */

struct detect_counter *detect_counter_new(struct err *err);
void detect_counter_destroy(struct detect_counter **counter);
/* Count a text; any bytes are legal. Once DETECT_SAMPLE trigrams are counted, further ones do not count. False: no
 * memory. */
bool detect_count(struct detect_counter *counter, const char *text, size_t size, struct err *err);
/* Whether further texts would not count. */
bool detect_counter_full(const struct detect_counter *counter);
/* The table of what was counted. */
struct detect_table *detect_table_new(const struct detect_counter *counter, struct err *err);
void detect_table_destroy(struct detect_table **table);

/* Both sides' tables as the bytes of DETECT_FILE, and back. The same counts give the same bytes. ERR_DATA with
 * "NAME: ": not such a file. After a failure both tables are NULL. */
bool detect_write(const struct detect_table *src, const struct detect_table *tgt, struct buffer *out, struct err *err);
bool detect_read(const void *bytes, size_t size, const char *name, struct detect_table **src, struct detect_table **tgt,
                 struct err *err);

struct detect_guess {
    size_t language;     /* index of the table */
    unsigned confidence; /* 0..100; 0 = the text has no letters, or is in none of the languages */
    float known;         /* share of the text's trigrams that the table has, 0..1 */
    float score;         /* of the text; higher is better */
};

/* The guesses for a text, best first, into guesses[count]; languages[count] has their tables, NULL = the language has
 * none and comes last. Equal ones keep their order. Any bytes are legal. Returns how many trigrams were compared. */
size_t detect_text(const struct detect_table *const *languages, size_t count, const char *text, size_t size,
                   struct detect_guess *guesses);

#endif
