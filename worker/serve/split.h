/* split.h - find the sentences in a text.
 *
 * A text is chunks between white space. Consecutive chunks make a sentence, which ends
 *
 *   - at a line break or another control character, always;
 *   - after . ! ? or an ellipsis, quotes and brackets behind them included, unless the next chunk begins with a
 *     lower-case letter or the full stop belongs to an abbreviation, an initial or a number ("Mr.", "J.", "3.");
 *   - after the full stops of Chinese and Japanese, with or without white space;
 *   - before and after a chunk that must stay as it is: an address ("https://...", "a@b.org"), a placeholder ("%1$s",
 *     "{name}"), a tag, a chunk without letters that the model does not know (numbers, emoji), or one whose letters
 *     normalisation removes;
 *   - where it would have more words than the model accepts: after the last comma, colon or dash in its second half, or
 *     else after the last word that fits.
 *
 * Chunks without any letter beside them make no sentence. What lies in no sentence is for the caller to copy. The
 * result depends on the text and the rules alone. Any thread; a splitter belongs to one. */
#ifndef LSTMQ_WORKER_SERVE_SPLIT_H
#define LSTMQ_WORKER_SERVE_SPLIT_H

#include "proto/text/normalise.h"
#include "proto/text/vocab.h"

struct split_sentence {
    size_t begin, size; /* bytes of the text, without white space at the ends */
    size_t words;       /* chunks */
};

struct split_sentences {
    struct split_sentence *of; /* the caller frees it */
    size_t count, capacity;
};

struct split_rules {
    const struct vocab *vocab;
    enum normalise normalise;
    size_t words; /* most words of a sentence, at least 1 */
};

/* Scratch memory; begins as zeroes. */
struct splitter {
    struct buffer normal;
};

/* Append the sentences of a text, valid UTF-8, in order. ERR_MEMORY only. */
bool split_text(struct splitter *splitter, const struct split_rules *rules, const char *text, size_t size,
                struct split_sentences *out, struct err *err);

void splitter_close(struct splitter *splitter);

#endif
