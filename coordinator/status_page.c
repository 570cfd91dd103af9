/* status_page.c - a status as text for people; see status_page.h. */
#include "coordinator/status_page.h"

#include "proto/cli/terminal.h"

#include <limits.h>
#include <string.h>

static const char *status_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "?";
}

static long long status_integer(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static double status_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* A redrawn line must not wrap, so its host is truncated; in a pipe it is complete. */
static void status_format_member(const json_t *member, int host_width, struct buffer *out)
{
    const json_t *rank = json_object_get(member, "rank");
    double busy = status_real(member, "busy_seconds"), waited = status_real(member, "waited_seconds");
    char place[24] = "-";
    if (json_is_integer(rank))
        snprintf(place, sizeof place, "%lld", (long long)json_integer_value(rank));
    buffer_format(out, "  %6lld %4s %-9s %8lld %9lld %7.0f%% %7lld  %.*s\n", status_integer(member, "worker"), place,
                  status_text(member, "phase"), status_integer(member, "steps"), status_integer(member, "rows"),
                  busy > 0 ? 100 * waited / busy : 0, status_integer(member, "pid"), host_width,
                  status_text(member, "host"));
}

static void status_format_best(const json_t *run, struct buffer *out)
{
    if (json_is_number(json_object_get(run, "best_score")))
        buffer_format(out, "best: %s %.6g in epoch %lld", status_text(run, "best_metric"),
                      status_real(run, "best_score"), status_integer(run, "best_epoch"));
    else
        buffer_text(out, "no best epoch yet");
}

static void status_format_speed(const json_t *run, struct buffer *out)
{
    if (json_is_number(json_object_get(run, "tgt_tok_per_s")))
        buffer_format(out, "%.0f target tokens/s", status_real(run, "tgt_tok_per_s"));
    else
        buffer_text(out, "no speed in this epoch yet");
}

/* Append `text`. Each of its TABs becomes a space, or a line break if the part after it does not fit. */
static void status_fold(const char *text, size_t width, struct buffer *out)
{
    for (size_t column = 0; *text != '\0';) {
        size_t size = strcspn(text, "\t\n");
        bool fits = column + 1 + size <= width;
        buffer_text(out, column == 0 ? "" : fits ? " " : "\n  ");
        buffer_append(out, text, size);
        column = size + (column == 0 ? 0 : fits ? column + 1 : 2);
        text += size;
        if (*text == '\n') {
            buffer_text(out, "\n");
            column = 0;
        }
        text += *text != '\0';
    }
}

static void status_run(const json_t *run, bool redraws, struct buffer *folded)
{
    enum { BEFORE_HOST = 61 };
    const json_t *members = json_object_get(run, "members"), *member;
    size_t i, width = terminal_width();
    int host_width = !redraws ? INT_MAX : width > BEFORE_HOST ? (int)width - BEFORE_HOST : 0;
    struct buffer text = {0}, *out = &text;
    buffer_format(out, "%s:\t%s,\tstep %lld,\t%lld of %lld epochs done\t(%lld of %lld steps of the next)\n",
                  status_text(run, "run"), status_text(run, "phase"), status_integer(run, "step"),
                  status_integer(run, "epochs_done"), status_integer(run, "epochs"), status_integer(run, "epoch_step"),
                  status_integer(run, "epoch_steps"));
    status_format_speed(run, out);
    buffer_format(out, ";\tnewest checkpoint: step %lld;\t", status_integer(run, "saved_step"));
    status_format_best(run, out);
    buffer_format(out, "\ngeneration %lld: %lld active,\t%lld standby,\t%lld lost so far\n",
                  status_integer(run, "generation"), status_integer(run, "workers"), status_integer(run, "waiting"),
                  status_integer(run, "lost"));
    if (buffer_ok(out, NULL))
        status_fold(text.data, width, folded);
    folded->failed |= text.failed;
    buffer_free(&text);
    if (json_array_size(members) > 0)
        buffer_format(folded, "\n  %6s %4s %-9s %8s %9s %8s %7s  %s\n", "worker", "rank", "phase", "steps", "rows",
                      "waiting", "pid", "host");
    json_array_foreach(members, i, member) status_format_member(member, host_width, folded);
}

static void status_run_line(const json_t *run, struct buffer *out)
{
    buffer_format(out, "%s: %s, step %lld, %lld of %lld epochs done; ", status_text(run, "run"),
                  status_text(run, "phase"), status_integer(run, "step"), status_integer(run, "epochs_done"),
                  status_integer(run, "epochs"));
    status_format_speed(run, out);
    buffer_text(out, "; ");
    status_format_best(run, out);
    buffer_format(out, "; workers: %lld\n", status_integer(run, "workers"));
}

/* ---- a queue ---- */

/* The outcomes of requests that are not zero. */
static void status_format_requests(const json_t *requests, struct buffer *out)
{
    const char *outcome;
    const json_t *count;
    bool any = false;
    json_object_foreach((json_t *)requests, outcome, count)
    {
        if (json_integer_value(count) == 0)
            continue;
        buffer_format(out, "%s\t%lld %s", any ? "," : "requests:", (long long)json_integer_value(count), outcome);
        any = true;
    }
    buffer_text(out, any ? "\n" : "no requests so far\n");
}

static void status_format_model(const json_t *model, struct buffer *out)
{
    char pair[24];
    snprintf(pair, sizeof pair, "%s-%s", status_text(model, "source"), status_text(model, "target"));
    buffer_format(out, "  %-11s %8lld %5s %8lld %7.1fs %9lld  %s\n", pair, status_integer(model, "step"),
                  json_is_true(json_object_get(model, "ready")) ? "yes" : "no", status_integer(model, "waiting"),
                  status_real(model, "oldest_seconds"), status_integer(model, "sentences"), status_text(model, "hash"));
}

static void status_format_worker(const json_t *worker, int host_width, struct buffer *out)
{
    buffer_format(out, "  %6lld %-8s %7lld %9lld %9lld %9.1fs %7lld  %.*s\n", status_integer(worker, "worker"),
                  status_text(worker, "state"), status_integer(worker, "threads"), status_integer(worker, "sentences"),
                  status_integer(worker, "batches"), status_real(worker, "computed_seconds"),
                  status_integer(worker, "pid"), host_width, status_text(worker, "host"));
}

static void status_format_flow(const json_t *flow, int name_width, struct buffer *out)
{
    buffer_format(out, "  %8lld %8lld  %.*s\n", status_integer(flow, "waiting"), status_integer(flow, "requests"),
                  name_width, status_text(flow, "flow"));
}

static void status_queue(const json_t *queue, bool redraws, struct buffer *folded)
{
    enum { BEFORE_HOST = 66, BEFORE_NAME = 21 };
    const json_t *models = json_object_get(queue, "models"), *workers = json_object_get(queue, "workers"),
                 *flows = json_object_get(queue, "flows"), *one;
    size_t i, width = terminal_width();
    int host_width = !redraws ? INT_MAX : width > BEFORE_HOST ? (int)width - BEFORE_HOST : 0;
    int name_width = !redraws ? INT_MAX : width > BEFORE_NAME ? (int)width - BEFORE_NAME : 0;
    const char *trouble = json_string_value(json_object_get(queue, "trouble"));
    struct buffer text = {0}, *out = &text;
    buffer_format(out, "queue: %s,\t%lld of %lld sentences wait,\t%.0f sentences/s of about %.0f,\tclients: %lld\n",
                  trouble != NULL ? trouble : status_text(queue, "state"), status_integer(queue, "waiting"),
                  status_integer(queue, "queue_limit"), status_real(queue, "sentences_per_s"),
                  status_real(queue, "capacity_per_s"), status_integer(queue, "clients"));
    status_format_requests(json_object_get(queue, "requests"), out);
    if (buffer_ok(out, NULL))
        status_fold(text.data, width, folded);
    folded->failed |= text.failed;
    buffer_free(&text);
    buffer_format(folded, "\n  %-11s %8s %5s %8s %8s %9s  %s\n", "model", "step", "ready", "waiting", "oldest",
                  "sentences", "hash");
    json_array_foreach(models, i, one) status_format_model(one, folded);
    if (json_array_size(workers) > 0)
        buffer_format(folded, "\n  %6s %-8s %7s %9s %9s %10s %7s  %s\n", "worker", "state", "threads", "sentences",
                      "batches", "computing", "pid", "host");
    json_array_foreach(workers, i, one) status_format_worker(one, host_width, folded);
    if (json_array_size(flows) > 0)
        buffer_format(folded, "\n  %8s %8s  %s\n", "waiting", "requests", "flow");
    json_array_foreach(flows, i, one) status_format_flow(one, name_width, folded);
}

static void status_queue_line(const json_t *queue, struct buffer *out)
{
    const json_t *models = json_object_get(queue, "models"), *model;
    size_t i;
    buffer_format(out, "queue: %s, %lld sentences wait, %.0f sentences/s; models:", status_text(queue, "state"),
                  status_integer(queue, "waiting"), status_real(queue, "sentences_per_s"));
    json_array_foreach(models, i, model) buffer_format(
        out, "%s %s-%s step %lld%s", i > 0 ? "," : "", status_text(model, "source"), status_text(model, "target"),
        status_integer(model, "step"), json_is_true(json_object_get(model, "ready")) ? "" : " (not ready)");
    buffer_format(out, "; workers: %lld; clients: %lld\n", status_integer(queue, "worker_count"),
                  status_integer(queue, "clients"));
}

/* ---- either ---- */

bool status_is_queue(const json_t *status)
{
    return strcmp(status_text(status, "kind"), "queue") == 0;
}

void status_page(const json_t *status, enum status_form form, struct buffer *out)
{
    bool queue = status_is_queue(status);
    if (form == STATUS_LINE)
        (queue ? status_queue_line : status_run_line)(status, out);
    else
        (queue ? status_queue : status_run)(status, form == STATUS_REDRAWN, out);
}
