/* passage.c - texts through a translator; see passage.h. */
#include "worker/serve/passage.h"

#include "worker/serve/casing.h"

#include <stdlib.h>
#include <string.h>

enum { MARKERS = 2 /* <sos> and <eos> around a source */ };

static bool passage_reserve_texts(struct passage *passage, size_t count, struct err *err)
{
    if (count <= passage->text_capacity)
        return true;
    free(passage->text_ends);
    free(passage->answers);
    free(passage->hypotheses);
    passage->text_ends = malloc(count * sizeof *passage->text_ends);
    passage->answers = malloc(count * sizeof *passage->answers);
    passage->hypotheses = malloc(count * sizeof *passage->hypotheses);
    bool ok = passage->text_ends != NULL && passage->answers != NULL && passage->hypotheses != NULL;
    passage->text_capacity = ok ? count : 0;
    return ok || err_set(err, ERR_MEMORY, "no memory for %zu texts", count);
}

static bool passage_reserve_sentences(struct passage *passage, size_t count, struct err *err)
{
    if (count <= passage->sentence_capacity)
        return true;
    free(passage->sources);
    free(passage->translations);
    passage->sources = malloc(2 * count * sizeof *passage->sources);
    passage->translations = malloc(2 * count * sizeof *passage->translations);
    bool ok = passage->sources != NULL && passage->translations != NULL;
    passage->sentence_capacity = ok ? 2 * count : 0;
    return ok || err_set(err, ERR_MEMORY, "no memory for %zu sentences", count);
}

static bool passage_split(struct passage *passage, const struct translator *translator, const struct texts *texts,
                          struct err *err)
{
    const struct split_rules rules = {.vocab = translator->checkpoint.src,
                                      .normalise = (enum normalise)translator->config.data_normalise,
                                      .words = (size_t)translator->config.data_length - MARKERS};
    const char *text = texts->bytes;
    passage->sentences.count = 0;
    buffer_clear(&passage->source_bytes);
    for (uint32_t i = 0; i < texts->count; text += texts->lengths[i++]) {
        size_t first = passage->sentences.count;
        if (!split_text(&passage->splitter, &rules, text, texts->lengths[i], &passage->sentences, err))
            return false;
        for (size_t s = first; s < passage->sentences.count; s++) {
            const struct split_sentence *sentence = &passage->sentences.of[s];
            buffer_append(&passage->source_bytes, text + sentence->begin, sentence->size);
            buffer_append(&passage->source_bytes, "", 1);
        }
        passage->text_ends[i] = passage->sentences.count;
    }
    if (!buffer_ok(&passage->source_bytes, err) || !passage_reserve_sentences(passage, passage->sentences.count, err))
        return false;
    const char *source = passage->source_bytes.data;
    for (size_t s = 0; s < passage->sentences.count; s++) {
        passage->sources[s] = source;
        source += passage->sentences.of[s].size + 1;
    }
    return true;
}

/* Append the unknown words of a sentence, each with a newline. */
static void passage_note(struct passage *passage, const struct translator *translator, const char *source)
{
    buffer_clear(&passage->words);
    translator_unknown(translator, source, &passage->words);
    for (size_t i = 0; i < passage->words.size; i++)
        if (passage->words.data[i] == ' ')
            passage->words.data[i] = '\n';
    buffer_append(&passage->notes, passage->words.data, passage->words.size);
    if (passage->words.size > 0)
        buffer_append(&passage->notes, "\n", 1);
}

/* A sentence of which normalisation leaves nothing stays as it is. */
static void passage_join_sentence(struct passage *passage, const struct translator *translator, size_t index,
                                  bool details, struct answer *answer)
{
    const struct translation *translation = &passage->translations[index];
    const char *source = passage->sources[index];
    size_t size = passage->sentences.of[index].size;
    if (translation->words == 0) {
        buffer_append(&passage->bytes, source, size);
        return;
    }
    answer->src_tokens += translation->words - translation->dropped + MARKERS;
    answer->tgt_tokens += translation->tokens;
    answer->unknown += translation->unknown;
    answer->cut += translation->dropped;
    casing_append((enum normalise)translator->config.data_normalise, source, size,
                  passage->translated.data + translation->text, &passage->bytes);
    if (details && translation->unknown > 0)
        passage_note(passage, translator, source);
}

