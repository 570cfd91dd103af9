/* report.c - RUN/report.html; see report.h.
 *
 * The page is coordinator/run/report.html.in, a template in which one function of the table below replaces each
 * {{name}}. Everything but the curves is plain HTML made here, so the page can be read without JavaScript. The curves
 * get one JSON object of number columns. */
#include "coordinator/run/report.h"

#include "coordinator/run/html.h"
#include "coordinator/run/metrics.h"
#include "coordinator/run/report_asset.h"
#include "proto/base/version.h"
#include "proto/store/file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The sources of the slots. */
struct report_page {
    const struct report_facts *facts;
    const struct metrics *metrics;
    const struct epoch_metrics *best; /* the best epoch, otherwise the last; NULL before the first */
};

/* 4548132 as "4,548,132". */
static void report_grouped(struct buffer *out, uint64_t number)
{
    if (number >= 1000) {
        report_grouped(out, number / 1000);
        buffer_format(out, ",%03u", (unsigned)(number % 1000));
    } else {
        buffer_format(out, "%u", (unsigned)number);
    }
}

static void report_slot_title(struct buffer *out, const struct report_page *page)
{
    html_text(out, page->facts->title);
}

static void report_slot_status(struct buffer *out, const struct report_page *page)
{
    const char *status = page->facts->status;
    html_text(out, strcmp(status, "training") == 0 ? "not finished when written" : status);
}

/* The first word of the status, as a class name. */
static void report_slot_status_class(struct buffer *out, const struct report_page *page)
{
    const char *status = page->facts->status;
    buffer_append(out, status, strspn(status, "abcdefghijklmnopqrstuvwxyz"));
}

static void report_slot_about(struct buffer *out, const struct report_page *page)
{
    const struct report_facts *facts = page->facts;
    html_text(out, facts->config->data_src_lang);
    buffer_text(out, " → ");
    html_text(out, facts->config->data_tgt_lang);
    buffer_text(out, ", ");
    report_grouped(out, facts->train_pairs);
    buffer_text(out, " training pairs and ");
    report_grouped(out, facts->valid_pairs);
    buffer_text(out, " for validation, vocabularies of ");
    report_grouped(out, facts->src_vocab);
    buffer_text(out, " and ");
    report_grouped(out, facts->tgt_vocab);
    buffer_text(out, " words");
    if (facts->parameters > 0) {
        buffer_text(out, ", ");
        report_grouped(out, facts->parameters);
        buffer_text(out, " parameters");
    }
    buffer_text(out, ".");
    buffer_format(out, " Learning rate %g, batch %lld, hidden %lld.", facts->config->train_lr,
                  (long long)facts->config->train_batch, (long long)facts->config->model_hidden);
}

/* One sentence on over- or underfitting, from the teacher-forced losses: those compare with training's. */
static void report_slot_fit(struct buffer *out, const struct report_page *page)
{
    static const double rise = 1.02, gain = 0.98, level = 1.1;
    const struct metrics *metrics = page->metrics;
    size_t count = metrics->count, least = 0;
    if (count < 3)
        return;
    const struct epoch_metrics *rows = metrics->epochs, *last = rows + count - 1,
                               *before = rows + count - 1 - count / 5;
    before -= before == last;
    for (size_t i = 0; i < count; i++)
        if (rows[i].val_tf_loss < rows[least].val_tf_loss)
            least = i;
    if (!isfinite(last->val_tf_loss) || !isfinite(rows[0].val_tf_loss) || !isfinite(last->train_loss))
        buffer_text(out, "Over- or underfitting cannot be judged without validation losses.");
    else if (last->val_tf_loss > rise * rows[least].val_tf_loss && last->train_loss < rows[least].train_loss)
        buffer_format(
            out,
            "Overfitting since epoch %llu: the training loss still falls, the validation loss (decoder forced) "
            "rose from %.3f to %.3f.",
            (unsigned long long)rows[least].epoch, rows[least].val_tf_loss, last->val_tf_loss);
    else if (last->val_tf_loss < gain * before->val_tf_loss)
        buffer_text(out, "Underfitting: the validation loss still falls at the last epoch; more epochs would help.");
    else if (last->val_tf_loss < level * last->train_loss && last->train_loss > 1)
        buffer_text(out, "Underfitting: training and validation loss are level and close; a larger model may help.");
    else
        buffer_text(out, "No overfitting: the validation loss (decoder forced) is level at the last epochs.");
}

