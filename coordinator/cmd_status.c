/* cmd_status.c - `lstmq status`: ask a coordinator how its run stands, and print the answer. */
#include "coordinator/commands.h"
#include "proto/base/buffer.h"
#include "proto/wire/keyring.h"
#include "proto/wire/message.h"
#include "proto/wire/socket.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { ANSWER_MS = 5000, STATUS_FILES = 16 };

static const char *s_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "?";
}

static long long s_integer(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static double s_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void s_format_member(const json_t *member, struct buffer *out)
{
    const json_t *rank = json_object_get(member, "rank");
    double busy = s_real(member, "busy_seconds"), waited = s_real(member, "waited_seconds");
    char place[24] = "-";
    if (json_is_integer(rank))
        snprintf(place, sizeof place, "%lld", (long long)json_integer_value(rank));
    buffer_format(out, "  %6lld %4s %-9s %8lld %9lld %7.0f%% %7lld  %s\n", s_integer(member, "worker"), place,
                  s_text(member, "phase"), s_integer(member, "steps"), s_integer(member, "rows"),
                  busy > 0 ? 100 * waited / busy : 0, s_integer(member, "pid"), s_text(member, "host"));
}

static void s_format(const json_t *run, struct buffer *out)
{
    const json_t *members = json_object_get(run, "members"), *member;
    size_t i;
    buffer_format(out, "%s: %s, step %lld, %lld of %lld epochs done (%lld of %lld steps of the next)\n",
                  s_text(run, "run"), s_text(run, "phase"), s_integer(run, "step"), s_integer(run, "epochs_done"),
                  s_integer(run, "epochs"), s_integer(run, "epoch_step"), s_integer(run, "epoch_steps"));
    buffer_format(out, "%.0f target tokens/s; newest checkpoint: step %lld", s_real(run, "tgt_tok_per_s"),
                  s_integer(run, "saved_step"));
    if (json_is_number(json_object_get(run, "best_score")))
        buffer_format(out, "; best: epoch %lld, %.6g", s_integer(run, "best_epoch"), s_real(run, "best_score"));
    buffer_format(out, "\ngeneration %lld: %lld at work, %lld in reserve, %lld lost so far\n",
                  s_integer(run, "generation"), s_integer(run, "workers"), s_integer(run, "waiting"),
                  s_integer(run, "lost"));
    if (json_array_size(members) > 0)
        buffer_format(out, "\n  %6s %4s %-9s %8s %9s %8s %7s  %s\n", "worker", "rank", "phase", "steps", "rows",
                      "waiting", "pid", "host");
    json_array_foreach(members, i, member) s_format_member(member, out);
}

static bool s_show(const struct text *answer, bool as_json, struct err *err)
{
    struct buffer out = {0};
    json_error_t error;
    json_t *run = json_loadb(answer->data, answer->size, JSON_REJECT_DUPLICATES, &error);
    if (run == NULL)
        return err_set(err, ERR_PROTOCOL, "the coordinator's answer is not JSON: %s", error.text);
    if (as_json)
        buffer_format(&out, "%.*s\n", (int)answer->size, answer->data);
    else
        s_format(run, &out);
    json_decref(run);
    bool ok = buffer_ok(&out, err) && command_print(&out, err);
    buffer_free(&out);
    return ok;
}

static bool s_converse(void *socket, const struct config *config, struct err *err)
{
    const struct message ask = {.type = MESSAGE_ASK, .ask = {.detail = 1}};
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    struct message answer;
    int timeout = ANSWER_MS;
    bool got;
    if (zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout, sizeof timeout) != 0)
        return socket_error(err, "cannot set up a socket");
    if (!message_send_wait(socket, NULL, &ask, err) || zmq_poll(&item, 1, ANSWER_MS) <= 0)
        return err_set(err, ERR_FAILED,
                       "%s: no answer within %d s: is a coordinator there, and is this key one that it lets ask?",
                       config->cluster_connect, ANSWER_MS / 1000);
    if (!message_receive(socket, NULL, false, &answer, &got, err))
        return false;
    bool ok = got && answer.type == MESSAGE_STATUS
                  ? s_show(&answer.status.json, config->output_json, err)
                  : err_set(err, ERR_PROTOCOL, "%s: the answer is no STATUS", config->cluster_connect);
    message_close(&answer);
    return ok;
}

static bool s_ask(const struct config *config, struct err *err)
{
    struct keyring keyring = {0};
    if (!socket_check(config->cluster_connect, false, err))
        return err_context(err, "cluster.connect");
    if (!socket_raise_files(STATUS_FILES, err) || !keyring_open_client(&keyring, config, err))
        return false;
    const struct socket_options options = {.context = zmq_ctx_new(),
                                           .keys = keyring.used ? &keyring.own : NULL,
                                           .server_key = keyring.used ? keyring.server.key : NULL};
    if (options.context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    void *socket = socket_connect(&options, config->cluster_connect, err);
    bool ok = socket != NULL && s_converse(socket, config, err);
    int linger = 0;
    if (socket != NULL) {
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
        socket_close(&socket);
    }
    zmq_ctx_term(options.context);
    keyring_close(&keyring);
    return ok;
}

bool cmd_status(const struct command *self, int argc, char **argv, struct err *err)
{
    struct config config;
    bool done = false;
    int words;
    return command_config(self, argc, argv, &config, &words, &done, err) && (done || s_ask(&config, err));
}
