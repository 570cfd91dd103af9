/* drawn_translator.h - a translator without a checkpoint: a small vocabulary, and parameters drawn at random.
 *
 * It says a lot, and nothing that means something. Opened by the test that owns it, and ended with translator_close. */
#ifndef LSTMQ_TESTS_SUPPORT_DRAWN_TRANSLATOR_H
#define LSTMQ_TESTS_SUPPORT_DRAWN_TRANSLATOR_H

#include "worker/model/translator.h"

#include <stdio.h>
#include <string.h>

enum { DRAWN_WORDS = 60, DRAWN_LENGTH = 12 };

/* Word i of a side: two lower-case letters. */
static inline void drawn_word(char word[3], int side, int i)
{
    snprintf(word, 3, "%c%c", side == 0 ? 'a' + i % 26 : 'n' + i % 13, 'a' + i / 13);
}

static inline struct vocab *drawn_vocab(int side, struct err *err)
{
    struct vocab *vocab = vocab_new(err);
    bool ok = vocab != NULL;
    for (int i = 0; ok && i < DRAWN_WORDS; i++) {
        char word[3];
        drawn_word(word, side, i);
        ok = vocab_count(vocab, word, strlen(word), err);
    }
    if (ok && vocab_close(vocab, UNKNOWN_OWN, 1000, err))
        return vocab;
    vocab_destroy(&vocab);
    return NULL;
}

static inline bool drawn_open(struct translator *translator, int threads, enum normalise rule, struct err *err)
{
    *translator = (struct translator){.limit = DRAWN_LENGTH};
    struct config *config = &translator->config;
    config_defaults(config);
    config->model_embed = 12;
    config->model_hidden = 20;
    config->data_length = DRAWN_LENGTH;
    config->data_normalise = rule;
    config->translate_batch = 7;
    translator->checkpoint.src = drawn_vocab(0, err);
    translator->checkpoint.tgt = drawn_vocab(1, err);
    translator->backend = backend_open("cpu", threads, PRECISION_FP32, err);
    if (translator->checkpoint.src == NULL || translator->checkpoint.tgt == NULL || translator->backend == NULL)
        return false;
    translator->model = model_new(translator->backend, config, (int)vocab_size(translator->checkpoint.src),
                                  (int)vocab_size(translator->checkpoint.tgt), err);
    if (translator->model == NULL || !model_init(translator->model, 7, err))
        return false;
    translator->batch.backend = translator->backend;
    translator->decoder.model = translator->decoder.network.model = translator->model;
    return decoder_pack(&translator->decoder, err);
}

/* The same as a checkpoint of `run`, with parameters drawn from `seed`. */
static inline bool drawn_write(const char *run, uint64_t step, uint64_t seed, const struct checkpoint_state *like,
                               struct err *err)
{
    struct translator drawn;
    struct checkpoint_state state = *like;
    struct tensor_entry entries[MODEL_TENSORS];
    struct buffer files[4] = {{0}};
    static const char *const names[] = {"model.safetensors", "state.json", "src.vocab", "tgt.vocab"};
    bool ok = drawn_open(&drawn, 1, NORMALISE_NOTEBOOK, err) && model_init(drawn.model, seed, err) &&
              model_entries(drawn.model, "", entries, err) &&
              safetensors_header(entries, (size_t)drawn.model->tensor_count, &files[0], err);
    if (!ok)
        return false;
    buffer_append(&files[0], drawn.model->parameters, drawn.model->elements * sizeof(float));
    state.step = step;
    state.config = drawn.config;
    checkpoint_state_write(&state, &files[1]);
    vocab_write(drawn.checkpoint.src, &files[2]);
    vocab_write(drawn.checkpoint.tgt, &files[3]);
    struct checkpoint_writer *writer = checkpoint_begin(run, step, err);
    for (int i = 0; i < 4; i++) {
        ok = ok && writer != NULL && checkpoint_write(writer, names[i], files[i].data, files[i].size, err);
        buffer_free(&files[i]);
    }
    translator_close(&drawn);
    return ok && checkpoint_commit(&writer, err);
}

#endif
