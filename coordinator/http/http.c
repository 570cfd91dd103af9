/* http.c - the server's life, and its turn; see http.h and http_inside.h. */
#include "coordinator/http/http_inside.h"

#include "proto/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

enum { HTTP_EVENTS = 64 };

/* ---- clients and their lists ---- */

static struct client_list *client_list_of(struct client *client)
{
    struct http *http = client->http;
    switch (client->state) {
    case CLIENT_ARRIVED:
        return &http->arrived;
    case CLIENT_TAKEN:
    case CLIENT_LEFT:
        return &http->taken;
    case CLIENT_GONE:
        return &http->gone;
    default:
        return &http->active;
    }
}

static bool client_waits(const struct client *client)
{
    return client->state >= CLIENT_ARRIVED && client->state <= CLIENT_LEFT;
}

static void client_unlink(struct client_list *list, struct client *client)
{
    *(client->previous != NULL ? &client->previous->next : &list->first) = client->next;
    *(client->next != NULL ? &client->next->previous : &list->last) = client->previous;
    client->previous = client->next = NULL;
}

static void client_append(struct client_list *list, struct client *client)
{
    client->previous = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = client;
    list->last = client;
}

static void client_begin(struct client *client)
{
    client->since_ms = clock_ms();
    client->look_ms = client->since_ms + client->http->timeout_ms;
    client->progress = 0;
}

void client_move(struct client *client, enum client_state state)
{
    uint64_t *waiting = &client->http->counts.waiting;
    *waiting -= client_waits(client);
    client_unlink(client_list_of(client), client);
    client->state = state;
    client_begin(client);
    client_append(client_list_of(client), client);
    *waiting += client_waits(client);
}

struct client *client_new(struct http *http)
{
    struct client *client = http->unused.first;
    if (client != NULL) {
        client_unlink(&http->unused, client);
    } else {
        client = calloc(1, sizeof *client);
        if (client == NULL)
            return NULL;
        client->http = http;
    }
    client->state = CLIENT_IDLE;
    client->hung_up = client->cut = false;
    client->requests = 0;
    client_begin(client);
    client_append(&http->active, client);
    return client;
}

void client_retire(struct client *client)
{
    client->http->counts.waiting -= client_waits(client);
    client_unlink(client_list_of(client), client);
    client->connection = NULL;
    client->fd = -1;
    client_append(&client->http->unused, client);
}

/* An event of this client's descriptor: has its other side ended the connection? A child process that has just begun
 * keeps old descriptors for a moment, so the event may be about an earlier connection. */
static void client_hang_up(struct client *client)
{
    struct pollfd item = {.fd = client->fd, .events = POLLRDHUP};
    client->hung_up = client->fd >= 0 && poll(&item, 1, 0) == 1;
}

/* Act on an end of the other side: a request that the owner works on is gone. Another connection ends once what came
 * before the end was read. libmicrohttpd misses an end that comes together with bytes. */
static void client_settle(struct client *client)
{
    char byte;
    if (client->connection == NULL || !client->hung_up || client->cut)
        return;
    if (client->state == CLIENT_TAKEN)
        client_move(client, CLIENT_GONE);
    else if (client->state <= CLIENT_BODY && recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        client->http->has_leavers = true;
    else if (client->state <= CLIENT_BODY)
        shutdown(client->fd, SHUT_RDWR);
}

static void client_free_all(struct client_list *list)
{
    for (struct client *client = list->first, *next; client != NULL; client = next) {
        next = client->next;
        buffer_free(&client->exchange.body);
        buffer_free(&client->uri);
        buffer_free(&client->path);
        buffer_free(&client->headers);
        buffer_free(&client->answer);
        free(client);
    }
    *list = (struct client_list){0};
}

/* ---- the turn ---- */

static void http_run(struct http *http)
{
    http->due = false;
    MHD_run(http->daemon);
}

/* Something is ready: the listener, a connection that libmicrohttpd reads or writes, or the end of another. */
static bool http_ready(void *context, struct err *err)
{
    struct http *http = context;
    struct epoll_event events[HTTP_EVENTS];
    int count = epoll_wait(http->epoll, events, HTTP_EVENTS, 0);
    if (count < 0 && errno != EINTR)
        return err_errno(err, ERR_IO, "cannot wait for HTTP connections");
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == http)
            http_accept(http);
        else if (events[i].data.ptr != &http->daemon)
            client_hang_up(events[i].data.ptr);
    }
    if (count > 0)
        http_run(http);
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr != http && events[i].data.ptr != &http->daemon)
            client_settle(events[i].data.ptr);
    return true;
}

