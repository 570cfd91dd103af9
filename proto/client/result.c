/* result.c - copy an answer into one block, and fill errors; see result.h.
 *
 * The block: the result, its translations, its alternatives, pointers to unknown words, then the bytes of all texts,
 * each with a NUL. */
#include "proto/client/result.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct result_fill {
    struct lstmq_alternative *alternatives;
    const char **words;
    char *bytes;
    const struct hypothesis *hypothesis; /* the next to read ... */
    const char *text, *notes;            /* ... and its text; the next notes */
};

/* Append a text with a NUL; returns its copy. */
static const char *result_copy(struct result_fill *fill, const char *text, size_t size)
{
    char *copy = fill->bytes;
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    fill->bytes += size + 1;
    return copy;
}

static struct lstmq_alternative result_hypothesis(struct result_fill *fill)
{
    size_t size = fill->hypothesis->size;
    struct lstmq_alternative one = {result_copy(fill, fill->text, size), size, fill->hypothesis->score};
    fill->text += size;
    fill->hypothesis++;
    return one;
}

/* Each word of the notes ends in a newline, which becomes its NUL. */
static void result_words(struct result_fill *fill, const struct answer *answer, struct lstmq_translation *to)
{
    const char *end = fill->notes + answer->notes;
    to->unknown_words = fill->words;
    while (fill->notes < end) {
        const char *newline = memchr(fill->notes, '\n', (size_t)(end - fill->notes));
        size_t size = newline != NULL ? (size_t)(newline - fill->notes) : (size_t)(end - fill->notes);
        *fill->words++ = result_copy(fill, fill->notes, size);
        fill->notes += size + (newline != NULL);
    }
    to->unknown_word_count = (size_t)(fill->words - (const char **)to->unknown_words);
}

static void result_translation(struct result_fill *fill, const struct answer *answer, struct lstmq_translation *to)
{
    *to = (struct lstmq_translation){.source_tokens = answer->src_tokens,
                                     .target_tokens = answer->tgt_tokens,
                                     .unknown = answer->unknown,
                                     .cut = answer->cut,
                                     .alternatives = fill->alternatives};
    if (answer->hypotheses > 0) {
        struct lstmq_alternative best = result_hypothesis(fill);
        to->text = best.text;
        to->size = best.size;
        to->score = best.score;
        to->alternative_count = answer->hypotheses - 1;
    }
    for (size_t i = 0; i < to->alternative_count; i++)
        *fill->alternatives++ = result_hypothesis(fill);
    result_words(fill, answer, to);
}

/* Newlines end the words; one that lacks it ends with its answer. */
static size_t result_count_words(const struct answers *answers)
{
    size_t words = answers->count;
    for (size_t i = 0; i < answers->notes_size; i++)
        words += answers->notes[i] == '\n';
    return words;
}

struct lstmq_result *result_new(const struct translated *translated)
{
    const struct answers *answers = &translated->answers;
    size_t words = result_count_words(answers);
    size_t bytes = answers->size + answers->hypothesis_count + answers->notes_size + words + translated->model.size + 1;
    struct lstmq_result *result =
        malloc(sizeof *result + answers->count * sizeof(struct lstmq_translation) +
               answers->hypothesis_count * sizeof(struct lstmq_alternative) + words * sizeof(char *) + bytes);
    if (result == NULL)
        return NULL;
    struct lstmq_translation *translations = (struct lstmq_translation *)(result + 1);
    struct result_fill fill = {.alternatives = (struct lstmq_alternative *)(translations + answers->count),
                               .hypothesis = answers->hypotheses,
                               .text = answers->bytes,
                               .notes = answers->notes};
    fill.words = (const char **)(fill.alternatives + answers->hypothesis_count);
    fill.bytes = (char *)(fill.words + words);
    for (uint32_t i = 0; i < answers->count; i++)
        result_translation(&fill, &answers->of[i], &translations[i]);
    *result = (struct lstmq_result){.count = answers->count,
                                    .translations = translations,
                                    .model = result_copy(&fill, translated->model.data, translated->model.size),
                                    .step = translated->step,
                                    .queued_us = translated->queued_us,
                                    .computed_us = translated->computed_us};
    return result;
}

void lstmq_free(struct lstmq_result *result)
{
    free(result);
}

bool error_set(struct lstmq_error *error, enum lstmq_status status, const char *format, ...)
{
    if (error == NULL)
        return false;
    va_list args;
    va_start(args, format);
    error->status = status;
    error->retry_ms = 0;
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

bool error_take(struct lstmq_error *error, const struct err *err)
{
    enum lstmq_status status = err->code == ERR_MEMORY                           ? LSTMQ_MEMORY
                               : err->code == ERR_USAGE || err->code == ERR_DATA ? LSTMQ_USAGE
                                                                                 : LSTMQ_CONNECTION;
    return error_set(error, status, "%s", err->text);
}

const char *lstmq_status_name(enum lstmq_status status)
{
    static const char *const names[] = {"ok",     "busy",   "expired",    "invalid", "no worker",
                                        "ending", "failed", "connection", "usage",   "memory"};
    return (size_t)status < sizeof names / sizeof names[0] ? names[status] : "?";
}
