/* vocab.h - words and their ids.
 *
 * Ids 0, 1, 2 are <pad>, <sos>, <eos>. Id 3 is <unk> if unknown words have an entry of their own; in the notebook's
 * recipe id 3 is the most frequent word, and unknown words map to it. The rest follow by falling frequency, then by
 * code point (byte order in UTF-8). A word spelled like a marker, <unk> included, is never counted and never known, so
 * that text cannot begin or end a sentence.
 *
 * Begins with vocab_new, counts words, and becomes read-only in vocab_close; then any thread may look up. The caller
 * owns it and ends it with vocab_destroy. The file form (src.vocab, tgt.vocab) is UTF-8 with LF, one word a line, line
 * number = id. Counting and reading accept the same words: word_fits. */
#ifndef LSTMQ_PROTO_TEXT_VOCAB_H
#define LSTMQ_PROTO_TEXT_VOCAB_H

#include "proto/base/buffer.h"
#include "proto/base/config.h"

#include <stdint.h>

enum { ID_PAD = 0, ID_SOS = 1, ID_EOS = 2, ID_UNKNOWN = 3, VOCAB_MOST = 65535 };

struct vocab; /* counts while open, ids after vocab_close */

struct vocab *vocab_new(struct err *err);
void vocab_destroy(struct vocab **vocab);

/* Count the words of one normalised sentence. ERR_DATA: a word that vocab_read would refuse (word_fits). */
bool vocab_count(struct vocab *vocab, const char *text, size_t size, struct err *err);

/* End counting: sort, truncate to `limit` entries (at most VOCAB_MOST, markers included), assign ids. ERR_DATA: no word
 * was counted. */
bool vocab_close(struct vocab *vocab, enum unknown unknown, size_t limit, struct err *err);

size_t vocab_size(const struct vocab *vocab);

/* The id of a word; ID_UNKNOWN and *known = false when it has none. `known` may be NULL. */
uint16_t vocab_id(const struct vocab *vocab, const char *word, size_t size, bool *known);

/* The word of an id below vocab_size: NUL-terminated, owned by the vocabulary. */
const char *vocab_word(const struct vocab *vocab, uint16_t id);

/* Ids of a normalised sentence between <sos> and <eos>, truncated to `length` entries (which may drop <eos>, as in the
 * notebook). Returns the number of ids written. *full_length is the number before truncation, *unknown the number of
 * words without an id; both may be NULL. */
size_t vocab_encode(const struct vocab *vocab, const char *text, size_t size, size_t length, uint16_t *ids,
                    size_t *full_length, size_t *unknown);

/* Words of `ids` joined by spaces, up to the first <eos>; without <sos>, <pad> and invalid ids. */
void vocab_decode(const struct vocab *vocab, const uint16_t *ids, size_t count, struct buffer *out);

void vocab_write(const struct vocab *vocab, struct buffer *out);

/* ERR_DATA with "NAME:LINE: " for any text that vocab_write does not write: missing markers, repeated or empty words,
 * bad UTF-8, too many words. */
struct vocab *vocab_read(const char *text, size_t size, const char *name, struct err *err);

#endif
