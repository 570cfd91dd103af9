/* passage.h - the texts of a batch: cut into sentences, translated together, and joined again.
 *
 * A text is any UTF-8. Only its sentences (split.h) are translated; everything between them is copied byte for byte. So
 * white space, line breaks, numbers, addresses and placeholders stay as they are. Where the model writes lower case
 * only, case and final punctuation follow the source (casing.h). A sentence's translation depends on nothing but the
 * sentence and the checkpoint.
 *
 * A passage is the memory for this, kept from batch to batch. It begins as zeroes and ends in passage_close. One
 * thread. */
#ifndef LSTMQ_WORKER_SERVE_PASSAGE_H
#define LSTMQ_WORKER_SERVE_PASSAGE_H

#include "proto/wire/message.h"
#include "worker/model/translator.h"
#include "worker/serve/split.h"

struct passage {
    struct splitter splitter;
    struct split_sentences sentences; /* of all texts */
    size_t *text_ends;                /* [count] the sentences before the end of each text */
    struct answer *answers;           /* [count] */
    struct hypothesis *hypotheses;
    size_t text_capacity;
    const char **sources; /* [sentences] */
    struct translation *translations;
    size_t sentence_capacity;
    struct buffer source_bytes, translated; /* NUL-terminated, one after another */
    struct buffer bytes, notes, words;      /* the answers' */
};

/* The answers point into the passage and the texts, until the next call. With `details` they have notes. */
bool passage_translate(struct passage *passage, struct translator *translator, const struct texts *texts, bool details,
                       struct answers *answers, struct err *err);

/* Answer each text with itself. */
bool passage_echo(struct passage *passage, const struct texts *texts, struct answers *answers, struct err *err);

void passage_close(struct passage *passage);

#endif