/* Text whose lines may break between words, but not after the dashes of an option. */
static void report_words(struct buffer *out, const char *text)
{
    while (*text) {
        size_t size = strcspn(text, " ");
        char *word = strndup(text, size);
        if (!word) {
            out->failed = true;
            return;
        }
        buffer_text(out, "<span>");
        html_text(out, word);
        buffer_text(out, "</span>");
        free(word);
        text += size;
        if (*text == ' ')
            buffer_append(out, text++, 1);
    }
}

/* When the page was written, the run's state then, and the program: a killed run must not seem to continue. */
static void report_slot_written(struct buffer *out, const struct report_page *page)
{
    const struct metrics *metrics = page->metrics;
    uint64_t done = metrics->count > 0 ? metrics->epochs[metrics->count - 1].epoch : 0;
    char date[32], host[256] = "";
    struct tm utc;
    time_t now = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    buffer_format(out, "As of %s: epoch %llu of %lld. Written by lstmq %s", date, (unsigned long long)done,
                  (long long)page->facts->config->train_epochs, LSTMQ_VERSION);
    if (gethostname(host, sizeof host - 1) == 0) {
        buffer_text(out, " on ");
        html_text(out, host);
    }
    buffer_text(out, ".");
    if (page->facts->command != NULL) {
        buffer_text(out, " Command: <code>");
        report_words(out, page->facts->command);
        buffer_text(out, "</code>");
    }
}

/* A number with `digits` decimals, a dash for NAN. */
static void report_figure(struct buffer *out, double value, int digits, const char *unit)
{
    if (isfinite(value))
        buffer_format(out, "%.*f%s", digits, value, unit);
    else
        buffer_text(out, "–");
}

static void report_tile(struct buffer *out, const char *name, double value, int digits, const char *unit,
                        const char *note)
{
    buffer_format(out, "<div><dt>%s</dt><dd>", name);
    report_figure(out, value, digits, unit);
    buffer_format(out, "<small>%s</small></dd></div>\n", note);
}

static void report_tile_speed(struct buffer *out, const struct metrics *metrics)
{
    double speed = metrics_speed(metrics);
    buffer_text(out, "<div><dt>Speed</dt><dd>");
    if (speed < 1e18)
        report_grouped(out, (uint64_t)(speed + 0.5));
    else
        buffer_text(out, "–");
    buffer_text(out, "<small>target tokens/s, mean</small></dd></div>\n");
}

