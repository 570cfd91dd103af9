/* samples.c - sentences for the report; see samples.h. */
#include "coordinator/run/samples.h"

#include "proto/base/log.h"
#include "proto/base/typed.h"
#include "proto/text/lines.h"
#include "proto/text/normalise.h"
#include "proto/wire/message.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool samples_add(struct samples *samples, const char *source, const char *reference, const uint16_t *ids,
                        uint16_t src_length, uint16_t tgt_length, struct err *err)
{
    size_t index = samples->count;
    if (!packing_add(&samples->rows, ids, src_length, tgt_length, err))
        return false;
    samples->sources[index] = strdup(source);
    if (samples->sources[index] == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a sample sentence");
    samples->shown[index] =
        (struct report_sample){.source = samples->sources[index], .reference = reference, .translation = ""};
    samples->count++;
    return true;
}

/* One line of run.sample, encoded like a validation source. It has no reference; its target is only <eos>. */
static bool samples_add_sentence(struct samples *samples, const char *line, const struct dataset *dataset,
                                 const struct config *config, struct err *err)
{
    struct buffer text = {0}, removed = {0};
    normalise((enum normalise)config->data_normalise, line, strlen(line), &text);
    normalise_removed((enum normalise)config->data_normalise, line, strlen(line), &removed);
    bool done = buffer_ok(&text, err) && buffer_ok(&removed, err);
    if (done && removed.size > 0)
        log_event(LOG_WARN, "sample_cut",
                  LOG_FIELDS(LOG_TEXT("path", config->run_sample), LOG_TEXT("sentence", line),
                             LOG_TEXT("removed", removed.data)),
                  "%s: data.normalise notebook removed from \"%s\": %s", config->run_sample, typed_show(line).shown,
                  typed_show(removed.data).shown);
    size_t words = done ? word_count(text.data, text.size) : 0;
    if (done && words == 0) {
        log_event(LOG_WARN, "sample_left_out",
                  LOG_FIELDS(LOG_TEXT("path", config->run_sample), LOG_TEXT("sentence", line), LOG_COUNT("words", 0)),
                  "%s: \"%s\" is left out, because data.normalise removes all of it", config->run_sample,
                  typed_show(line).shown);
    } else if (done && words > (size_t)config->data_max_tokens) {
        log_event(
            LOG_WARN, "sample_left_out",
            LOG_FIELDS(LOG_TEXT("path", config->run_sample), LOG_TEXT("sentence", line), LOG_COUNT("words", words)),
            "%s: \"%s\" is longer than data.max_tokens %" PRId64 ", it is left out", config->run_sample,
            typed_show(line).shown, config->data_max_tokens);
    } else if (done) {
        uint16_t ids[ROW_LENGTH + 1];
        size_t size = vocab_encode(dataset->src, text.data, text.size, (size_t)config->data_length, ids, NULL, NULL);
        ids[size] = ID_EOS;
        done = samples_add(samples, line, NULL, ids, (uint16_t)size, 1, err);
    }
    buffer_free(&text);
    buffer_free(&removed);
    return done;
}

static bool samples_add_file(struct samples *samples, const struct dataset *dataset, const struct config *config,
                             struct err *err)
{
    struct lines *lines = lines_open(config->run_sample, PAIRS_LINE, err);
    struct buffer text = {0};
    bool done = lines != NULL, end = false;
    while (done && samples->count < SAMPLES_MOST) {
        struct line line;
        size_t at;
        done = lines_next(lines, &line, &end, err);
        if (!done || end)
            break;
        if (line.too_long || !utf8_valid(line.text, line.size, &at)) {
            done = err_set(err, ERR_DATA, "%s:%" PRIu64 ": %s", config->run_sample, line.number,
                           line.too_long ? "the line is longer than a sentence" : "not UTF-8 text");
            break;
        }
        buffer_clear(&text);
        buffer_append(&text, line.text, line.size);
        buffer_append(&text, "", 1);
        done =
            buffer_ok(&text, err) && (line.size == 0 || samples_add_sentence(samples, text.data, dataset, config, err));
    }
    buffer_free(&text);
    lines_close(&lines);
    return done;
}

bool samples_open(struct samples *samples, const struct dataset *dataset, const struct config *config, struct err *err)
{
    *samples = (struct samples){0};
    bool done = config->run_sample[0] == '\0' || samples_add_file(samples, dataset, config, err);
    for (uint32_t i = 0; done && i < dataset->valid && i < DATASET_SHOWN && samples->count < SAMPLES_MOST; i++) {
        const struct dataset_row *row = &dataset->rows[dataset->train + i];
        done = samples_add(samples, dataset_source(dataset, i), dataset_reference(dataset, i),
                           dataset_ids(dataset, dataset->train + i), row->src_length, row->tgt_length, err);
    }
    if (!done)
        samples_close(samples);
    return done;
}

void samples_close(struct samples *samples)
{
    for (size_t i = 0; i < samples->count; i++) {
        free(samples->sources[i]);
        free(samples->translations[i]);
    }
    packing_free(&samples->rows);
    *samples = (struct samples){0};
}

bool samples_translated(struct samples *samples, size_t index, const struct vocab *vocab, const uint16_t *ids,
                        size_t count, struct err *err)
{
    struct buffer text = {0};
    vocab_decode(vocab, ids, count, &text);
    buffer_append(&text, "", 0);
    if (!buffer_ok(&text, err)) {
        buffer_free(&text);
        return false;
    }
    free(samples->translations[index]);
    samples->translations[index] = text.data; /* a buffer's memory is malloc's */
    samples->shown[index].translation = text.data;
    return true;
}
