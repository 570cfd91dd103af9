/* cmd_status.c - `lstmq status`: request a run's status from its coordinator and print it, once or repeatedly.
 *
 * A monitor watches the connection. So the command fails at once if no coordinator listens, or if the key is refused.
 * Only a silent peer takes ANSWER_MS. With --watch, the run is over when a coordinator that answered before cannot be
 * reached. */
#include "proto/base/buffer.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/cli/commands.h"
#include "proto/cli/terminal.h"
#include "proto/wire/auth/keyring.h"
#include "proto/wire/message.h"
#include "proto/wire/monitor.h"
#include "proto/wire/socket.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { ANSWER_MS = 5000, STATUS_FILES = 16 };

struct inquiry {
    const struct config *config;
    bool has_key, redraws;
    void *socket;
    struct monitor *monitor;
    bool begun, answered; /* connected once; answered once */
    unsigned refusals;    /* consecutive */
    int64_t due_ms;       /* deadline of the answer; 0 = none is due */
    int64_t next_ms;      /* time of the next request; 0 = on connection */
    bool done;
};

static const char *status_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "?";
}

static long long cmd_status_integer(const json_t *object, const char *key)
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
    buffer_format(out, "  %6lld %4s %-9s %8lld %9lld %7.0f%% %7lld  %.*s\n", cmd_status_integer(member, "worker"),
                  place, status_text(member, "phase"), cmd_status_integer(member, "steps"),
                  cmd_status_integer(member, "rows"), busy > 0 ? 100 * waited / busy : 0,
                  cmd_status_integer(member, "pid"), host_width, status_text(member, "host"));
}

