/* cmd_translate.c - `lstmq translate`: stdin to stdout, one line out for each line in, in order.
 *
 * Lines are translated as soon as no more lines wait. So a pipe that is fed line by line answers line by line, and a
 * file is translated in large batches. A line that could not be translated as written is named on stderr, by its
 * number. */
#include "proto/base/log.h"
#include "proto/cli/commands.h"
#include "proto/text/form.h"
#include "proto/text/lines.h"
#include "proto/text/normalise.h"
#include "worker/model/translator.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CHUNK_LINES = 8192,       /* most lines translated together */
    READ_BYTES = 64 * 1024,   /* one read of stdin */
    LINE_BYTES = 1024 * 1024, /* a longer line is an error, not a sentence */
};

struct input {
    struct buffer bytes; /* read but not yet taken */
    size_t taken;        /* bytes of lines that were taken */
    uint64_t lines;      /* taken so far */
    bool ended;
    bool at_end; /* `taken` is at the CR that ends the last line; an LF may follow */
};

/* Read once. Blocks only with `wait`, if no bytes are there. *more: something was read. */
static bool translate_read(struct input *input, bool wait, bool *more, struct err *err)
{
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    *more = false;
    if (!wait && poll(&ready, 1, 0) <= 0)
        return true;
    char *end = buffer_reserve(&input->bytes, READ_BYTES);
    if (end == NULL)
        return buffer_ok(&input->bytes, err);
    ssize_t size;
    do
        size = read(STDIN_FILENO, end, READ_BYTES);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return err_errno(err, ERR_IO, "cannot read stdin");
    input->bytes.size += (size_t)size;
    end[size] = '\0';
    input->ended = size == 0;
    *more = size > 0;
    return true;
}

/* Skip the line end of the last line; false: more bytes are needed to know its size. A line is taken before that, so
 * that its translation is not delayed. */
static bool translate_pass_end(struct input *input)
{
    char *end = input->bytes.data + input->taken;
    if (!input->at_end)
        return true;
    *end = '\r'; /* the last line's NUL is here */
    size_t size = line_end_size(end, input->bytes.size - input->taken, input->ended);
    *end = '\0';
    input->taken += size;
    input->at_end = size == 0;
    return size > 0;
}

/* Refuse input that is not text, judged by the bytes up to the end of its first line. */
static bool translate_check_form(const char *bytes, size_t size, struct err *err)
{
    struct form form = form_of(bytes, size);
    return form.kind == FORM_TEXT ||
           err_set(err, ERR_DATA, "stdin: this is %s; make it plain UTF-8 text: %s FILE | lstmq translate", form.name,
                   form.command);
}

static bool translate_check_utf8(const char *line, size_t size, uint64_t number, struct err *err)
{
    size_t at;
    if (utf8_valid(line, size, &at))
        return true;
    const char *encoding = line[at] == '\0' ? NULL : form_encoding(line, size);
    if (encoding == NULL)
        return err_set(err, ERR_DATA, "stdin:%" PRIu64 ": not valid UTF-8 text at byte %zu", number, at + 1);
    return err_set(err, ERR_DATA,
                   "stdin:%" PRIu64
                   ": not valid UTF-8 text at byte %zu; if it is %s: iconv -f %s -t UTF-8 FILE | lstmq "
                   "translate",
                   number, at + 1, encoding, encoding);
}

/* Take the next complete line (the last one may have no line end): NUL-terminated in place. *line = NULL: no complete
 * line was read. */
static bool translate_take_line(struct input *input, char **line, struct err *err)
{
    *line = NULL;
    if (!translate_pass_end(input) || input->bytes.size == input->taken)
        return true;
    char *start = input->bytes.data + input->taken;
    size_t left = input->bytes.size - input->taken, size;
    const char *end = line_end_find(start, left);
    bool first = input->lines == 0 && (end != NULL || input->ended || left > LINE_BYTES);
    if (first && !translate_check_form(start, left, err))
        return false;
    if (end != NULL) {
        size = (size_t)(end - start);
        size_t ending = line_end_size(end, left - size, input->ended);
        input->taken += size + ending;
        input->at_end = ending == 0;
    } else if (input->ended) {
        size = left;
        input->taken += size;
    } else if (left > LINE_BYTES) {
        return err_set(err, ERR_DATA,
                       "stdin:%" PRIu64 ": a line of more than %d bytes; one sentence a line is expected",
                       input->lines + 1, LINE_BYTES);
    } else {
        return true;
    }
    input->lines++;
    if (input->lines == 1 && size >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0) {
        start += 3; /* a byte order mark, as in files of pairs */
        size -= 3;
    }
    if (!translate_check_utf8(start, size, input->lines, err))
        return false;
    start[size] = '\0';
    *line = start;
    return true;
}

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

/* Take lines until none waits. `offsets` are their starts in the buffer, which may move during reading. */
static bool translate_gather(struct input *input, size_t *offsets, size_t *count, struct err *err)
{
    bool more = true;
    *count = 0;
    while (*count < CHUNK_LINES) {
        char *line;
        if (!translate_take_line(input, &line, err))
            return false;
        if (line != NULL) {
            offsets[(*count)++] = (size_t)(line - input->bytes.data);
            continue;
        }
        if (input->ended || !more)
            return true;
        if (!translate_read(input, *count == 0, &more, err))
            return false;
    }
    return true;
}

/* Forget the translated lines. */
static void translate_drop_taken(struct input *input)
{
    size_t left = input->bytes.size - input->taken;
    if (left > 0 && input->taken > 0)
        memmove(input->bytes.data, input->bytes.data + input->taken, left);
    input->bytes.size = left;
    input->taken = 0;
}

static bool translate_run(struct translator *translator, struct err *err)
{
    struct input input = {0};
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
        bool good = translate_gather(&input, offsets, &count, &bad);
        for (size_t i = 0; i < count; i++)
            sentences[i] = input.bytes.data + offsets[i];
        /* Translate the lines before a bad one first. */
        ok = count == 0 || translate_translate(translator, sentences, count, first_line, translations, &texts, err);
        if (ok && !good) {
            if (err != NULL)
                *err = bad;
            ok = false;
        }
        translate_drop_taken(&input);
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
    struct translator translator;
    if (!translator_open(&translator, call->config, err))
        return false;
    bool ok = translate_run(&translator, err);
    translator_close(&translator);
    return ok;
}
