/* progress.c - the live line, the plain lines and the table; see progress.h. */
#include "coordinator/progress.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { REDRAW_MS = 100, LINE = 512 };

static void s_clear_locked(struct display *display)
{
    static const char erase[] = "\r\033[K";
    if (!display->drawn)
        return;
    ssize_t ignored = write(STDOUT_FILENO, erase, sizeof erase - 1);
    (void)ignored;
    display->drawn = false;
}

static void s_clear(void *context)
{
    struct display *display = context;
    pthread_mutex_lock(&display->lock);
    s_clear_locked(display);
    pthread_mutex_unlock(&display->lock);
}

void progress_open(struct display *display, enum progress mode, uint64_t epochs)
{
    bool terminal = isatty(STDOUT_FILENO) == 1;
    *display = (struct display){.epochs = epochs, .table = mode != PROGRESS_NONE};
    display->live = mode == PROGRESS_LIVE || (mode == PROGRESS_AUTO && terminal);
    display->plain = mode != PROGRESS_NONE;
    pthread_mutex_init(&display->lock, NULL);
    if (display->live)
        log_before(s_clear, display);
}

void progress_close(struct display *display)
{
    if (display->live) {
        log_before(NULL, NULL);
        s_clear(display);
    }
    fflush(stdout);
    pthread_mutex_destroy(&display->lock);
}

static size_t s_terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

/* "1:05:09", "5:09"; "-" when unknown. */
static const char *s_duration(double seconds, char text[32])
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

/* `value` times `scale` with its unit, or "-" in the same width when it is unknown. */
static const char *s_value(double value, int width, int digits, double scale, const char *unit, char text[32])
{
    if (isfinite(value))
        snprintf(text, 32, "%*.*f%s", width, digits, value * scale, unit);
    else
        snprintf(text, 32, "%*s%*s", width, "-", (int)strlen(unit), "");
    return text;
}

/* The line has ASCII only, so bytes are columns. The last column stays free: some terminals wrap when it is written. */
void progress_moment(struct display *display, const struct progress_moment *moment)
{
    int64_t now = clock_ms();
    if (!display->live || (display->drawn && now - display->drawn_ms < REDRAW_MS))
        return;
    char line[LINE], loss[32], accuracy[32], speed[32], eta[32];
    int size = snprintf(
        line, sizeof line,
        "epoch %" PRIu64 "/%" PRIu64 "  step %" PRIu64 "/%" PRIu64 "  loss %s  acc %s  %s tok/s  ETA %s  %s",
        moment->epoch, display->epochs, moment->epoch_step, moment->epoch_steps,
        s_value(moment->loss, 0, 4, 1, "", loss), s_value(moment->accuracy, 0, 1, 100, "%", accuracy),
        s_value(moment->tokens_per_second, 0, 0, 1, "", speed), s_duration(moment->eta_seconds, eta), moment->doing);
    size_t shown = size < 0 ? 0 : (size_t)size;
    if (shown > sizeof line - 1)
        shown = sizeof line - 1;
    size_t width = s_terminal_width();
    if (shown > width - 1)
        shown = width - 1;
    char out[LINE + 16];
    int whole = snprintf(out, sizeof out, "\r%.*s\033[K", (int)shown, line);
    fflush(stdout);
    pthread_mutex_lock(&display->lock);
    ssize_t ignored = write(STDOUT_FILENO, out, (size_t)whole);
    (void)ignored;
    display->drawn = true;
    display->drawn_ms = now;
    pthread_mutex_unlock(&display->lock);
}

void progress_epoch(struct display *display, const struct epoch_record *record, bool best)
{
    char text[9][32];
    if (!display->plain)
        return;
    if (display->live)
        s_clear(display);
    if (!display->headed)
        printf("%7s %10s %9s %8s %7s %6s %6s %6s %7s\n", "epoch", "train_loss", "train_acc", "val_loss", "val_acc",
               "BLEU", "norm.", "tok/s", "time");
    display->headed = true;
    snprintf(text[0], sizeof text[0], "%" PRIu64 "/%" PRIu64, record->epoch, display->epochs);
    printf("%7s %10s %9s %8s %7s %6s %6s %6s %7s%s\n", text[0], s_value(record->train_loss, 0, 4, 1, "", text[1]),
           s_value(record->train_acc, 0, 2, 100, "%", text[2]), s_value(record->val_loss, 0, 4, 1, "", text[3]),
           s_value(record->val_acc, 0, 2, 100, "%", text[4]), s_value(record->bleu, 0, 2, 1, "", text[5]),
           s_value(record->bleu_normalised, 0, 2, 1, "", text[8]), s_value(record->tgt_tok_per_s, 0, 0, 1, "", text[6]),
           s_duration(record->seconds, text[7]), best ? " best" : "");
    fflush(stdout);
}

static void s_row(const char *name, const char *value)
{
    printf("  %-12s  %s\n", name, value);
}

void progress_summary(struct display *display, const struct progress_summary *summary)
{
    char text[64], value[32];
    const struct epoch_metrics *best = summary->best;
    if (!display->table)
        return;
    if (display->live)
        s_clear(display);
    printf("\n%s after %" PRIu64 " epoch%s, %" PRIu64 " steps\n", summary->status, summary->epochs_done,
           summary->epochs_done == 1 ? "" : "s", summary->steps);
    if (best != NULL) {
        snprintf(text, sizeof text, "%" PRIu64, best->epoch);
        s_row("best epoch", text);
        s_row("val_loss", s_value(best->val_loss, 0, 4, 1, "", value));
        s_row("val_acc", s_value(best->val_acc, 0, 2, 100, "%", value));
        s_row("BLEU", s_value(best->bleu, 0, 2, 1, "", value));
        s_row("BLEU, norm.", s_value(best->bleu_normalised, 0, 2, 1, "", value));
    }
    if (isfinite(summary->tgt_tok_per_s))
        s_row("tokens/s", s_value(summary->tgt_tok_per_s, 0, 0, 1, "", value));
    s_row("total time", s_duration(summary->seconds, value));
    if (summary->has_checkpoint)
        printf("  %-12s  %s/%s\n", "checkpoint", summary->dir, best != NULL ? "best" : "latest");
    if (summary->has_report)
        printf("  %-12s  %s/report.html\n", "report", summary->dir);
    fflush(stdout);
}
