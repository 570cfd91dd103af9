/* translate_connected.c - parts of the input, in flight and in order; see translate_connected.h. */
#include "worker/translate_connected.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/client/lstmq.h"
#include "proto/text/normalise.h"
#include "proto/wire/socket.h"
#include "worker/stdin_lines.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    PARTS = 64,              /* requests in flight, at most           */
    PART_LINES = 256,        /* of a request                          */
    PART_BYTES = 256 * 1024, /* besides its last line                 */
    WINDOW_LEAST = 128,      /* lines in flight: at least, at first   */
    WINDOW_FIRST = 512,      /* and at most                           */
    WINDOW_MOST = 4096,
    FAST_MS = 2000, /* answers that are faster widen the window,  */
    SLOW_MS = 8000, /* and slower ones narrow it                  */
    DEADLINE_MS = 300000,
    FILES = 32,
};

/* The lines of one request. */
struct relay_part {
    uint64_t request; /* 0 = answered */
    uint64_t first_line;
    size_t count;
    int64_t sent_ms;
    struct lstmq_result *result;
};

struct relay {
    struct lstmq_client *client;
    struct lstmq_options options;
    const char *source, *target;
    struct stdin_lines input;
    struct relay_part parts[PARTS]; /* a ring, in the order of the input */
    unsigned first, count;
    size_t window, in_flight; /* lines */
    uint64_t failed;          /* lines */
    bool read_all;
    struct err bad; /* of the input; its code is ERR_NONE without an error */
    struct buffer out;
};

static bool relay_error(const struct lstmq_error *error, struct err *err)
{
    enum err_code code = error->status == LSTMQ_USAGE || error->status == LSTMQ_INVALID ? ERR_USAGE
                         : error->status == LSTMQ_MEMORY                                ? ERR_MEMORY
                                                                                        : ERR_FAILED;
    const char *what =
        error->status == LSTMQ_USAGE || error->status == LSTMQ_CONNECTION ? "" : lstmq_status_name(error->status);
    return err_set(err, code, "%s%s%s", what, what[0] != '\0' ? ": " : "", error->text);
}

/* ---- output ---- */

static void relay_remark(struct relay *relay, uint64_t line, const struct lstmq_translation *translation)
{
    struct buffer words = {0};
    for (size_t i = 0; i < translation->unknown_word_count; i++) {
        buffer_text(&words, i > 0 ? " " : "");
        normalise_show(translation->unknown_words[i], strlen(translation->unknown_words[i]), &words);
    }
    if (translation->text == NULL) {
        relay->failed++;
        log_say(LOG_ERROR, "line_failed", LOG_FIELDS(LOG_COUNT("line", line)),
                "stdin:%" PRIu64 ": not translated: the workers that tried it died", line);
    }
    if (translation->unknown > 0)
        log_say(LOG_WARN, "words_unknown",
                LOG_FIELDS(LOG_COUNT("line", line), LOG_COUNT("count", translation->unknown),
                           LOG_TEXT("words", words.size > 0 ? words.data : "")),
                "stdin:%" PRIu64 ": unknown: %s", line, words.size > 0 ? words.data : "");
    if (translation->cut > 0)
        log_say(LOG_WARN, "source_cut", LOG_FIELDS(LOG_COUNT("line", line), LOG_COUNT("dropped", translation->cut)),
                "stdin:%" PRIu64 ": too long: %u words were not translated", line, translation->cut);
    buffer_free(&words);
}

/* One line, whatever the translation holds. */
static void relay_add_line(struct buffer *out, const struct lstmq_translation *translation)
{
    size_t begun = out->size;
    buffer_append(out, translation->text != NULL ? translation->text : "", translation->size);
    for (size_t at = begun; at < out->size; at++)
        if (out->data[at] == '\n' || out->data[at] == '\r')
            out->data[at] = ' ';
    buffer_append(out, "\n", 1);
}

/* Print the answers that are next in order. */
static bool relay_print(struct relay *relay, struct err *err)
{
    buffer_clear(&relay->out);
    while (relay->count > 0 && relay->parts[relay->first].request == 0) {
        struct relay_part *part = &relay->parts[relay->first];
        for (size_t i = 0; i < part->count; i++) {
            relay_add_line(&relay->out, &part->result->translations[i]);
            relay_remark(relay, part->first_line + i, &part->result->translations[i]);
        }
        relay->in_flight -= part->count;
        relay->first = (relay->first + 1) % PARTS;
        relay->count--;
        lstmq_free(part->result);
        part->result = NULL;
    }
    if (!buffer_ok(&relay->out, err))
        return false;
    if (relay->out.size > 0 &&
        (fwrite(relay->out.data, 1, relay->out.size, stdout) != relay->out.size || fflush(stdout) != 0))
        return err_errno(err, ERR_IO, "cannot write to stdout");
    return true;
}