static void report_tile_time(struct buffer *out, const struct metrics *metrics)
{
    double seconds = metrics_seconds(metrics);
    buffer_text(out, "<div><dt>Time</dt><dd>");
    if (seconds >= 3600)
        buffer_format(out, "%.0f h %02.0f m", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    else if (seconds >= 60)
        buffer_format(out, "%.0f m %02.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
    else
        buffer_format(out, "%.1f s", seconds);
    buffer_text(out, "<small>validation included</small></dd></div>\n");
}

static void report_slot_scores(struct buffer *out, const struct report_page *page)
{
    const struct epoch_metrics *best = page->best;
    if (!best)
        return;
    bool is_best = best->epoch == page->facts->best_epoch;
    bool forced = page->facts->config->train_valid_decode == VALID_FORCED;
    buffer_text(out, "<dl class=\"scores\">\n");
    buffer_format(out, "<div><dt>%s</dt><dd>%llu<small>of %llu</small></dd></div>\n",
                  is_best ? "Best epoch" : "Last epoch", (unsigned long long)best->epoch,
                  (unsigned long long)page->metrics->epochs[page->metrics->count - 1].epoch);
    report_tile(out, "Validation accuracy", best->val_acc * 100, 1, " %",
                forced ? "of tokens, teacher forcing" : "of tokens, free running");
    report_tile(out, "Validation loss", best->val_loss, 3, "", "nats per token");
    char normalised[64] = "of 100, greedy decoding";
    if (isfinite(best->bleu_normalised))
        snprintf(normalised, sizeof normalised, "of 100; normalised references: %.2f", best->bleu_normalised);
    report_tile(out, "BLEU", best->bleu, 2, "", normalised);
    report_tile_speed(out, page->metrics);
    report_tile_time(out, page->metrics);
    buffer_text(out, "</dl>\n");
}

/* A chart's frame; `keys` is its legend in HTML. The template's script draws into the canvas by its id. */
static void report_chart(struct buffer *out, const char *id, const char *title, const char *note, const char *keys)
{
    buffer_format(out,
                  "<figure><h3>%s</h3><p>%s</p><ul class=\"key\">%s</ul>"
                  "<div class=\"plot\"><canvas id=\"%s\" role=\"img\" aria-label=\"%s by epoch; the numbers are in the "
                  "table of epochs\"></canvas></div></figure>\n",
                  title, note, keys, id, title);
}

static void report_slot_charts(struct buffer *out, const struct report_page *page)
{
    if (page->metrics->count == 0) {
        buffer_text(out, "<p class=\"empty\">No epoch has finished yet: the curves begin with the first one.</p>\n");
        return;
    }
    bool scored = false;
    for (size_t i = 0; i < page->metrics->count; i++)
        scored = scored || isfinite(page->metrics->epochs[i].bleu_normalised);
    buffer_text(out, "<h2>Curves</h2>\n<p class=\"only-plain\">The curves need JavaScript. Their numbers are in the "
                     "<a href=\"#numbers\">table of epochs</a>.</p>\n<div class=\"charts\">\n");
    report_chart(out, "loss", "Loss", "Nats per token. The upright line marks the best epoch.",
                 "<li class=\"one\"><i></i>training</li><li class=\"two\"><i></i>validation</li>"
                 "<li class=\"three\"><i></i>validation, decoder forced</li>");
    report_chart(out, "accuracy", "Accuracy", "Share of target tokens that are predicted correctly.",
                 "<li class=\"one\"><i></i>training</li><li class=\"two\"><i></i>validation</li>");
    if (scored)
        report_chart(out, "bleu", "BLEU", "Greedy translations of the validation pairs.",
                     "<li class=\"two\"><i></i>references as written</li>"
                     "<li class=\"three\"><i></i>references normalised</li>");
    report_chart(out, "speed", "Speed", "Target tokens per second of training time.",
                 "<li class=\"one\"><i></i>training</li>");
    buffer_text(out, "</div>\n");
}

/* A cell of the samples; `label` is its heading on a narrow screen. <bdi> lets the text find its own direction, which
 * Arabic needs. */
static void report_sample_cell(struct buffer *out, const char *label, const char *language, const char *text,
                               const char *none)
{
    buffer_format(out, "<td data-label=\"%s\">", label);
    if (text && *text) {
        buffer_text(out, "<bdi lang=\"");
        html_text(out, language);
        buffer_text(out, "\">");
        html_text(out, text);
        buffer_text(out, "</bdi></td>");
    } else {
        buffer_format(out, "<span class=\"none\">%s</span></td>", none);
    }
}

static void report_slot_samples(struct buffer *out, const struct report_page *page)
{
    const struct report_facts *facts = page->facts;
    if (facts->sample_count == 0)
        return;
    buffer_text(out, "<h2>Sample translations</h2>\n<div class=\"panel\"><table class=\"samples\"><thead><tr>"
                     "<th>Source</th><th>Reference</th><th>Translation</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < facts->sample_count; i++) {
        const struct report_sample *sample = facts->samples + i;
        buffer_text(out, "<tr>");
        report_sample_cell(out, "Source", facts->config->data_src_lang, sample->source, "empty");
        report_sample_cell(out, "Reference", facts->config->data_tgt_lang, sample->reference, "none given");
        report_sample_cell(out, "Translation", facts->config->data_tgt_lang, sample->translation, "empty");
        buffer_text(out, "</tr>\n");
    }
    buffer_text(out, "</tbody></table></div>\n");
}

/* The rows of the settings that have their default, or of the others. Returns their number. */
static size_t report_settings_rows(struct buffer *out, const struct config *config, bool at_default)
{
    struct config defaults;
    config_defaults(&defaults);
    size_t count, written = 0;
    const struct option_row *rows = config_options(&count);
    struct buffer value = {0}, usual = {0};
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&value);
        buffer_clear(&usual);
        config_get(config, rows + i, &value);
        config_get(&defaults, rows + i, &usual);
        bool same = value.size == usual.size && (value.size == 0 || memcmp(value.data, usual.data, value.size) == 0);
        if (!(rows[i].commands & COMMAND_TRAIN) || same != at_default)
            continue;
        buffer_format(out, "<tr><td>%s</td><td>", rows[i].key);
        html_text(out, value.size ? value.data : "–");
        buffer_text(out, "</td><td>");
        html_text(out, rows[i].help);
        buffer_text(out, "</td></tr>\n");
        written++;
    }
    buffer_free(&value);
    buffer_free(&usual);
    return written;
}

