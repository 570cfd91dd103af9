/* progress.c - the live line, the plain lines and the table; see progress.h. */
#include "coordinator/run/progress.h"

#include "proto/base/buffer.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/cli/terminal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REDRAW_MS = 100, LINE = 512, FIELD = 48, FIELDS = 7, VALUE = 12, COLUMNS = 9 };

static void progress_clear_locked(struct display *display)
{
    static const char erase[] = "\r\033[K";
    if (!display->drawn)
        return;
    ssize_t ignored = write(STDOUT_FILENO, erase, sizeof erase - 1);
    (void)ignored;
    display->drawn = false;
}

static void progress_clear(void *context)
{
    struct display *display = context;
    pthread_mutex_lock(&display->lock);
    progress_clear_locked(display);
    pthread_mutex_unlock(&display->lock);
}

void progress_open(struct display *display, enum progress mode, uint64_t epochs)
{
    bool terminal = isatty(STDOUT_FILENO) == 1;
    *display = (struct display){.epochs = epochs, .shown = mode != PROGRESS_NONE};
    display->live = mode == PROGRESS_LIVE || (mode == PROGRESS_AUTO && terminal);
    pthread_mutex_init(&display->lock, NULL);
    if (display->live)
        log_before(progress_clear, display);
}

void progress_close(struct display *display)
{
    if (display->live) {
        log_before(NULL, NULL);
        progress_clear(display);
    }
    pthread_mutex_destroy(&display->lock);
}

/* Without a reader, nothing more is shown. Any other failure stays in stdout, where main.c finds it. */
static void progress_failed(struct display *display)
{
    if (errno != EPIPE && errno != EIO)
        return;
    clearerr(stdout);
    display->shown = false;
}

/* Print `text` and free it. */
static void progress_print(struct display *display, struct buffer *text)
{
    if (display->live)
        progress_clear(display);
    if (buffer_ok(text, NULL) && (fwrite(text->data, 1, text->size, stdout) != text->size || fflush(stdout) != 0))
        progress_failed(display);
    buffer_free(text);
}

/* "1:05:09", "5:09"; "-" = unknown. */
static const char *progress_duration(double seconds, char text[32])
{
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e9)
        return "-";
    uint64_t whole = (uint64_t)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(text, 32, "%" PRIu64 ":%02u:%02u", whole / 3600, (unsigned)(whole / 60 % 60), (unsigned)(whole % 60));
    else
        snprintf(text, 32, "%" PRIu64 ":%02u", whole / 60, (unsigned)(whole % 60));
    return text;
}

/* `value` times `scale` with its unit; "-" of the same width if unknown; 1.23e+30 if it is longer than `most`
 * characters. */
static const char *progress_value(double value, int most, int digits, double scale, const char *unit, char text[32])
{
    if (!isfinite(value))
        snprintf(text, 32, "-%*s", (int)strlen(unit), "");
    else if (snprintf(text, 32, "%.*f%s", digits, value * scale, unit) > most)
        snprintf(text, 32, "%.3g%s", value * scale, unit);
    return text;
}

/* The fields of the line that fit in `width` columns, two spaces between them. The most useful fields come first; none
 * is truncated. Fields are ASCII, so bytes are columns. */
static size_t progress_fields(const char fields[FIELDS][FIELD], size_t width, char line[LINE])
{
    static const unsigned char most_useful[FIELDS] = {0, 1, 2, 5, 6, 3, 4};
    bool shown[FIELDS] = {false};
    size_t used = 0;
    for (size_t i = 0; i < FIELDS; i++) {
        size_t field = most_useful[i], size = strlen(fields[field]) + (used > 0 ? 2 : 0);
        shown[field] = used + size <= width;
        used += shown[field] ? size : 0;
    }
    line[0] = '\0';
    for (size_t i = 0; i < FIELDS; i++)
        if (shown[i]) {
            strcat(line, line[0] != '\0' ? "  " : "");
            strcat(line, fields[i]);
        }
    return used;
}

/* The terminal's last column stays empty, because some terminals wrap when it is written. */
void progress_moment(struct display *display, const struct progress_moment *moment)
{
    int64_t now = clock_ms();
    if (!display->live || !display->shown || (display->drawn && now - display->drawn_ms < REDRAW_MS))
        return;
    char fields[FIELDS][FIELD], line[LINE], text[32], out[LINE + 16];
    snprintf(fields[0], FIELD, "epoch %" PRIu64 "/%" PRIu64, moment->epoch, display->epochs);
    snprintf(fields[1], FIELD, "step %" PRIu64 "/%" PRIu64, moment->epoch_step, moment->epoch_steps);
    snprintf(fields[2], FIELD, "loss %s", progress_value(moment->loss, VALUE, 4, 1, "", text));
    snprintf(fields[3], FIELD, "acc %s", progress_value(moment->accuracy, VALUE, 1, 100, "%", text));
    snprintf(fields[4], FIELD, "%s tok/s", progress_value(moment->tokens_per_second, VALUE, 0, 1, "", text));
    snprintf(fields[5], FIELD, "ETA %s", progress_duration(moment->eta_seconds, text));
    snprintf(fields[6], FIELD, "%s", moment->doing);
    size_t size = progress_fields(fields, terminal_width() - 1, line);
    int whole = snprintf(out, sizeof out, "\r%.*s\033[K", (int)size, line);
    pthread_mutex_lock(&display->lock);
    if (write(STDOUT_FILENO, out, (size_t)whole) < 0)
        progress_failed(display);
    display->drawn = true;
    display->drawn_ms = now;
    pthread_mutex_unlock(&display->lock);
}

