/* cmd_serve.c - `lstmq serve`: the translation queue as a process.
 *
 * One thread. Its loop owns the sockets for clients and workers, the ZAP handler that checks keys, and the watches that
 * limit connections. It also owns the broker, and the child processes that translate. They reach the queue over a
 * socket of their own, in a folder that only this user can enter.
 *
 * A supervisor such as systemd may give the listening sockets, named "queue" and "http" (proto/cli/supervisor.h). It
 * hears when the process listens, when it stops, and from the loop that it does not hang. */
#include "coordinator/http/http.h"
#include "coordinator/serve/api/api.h"
#include "coordinator/serve/broker.h"
#include "coordinator/serve/embedded.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/cli/commands.h"
#include "proto/cli/supervisor.h"
#include "proto/store/file.h"
#include "proto/wire/auth/keyring.h"
#include "proto/wire/socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum {
    FRONT_QUEUE = 4096,   /* answers that wait for one client to read them */
    FRONT_QUEUE_IN = 512, /* messages of one client that wait to be received; beyond, TCP holds the client back */
    STOP_MS = 5000,       /* for embedded workers to leave */
    HTTP_END_MS = 500,    /* for HTTP clients to end their connections */
    HTTP_LOOK_MS = 20,
    SENT_MS = 50, /* for the last HTTP answers to be sent */
    MEBIBYTE = 1 << 20,
};

struct serve {
    const struct config *config;
    struct supervisor *supervisor;
    struct loop *loop;
    int signals;
    unsigned signalled;
    struct keyring keyring;
    void *context, *front, *back;
    char bound[ENDPOINT_SIZE]; /* of the front */
    struct zap *zap;
    struct watch *front_watch, *back_watch;
    char folder[64]; /* of the private socket; "" = none */
    struct embedded *embedded;
    struct broker *broker;
    struct http *http; /* NULL = there is no HTTP */
    struct api *api;
    int64_t sent_ms; /* the last answers are sent by then */
    int64_t stop_ms; /* the embedded workers are killed then; 0 = they were not stopped */
};

/* A request may be as large as PROTOCOL.md allows, and the first one of a connection is from a stranger. */
static void serve_set_limits(struct watch *watch)
{
    static const struct watch_limits limits = {.stranger = TEXTS_BYTES + MEBIBYTE,
                                               .strangers = 4 * (uint64_t)TEXTS_BYTES,
                                               .one = 2 * (uint64_t)TEXTS_BYTES,
                                               .all = 8 * (uint64_t)TEXTS_BYTES};
    watch_set_limits(watch, &limits);
}

static bool serve_open_front(struct serve *serve, struct err *err)
{
    const struct config *config = serve->config;
    serve->front_watch = watch_new(serve->context, serve->loop, err);
    if (serve->front_watch == NULL)
        return false;
    serve_set_limits(serve->front_watch);
    if (serve->keyring.used)
        watch_keys(serve->front_watch, serve->keyring.allow);
    const struct socket_options options = {.context = serve->context,
                                           .keys = serve->keyring.used ? &serve->keyring.own : NULL,
                                           .zap = serve->zap,
                                           .domain = ZAP_SERVE,
                                           .watch = serve->front_watch,
                                           .insecure = config->curve_insecure,
                                           .front = true,
                                           .listener = supervisor_listener(serve->supervisor, "queue"),
                                           .queue = FRONT_QUEUE,
                                           .queue_in = FRONT_QUEUE_IN,
                                           .most_bytes = TEXTS_BYTES};
    serve->front = socket_bind(&options, config->serve_bind, serve->bound, err);
    return serve->front != NULL;
}