/* Look at all clients whose other side has ended the connection. */
static void http_settle(struct http *http)
{
    struct client *heads[] = {http->active.first, http->taken.first};
    http->has_leavers = false;
    for (size_t i = 0; i < 2; i++)
        for (struct client *client = heads[i], *next; client != NULL; client = next) {
            next = client->next;
            client_settle(client);
        }
}

void http_say(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait = 1;
    if (http->due || (MHD_get_timeout(http->daemon, &wait) == MHD_YES && wait == 0))
        http_run(http);
    if (http->has_leavers)
        http_settle(http);
    http_keep_time(http);
    wait = 1;
    bool again = MHD_get_timeout(http->daemon, &wait) == MHD_YES && wait == 0;
    if (again || http->arrived.first != NULL || http->gone.first != NULL)
        loop_wake(http->loop, 0);
    if (http->log != NULL)
        access_log_flush(http->log);
}

struct exchange *http_take(struct http *http)
{
    struct client *client = http->arrived.first;
    if (client == NULL)
        return NULL;
    client_move(client, CLIENT_TAKEN);
    http->has_leavers = http->has_leavers || client->hung_up;
    return &client->exchange;
}

struct exchange *http_gone(struct http *http)
{
    struct client *client = http->gone.first;
    if (client == NULL)
        return NULL;
    client_move(client, CLIENT_LEFT);
    return &client->exchange;
}

void http_drop(struct exchange *exchange)
{
    struct client *client = (struct client *)exchange;
    assert(client_waits(client));
    client_move(client, CLIENT_DROPPED);
    MHD_resume_connection(client->connection);
    client->http->due = true;
}

struct http_counts http_counts(const struct http *http)
{
    return http->counts;
}

const char *http_address(const struct http *http)
{
    return http->address;
}

bool http_is_local(const struct http *http)
{
    return http->local;
}

/* ---- birth and death ---- */

static bool http_start(struct http *http, struct err *err)
{
    http->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_NO_LISTEN_SOCKET, 0, NULL,
                         NULL, http_on_request, http, MHD_OPTION_URI_LOG_CALLBACK, http_on_uri, http,
                         MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
                         http_on_connection, http, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_POOL,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)INT_MAX, MHD_OPTION_END);
    if (http->daemon == NULL)
        return err_set(err, ERR_FAILED, "cannot start HTTP: libmicrohttpd refuses its options");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &http->daemon};
    http->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (info == NULL || http->epoll < 0 || epoll_ctl(http->epoll, EPOLL_CTL_ADD, info->epoll_fd, &event) != 0)
        return err_errno(err, ERR_FAILED, "cannot watch HTTP connections");
    http->source = loop_add_fd(http->loop, http->epoll, http_ready, http, err);
    return http->source != 0;
}

struct http *http_open(const struct http_options *options, struct err *err)
{
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for HTTP");
        return NULL;
    }
    *http = (struct http){.loop = options->loop,
                          .epoll = -1,
                          .listener = options->listener,
                          .body = options->body,
                          .timeout_ms = options->timeout_ms,
                          .trusts_forwarded = options->trust_forwarded_for};
    bool good = getrandom(&http->seed, sizeof http->seed, 0) == (ssize_t)sizeof http->seed ||
                err_errno(err, ERR_FAILED, "cannot draw a random number");
    if (good && options->access_log[0] != '\0') {
        http->log = access_log_open(options->access_log, err);
        good = http->log != NULL;
    }
    if (!good || !http_start(http, err) || !http_listen(http, options, err))
        http_close(&http);
    return http;
}

/* libmicrohttpd aborts the process if a connection is suspended when it ends. */
static void http_resume_all(struct http *http)
{
    struct client_list *lists[] = {&http->arrived, &http->taken, &http->gone};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        while (lists[i]->first != NULL)
            http_drop(&lists[i]->first->exchange);
}

void http_close(struct http **http)
{
    struct http *closed = *http;
    if (closed == NULL)
        return;
    closed->closing = true;
    http_drain(closed);
    if (closed->source != 0)
        loop_remove(closed->loop, closed->source);
    if (closed->daemon != NULL) {
        http_resume_all(closed);
        MHD_run(closed->daemon);
        MHD_stop_daemon(closed->daemon);
    }
    if (closed->epoll >= 0)
        close(closed->epoll);
    client_free_all(&closed->active);
    client_free_all(&closed->unused);
    access_log_close(&closed->log);
    free(closed);
    *http = NULL;
}
