/* uplink.c - the socket, its monitor, and the epoll descriptor around them; see uplink.h. */
#include "proto/client/uplink.h"

#include "proto/base/clock.h"
#include "proto/client/result.h"
#include "proto/wire/message.h"
#include "proto/wire/socket.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <zmq.h>

enum { REOPEN_MS = 500 };

/* ---- open and close ---- */

static int uplink_fd_of(void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    zmq_getsockopt(socket, ZMQ_FD, &fd, &size);
    return fd;
}

static bool uplink_watch(const struct uplink *uplink, int fd, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(uplink->poll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ||
           err_errno(err, ERR_IO, "cannot watch a connection");
}

static void uplink_unwatch(const struct uplink *uplink, void *socket)
{
    struct epoll_event event = {0};
    epoll_ctl(uplink->poll_fd, EPOLL_CTL_DEL, uplink_fd_of(socket), &event);
}

static void uplink_disconnect(struct uplink *uplink)
{
    int linger = 0;
    if (uplink->monitor != NULL)
        uplink_unwatch(uplink, monitor_socket(uplink->monitor));
    monitor_destroy(&uplink->monitor);
    if (uplink->socket == NULL)
        return;
    uplink_unwatch(uplink, uplink->socket);
    zmq_setsockopt(uplink->socket, ZMQ_LINGER, &linger, sizeof linger);
    socket_close(&uplink->socket);
}

static bool uplink_connect(struct uplink *uplink, struct err *err)
{
    const struct socket_options options = {.context = uplink->context,
                                           .keys = uplink->has_keys ? &uplink->keys : NULL,
                                           .server_key = uplink->has_keys ? uplink->server.key : NULL,
                                           .monitor = &uplink->monitor};
    uplink->state = UPLINK_OPENS;
    uplink->socket = socket_connect(&options, uplink->endpoint, err);
    return uplink->socket != NULL && uplink_watch(uplink, uplink_fd_of(uplink->socket), err) &&
           uplink_watch(uplink, uplink_fd_of(monitor_socket(uplink->monitor)), err);
}

static bool uplink_read_keys(struct uplink *uplink, const struct lstmq_settings *settings, struct err *err)
{
    if (settings->key_file == NULL && settings->server_file == NULL)
        return true;
    if (settings->key_file == NULL || settings->server_file == NULL)
        return err_set(err, ERR_USAGE, "a connection with keys needs both the own NAME.key and the queue's NAME.pub");
    uplink->has_keys = curve_read(settings->key_file, &uplink->keys, err) &&
                       curve_read_public(settings->server_file, &uplink->server, err);
    return uplink->has_keys;
}

static bool uplink_start(struct uplink *uplink, const struct lstmq_settings *settings, struct err *err)
{
    if (!endpoint_check(uplink->endpoint, false, err) || !uplink_read_keys(uplink, settings, err))
        return false;
    uplink->context = zmq_ctx_new();
    if (uplink->context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    uplink->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    uplink->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (uplink->poll_fd < 0 || uplink->timer_fd < 0)
        return err_errno(err, ERR_IO, "cannot open a descriptor");
    return uplink_watch(uplink, uplink->timer_fd, err) && uplink_connect(uplink, err);
}

bool uplink_open(struct uplink *uplink, const char *endpoint, const struct lstmq_settings *settings,
                 struct lstmq_error *error)
{
    struct err err = {0};
    *uplink = (struct uplink){.poll_fd = -1, .timer_fd = -1};
    if (snprintf(uplink->endpoint, sizeof uplink->endpoint, "%s", endpoint) >= ENDPOINT_SIZE)
        return error_set(error, LSTMQ_USAGE, "an endpoint of more than %d bytes", ENDPOINT_SIZE - 1);
    if (uplink_start(uplink, settings, &err))
        return true;
    uplink_close(uplink);
    return error_take(error, &err);
}

void uplink_close(struct uplink *uplink)
{
    uplink_disconnect(uplink);
    if (uplink->context != NULL)
        zmq_ctx_term(uplink->context);
    if (uplink->timer_fd >= 0)
        close(uplink->timer_fd);
    if (uplink->poll_fd >= 0)
        close(uplink->poll_fd);
    curve_clear(&uplink->keys);
    *uplink = (struct uplink){.poll_fd = -1, .timer_fd = -1};
}

/* ---- what becomes of the connection ---- */

void uplink_break(struct uplink *uplink, int64_t ms)
{
    uplink_disconnect(uplink);
    uplink->state = UPLINK_STUCK;
    uplink->reopen_ms = clock_ms() + ms;
}

static void uplink_on_news(struct uplink *uplink, enum monitor_news news, bool *broke)
{
    switch (news) {
    case MONITOR_STANDS:
        *broke = true;
        uplink->state = UPLINK_FRESH;
        uplink->stood = true;
        uplink->failure = MONITOR_SAME;
        uplink->stands_ms = uplink->heard_ms = clock_ms();
        break;
    case MONITOR_BROKE:
        *broke = true;
        uplink->state = UPLINK_OPENS;
        uplink->failure = news;
        break;
    case MONITOR_UNREACHED:
    case MONITOR_SILENT:
    case MONITOR_REFUSED:
        uplink->failure = news;
        break;
    default:
        break;
    }
}

bool uplink_take_news(struct uplink *uplink, bool *broke, struct err *err)
{
    *broke = false;
    if (uplink->state == UPLINK_STUCK && clock_ms() >= uplink->reopen_ms && !uplink_connect(uplink, err))
        return false;
    enum monitor_news news = MONITOR_BEGUN;
    while (uplink->monitor != NULL && news != MONITOR_SAME) {
        if (!monitor_take(uplink->monitor, &news, err))
            return false;
        uplink_on_news(uplink, news, broke);
        if (news == MONITOR_REFUSED && monitor_is_spent(uplink->monitor))
            uplink_break(uplink, REOPEN_MS);
    }
    return true;
}

/* ---- waking ---- */

static bool uplink_can_read(void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

bool uplink_has_more(const struct uplink *uplink)
{
    return uplink->socket != NULL &&
           (uplink_can_read(monitor_socket(uplink->monitor)) || uplink_can_read(uplink->socket));
}

void uplink_set_timer(struct uplink *uplink, int64_t due_ms)
{
    if (due_ms == uplink->timer_ms && due_ms > clock_ms())
        return;
    struct itimerspec when = {0}; /* zero disarms it, so a time has a nanosecond more */
    if (due_ms != UPLINK_NEVER_MS)
        when.it_value = (struct timespec){due_ms / 1000, due_ms % 1000 * 1000000 + 1};
    timerfd_settime(uplink->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    uplink->timer_ms = due_ms;
}

void uplink_explain(const struct uplink *uplink, struct lstmq_error *error)
{
    const char *endpoint = uplink->endpoint;
    if (uplink->failure == MONITOR_REFUSED && uplink->has_keys)
        error_set(error, LSTMQ_CONNECTION,
                  "%s refuses this key: is its .pub in the queue's --allow folder, with the role client, and is the "
                  "server's .pub this queue's?",
                  endpoint);
    else if (uplink->failure == MONITOR_REFUSED)
        error_set(error, LSTMQ_CONNECTION,
                  "%s refuses a connection without a key: does the queue need keys, or is it not a queue?", endpoint);
    else if (uplink->failure == MONITOR_SILENT)
        error_set(error, LSTMQ_CONNECTION,
                  "%s accepts connections but does not answer: is it a queue, and does it run?", endpoint);
    else if (uplink->failure == MONITOR_BROKE)
        error_set(error, LSTMQ_CONNECTION, "the connection to %s ended", endpoint);
    else
        error_set(error, LSTMQ_CONNECTION, "no connection to %s: is \"lstmq serve\" running there?", endpoint);
}
