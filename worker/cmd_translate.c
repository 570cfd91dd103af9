/* cmd_translate.c - `lstmq translate`: stdin to stdout, one line out for each line in, in order.
 *
 * Lines are translated as soon as no more lines wait. So a pipe that is fed line by line answers line by line, and a
 * file is translated in large batches. A line that could not be translated as written is named on stderr, by its
 * number. With --connect, translate_connected.h does the same through a queue. */
#include "proto/base/log.h"
#include "proto/cli/commands.h"
#include "worker/model/translator.h"
#include "worker/stdin_lines.h"
#include "worker/translate_connected.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_LINES = 8192 }; /* most lines translated together */

static void translate_remark(const struct translator *translator, const char *sentence, uint64_t line,
                             const struct translation *translation)
{
    struct buffer words = {0};
    translator_removed(translator, sentence, &words);
    if (words.size > 0)
        log_say(LOG_WARN, "text_removed", LOG_FIELDS(LOG_COUNT("line", line), LOG_TEXT("removed", words.data)),
                "stdin:%" PRIu64 ": removed: %s", line, words.data);
    buffer_clear(&words);
    if (translation->unknown > 0) {
        translator_unknown(translator, sentence, &words);
        log_say(LOG_WARN, "words_unknown",
                LOG_FIELDS(LOG_COUNT("line", line), LOG_COUNT("count", translation->unknown),
                           LOG_TEXT("words", words.size > 0 ? words.data : "")),
                "stdin:%" PRIu64 ": unknown: %s", line, words.size > 0 ? words.data : "");
    }
    buffer_free(&words);
    if (translation->dropped > 0)
        log_say(LOG_WARN, "source_cut",
                LOG_FIELDS(LOG_COUNT("line", line), LOG_COUNT("dropped", translation->dropped),
                           LOG_COUNT("words", translation->words)),
                "stdin:%" PRIu64 ": too long: the last %u of %u words were not translated", line, translation->dropped,
                translation->words);
    if (translation->unfinished)
        log_say(LOG_WARN, "translation_cut", LOG_FIELDS(LOG_COUNT("line", line)),
                "stdin:%" PRIu64 ": the translation was cut at the model's limit", line);
}

static bool translate_translate(struct translator *translator, const char *const *sentences, size_t count,
                                uint64_t first_line, struct translation *translations, struct buffer *texts,
                                struct err *err)
{
    buffer_clear(texts);
    if (!translator_run(translator, sentences, count, translations, texts, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (puts(texts->data + translations[i].text) == EOF)
            return err_errno(err, ERR_IO, "cannot write to stdout");
        translate_remark(translator, sentences[i], first_line + i, &translations[i]);
    }
    return fflush(stdout) == 0 || err_errno(err, ERR_IO, "cannot write to stdout");
}

static bool translate_run(struct translator *translator, struct err *err)
{
    struct stdin_lines input = {0};
    struct buffer texts = {0};
    size_t *offsets = malloc(CHUNK_LINES * sizeof *offsets);
    const char **sentences = malloc(CHUNK_LINES * sizeof *sentences);
    struct translation *translations = malloc(CHUNK_LINES * sizeof *translations);
    bool ok = (offsets != NULL && sentences != NULL && translations != NULL) ||
              err_set(err, ERR_MEMORY, "no memory for %d lines", CHUNK_LINES);
    while (ok) {
        uint64_t first_line = input.lines + 1;
        size_t count;
        struct err bad;
        bool good = stdin_lines_take(&input, true, CHUNK_LINES, SIZE_MAX, offsets, &count, &bad);
        for (size_t i = 0; i < count; i++)
            sentences[i] = input.bytes.data + offsets[i];
        /* Translate the lines before a bad one first. */
        ok = count == 0 || translate_translate(translator, sentences, count, first_line, translations, &texts, err);
        if (ok && !good) {
            if (err != NULL)
                *err = bad;
            ok = false;
        }
        stdin_lines_drop(&input);
        if (count == 0 && input.ended)
            break;
    }
    free(offsets);
    free(sentences);
    free(translations);
    buffer_free(&texts);
    buffer_free(&input.bytes);
    return ok;
}

bool cmd_translate(const struct command_call *call, struct err *err)
{
    const struct config *config = call->config;
    if (config->translate_connect[0] != '\0' && config->translate_model[0] != '\0')
        return err_set(err, ERR_USAGE, "--model translates here and --connect through a queue: give one of them");
    if (config->translate_connect[0] != '\0')
        return translate_connected(config, err);
    struct translator translator;
    if (!translator_open(&translator, config, err))
        return false;
    bool ok = translate_run(&translator, err);
    translator_close(&translator);
    return ok;
}