static void status_format_best(const json_t *run, struct buffer *out)
{
    if (json_is_number(json_object_get(run, "best_score")))
        buffer_format(out, "best: %s %.6g in epoch %lld", status_text(run, "best_metric"),
                      status_real(run, "best_score"), cmd_status_integer(run, "best_epoch"));
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

static void status_format(const json_t *run, bool redraws, struct buffer *folded)
{
    enum { BEFORE_HOST = 61 };
    const json_t *members = json_object_get(run, "members"), *member;
    size_t i, width = terminal_width();
    int host_width = !redraws ? INT_MAX : width > BEFORE_HOST ? (int)width - BEFORE_HOST : 0;
    struct buffer text = {0}, *out = &text;
    buffer_format(out, "%s:\t%s,\tstep %lld,\t%lld of %lld epochs done\t(%lld of %lld steps of the next)\n",
                  status_text(run, "run"), status_text(run, "phase"), cmd_status_integer(run, "step"),
                  cmd_status_integer(run, "epochs_done"), cmd_status_integer(run, "epochs"),
                  cmd_status_integer(run, "epoch_step"), cmd_status_integer(run, "epoch_steps"));
    status_format_speed(run, out);
    buffer_format(out, ";\tnewest checkpoint: step %lld;\t", cmd_status_integer(run, "saved_step"));
    status_format_best(run, out);
    buffer_format(out, "\ngeneration %lld: %lld active,\t%lld standby,\t%lld lost so far\n",
                  cmd_status_integer(run, "generation"), cmd_status_integer(run, "workers"),
                  cmd_status_integer(run, "waiting"), cmd_status_integer(run, "lost"));
    if (buffer_ok(out, NULL))
        status_fold(text.data, width, folded);
    folded->failed |= text.failed;
    buffer_free(&text);
    if (json_array_size(members) > 0)
        buffer_format(folded, "\n  %6s %4s %-9s %8s %9s %8s %7s  %s\n", "worker", "rank", "phase", "steps", "rows",
                      "waiting", "pid", "host");
    json_array_foreach(members, i, member) status_format_member(member, host_width, folded);
}

static void status_format_line(const json_t *run, struct buffer *out)
{
    buffer_format(out, "%s: %s, step %lld, %lld of %lld epochs done; ", status_text(run, "run"),
                  status_text(run, "phase"), cmd_status_integer(run, "step"), cmd_status_integer(run, "epochs_done"),
                  cmd_status_integer(run, "epochs"));
    status_format_speed(run, out);
    buffer_text(out, "; ");
    status_format_best(run, out);
    buffer_format(out, "; workers: %lld\n", cmd_status_integer(run, "workers"));
}

static bool status_show(const struct inquiry *inquiry, const struct text *answer, struct err *err)
{
    const struct config *config = inquiry->config;
    struct buffer out = {0};
    json_error_t error;
    json_t *run = json_loadb(answer->data, answer->size, JSON_REJECT_DUPLICATES, &error);
    if (run == NULL)
        return err_set(err, ERR_PROTOCOL, "the coordinator's answer is not JSON: %s", error.text);
    if (inquiry->redraws)
        buffer_text(&out, "\033[H\033[J"); /* move to the upper left corner and erase */
    if (config->output_json)
        buffer_format(&out, "%.*s\n", (int)answer->size, answer->data);
    else if (config->status_watch && !inquiry->redraws)
        status_format_line(run, &out);
    else
        status_format(run, inquiry->redraws, &out);
    json_decref(run);
    bool ok = buffer_ok(&out, err) && command_print(&out, err);
    buffer_free(&out);
    return ok;
}

/* ---- the connection ---- */

static bool status_send_ask(struct inquiry *inquiry, struct err *err)
{
    const struct message ask = {.type = MESSAGE_ASK, .ask = {.detail = 1}};
    inquiry->next_ms = 0;
    inquiry->due_ms = clock_ms() + ANSWER_MS;
    return message_send(inquiry->socket, NULL, &ask, err) || err->code == ERR_FULL;
}

/* A coordinator that is ending also breaks off a handshake. So after an answer, only the second refusal counts. */
static bool status_refused(struct inquiry *inquiry, struct err *err)
{
    if (inquiry->answered && ++inquiry->refusals < 2 && !monitor_is_spent(inquiry->monitor))
        return true;
    if (inquiry->has_key)
        return err_set(err, ERR_FAILED, "%s refuses this key: " MONITOR_KEY_ADVICE, inquiry->config->cluster_connect,
                       "coordinator", "coordinator");
    return err_set(err, ERR_FAILED,
                   "%s refuses a connection without a key: does the coordinator need --key and --server, or is it not "
                   "a coordinator?",
                   inquiry->config->cluster_connect);
}

static bool status_late(const struct inquiry *inquiry, struct err *err)
{
    const char *endpoint = inquiry->config->cluster_connect;
    if (inquiry->answered)
        return err_set(err, ERR_FAILED, "%s no longer answers: was its coordinator stopped, or is its host too busy?",
                       endpoint);
    if (inquiry->begun)
        return err_set(err, ERR_FAILED, "%s: connected, but no answer within %d s: is it a coordinator?", endpoint,
                       ANSWER_MS / 1000);
    return err_set(err, ERR_FAILED,
                   "%s: no connection within %d s: is the host up, and does a firewall let the port through?", endpoint,
                   ANSWER_MS / 1000);
}

static bool status_unreached(struct inquiry *inquiry, struct err *err)
{
    if (!inquiry->answered) {
        endpoint_explain(inquiry->config->cluster_connect, err);
        return false;
    }
    log_say(LOG_INFO, "run_over", LOG_FIELDS(LOG_TEXT("address", inquiry->config->cluster_connect)),
            "%s: the run is over, or its coordinator was stopped", inquiry->config->cluster_connect);
    inquiry->done = true;
    return true;
}

static bool status_on_monitor(struct inquiry *inquiry, struct err *err)
{
    enum monitor_news news;
    if (!monitor_take(inquiry->monitor, &news, err))
        return false;
    inquiry->begun = inquiry->begun || news == MONITOR_BEGUN;
    if (news == MONITOR_STANDS) {
        inquiry->refusals = 0;
        return status_send_ask(inquiry, err);
    }
    if (news == MONITOR_SILENT && inquiry->answered)
        return status_late(inquiry, err);
    if (news == MONITOR_SILENT)
        return err_set(err, ERR_FAILED, "%s" MONITOR_SILENT_ADVICE, inquiry->config->cluster_connect, "coordinator");
    if (news == MONITOR_REFUSED)
        return status_refused(inquiry, err);
    if (news == MONITOR_BROKE) { /* libzmq connects again */
        inquiry->next_ms = 0;
        inquiry->due_ms = clock_ms() + ANSWER_MS;
    }
    return news != MONITOR_UNREACHED || status_unreached(inquiry, err);
}

static bool status_on_answer(struct inquiry *inquiry, struct err *err)
{
    struct message answer;
    bool got;
    if (!message_receive(inquiry->socket, NULL, false, &answer, &got, err))
        return false;
    if (!got)
        return true;
    bool ok = answer.type == MESSAGE_STATUS
                  ? status_show(inquiry, &answer.status.json, err)
                  : err_set(err, ERR_PROTOCOL, "%s: the answer is no STATUS", inquiry->config->cluster_connect);
    message_close(&answer);
    inquiry->answered = true;
    inquiry->done = !inquiry->config->status_watch;
    inquiry->due_ms = 0;
    inquiry->next_ms = clock_ms() + (int64_t)(inquiry->config->status_every * 1000);
    return ok;
}

static bool status_converse(struct inquiry *inquiry, struct err *err)
{
    zmq_pollitem_t items[] = {{.socket = inquiry->socket, .events = ZMQ_POLLIN},
                              {.socket = monitor_socket(inquiry->monitor), .events = ZMQ_POLLIN}};
    bool ok = true;
    inquiry->due_ms = clock_ms() + ANSWER_MS;
    while (ok && !inquiry->done) {
        int64_t now = clock_ms();
        if (inquiry->due_ms != 0 && now >= inquiry->due_ms)
            return status_late(inquiry, err);
        if (inquiry->next_ms != 0 && now >= inquiry->next_ms && !status_send_ask(inquiry, err))
            return false;
        int64_t until_ms = inquiry->next_ms != 0 ? inquiry->next_ms : inquiry->due_ms;
        int ready = zmq_poll(items, 2, until_ms > now ? (long)(until_ms - now) : 0);
        if (ready < 0 && zmq_errno() != EINTR)
            return socket_error(err, "cannot wait for an answer");
        if (ready > 0 && (items[0].revents & ZMQ_POLLIN) != 0)
            ok = status_on_answer(inquiry, err);
        if (ok && ready > 0 && !inquiry->done && (items[1].revents & ZMQ_POLLIN) != 0)
            ok = status_on_monitor(inquiry, err);
    }
    return ok;
}

static bool status_ask(const struct config *config, struct err *err)
{
    struct keyring keyring = {0};
    struct inquiry inquiry = {.config = config,
                              .redraws = config->status_watch && !config->output_json && isatty(STDOUT_FILENO) == 1};
    if (!endpoint_check(config->cluster_connect, false, err))
        return err_context(err, "cluster.connect");
    if (!socket_raise_files(STATUS_FILES, err) || !keyring_open_client(&keyring, config, err))
        return false;
    inquiry.has_key = keyring.used;
    const struct socket_options options = {.context = zmq_ctx_new(),
                                           .keys = keyring.used ? &keyring.own : NULL,
                                           .server_key = keyring.used ? keyring.server.key : NULL,
                                           .monitor = &inquiry.monitor};
    if (options.context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    inquiry.socket = socket_connect(&options, config->cluster_connect, err);
    bool ok = inquiry.socket != NULL && status_converse(&inquiry, err);
    int linger = 0;
    monitor_destroy(&inquiry.monitor);
    if (inquiry.socket != NULL) {
        zmq_setsockopt(inquiry.socket, ZMQ_LINGER, &linger, sizeof linger);
        socket_close(&inquiry.socket);
    }
    zmq_ctx_term(options.context);
    keyring_close(&keyring);
    return ok;
}

bool cmd_status(const struct command_call *call, struct err *err)
{
    return status_ask(call->config, err);
}
