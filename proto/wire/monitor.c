/* monitor.c - libzmq's events of one connection; see monitor.h.
 *
 * An attempt to connect is CONNECTED or CLOSED, or neither where its host has no address. CONNECT_RETRIED comes before the
 * next one. A connection without a handshake ends by DISCONNECTED, mostly behind one
 * of the HANDSHAKE_FAILED events: AUTH and PROTOCOL where this side ended it, NO_DETAIL where the other side did or
 * said nothing for SOCKET_HANDSHAKE_MS. A peer of ZMTP 1 or of no ZMTP at all is ended by DISCONNECTED alone. libzmq
 * connects again after NO_DETAIL only. */
#include "proto/wire/monitor.h"

#include "proto/wire/message.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    EVENTS = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
             ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_CONNECT_RETRIED
};

struct monitor {
    void *watched, *socket;
    bool stands; /* the connection's handshake is done                */
    bool ended;  /* the other side ended it before: NO_DETAIL was there */
    bool known;  /* how this attempt ended: only CONNECT_RETRIED is left of it   */
    bool spent;
};

struct monitor *monitor_new(void *zmq_context, void *watched, struct err *err)
{
    struct monitor *monitor = calloc(1, sizeof *monitor);
    char name[64];
    const int linger = 0;
    if (monitor == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for watching a connection");
        return NULL;
    }
    snprintf(name, sizeof name, "inproc://lstmq-monitor-%p", watched);
    monitor->watched = watched;
    monitor->socket = zmq_socket(zmq_context, ZMQ_PAIR);
    if (monitor->socket != NULL && zmq_setsockopt(monitor->socket, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
        zmq_socket_monitor(watched, name, EVENTS) == 0 && zmq_connect(monitor->socket, name) == 0)
        return monitor;
    socket_error(err, "cannot watch a connection");
    monitor_destroy(&monitor);
    return NULL;
}

void monitor_destroy(struct monitor **monitor)
{
    if (*monitor == NULL)
        return;
    zmq_socket_monitor((*monitor)->watched, NULL, 0);
    if ((*monitor)->socket != NULL)
        zmq_close((*monitor)->socket);
    free(*monitor);
    *monitor = NULL;
}

void *monitor_socket(const struct monitor *monitor)
{
    return monitor->socket;
}

static enum monitor_news monitor_event(struct monitor *monitor, uint16_t event)
{
    bool stood = monitor->stands, known = monitor->known;
    monitor->known = event == ZMQ_EVENT_CLOSED || event == ZMQ_EVENT_DISCONNECTED;
    switch (event) {
    case ZMQ_EVENT_CLOSED:
        return MONITOR_UNREACHED;
    case ZMQ_EVENT_CONNECT_RETRIED:
        return known ? MONITOR_SAME : MONITOR_UNREACHED;
    case ZMQ_EVENT_CONNECTED:
        monitor->stands = monitor->ended = monitor->spent = false;
        return MONITOR_BEGUN;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        monitor->stands = true;
        return MONITOR_STANDS;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        monitor->ended = true;
        return MONITOR_SAME;
    case ZMQ_EVENT_DISCONNECTED:
        monitor->stands = false;
        monitor->spent = !stood && !monitor->ended;
        return stood ? MONITOR_BROKE : MONITOR_REFUSED;
    default:
        return MONITOR_SAME;
    }
}

/* An event is two frames: number (u16) and value (u32), then the endpoint. */
bool monitor_take(struct monitor *monitor, enum monitor_news *news, struct err *err)
{
    uint8_t event[6] = {0};
    char endpoint[1024];
    *news = MONITOR_SAME;
    int size = zmq_recv(monitor->socket, event, sizeof event, ZMQ_DONTWAIT);
    if (size < 0)
        return zmq_errno() == EAGAIN || zmq_errno() == EINTR || socket_error(err, "cannot watch a connection");
    if (zmq_recv(monitor->socket, endpoint, sizeof endpoint, 0) < 0)
        return socket_error(err, "cannot watch a connection");
    uint16_t number;
    memcpy(&number, event, sizeof number);
    *news = monitor_event(monitor, number);
    return true;
}

bool monitor_is_spent(const struct monitor *monitor)
{
    return monitor->spent;
}
