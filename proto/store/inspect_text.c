/* inspect_text.c - an inspection for people: a page of 80 columns. Text from a file is shown without control
 * characters, so that a checkpoint cannot send commands to the terminal. */
#include "proto/store/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NUMBER_TEXT = 32, SHAPE_TEXT = TENSOR_DIMS * 24 };

static void inspect_shown(struct buffer *out, const char *text)
{
    size_t from = out->size;
    buffer_text(out, text);
    if (out->failed)
        return;
    for (size_t i = from; i < out->size; i++) {
        unsigned char byte = (unsigned char)out->data[i];
        unsigned char next = (unsigned char)out->data[i + 1];
        bool c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0;
        if (byte < 0x20 || byte == 0x7f || c1)
            out->data[i] = '?';
        if (c1)
            out->data[++i] = '?';
    }
}

/* 1234567 as "1,234,567". */
static const char *inspect_grouped(char text[NUMBER_TEXT], uint64_t number)
{
    char digits[NUMBER_TEXT];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *to = text;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

static const char *inspect_bytes(char text[NUMBER_TEXT], uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    if (bytes < 1000) {
        snprintf(text, NUMBER_TEXT, "%" PRIu64 " B", bytes);
        return text;
    }
    double scaled = (double)bytes / 1000;
    size_t unit = 0;
    while (scaled >= 999.95 && unit + 1 < sizeof units / sizeof *units) {
        scaled /= 1000;
        unit++;
    }
    snprintf(text, NUMBER_TEXT, "%.1f %s", scaled, units[unit]);
    return text;
}

static void inspect_option(const struct config *config, const char *key, struct buffer *value)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    buffer_clear(value);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].key, key) == 0)
            config_get(config, &rows[i], value);
    }
}

static void inspect_run_text(const struct inspection *found, struct buffer *out)
{
    char size[NUMBER_TEXT], step[NUMBER_TEXT];
    if (found->run[0] == '\0')
        return;
    buffer_text(out, "Run ");
    inspect_shown(out, found->run);
    buffer_format(out, "\n  %-18s %11s %13s %10s  %s\n", "checkpoint", "epochs done", "step", "size", "verdict");
    for (size_t i = 0; i < found->row_count; i++) {
        const struct inspect_row *row = &found->rows[i];
        bool whole = row->reason[0] == '\0';
        const char *links = row->best && row->latest ? ", best, latest"
                            : row->best              ? ", best"
                            : row->latest            ? ", latest"
                                                     : "";
        buffer_format(out, "  %-18s ", row->name);
        if (whole)
            buffer_format(out, "%11" PRIu64 " ", row->epoch - 1);
        else
            buffer_format(out, "%11s ", "-");
        buffer_format(out, "%13s %10s  %s%s\n", inspect_grouped(step, row->step),
                      whole ? inspect_bytes(size, row->size) : "-", whole ? "whole" : "DAMAGED", links);
    }
    buffer_text(out, "\n");
}

static void inspect_fact(struct buffer *out, const char *name)
{
    buffer_format(out, "  %-12s ", name);
}

static void inspect_model_text(const struct inspection *found, struct buffer *out)
{
    const struct config *config = &found->state.config;
    char one[NUMBER_TEXT], other[NUMBER_TEXT];
    struct buffer cell = {0};
    inspect_fact(out, "languages");
    inspect_shown(out, config->data_src_lang);
    buffer_text(out, " to ");
    inspect_shown(out, config->data_tgt_lang);
    buffer_text(out, "\n");
    inspect_option(config, "model.cell", &cell);
    inspect_fact(out, "model");
    buffer_format(out, "%s, embedding %" PRId64 ", hidden %" PRId64 ", layers %" PRId64 "\n",
                  cell.failed ? "?" : cell.data, config->model_embed, config->model_hidden, config->model_layers);
    buffer_free(&cell);
    inspect_fact(out, "words");
    buffer_format(out, "%s source, %s target\n", inspect_grouped(one, found->src_words),
                  inspect_grouped(other, found->tgt_words));
    inspect_fact(out, "parameters");
    buffer_format(out, "%s in %zu tensors\n", inspect_grouped(one, found->parameters), found->model.count);
}

static void inspect_progress_text(const struct inspection *found, struct buffer *out)
{
    const struct checkpoint_state *state = &found->state;
    char one[NUMBER_TEXT], other[NUMBER_TEXT];
    inspect_fact(out, "step");
    buffer_format(out, "%s (%s)\n", inspect_grouped(one, state->step),
                  found->reason[0] == '\0' && !found->resumable ? "cannot be resumed: optimizer.safetensors is absent"
                  : state->finished                             ? "finished"
                                                                : "can be resumed");
    inspect_fact(out, "epochs done");
    buffer_format(out, "%s of %" PRId64, inspect_grouped(one, state->epoch - 1), state->config.train_epochs);
    if (state->epoch_step > 0)
        buffer_format(out, ", and %s steps of the next", inspect_grouped(other, state->epoch_step));
    buffer_text(out, "\n");
    inspect_fact(out, "best score");
    if (state->has_best) {
        struct buffer metric = {0};
        inspect_option(&state->config, "train.keep_best", &metric);
        buffer_format(out, "%s %.6g, epoch %" PRIu64 ", step %s\n", metric.failed ? "?" : metric.data,
                      state->best_score, state->best_epoch, inspect_grouped(one, state->best_step));
        buffer_free(&metric);
    } else {
        buffer_text(out, "none yet\n");
    }
    inspect_fact(out, "dataset");
    buffer_format(out, "%s\n", state->dataset[0] == '\0' ? "-" : state->dataset);
    inspect_fact(out, "written");
    inspect_shown(out, state->created);
    buffer_text(out, " by lstmq ");
    inspect_shown(out, state->version);
    buffer_text(out, "\n");
}