/* A column of the table of epochs. */
struct column {
    const char *title;
    int width;
    bool narrow; /* also shown on a narrow terminal */
};
static const struct column progress_table[COLUMNS] = {
    {"epoch", 7, true}, {"train_loss", 10, false}, {"train_acc", 9, false}, {"val_loss", 8, true}, {"val_acc", 7, true},
    {"BLEU", 6, true},  {"norm.", 6, false},       {"tok/s", 6, false},     {"time", 7, false},
};

/* A line of the table: all columns, which take 79 with " best", or the narrow ones, which take 36. */
static void progress_table_line(const char *const cells[COLUMNS], const char *after, struct buffer *out)
{
    bool narrow = isatty(STDOUT_FILENO) == 1 && terminal_width() < 79;
    const char *before = "";
    for (size_t i = 0; i < COLUMNS; i++) {
        if (narrow && !progress_table[i].narrow)
            continue;
        buffer_format(out, "%s%*s", before, progress_table[i].width, cells[i]);
        before = " ";
    }
    buffer_format(out, "%s\n", after);
}

void progress_epoch(struct display *display, const struct epoch_record *record, bool best)
{
    char text[COLUMNS][32];
    const char *titles[COLUMNS];
    struct buffer out = {0};
    if (!display->shown)
        return;
    for (size_t i = 0; i < COLUMNS; i++)
        titles[i] = progress_table[i].title;
    if (!display->headed)
        progress_table_line(titles, "", &out);
    display->headed = true;
    snprintf(text[0], sizeof text[0], display->epochs < 1000 ? "%" PRIu64 "/%" PRIu64 : "%" PRIu64, record->epoch,
             display->epochs);
    bool thousands = record->tgt_tok_per_s >= 999999.5;
    const char *cells[COLUMNS] = {
        text[0],
        progress_value(record->train_loss, progress_table[1].width, 4, 1, "", text[1]),
        progress_value(record->train_acc, progress_table[2].width, 2, 100, "%", text[2]),
        progress_value(record->val_loss, progress_table[3].width, 4, 1, "", text[3]),
        progress_value(record->val_acc, progress_table[4].width, 2, 100, "%", text[4]),
        progress_value(record->bleu, progress_table[5].width, 2, 1, "", text[5]),
        progress_value(record->bleu_normalised, progress_table[6].width, 2, 1, "", text[6]),
        thousands ? progress_value(record->tgt_tok_per_s, VALUE, 0, 1e-3, "k", text[7])
                  : progress_value(record->tgt_tok_per_s, VALUE, 0, 1, "", text[7]),
        progress_duration(record->seconds, text[8]),
    };
    progress_table_line(cells, best ? " best" : "", &out);
    progress_print(display, &out);
}

static void progress_row(const char *name, const char *value, struct buffer *out)
{
    buffer_format(out, "  %-12s  %s\n", name, value);
}

void progress_summary(struct display *display, const struct progress_summary *summary)
{
    char text[64], value[32];
    const struct epoch_metrics *best = summary->best;
    struct buffer out = {0};
    if (!display->shown)
        return;
    buffer_format(&out, "\n%s after %" PRIu64 " epoch%s, %" PRIu64 " steps\n", summary->status, summary->epochs_done,
                  summary->epochs_done == 1 ? "" : "s", summary->steps);
    if (best != NULL) {
        snprintf(text, sizeof text, "%" PRIu64, best->epoch);
        progress_row("best epoch", text, &out);
        progress_row("val_loss", progress_value(best->val_loss, VALUE, 4, 1, "", value), &out);
        progress_row("val_acc", progress_value(best->val_acc, VALUE, 2, 100, "%", value), &out);
        progress_row("BLEU", progress_value(best->bleu, VALUE, 2, 1, "", value), &out);
        progress_row("BLEU, norm.", progress_value(best->bleu_normalised, VALUE, 2, 1, "", value), &out);
    }
    if (isfinite(summary->tgt_tok_per_s))
        progress_row("tokens/s", progress_value(summary->tgt_tok_per_s, VALUE, 0, 1, "", value), &out);
    progress_row("total time", progress_duration(summary->seconds, value), &out);
    if (summary->has_checkpoint)
        buffer_format(&out, "  %-12s  %s/%s\n", "checkpoint", summary->dir, best != NULL ? "best" : "latest");
    if (summary->has_report)
        buffer_format(&out, "  %-12s  %s/report.html\n", "report", summary->dir);
    progress_print(display, &out);
}