static void report_settings_table(struct buffer *out, const char *rows)
{
    buffer_text(out, "<div class=\"panel\"><table class=\"settings\"><thead><tr><th>Setting</th><th>Value</th>"
                     "<th>Meaning</th></tr></thead><tbody>\n");
    buffer_text(out, rows);
    buffer_text(out, "</tbody></table></div>\n");
}

static void report_slot_settings(struct buffer *out, const struct report_page *page)
{
    struct buffer rows = {0};
    buffer_text(out, "<h2>Settings</h2>\n");
    if (report_settings_rows(&rows, page->facts->config, false) > 0)
        report_settings_table(out, rows.data);
    buffer_clear(&rows);
    size_t usual = report_settings_rows(&rows, page->facts->config, true);
    if (usual > 0) {
        buffer_format(out, "<details><summary>%zu settings at their defaults</summary>\n", usual);
        report_settings_table(out, rows.data);
        buffer_text(out, "</details>\n");
    }
    out->failed = out->failed || rows.failed;
    buffer_free(&rows);
}

static void report_epoch_cell(struct buffer *out, double value, int digits)
{
    buffer_text(out, "<td>");
    report_figure(out, value, digits, "");
    buffer_text(out, "</td>");
}

static void report_slot_epochs(struct buffer *out, const struct report_page *page)
{
    const struct metrics *metrics = page->metrics;
    if (metrics->count == 0)
        return;
    buffer_format(out,
                  "<h2 id=\"numbers\">Epochs</h2>\n<details open><summary>Numbers of %s%zu epoch%s</summary><div "
                  "class=\"panel scroll\">",
                  metrics->count > 1 ? "all " : "", metrics->count, metrics->count > 1 ? "s" : "");
    buffer_text(out,
                "<table class=\"epochs\"><thead><tr><th>Epoch</th><th>Training loss</th><th>Training accuracy, %</th>"
                "<th>Validation loss</th><th>forced</th><th>Validation accuracy, %</th><th>BLEU</th><th>normalised</th>"
                "<th>Target tokens/s</th><th>Seconds</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < metrics->count; i++) {
        const struct epoch_metrics *row = metrics->epochs + i;
        buffer_format(out, "<tr%s><td>%llu</td>", row->epoch == page->facts->best_epoch ? " class=\"best\"" : "",
                      (unsigned long long)row->epoch);
        report_epoch_cell(out, row->train_loss, 4);
        report_epoch_cell(out, row->train_acc * 100, 2);
        report_epoch_cell(out, row->val_loss, 4);
        report_epoch_cell(out, row->val_tf_loss, 4);
        report_epoch_cell(out, row->val_acc * 100, 2);
        report_epoch_cell(out, row->bleu, 2);
        report_epoch_cell(out, row->bleu_normalised, 2);
        report_epoch_cell(out, row->tgt_tok_per_s, 0);
        report_epoch_cell(out, row->seconds, 1);
        buffer_text(out, "</tr>\n");
    }
    buffer_text(out, "</tbody></table></div></details>\n");
}

/* One column of the metrics as a JSON array; null for values that are not numbers. */
static json_t *report_column(const struct metrics *metrics, size_t offset)
{
    json_t *array = json_array();
    for (size_t i = 0; i < metrics->count; i++) {
        double value;
        memcpy(&value, (const char *)(metrics->epochs + i) + offset, sizeof value);
        json_array_append_new(array, isfinite(value) ? json_real(value) : json_null());
    }
    return array;
}