static void inspect_files_text(const struct inspection *found, struct buffer *out)
{
    char size[NUMBER_TEXT];
    if (found->file_count == 0)
        return;
    buffer_format(out, "\n  %-28s %14s  %-16s  %s\n", "file", "bytes", "xxh3", "verdict");
    for (size_t i = 0; i < found->file_count; i++) {
        const struct inspect_file *file = &found->files[i];
        buffer_format(out, "  %-28s %14s  %016" PRIx64 "  %s\n", file->entry.name,
                      inspect_grouped(size, file->entry.size), file->entry.xxh3,
                      file->absent              ? "absent"
                      : file->reason[0] == '\0' ? "whole"
                                                : "DAMAGED");
    }
}

static void inspect_tensors_text(const struct inspection *found, struct buffer *out)
{
    if (found->model.count == 0)
        return;
    buffer_format(out, "\n  %-34s %-5s %20s %14s\n", "tensor", "dtype", "shape", "elements");
    for (size_t i = 0; i < found->model.count; i++) {
        const struct tensor_entry *tensor = &found->model.tensors[i];
        char shape[SHAPE_TEXT] = "", elements[NUMBER_TEXT];
        size_t used = 0;
        for (int d = 0; d < tensor->dims; d++)
            used +=
                (size_t)snprintf(shape + used, sizeof shape - used, "%s%" PRIu64, d > 0 ? " x " : "", tensor->shape[d]);
        size_t begin = out->size;
        buffer_text(out, "  ");
        inspect_shown(out, tensor->name);
        buffer_format(out, "%*s %-5s %20s %14s\n", (int)(out->size - begin < 36 ? 36 - (out->size - begin) : 0), "",
                      tensor->dtype, shape, inspect_grouped(elements, inspect_elements(tensor)));
    }
}

/* Each option that differs from the built-in default, one a line, with the default behind it. */
static void inspect_changed_text(const struct config *config, const struct config *defaults, struct buffer *out)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    struct buffer value = {0}, usual = {0};
    buffer_format(out, "\n  %-22s %-28s %s\n", "configuration, changed", "value", "default");
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&value);
        buffer_clear(&usual);
        config_get(config, &rows[i], &value);
        config_get(defaults, &rows[i], &usual);
        if (value.failed || usual.failed || strcmp(value.data, usual.data) == 0)
            continue;
        buffer_format(out, "  %-22s ", rows[i].key);
        size_t begin = out->size;
        inspect_shown(out, value.data);
        buffer_format(out, "%*s %s\n", (int)(out->size - begin < 28 ? 28 - (out->size - begin) : 0), "",
                      usual.size == 0 ? "-" : usual.data);
    }
    buffer_free(&value);
    buffer_free(&usual);
}

/* The other options that training uses, two a line. */
static void inspect_default_text(const struct config *config, const struct config *defaults, struct buffer *out)
{
    size_t count, shown = 0, width = 0;
    const struct option_row *rows = config_options(&count);
    struct buffer value = {0}, usual = {0};
    buffer_text(out, "\n  configuration, as built in\n");
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&value);
        buffer_clear(&usual);
        config_get(config, &rows[i], &value);
        config_get(defaults, &rows[i], &usual);
        if ((rows[i].commands & COMMAND_TRAIN) == 0 || value.failed || usual.failed ||
            strcmp(value.data, usual.data) != 0)
            continue;
        const char *text = value.size == 0 ? "-" : value.data;
        bool left = shown++ % 2 == 0;
        if (left)
            buffer_text(out, shown > 1 ? "\n" : "");
        else
            buffer_format(out, "%*s ", (int)(width < 15 ? 15 - width : 0), "");
        buffer_format(out, "%s%-22s %s", left ? "  " : "", rows[i].key, text);
        width = strlen(text);
    }
    buffer_text(out, shown > 0 ? "\n" : "");
    buffer_free(&value);
    buffer_free(&usual);
}

void inspect_text(const struct inspection *found, struct buffer *out)
{
    inspect_run_text(found, out);
    buffer_text(out, "Checkpoint ");
    inspect_shown(out, found->folder);
    buffer_format(out, "\n  %-12s %s\n", "verdict", found->reason[0] == '\0' ? "whole" : "DAMAGED");
    if (found->has_state) {
        inspect_model_text(found, out);
        inspect_progress_text(found, out);
    }
    inspect_files_text(found, out);
    inspect_tensors_text(found, out);
    if (found->has_state) {
        struct config defaults;
        config_defaults(&defaults);
        inspect_changed_text(&found->state.config, &defaults, out);
        inspect_default_text(&found->state.config, &defaults, out);
    }
}
