/* translator.h - sentences in, sentences out, from a checkpoint.
 *
 * translator_open loads a checkpoint's model and vocabularies. translator_run translates a list of sentences:
 * normalise, encode, sort by length, decode in batches, put back in order. It reports what the model does not see:
 * pieces that normalisation removes, words without an id, words beyond the model's length.
 *
 * A translator owns model, backend and checkpoint until translator_close. It belongs to one compute thread. */
#ifndef LSTMQ_WORKER_MODEL_TRANSLATOR_H
#define LSTMQ_WORKER_MODEL_TRANSLATOR_H

#include "proto/store/checkpoint.h"
#include "worker/model/greedy.h"

struct translator_work;

struct translator {
    struct checkpoint checkpoint;
    struct config config; /* the checkpoint's, with this command's translate.batch */
    struct backend *backend;
    struct model *model;
    const void *mapped; /* the model's file, memory shared with other processes; NULL = the parameters are copies */
    size_t mapped_size;
    struct decoder decoder;
    struct batch batch;
    int limit;                    /* ids of the longest translation */
    struct translator_work *work; /* memory of translator_run, kept from call to call */
};

struct translation {
    uint32_t words;   /* of the normalised source                        */
    uint32_t unknown; /* of them, without an id                          */
    uint32_t dropped; /* words beyond the model's length, not translated */
    bool unfinished;  /* reached the limit before <eos>                  */
    uint32_t tokens;  /* ids of the translation, the end marker included if it was reached */
    uint32_t text;    /* offset of its NUL-terminated text in `texts`    */
};

/* `command` has translate.model and the compute options. */
bool translator_open(struct translator *translator, const struct config *command, struct err *err);
/* The same for the checkpoint in `folder`, whatever translate.model is. It takes over the backend, and closes it
 * on failure too. The checkpoint's moments are not verified: no translator reads them. */
bool translator_open_at(struct translator *translator, const char *folder, struct backend *backend,
                        const struct config *command, struct err *err);
void translator_close(struct translator *translator);

/* Sentence i is NUL-terminated UTF-8. Writes translations[i] and appends texts. Sentences without words give empty
 * translations. */
bool translator_run(struct translator *translator, const char *const *sentences, size_t count,
                    struct translation *translations, struct buffer *texts, struct err *err);

/* Append the pieces of a sentence that normalisation removes, as normalise_removed does. */
void translator_removed(const struct translator *translator, const char *sentence, struct buffer *out);

/* Append the words of a sentence that have no id, separated by spaces, each as normalise_show does. */
void translator_unknown(const struct translator *translator, const char *sentence, struct buffer *out);

#endif
