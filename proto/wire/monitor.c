/* monitor.c - libzmq's events of one connection; see monitor.h.
 *
 * An attempt to connect yields CONNECTED or CLOSED, or neither if its host has no address. CONNECT_RETRIED precedes the
 * next attempt. A connection without a handshake ends with DISCONNECTED, mostly after one of the HANDSHAKE_FAILED
 * events: AUTH and PROTOCOL if this side ended it, NO_DETAIL if the other side did or sent nothing for
 * MONITOR_HANDSHAKE_MS. A peer with ZMTP 1, or without ZMTP, yields only DISCONNECTED. libzmq connects again only after
 * NO_DETAIL. */
#include "proto/wire/monitor.h"

#include "proto/base/clock.h"
#include "proto/wire/endpoint.h"
#include "proto/wire/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    EVENTS = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
             ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_CONNECT_RETRIED,
    /* A refusal arrives at once. The other half of the time is for a CONNECTED that is read late. */
    SILENT_MS = MONITOR_HANDSHAKE_MS / 2
};

struct monitor {
    void *watched, *socket;
    int64_t began_ms; /* when the connection was made */
    bool stands;      /* the connection's handshake is done */
    bool ended;       /* NO_DETAIL came: the handshake had ended */
    bool silent;      /* it ended because nothing was received */
    bool refuses;     /* the other side refused before, or greets */
    bool reported;    /* this attempt has ended: only CONNECT_RETRIED may follow */
    bool spent;
};

void *monitor_pair_open(void *zmq_context, void *watched, int events, struct err *err)
{
    char name[96];
    const int linger = 0, no_limit = 0;
    void *pair = zmq_socket(zmq_context, ZMQ_PAIR);
    /* Each name is used once, because libzmq frees it asynchronously. */
    snprintf(name, sizeof name, "inproc://lstmq-monitor-%p-%" PRId64, watched, clock_ns());
    if (pair != NULL && zmq_setsockopt(pair, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
        zmq_setsockopt(pair, ZMQ_RCVHWM, &no_limit, sizeof no_limit) == 0 &&
        zmq_socket_monitor(watched, name, events) == 0 && zmq_connect(pair, name) == 0)
        return pair;
    socket_error(err, "cannot watch a socket's connections");
    monitor_pair_close(watched, &pair);
    return NULL;
}

void monitor_pair_close(void *watched, void **pair)
{
    if (*pair == NULL)
        return;
    zmq_socket_monitor(watched, NULL, 0);
    zmq_close(*pair);
    *pair = NULL;
}

/* zmq_recv, repeated after a signal. */
static int monitor_frame(void *pair, void *frame, size_t size)
{
    int got;
    do {
        got = zmq_recv(pair, frame, size, ZMQ_DONTWAIT);
    } while (got < 0 && zmq_errno() == EINTR);
    return got;
}

/* An event is two frames: its number and value, then the endpoint. */
bool monitor_pair_take(void *pair, uint16_t *event, uint32_t *value)
{
    uint8_t frame[sizeof *event + sizeof *value] = {0};
    char endpoint[8]; /* libzmq drops the rest of it */
    if (monitor_frame(pair, frame, sizeof frame) < 0 || monitor_frame(pair, endpoint, sizeof endpoint) < 0)
        return false;
    memcpy(event, frame, sizeof *event);
    memcpy(value, frame + sizeof *event, sizeof *value);
    return true;
}

struct monitor *monitor_new(void *zmq_context, void *watched, struct err *err)
{
    struct monitor *monitor = calloc(1, sizeof *monitor);
    if (monitor == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for watching a connection");
        return NULL;
    }
    monitor->watched = watched;
    monitor->socket = monitor_pair_open(zmq_context, watched, EVENTS, err);
    if (monitor->socket == NULL)
        monitor_destroy(&monitor);
    return monitor;
}

void monitor_destroy(struct monitor **monitor)
{
    if (*monitor == NULL)
        return;
    monitor_pair_close((*monitor)->watched, &(*monitor)->socket);
    free(*monitor);
    *monitor = NULL;
}

void *monitor_socket(const struct monitor *monitor)
{
    return monitor->socket;
}

/* Whether a handshake failed because nothing came. With keys it may have been refused: after a refusal of RFC 27's kind
 * 300, libzmq may take as long to end the connection. The other side logs each call of endpoint_greets, so none follows
 * one that was true. */
static bool monitor_is_silent(struct monitor *monitor)
{
    if (clock_ms() - monitor->began_ms < SILENT_MS)
        monitor->refuses = true;
    if (monitor->refuses)
        return false;
    char endpoint[ENDPOINT_SIZE] = "";
    int mechanism = ZMQ_NULL;
    size_t size = sizeof mechanism, space = sizeof endpoint;
    zmq_getsockopt(monitor->watched, ZMQ_MECHANISM, &mechanism, &size);
    zmq_getsockopt(monitor->watched, ZMQ_LAST_ENDPOINT, endpoint, &space);
    monitor->refuses = mechanism != ZMQ_NULL && endpoint_greets(endpoint);
    return !monitor->refuses;
}

static enum monitor_news monitor_event(struct monitor *monitor, uint16_t event)
{
    bool stood = monitor->stands, reported = monitor->reported;
    monitor->reported = event == ZMQ_EVENT_CLOSED || event == ZMQ_EVENT_DISCONNECTED;
    switch (event) {
    case ZMQ_EVENT_CLOSED:
        return MONITOR_UNREACHED;
    case ZMQ_EVENT_CONNECT_RETRIED:
        return reported ? MONITOR_SAME : MONITOR_UNREACHED;
    case ZMQ_EVENT_CONNECTED:
        monitor->stands = monitor->ended = monitor->silent = monitor->spent = false;
        monitor->began_ms = clock_ms();
        return MONITOR_BEGUN;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        monitor->stands = true;
        monitor->refuses = false;
        return MONITOR_STANDS;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        monitor->ended = true;
        monitor->silent = monitor_is_silent(monitor);
        return MONITOR_SAME;
    case ZMQ_EVENT_DISCONNECTED:
        monitor->stands = false;
        monitor->spent = !stood && !monitor->ended;
        return stood ? MONITOR_BROKE : monitor->silent ? MONITOR_SILENT : MONITOR_REFUSED;
    default:
        return MONITOR_SAME;
    }
}

bool monitor_take(struct monitor *monitor, enum monitor_news *news, struct err *err)
{
    uint16_t event;
    uint32_t value;
    *news = MONITOR_SAME;
    if (!monitor_pair_take(monitor->socket, &event, &value))
        return zmq_errno() == EAGAIN || socket_error(err, "cannot watch a connection");
    *news = monitor_event(monitor, event);
    return true;
}

bool monitor_is_spent(const struct monitor *monitor)
{
    return monitor->spent;
}
