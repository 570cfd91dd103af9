/* metrics.c - read metrics.jsonl; see metrics.h. */
#include "coordinator/run/metrics.h"

#include "proto/base/buffer.h"
#include "proto/store/file.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A line has about 300 bytes; no run has that many epochs. */
static const size_t metrics_largest_file = (size_t)256 << 20;

static double metrics_number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* False: the line describes no epoch. */
static bool metrics_parse_line(const char *line, size_t size, struct epoch_metrics *row)
{
    json_t *object = json_loadb(line, size, 0, NULL);
    json_int_t epoch = json_integer_value(json_object_get(object, "epoch"));
    bool good = epoch > 0;
    if (good)
        *row = (struct epoch_metrics){
            .epoch = (uint64_t)epoch,
            .train_loss = metrics_number_of(object, "train_loss"),
            .val_loss = metrics_number_of(object, "val_loss"),
            .val_tf_loss = metrics_number_of(object, "val_tf_loss"),
            .train_acc = metrics_number_of(object, "train_acc"),
            .val_acc = metrics_number_of(object, "val_acc"),
            .bleu = metrics_number_of(object, "bleu"),
            .bleu_normalised = metrics_number_of(object, "bleu_normalised"),
            .tgt_tokens = metrics_number_of(object, "tgt_tokens"),
            .tgt_tok_per_s = metrics_number_of(object, "tgt_tok_per_s"),
            .seconds = metrics_number_of(object, "seconds"),
        };
    if (good && json_object_get(object, "bleu_normalised") == NULL) { /* an older lstmq wrote one BLEU, which was this
                                                                       * one */
        row->bleu_normalised = row->bleu;
        row->bleu = NAN;
    }
    json_decref(object);
    return good;
}

/* Training seconds of `row`; 0 = unknown. */
static double metrics_trained(const struct epoch_metrics *row)
{
    return row->tgt_tok_per_s > 0 && isfinite(row->tgt_tokens) ? row->tgt_tokens / row->tgt_tok_per_s : 0;
}

double metrics_speed(const struct metrics *metrics)
{
    double tokens = 0, seconds = 0;
    for (size_t i = 0; i < metrics->count; i++) {
        double trained = metrics_trained(&metrics->epochs[i]);
        tokens += trained > 0 ? metrics->epochs[i].tgt_tokens : 0;
        seconds += trained;
    }
    return seconds > 0 ? tokens / seconds : (double)NAN;
}

double metrics_seconds(const struct metrics *metrics)
{
    double seconds = 0;
    for (size_t i = 0; i < metrics->count; i++)
        seconds += metrics->epochs[i].seconds > 0 ? metrics->epochs[i].seconds : 0;
    return seconds;
}

/* The index of `epoch`, or its insertion point. Lines are in order except after a resume, so the search begins at the
 * end. */
static size_t metrics_place_of(const struct metrics *metrics, uint64_t epoch)
{
    size_t place = metrics->count;
    while (place > 0 && metrics->epochs[place - 1].epoch >= epoch)
        place--;
    return place;
}

static bool metrics_keep_row(struct metrics *metrics, const struct epoch_metrics *row, struct err *err)
{
    size_t place = metrics_place_of(metrics, row->epoch);
    if (place < metrics->count && metrics->epochs[place].epoch == row->epoch) {
        metrics->epochs[place] = *row;
        return true;
    }
    if (metrics->count == metrics->capacity) {
        size_t capacity = metrics->capacity ? 2 * metrics->capacity : 64;
        struct epoch_metrics *epochs = realloc(metrics->epochs, capacity * sizeof *epochs);
        if (!epochs)
            return err_set(err, ERR_MEMORY, "no memory for the metrics of %zu epochs", capacity);
        metrics->epochs = epochs;
        metrics->capacity = capacity;
    }
    memmove(metrics->epochs + place + 1, metrics->epochs + place, (metrics->count - place) * sizeof *row);
    metrics->epochs[place] = *row;
    metrics->count++;
    return true;
}

bool metrics_read(struct metrics *metrics, const char *path, struct err *err)
{
    *metrics = (struct metrics){0};
    if (access(path, F_OK) != 0)
        return true;
    struct buffer text = {0};
    bool good = file_read(path, metrics_largest_file, &text, err);
    for (size_t at = 0; good && at < text.size;) {
        const char *line = text.data + at, *newline = memchr(line, '\n', text.size - at);
        size_t size = newline ? (size_t)(newline - line) : text.size - at;
        struct epoch_metrics row;
        if (metrics_parse_line(line, size, &row))
            good = metrics_keep_row(metrics, &row, err);
        at += size + 1;
    }
    buffer_free(&text);
    return good;
}

void metrics_free(struct metrics *metrics)
{
    free(metrics->epochs);
    *metrics = (struct metrics){0};
}

const struct epoch_metrics *metrics_of(const struct metrics *metrics, uint64_t epoch)
{
    size_t place = metrics_place_of(metrics, epoch);
    return place < metrics->count && metrics->epochs[place].epoch == epoch ? metrics->epochs + place : NULL;
}