/* ---- requests ---- */

static bool relay_may_send(const struct relay *relay)
{
    return !relay->read_all && relay->count < PARTS && relay->in_flight < relay->window;
}

/* Send the lines that wait at standard input as one request. */
static bool relay_send(struct relay *relay, struct err *err)
{
    size_t offsets[PART_LINES], count;
    const char *texts[PART_LINES];
    struct relay_part *part = &relay->parts[(relay->first + relay->count) % PARTS];
    part->first_line = relay->input.lines + 1;
    if (!stdin_lines_take(&relay->input, false, PART_LINES, PART_BYTES, offsets, &count, &relay->bad))
        relay->read_all = true;
    else
        relay->read_all = relay->input.ended && count == 0;
    for (size_t i = 0; i < count; i++)
        texts[i] = relay->input.bytes.data + offsets[i];
    struct lstmq_error error;
    if (count > 0) {
        part->count = count;
        part->sent_ms = clock_ms();
        part->request =
            lstmq_submit(relay->client, relay->source, relay->target, texts, count, &relay->options, &error);
        if (part->request == 0)
            return relay_error(&error, err);
        relay->count++;
        relay->in_flight += count;
    }
    stdin_lines_drop(&relay->input);
    return true;
}

static void relay_adapt(struct relay *relay, int64_t took_ms)
{
    if (took_ms < FAST_MS && relay->window < WINDOW_MOST)
        relay->window += PART_LINES;
    else if (took_ms > SLOW_MS && relay->window > WINDOW_LEAST)
        relay->window /= 2;
}

static bool relay_take(struct relay *relay, struct err *err)
{
    struct lstmq_done done;
    while (lstmq_take(relay->client, &done)) {
        unsigned at = relay->first;
        while (relay->parts[at].request != done.request)
            at = (at + 1) % PARTS;
        struct relay_part *part = &relay->parts[at];
        if (done.error.status != LSTMQ_OK) {
            relay_error(&done.error, err);
            return err_context(err, "stdin:%" PRIu64, part->first_line);
        }
        part->request = 0;
        part->result = done.result;
        relay_adapt(relay, clock_ms() - part->sent_ms);
    }
    return true;
}

/* Wait for an answer or for input. */
static void relay_wait(const struct relay *relay)
{
    struct pollfd ready[] = {{.fd = lstmq_fd(relay->client), .events = POLLIN},
                             {.fd = relay_may_send(relay) ? STDIN_FILENO : -1, .events = POLLIN}};
    poll(ready, 2, -1);
}

static bool relay_run(struct relay *relay, struct err *err)
{
    for (;;) {
        bool sent = true;
        while (sent && relay_may_send(relay)) {
            size_t before = relay->in_flight;
            if (!relay_send(relay, err))
                return false;
            sent = relay->in_flight > before;
        }
        if (!relay_take(relay, err) || !relay_print(relay, err))
            return false;
        if (relay->read_all && relay->count == 0)
            break;
        relay_wait(relay);
    }
    if (relay->bad.code != ERR_NONE) {
        *err = relay->bad;
        return false;
    }
    return relay->failed == 0 ||
           err_set(err, ERR_FAILED, "lines that could not be translated: %" PRIu64, relay->failed);
}

bool translate_connected(const struct config *config, struct err *err)
{
    struct relay relay = {.options = {.deadline_ms = DEADLINE_MS, .details = true},
                          .source = config->translate_source,
                          .target = config->translate_target,
                          .window = WINDOW_FIRST};
    const struct lstmq_settings settings = {.key_file = config->curve_key[0] != '\0' ? config->curve_key : NULL,
                                            .server_file =
                                                config->curve_server[0] != '\0' ? config->curve_server : NULL};
    struct lstmq_error error;
    if (!socket_raise_files(FILES, err))
        return false;
    relay.client = lstmq_open(config->translate_connect, &settings, &error);
    if (relay.client == NULL)
        return relay_error(&error, err);
    bool ok = relay_run(&relay, err);
    for (unsigned i = 0; i < PARTS; i++)
        lstmq_free(relay.parts[i].result);
    lstmq_close(relay.client);
    buffer_free(&relay.input.bytes);
    buffer_free(&relay.out);
    return ok;
}
