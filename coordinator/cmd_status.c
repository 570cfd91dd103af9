/* cmd_status.c - `lstmq status`: request the status of a run or a queue, and print it, once or repeatedly.
 *
 * A monitor watches the connection. So the command fails at once if no server listens, or if the key is refused.
 * Only a silent peer takes ANSWER_MS. With --watch, the run is over when a server that answered before cannot be
 * reached. */
#include "coordinator/status_page.h"
#include "proto/base/buffer.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/cli/commands.h"
#include "proto/wire/auth/keyring.h"
#include "proto/wire/message.h"
#include "proto/wire/monitor.h"
#include "proto/wire/socket.h"

#include <errno.h>
#include <jansson.h>
#include <unistd.h>
#include <zmq.h>

enum { ANSWER_MS = 5000, STATUS_FILES = 16 };

struct inquiry {
    const struct config *config;
    bool has_key, redraws;
    void *socket;
    struct monitor *monitor;
    bool begun, answered; /* connected once; answered once */
    bool of_queue;        /* the last answer was a queue's */
    unsigned refusals;    /* consecutive */
    int64_t due_ms;       /* deadline of the answer; 0 = none is due */
    int64_t next_ms;      /* time of the next request; 0 = on connection */
    bool done;
};

static bool status_show(struct inquiry *inquiry, const struct text *answer, struct err *err)
{
    const struct config *config = inquiry->config;
    struct buffer out = {0};
    json_error_t error;
    json_t *status = json_loadb(answer->data, answer->size, JSON_REJECT_DUPLICATES, &error);
    if (status == NULL)
        return err_set(err, ERR_PROTOCOL, "the answer is not JSON: %s", error.text);
    inquiry->of_queue = status_is_queue(status);
    if (inquiry->redraws)
        buffer_text(&out, "\033[H\033[J"); /* move to the upper left corner and erase */
    if (config->output_json)
        buffer_format(&out, "%.*s\n", (int)answer->size, answer->data);
    else
        status_page(status,
                    inquiry->redraws       ? STATUS_REDRAWN
                    : config->status_watch ? STATUS_LINE
                                           : STATUS_WHOLE,
                    &out);
    json_decref(status);
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
                       "server", "server");
    return err_set(err, ERR_FAILED,
                   "%s refuses a connection without a key: does the server need --key and --server, or is it neither "
                   "a coordinator nor a queue?",
                   inquiry->config->cluster_connect);
}

static bool status_late(const struct inquiry *inquiry, struct err *err)
{
    const char *endpoint = inquiry->config->cluster_connect;
    if (inquiry->answered)
        return err_set(err, ERR_FAILED, "%s no longer answers: was its process stopped, or is its host too busy?",
                       endpoint);
    if (inquiry->begun)
        return err_set(err, ERR_FAILED, "%s: connected, but no answer within %d s: is it a coordinator or queue?",
                       endpoint, ANSWER_MS / 1000);
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
            inquiry->of_queue ? "%s: the queue was stopped" : "%s: the run is over, or its coordinator was stopped",
            inquiry->config->cluster_connect);
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
        return err_set(err, ERR_FAILED, "%s" MONITOR_SILENT_ADVICE, inquiry->config->cluster_connect,
                       "coordinator or queue");
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

bool cmd_status(const struct command_call *call, struct err *err)
{
    const struct config *config = call->config;
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
