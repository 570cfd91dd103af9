/* socket.h - sockets between machines, opened in one place with what the design asks for.
 *
 * Whatever goes between processes is a ROUTER that binds and DEALERs that connect. Both have
 * - CURVE where there are keys; a ROUTER that others can reach does not open without them, unless it is told to;
 * - a bounded queue for each peer, frames of at most MESSAGE_BYTES, and a second of LINGER;
 * - no ZMTP heartbeats: a message of their own goes round instead (libzmq aborts the process in a rare case of them),
 *   and no TCP keepalive, which would say the same later.
 * A ROUTER refuses to send to a peer that is gone (ROUTER_MANDATORY), and a second peer that gives itself the id of a
 * connected one gets no hearing (no ROUTER_HANDOVER). A DEALER gives itself no id: the ROUTER makes one for each
 * connection, so that nobody can take another's. It queues only for a connection that stands (IMMEDIATE) and tries again
 * after 100 ms, then more slowly, up to a second.
 *
 * The caller owns the socket, on one thread, and closes it with socket_close. */
#ifndef LSTMQ_PROTO_WIRE_SOCKET_H
#define LSTMQ_PROTO_WIRE_SOCKET_H

#include "proto/wire/auth/zap.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SOCKET_ENDPOINT = 256,      /* longest endpoint, its NUL included                      */
    SOCKET_QUEUE = 64,          /* messages that wait to go to one peer */
    SOCKET_QUEUE_IN = 8,        /* messages of one peer that wait to be received */
    SOCKET_HANDSHAKE_MS = 3000, /* a peer that is not through its handshake by then is cut  */
    SOCKET_RECONNECT_MS = 100,
    SOCKET_RECONNECT_MOST_MS = 1000,
    SOCKET_LINGER_MS = 1000,
    SOCKET_EXPLAIN_MS = 1000, /* for socket_explain to wait for an answer */
    SOCKET_FILES = 64,        /* a worker opens 30, and 16 strangers at a time; a coordinator fewer, and one a worker */
};

struct monitor;
struct watch;

struct socket_options {
    void *context;
    const struct curve_keys *keys; /* own; NULL = without CURVE                            */
    struct zap *zap;               /* of a ROUTER, with keys and without; only inproc needs none */
    enum zap_domain domain;
    const char *server_key; /* DEALER with keys: the server's public key, Z85        */
    /* ROUTER: watched from before it is bound. Call watch_leave before the socket is closed. NULL = not watched. */
    struct watch *watch;
    /* DEALER: takes the monitor of its connection, made before it connects. Destroy it before the socket is closed.
     * NULL = no monitor. */
    struct monitor **monitor;
    bool insecure;     /* ROUTER without keys: open it even to other machines, and warn */
    int queue;         /* messages that wait to go to one peer; 0 = SOCKET_QUEUE */
    size_t most_bytes; /* of a frame that comes in; 0 = MESSAGE_BYTES           */
};

/* Bind a ROUTER: tcp://ADDRESS:PORT with a numeric address, "localhost", an interface's name or "*", ipc://PATH or
 * inproc://NAME. Port 0 takes a free one. `bound` is the endpoint to connect to ("*" and port filled in). ERR_USAGE
 * where others could come in without keys, and for an endpoint that cannot be bound here. */
void *socket_bind(const struct socket_options *options, const char *endpoint, char bound[SOCKET_ENDPOINT],
                  struct err *err);

/* Connect a DEALER. It is no error that no peer listens yet. */
void *socket_connect(const struct socket_options *options, const char *endpoint, struct err *err);

void socket_close(void **socket);

/* Explain in `err` (ERR_FAILED) why a connection to the endpoint failed. Tries once more, which takes SOCKET_EXPLAIN_MS
 * at most, and the time to look up a name. */
void socket_explain(const char *endpoint, struct err *err);

/* Whether what listens at a TCP endpoint sends anything, as ZeroMQ does at once. It takes twice SOCKET_EXPLAIN_MS at
 * most, and the time to look up a name. True for other endpoints. */
bool socket_greets(const char *endpoint);

/* Let the process open as many files as it ever may. ERR_FAILED where these are fewer than `needed`: libzmq ends a
 * process that has none left for a new connection. Before the first socket is opened. */
bool socket_raise_files(int needed, struct err *err);

/* ERR_USAGE for what is not tcp://HOST:PORT or ipc://PATH. Unless it is to be bound, it must name host and port. */
bool socket_check(const char *endpoint, bool binds, struct err *err);

/* ERR_USAGE where no host has the name in tcp://HOST:PORT, as far as can be known here. It may ask a name server. */
bool socket_check_host(const char *endpoint, struct err *err);

/* Whether only this machine can reach what is bound there: loopback addresses, ipc and inproc. */
bool socket_is_local(const char *endpoint);

#endif