/* The socket of embedded workers. */
static bool serve_open_back(struct serve *serve, char bound[ENDPOINT_SIZE], struct err *err)
{
    char endpoint[ENDPOINT_SIZE];
    snprintf(serve->folder, sizeof serve->folder, "/tmp/lstmq-XXXXXX");
    if (mkdtemp(serve->folder) == NULL) {
        err_errno(err, ERR_IO, "cannot make the folder %s", serve->folder);
        serve->folder[0] = '\0';
        return false;
    }
    snprintf(endpoint, sizeof endpoint, "ipc://%s/workers", serve->folder);
    serve->back_watch = watch_new(serve->context, serve->loop, err);
    if (serve->back_watch == NULL)
        return false;
    const struct socket_options options = {.context = serve->context,
                                           .zap = serve->zap,
                                           .domain = ZAP_SERVE,
                                           .watch = serve->back_watch,
                                           .queue_in = FRONT_QUEUE_IN,
                                           .most_bytes = TEXTS_BYTES};
    serve->back = socket_bind(&options, endpoint, bound, err);
    return serve->back != NULL;
}

/* `listener` as in struct http_options. */
static bool serve_open_http(struct serve *serve, int listener, struct err *err)
{
    const struct config *config = serve->config;
    const struct http_options options = {.loop = serve->loop,
                                         .bind = config->http_bind,
                                         .listener = listener,
                                         .body = (size_t)config->http_body,
                                         .connections = (unsigned)config->http_connections,
                                         .timeout_ms = (int64_t)(config->http_timeout * 1000),
                                         .trust_forwarded_for = config->http_trust_forwarded_for,
                                         .access_log = config->http_access_log};
    serve->http = http_open(&options, err);
    if (serve->http == NULL)
        return false;
    serve->api = api_open(serve->http, serve->broker, config, err);
    return serve->api != NULL;
}

static bool serve_signal(void *context, struct err *err)
{
    struct serve *serve = context;
    int signal = loop_signal_take(serve->signals);
    if (signal == 0)
        return true;
    if (serve->signalled++ == 0) {
        log_event(LOG_INFO, "stopping", LOG_FIELDS(LOG_TEXT("signal", loop_signal_name(signal))),
                  "%s: answering what was accepted; a second signal ends at once", loop_signal_cause(signal));
        supervisor_stopping(serve->supervisor);
        broker_drain(serve->broker, serve->http != NULL ? HTTP_END_MS : 0);
        return loop_signal_yield(serve->loop, err);
    }
    return true;
}

/* HTTP clients keep their connections. Before the queue takes no more work, each gets an answer with "Connection:
 * close", so that it sends its next request to the next process. With serve.drain_delay there is time for that. */
static void serve_end_http(struct serve *serve)
{
    if (serve->http == NULL || serve->signalled == 0)
        return;
    if (broker_is_ending(serve->broker) || serve->config->serve_drain_delay == 0)
        http_drain(serve->http);
    if (broker_is_ending(serve->broker) || serve->config->serve_drain_delay > 0)
        return;
    if (http_counts(serve->http).connections == 0)
        broker_end(serve->broker);
    else
        loop_wake(serve->loop, HTTP_LOOK_MS);
}

/* Once a turn: end when all is answered and the embedded workers have left. */
static bool serve_turn(void *context, struct err *err)
{
    struct serve *serve = context;
    (void)err;
    if (serve->api != NULL)
        api_turn(serve->api);
    serve_end_http(serve);
    for (uint32_t dead; (dead = broker_dead_process(serve->broker)) != 0;)
        if (serve->embedded != NULL)
            embedded_kill(serve->embedded, dead);
    if (!broker_is_over(serve->broker))
        return true;
    int64_t now_ms = clock_ms();
    if (serve->stop_ms == 0) {
        serve->stop_ms = now_ms + STOP_MS;
        serve->sent_ms = now_ms + (serve->http != NULL ? SENT_MS : 0);
        if (serve->embedded != NULL)
            embedded_stop(serve->embedded);
    }
    bool left = serve->embedded == NULL || embedded_is_over(serve->embedded);
    int64_t until_ms = left ? serve->sent_ms : serve->stop_ms;
    if (now_ms >= until_ms)
        loop_stop(serve->loop);
    else
        loop_wake(serve->loop, until_ms - now_ms);
    return true;
}