static void passage_join(struct passage *passage, const struct translator *translator, const struct texts *texts,
                         bool details)
{
    const char *text = texts->bytes;
    size_t next = 0;
    for (uint32_t i = 0; i < texts->count; text += texts->lengths[i++]) {
        size_t begin = passage->bytes.size, notes = passage->notes.size, at = 0;
        struct answer answer = {.status = ANSWER_OK, .hypotheses = 1};
        for (; next < passage->text_ends[i]; next++) {
            const struct split_sentence *sentence = &passage->sentences.of[next];
            buffer_append(&passage->bytes, text + at, sentence->begin - at);
            passage_join_sentence(passage, translator, next, details, &answer);
            at = sentence->begin + sentence->size;
        }
        buffer_append(&passage->bytes, text + at, texts->lengths[i] - at);
        if (passage->bytes.size > TEXTS_BYTES || passage->notes.size > TEXTS_BYTES) { /* a result cannot hold it */
            answer = (struct answer){.status = ANSWER_FAILED};
            passage->bytes.size = begin;
            passage->notes.size = notes;
        }
        answer.notes = (uint32_t)(passage->notes.size - notes);
        passage->answers[i] = answer;
        passage->hypotheses[i] = (struct hypothesis){.size = (uint32_t)(passage->bytes.size - begin)};
    }
}

/* A failed text has no hypothesis: close the gaps. */
static struct answers passage_answers(struct passage *passage, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (passage->answers[i].hypotheses == 1)
            passage->hypotheses[kept++] = passage->hypotheses[i];
    return (struct answers){.count = count,
                            .of = passage->answers,
                            .hypothesis_count = kept,
                            .hypotheses = passage->hypotheses,
                            .size = passage->bytes.size,
                            .bytes = passage->bytes.data != NULL ? passage->bytes.data : "",
                            .notes_size = passage->notes.size,
                            .notes = passage->notes.data != NULL ? passage->notes.data : ""};
}

bool passage_translate(struct passage *passage, struct translator *translator, const struct texts *texts, bool details,
                       struct answers *answers, struct err *err)
{
    buffer_clear(&passage->bytes);
    buffer_clear(&passage->notes);
    buffer_clear(&passage->translated);
    if (!passage_reserve_texts(passage, texts->count, err) || !passage_split(passage, translator, texts, err))
        return false;
    if (passage->sentences.count > 0 && !translator_run(translator, passage->sources, passage->sentences.count,
                                                        passage->translations, &passage->translated, err))
        return false;
    passage_join(passage, translator, texts, details);
    *answers = passage_answers(passage, texts->count);
    return buffer_ok(&passage->bytes, err) && buffer_ok(&passage->notes, err);
}

bool passage_echo(struct passage *passage, const struct texts *texts, struct answers *answers, struct err *err)
{
    if (!passage_reserve_texts(passage, texts->count, err))
        return false;
    for (uint32_t i = 0; i < texts->count; i++) {
        passage->answers[i] = (struct answer){.status = ANSWER_OK, .hypotheses = 1};
        passage->hypotheses[i] = (struct hypothesis){.size = texts->lengths[i]};
    }
    *answers = (struct answers){.count = texts->count,
                                .of = passage->answers,
                                .hypothesis_count = texts->count,
                                .hypotheses = passage->hypotheses,
                                .size = texts->size,
                                .bytes = texts->bytes,
                                .notes = ""};
    return true;
}

void passage_close(struct passage *passage)
{
    splitter_close(&passage->splitter);
    free(passage->sentences.of);
    free(passage->text_ends);
    free(passage->answers);
    free(passage->hypotheses);
    free(passage->sources);
    free(passage->translations);
    buffer_free(&passage->source_bytes);
    buffer_free(&passage->translated);
    buffer_free(&passage->bytes);
    buffer_free(&passage->notes);
    buffer_free(&passage->words);
    *passage = (struct passage){0};
}
