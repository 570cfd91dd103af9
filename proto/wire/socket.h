/* socket.h - network sockets, opened in one place with the options that the design requires.
 *
 * All traffic between a coordinator and its peers uses a ROUTER that binds and DEALERs that connect. The ring opens its
 * own PULL and PUSH (worker/collective/ring.c). ROUTER and DEALER have:
 *
 *   - CURVE, if there are keys; without keys a ROUTER opens to other machines only with `insecure`;
 *   - a bounded queue for each peer, frames of at most MESSAGE_BYTES, and a second of LINGER;
 *   - no ZMTP heartbeats, because libzmq can abort the process in a rare case: messages replace them;
 *   - no TCP keepalive, which would detect the same later; a ROUTER with `front` has it, because its clients send no
 *     heartbeats: a client that vanished is disconnected after two minutes.
 *
 * A ROUTER refuses to send to a disconnected peer (ROUTER_MANDATORY). It ignores a second peer that uses the id of a
 * connected one (no ROUTER_HANDOVER). A DEALER sets no id: the ROUTER makes one for each connection, so no peer can
 * take another's. A DEALER queues only for an established connection (IMMEDIATE). It retries after 100 ms, then more
 * slowly, up to a second.
 *
 * The caller owns the socket, on one thread, and closes it with socket_close. */
#ifndef LSTMQ_PROTO_WIRE_SOCKET_H
#define LSTMQ_PROTO_WIRE_SOCKET_H

#include "proto/wire/auth/zap.h"
#include "proto/wire/endpoint.h"
#include "proto/wire/monitor.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SOCKET_QUEUE = 64,   /* messages that wait to be sent to one peer */
    SOCKET_QUEUE_IN = 8, /* messages of one peer that wait to be received */
    SOCKET_RECONNECT_MS = 100,
    SOCKET_RECONNECT_MOST_MS = 1000,
    SOCKET_LINGER_MS = 1000,
    /* A worker opens 30, plus 16 strangers at a time; a coordinator fewer, plus one for each worker. */
    SOCKET_FILES = 64,
};

struct watch;

struct socket_options {
    void *context;
    const struct curve_keys *keys; /* own; NULL = without CURVE */
    struct zap *zap;               /* of a ROUTER, with or without keys; only inproc needs none */
    enum zap_domain domain;
    const char *server_key; /* DEALER with keys: the server's public key, Z85 */
    /* ROUTER: watches the connections, from before the bind. Call watch_leave before closing the socket. NULL =
     * none. */
    struct watch *watch;
    /* DEALER: receives the monitor of its connection, made before it connects. Destroy it before closing the socket.
     * NULL = no monitor. */
    struct monitor **monitor;
    bool insecure;     /* ROUTER without keys: open it even to other machines, with a warning */
    bool front;        /* ROUTER: for many clients, with TCP keepalive and a longer backlog */
    int queue;         /* messages that wait to be sent to one peer; 0 = SOCKET_QUEUE */
    int queue_in;      /* messages of one peer that wait to be received; 0 = SOCKET_QUEUE_IN */
    size_t most_bytes; /* of an arriving frame; 0 = MESSAGE_BYTES */
    int listener;      /* ROUTER: a listening descriptor that the process was given, which becomes the socket's; the
                        * endpoint then counts for nothing. 0 = bind the endpoint */
};

/* Bind a ROUTER: tcp://ADDRESS:PORT with a numeric address, "localhost", an interface's name or "*", ipc://PATH or
 * inproc://NAME. Port 0 takes a free one. `bound` is the endpoint to connect to ("*" and port filled in). ERR_USAGE:
 * other machines could connect without keys, the endpoint cannot be bound here, or the listener does not listen. */
void *socket_bind(const struct socket_options *options, const char *endpoint, char bound[ENDPOINT_SIZE],
                  struct err *err);

/* Connect a DEALER. It is no error if no peer listens yet. */
void *socket_connect(const struct socket_options *options, const char *endpoint, struct err *err);

void socket_close(void **socket);

/* Raise the process's limit of open files to its maximum. ERR_FAILED: the maximum is below `needed`; libzmq aborts a
 * process that has no file left for a connection. Call it before opening the first socket. */
bool socket_raise_files(int needed, struct err *err);

#endif
