/* monitor.h - libzmq's events about a socket's connections.
 *
 * libzmq connects in the background and retries silently. A monitor shows the end of each attempt: MONITOR_UNREACHED,
 * MONITOR_SILENT, MONITOR_REFUSED, or MONITOR_STANDS and later MONITOR_BROKE. socket_connect (socket.h) makes the
 * monitor before the socket connects, so that it misses nothing. The owner destroys it before it closes the socket.
 * Both belong to one thread.
 *
 * Below a monitor is a PAIR of raw events. Sockets that accept connections (watch.h), and the ring, use the PAIR
 * directly. */
#ifndef LSTMQ_PROTO_WIRE_MONITOR_H
#define LSTMQ_PROTO_WIRE_MONITOR_H

#include "proto/base/err.h"

#include <stdint.h>

enum { MONITOR_HANDSHAKE_MS = 3000 }; /* a connection without a handshake by then is closed */

enum monitor_news {
    MONITOR_SAME,      /* nothing that matters */
    MONITOR_UNREACHED, /* no connection: the port is closed, no route, or no answer within MONITOR_HANDSHAKE_MS */
    MONITOR_BEGUN,     /* connected; the handshake begins */
    MONITOR_STANDS,    /* the handshake is done: messages can be sent */
    MONITOR_SILENT,    /* connected, and the other side sent nothing for MONITOR_HANDSHAKE_MS */
    MONITOR_REFUSED,   /* the connection ended during the handshake: a key is unlisted or unexpected, or only one side
                        * has keys */
    MONITOR_BROKE,     /* the connection ended after the handshake */
};

/* Advice to the user, after the endpoint: formats that take what the server is, "coordinator" or "queue". */
#define MONITOR_SILENT_ADVICE " accepts connections but does not answer: is it a %s, and does it run?"
#define MONITOR_KEY_ADVICE    "is its .pub in the %s's --allow folder, and is --server the %s's .pub?"

struct monitor;

/* Watch a socket of this context that does not connect yet. The caller keeps the socket. On failure NULL and err. */
struct monitor *monitor_new(void *zmq_context, void *watched, struct err *err);

/* NULL is ignored. */
void monitor_destroy(struct monitor **monitor);

/* The PAIR to poll: it becomes readable when news arrives. */
void *monitor_socket(const struct monitor *monitor);

/* The next piece of news; MONITOR_SAME = none waits. With keys it may call endpoint_greets (endpoint.h) to
 * distinguish SILENT from REFUSED. ERR_IO: the PAIR cannot be read. */
bool monitor_take(struct monitor *monitor, enum monitor_news *news, struct err *err);

/* After MONITOR_REFUSED: libzmq does not retry. It retries after the other side ended the connection or was silent. It
 * does not if the other side's bytes do not match this side's keys or ZeroMQ's protocol. */
bool monitor_is_spent(const struct monitor *monitor);

/* A PAIR that receives the given ZMQ_EVENT_... of a socket of this context; the caller polls it. Its queue is
 * unlimited: libzmq's one network thread would otherwise wait for space in it, and stop every connection. */
void *monitor_pair_open(void *zmq_context, void *watched, int events, struct err *err);

/* Call before the watched socket is closed. *pair becomes NULL; NULL is ignored. */
void monitor_pair_close(void *watched, void **pair);

/* The next event and its value; false when none waits, with zmq_errno set. Never blocks. */
bool monitor_pair_take(void *pair, uint16_t *event, uint32_t *value);

#endif
