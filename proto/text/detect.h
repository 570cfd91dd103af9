/* detect.h - which language a text is in, from the character trigrams of a model's own training pairs.
 *
 * A table has the DETECT_ENTRIES most frequent trigrams of a language's side of the pairs, with their log-probability.
 * The coordinator counts them while it reads the pairs (detect_count) and keeps both sides' tables in the checkpoint, as
 * the file DETECT_FILE. A server compares a text with the tables of all loaded languages (detect_text). Letters are
 * compared in lower case; runs of other characters count as one space. Plain memory owned by the caller; any thread. */
#ifndef LSTMQ_PROTO_TEXT_DETECT_H
#define LSTMQ_PROTO_TEXT_DETECT_H

#include "proto/base/buffer.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define DETECT_FILE "trigrams.bin"
enum { DETECT_ENTRIES = 2000 };

struct detect_counter; /* counts while pairs are read */
struct detect_table;   /* of one language */

struct detect_counter *detect_counter_new(struct err *err);
void detect_counter_destroy(struct detect_counter **counter);
/* Count a text; false: no memory. */
bool detect_count(struct detect_counter *counter, const char *text, size_t size, struct err *err);
/* The table of what was counted. */
struct detect_table *detect_table_new(const struct detect_counter *counter, struct err *err);
void detect_table_destroy(struct detect_table **table);

/* Both sides' tables as the bytes of DETECT_FILE, and back. The same counts give the same bytes. ERR_DATA with "NAME: ":
 * not such a file. */
bool detect_write(const struct detect_table *src, const struct detect_table *tgt, struct buffer *out, struct err *err);
bool detect_read(const void *bytes, size_t size, const char *name, struct detect_table **src, struct detect_table **tgt,
                 struct err *err);

struct detect_guess {
    size_t language;     /* index of the table */
    unsigned confidence; /* 0..100; 0 = the text has no letters, or is in none of the languages */
};

/* The guesses for a text, best first, into guesses[count]; `languages` has `count` tables. */
void detect_text(const struct detect_table *const *languages, size_t count, const char *text, size_t size,
                 struct detect_guess *guesses);

#endif