static bool serve_open(struct serve *serve, struct err *err)
{
    const struct config *config = serve->config;
    char private[ENDPOINT_SIZE];
    serve->loop = loop_new(err);
    if (serve->loop == NULL)
        return false;
    serve->signals = loop_signal_fd(err);
    if (serve->signals < 0 || loop_add_fd(serve->loop, serve->signals, serve_signal, serve, err) == 0)
        return false;
    serve->context = zmq_ctx_new();
    if (serve->context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    serve->zap = zap_new(serve->context, serve->loop, serve->keyring.allow, err);
    if (serve->zap == NULL || (config->serve_workers > 0 && !serve_open_back(serve, private, err)) ||
        !serve_open_front(serve, err))
        return false;
    const struct broker_options options = {.config = config,
                                           .loop = serve->loop,
                                           .front = serve->front,
                                           .front_watch = serve->front_watch,
                                           .back = serve->back,
                                           .back_watch = serve->back_watch,
                                           .allow = serve->keyring.used ? serve->keyring.allow : NULL};
    serve->broker = broker_open(&options, err);
    if (serve->broker == NULL || loop_add_turn(serve->loop, serve_turn, serve, err) == 0)
        return false;
    int listener = supervisor_listener(serve->supervisor, "http");
    if ((listener >= 0 || config->http_bind[0] != '\0') && !serve_open_http(serve, listener, err))
        return false;
    if (config->serve_workers > 0)
        serve->embedded = embedded_open(config, serve->loop, private, err);
    return config->serve_workers == 0 || serve->embedded != NULL;
}

/* Nothing can fail to start any more. From now on users and the supervisor count on the process. */
static bool serve_report(struct serve *serve, struct err *err)
{
    int64_t feed_ms = supervisor_feed_ms(serve->supervisor);
    log_event(LOG_INFO, "listening", LOG_FIELDS(LOG_TEXT("address", serve->bound)),
              "waiting for requests: lstmq translate --connect %s", serve->bound);
    if (serve->http != NULL)
        log_event(LOG_INFO, "http_listening", LOG_FIELDS(LOG_TEXT("address", http_address(serve->http))),
                  "waiting for HTTP requests at http://%s", http_address(serve->http));
    supervisor_check(serve->supervisor);
    supervisor_ready(serve->supervisor);
    return feed_ms == 0 || loop_add_timer(serve->loop, feed_ms, feed_ms, supervisor_feed, serve->supervisor, err) != 0;
}

static void serve_close(struct serve *serve)
{
    embedded_close(&serve->embedded);
    api_close(&serve->api);
    http_close(&serve->http);
    broker_close(&serve->broker);
    watch_destroy(&serve->front_watch);
    watch_destroy(&serve->back_watch);
    socket_close(&serve->front);
    socket_close(&serve->back);
    zap_destroy(&serve->zap);
    if (serve->context != NULL)
        zmq_ctx_term(serve->context);
    if (serve->folder[0] != '\0')
        folder_remove(serve->folder, NULL);
    if (serve->signals >= 0)
        close(serve->signals);
    loop_destroy(&serve->loop);
    supervisor_close(&serve->supervisor);
}

bool cmd_serve(const struct command_call *call, struct err *err)
{
    struct serve serve = {.config = call->config, .signals = -1};
    if (!endpoint_check(call->config->serve_bind, true, err))
        return err_context(err, "serve.bind");
    if (!socket_raise_files(SOCKET_FILES, err) || !keyring_open_server(&serve.keyring, call->config, err))
        return false;
    serve.supervisor = supervisor_open(err);
    bool ok =
        serve.supervisor != NULL && serve_open(&serve, err) && serve_report(&serve, err) && loop_run(serve.loop, err);
    serve_close(&serve);
    keyring_close(&serve.keyring);
    return ok;
}