static void report_slot_data(struct buffer *out, const struct report_page *page)
{
    static const struct {
        const char *name;
        size_t offset;
    } report_columns[] = {
        {"train_loss", offsetof(struct epoch_metrics, train_loss)},
        {"val_loss", offsetof(struct epoch_metrics, val_loss)},
        {"val_tf_loss", offsetof(struct epoch_metrics, val_tf_loss)},
        {"train_acc", offsetof(struct epoch_metrics, train_acc)},
        {"val_acc", offsetof(struct epoch_metrics, val_acc)},
        {"bleu", offsetof(struct epoch_metrics, bleu)},
        {"bleu_normalised", offsetof(struct epoch_metrics, bleu_normalised)},
        {"tgt_tok_per_s", offsetof(struct epoch_metrics, tgt_tok_per_s)},
    };
    json_t *object = json_object(), *epochs = json_array();
    for (size_t i = 0; i < page->metrics->count; i++)
        json_array_append_new(epochs, json_integer((json_int_t)page->metrics->epochs[i].epoch));
    json_object_set_new(object, "epoch", epochs);
    json_object_set_new(object, "best_epoch", json_integer((json_int_t)page->facts->best_epoch));
    for (size_t i = 0; i < sizeof report_columns / sizeof *report_columns; i++)
        json_object_set_new(object, report_columns[i].name, report_column(page->metrics, report_columns[i].offset));
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (text)
        html_json(out, text);
    else
        out->failed = true;
    free(text);
    json_decref(object);
}

/* Omit the pointer to a source map at the end of some editions, because a browser's tools would request it. */
static void report_slot_chart_js(struct buffer *out, const struct report_page *page)
{
    (void)page;
    const char *map = strstr(report_chart_js, "//# sourceMappingURL=");
    buffer_append(out, report_chart_js, map ? (size_t)(map - report_chart_js) : strlen(report_chart_js));
}

static const struct {
    const char *name;
    void (*write)(struct buffer *out, const struct report_page *page);
} report_slots[] = {
    {"fit", report_slot_fit},           {"written", report_slot_written},
    {"title", report_slot_title},       {"status_class", report_slot_status_class},
    {"status", report_slot_status},     {"about", report_slot_about},
    {"scores", report_slot_scores},     {"charts", report_slot_charts},
    {"samples", report_slot_samples},   {"settings", report_slot_settings},
    {"epochs", report_slot_epochs},     {"data", report_slot_data},
    {"chart_js", report_slot_chart_js},
};

/* The template with its slots filled. The template is part of the program, so an unknown slot is a bug. */
static bool report_page_write(struct buffer *out, const struct report_page *page, struct err *err)
{
    const char *at = report_template;
    for (const char *open; (open = strstr(at, "{{"));) {
        size_t length = strcspn(open + 2, "}"), i = 0;
        buffer_append(out, at, (size_t)(open - at));
        while (i < sizeof report_slots / sizeof *report_slots &&
               (strncmp(report_slots[i].name, open + 2, length) != 0 || report_slots[i].name[length] != '\0'))
            i++;
        if (i == sizeof report_slots / sizeof *report_slots)
            return err_set(err, ERR_FAILED, "report template: unknown slot {{%.*s}}", (int)length, open + 2);
        report_slots[i].write(out, page);
        at = open + 2 + length + 2;
    }
    buffer_text(out, at);
    return buffer_ok(out, err);
}

bool report_write(const char *run, const struct report_facts *facts, struct err *err)
{
    char path[FILE_PATH];
    struct buffer html = {0};
    struct metrics metrics = {0};
    bool good = path_join(path, run, "metrics.jsonl", err) && metrics_read(&metrics, path, err);
    if (good) {
        const struct epoch_metrics *best = metrics_of(&metrics, facts->best_epoch);
        if (!best && metrics.count > 0)
            best = metrics.epochs + metrics.count - 1;
        const struct report_page page = {.facts = facts, .metrics = &metrics, .best = best};
        good = report_page_write(&html, &page, err);
    }
    good = good && path_join(path, run, "report.html", err) && file_write_atomic(path, html.data, html.size, err);
    metrics_free(&metrics);
    buffer_free(&html);
    return good || err_context(err, "report of %s", run);
}
