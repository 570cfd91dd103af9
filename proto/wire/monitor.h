/* monitor.h - what becomes of the connection of a socket that connects.
 *
 * libzmq connects in the background and tries again without a word. A monitor is a socket that can be read when there
 * is news of that: each attempt ends as MONITOR_UNREACHED, as MONITOR_REFUSED, or as MONITOR_STANDS and one day
 * MONITOR_BROKE. It is made by socket_connect (socket.h), before the socket connects, so that it misses nothing, and
 * destroyed before the socket is closed. The thread that owns the socket owns it. */
#ifndef LSTMQ_MONITOR_H
#define LSTMQ_MONITOR_H

#include "proto/base/err.h"

enum monitor_news {
    MONITOR_SAME,      /* nothing that matters                                                                */
    MONITOR_UNREACHED, /* no connection: it was refused, there is no way, or no answer in SOCKET_HANDSHAKE_MS */
    MONITOR_BEGUN,     /* a connection is there, and the handshake begins                                     */
    MONITOR_STANDS,    /* the handshake is done                                                               */
    MONITOR_REFUSED,   /* the connection ended before that                                                    */
    MONITOR_BROKE,     /* the connection ended after that                                                     */
};

struct monitor;

/* Watch a socket of this context that does not connect yet. NULL and err where that fails. */
struct monitor *monitor_new(void *zmq_context, void *watched, struct err *err);

/* NULL is ignored. */
void monitor_destroy(struct monitor **monitor);

/* The PAIR that can be read when there is news. */
void *monitor_socket(const struct monitor *monitor);

/* Take one piece of news; MONITOR_SAME where there is none. */
bool monitor_take(struct monitor *monitor, enum monitor_news *news, struct err *err);

/* After MONITOR_REFUSED: libzmq does not try again. It tries again where the other side ended the connection, and not
 * where what the other side sent does not fit this side's keys or ZeroMQ's protocol. */
bool monitor_is_spent(const struct monitor *monitor);

#endif
