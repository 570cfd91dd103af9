/* keyed_server.c - the smallest server with keys: the parts of every lstmq server, without a service.
 *
 *     keyed_server SECONDS [KEY=VALUE...]
 *
 * KEY is an option of the coordinator: cluster.bind, curve.key, curve.allow, curve.insecure. Prints the endpoint that
 * it has bound, answers ASK by STATUS with its counters, trusts a peer that sends a valid HELLO, and ends after SECONDS
 * or on SIGTERM. */
#include "proto/base/log.h"
#include "proto/wire/auth/keyring.h"
#include "proto/wire/socket.h"
#include "proto/wire/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

struct server {
    struct loop *loop;
    void *context, *socket;
    struct keyring keyring;
    struct zap *zap;
    struct watch *watch;
    int signals;
    uint64_t hellos;
};

static bool keyed_server_stop(void *context, struct err *err)
{
    struct server *server = context;
    (void)err;
    loop_stop(server->loop);
    return true;
}

/* Whether the sender has a key with that role; without keys every peer has every role. */
static bool keyed_server_has_role(struct server *server, const struct route *from, enum curve_role role)
{
    if (!server->keyring.used)
        return true;
    const struct curve_public *known = zap_find(server->zap, from->key);
    return known != NULL && known->role == role;
}

static void keyed_server_answer(struct server *server, const struct route *from)
{
    char json[128];
    struct watch_counts watch = watch_counts(server->watch);
    struct zap_counts zap = server->zap == NULL ? (struct zap_counts){0} : zap_counts(server->zap);
    snprintf(json, sizeof json, "{\"hellos\": %llu, \"let_in\": %llu, \"refused\": %llu}",
             (unsigned long long)server->hellos, (unsigned long long)zap.accepted,
             (unsigned long long)(zap.refused + watch.refused));
    const struct message answer = {.type = MESSAGE_STATUS, .status = {.json = {json, strlen(json)}}};
    struct err err = {0};
    if (!message_send(server->socket, from, &answer, &err))
        log_event(LOG_WARN, "unanswered", LOG_FIELDS(LOG_TEXT("reason", err.text)), "no answer: %s", err.text);
}

static bool keyed_server_ready(void *context, struct err *err)
{
    struct server *server = context;
    struct message message;
    (void)err;
    for (int i = 0; i < 100; i++) {
        struct route from = {.fd = -1};
        struct err bad = {0};
        bool got, good = message_receive(server->socket, &from, false, &message, &got, &bad);
        if (good && !got)
            break;
        watch_received(server->watch, &from);
        if (!good)
            continue;
        if (!watch_knows(server->watch, &from)) {
            message_close(&message);
            continue;
        }
        if (message.type == MESSAGE_HELLO && keyed_server_has_role(server, &from, ROLE_TRAIN)) {
            server->hellos++;
            watch_trust(server->watch, &from);
        } else if (message.type == MESSAGE_ASK) {
            keyed_server_answer(server, &from);
        }
        message_close(&message);
    }
    return true;
}

static bool keyed_server_open(struct server *server, const struct config *config, struct err *err)
{
    char bound[ENDPOINT_SIZE];
    server->loop = loop_new(err);
    server->context = zmq_ctx_new();
    if (server->loop == NULL || !keyring_open_server(&server->keyring, config, err))
        return false;
    server->zap = zap_new(server->context, server->loop, server->keyring.allow, err);
    server->watch = server->zap != NULL ? watch_new(server->context, server->loop, err) : NULL;
    if (server->watch == NULL)
        return false;
    if (server->keyring.used)
        watch_keys(server->watch, server->keyring.allow);
    const struct socket_options options = {.context = server->context,
                                           .keys = server->keyring.used ? &server->keyring.own : NULL,
                                           .zap = server->zap,
                                           .domain = ZAP_TRAIN,
                                           .watch = server->watch,
                                           .insecure = config->curve_insecure,
                                           .most_bytes = 4 << 20};
    server->socket = socket_bind(&options, config->cluster_bind, bound, err);
    if (server->socket == NULL)
        return false;
    server->signals = loop_signal_fd(err);
    if (server->signals < 0)
        return false;
    printf("%s\n", bound);
    fflush(stdout);
    return loop_add_socket(server->loop, server->socket, keyed_server_ready, server, err) != 0 &&
           loop_add_fd(server->loop, server->signals, keyed_server_stop, server, err) != 0;
}

static void keyed_server_close(struct server *server)
{
    if (server->watch != NULL)
        watch_destroy(&server->watch);
    socket_close(&server->socket);
    zap_destroy(&server->zap);
    zmq_ctx_term(server->context);
    loop_destroy(&server->loop);
    keyring_close(&server->keyring);
    if (server->signals > 0)
        close(server->signals);
}

int main(int argc, char **argv)
{
    struct config config;
    struct err err = {0};
    struct server server = {0};
    config_defaults(&config);
    log_open("keyed_server", LOG_INFO);
    bool ok = argc > 1;
    for (int i = 2; ok && i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        ok = equals != NULL;
        if (ok) {
            *equals = '\0';
            ok = config_set(&config, argv[i], equals + 1, &err);
        }
    }
    log_use_json(config.log_format == 1);
    ok = ok && keyed_server_open(&server, &config, &err) &&
         loop_add_timer(server.loop, strtol(argv[1], NULL, 10) * 1000, 0, keyed_server_stop, &server, &err) != 0 &&
         loop_run(server.loop, &err);
    keyed_server_close(&server);
    if (!ok)
        fprintf(stderr, "keyed_server: %s\n", err.text);
    return ok ? 0 : err_exit_status(err.code);
}
