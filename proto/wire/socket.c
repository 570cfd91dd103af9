/* socket.c - the options of a ROUTER that binds and a DEALER that connects; see socket.h. */
#include "proto/wire/socket.h"

#include "proto/base/log.h"
#include "proto/base/typed.h"
#include "proto/wire/message.h"
#include "proto/wire/monitor.h"
#include "proto/wire/watch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <zmq.h>

enum { BACKLOG = 1024, FRONT_BACKLOG = 4096, KEEP_IDLE_S = 60, KEEP_INTERVAL_S = 15, KEEP_PROBES = 4 };

bool socket_raise_files(int needed, struct err *err)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return true;
    if (files.rlim_cur < files.rlim_max) {
        const struct rlimit most = {.rlim_cur = files.rlim_max, .rlim_max = files.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &most) == 0)
            files = most;
    }
    return files.rlim_cur >= (rlim_t)needed ||
           err_set(err, ERR_FAILED, "this process may open %ju files and needs %d: " ERR_FEW_FILES,
                   (uintmax_t)files.rlim_cur, needed);
}

static bool socket_set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

/* The options of both kinds of socket. */
static bool socket_configure(void *socket, const struct socket_options *options, struct err *err)
{
    int queue = options->queue > 0 ? options->queue : SOCKET_QUEUE;
    int queue_in = options->queue_in > 0 ? options->queue_in : SOCKET_QUEUE_IN;
    int64_t most = options->most_bytes > 0 ? (int64_t)options->most_bytes : MESSAGE_BYTES;
    if (socket_set(socket, ZMQ_LINGER, SOCKET_LINGER_MS) && socket_set(socket, ZMQ_SNDHWM, queue) &&
        socket_set(socket, ZMQ_RCVHWM, queue_in) && socket_set(socket, ZMQ_HANDSHAKE_IVL, MONITOR_HANDSHAKE_MS) &&
        socket_set(socket, ZMQ_TCP_KEEPALIVE, 0) && socket_set(socket, ZMQ_HEARTBEAT_IVL, 0) &&
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0)
        return true;
    return socket_error(err, "cannot set up a socket");
}

/* A client that vanished without closing its connection is noticed after IDLE + PROBES * INTERVAL. */
static bool socket_keep_alive(void *socket)
{
    return socket_set(socket, ZMQ_TCP_KEEPALIVE, 1) && socket_set(socket, ZMQ_TCP_KEEPALIVE_IDLE, KEEP_IDLE_S) &&
           socket_set(socket, ZMQ_TCP_KEEPALIVE_INTVL, KEEP_INTERVAL_S) &&
           socket_set(socket, ZMQ_TCP_KEEPALIVE_CNT, KEEP_PROBES);
}

static bool socket_configure_router(void *socket, const struct socket_options *options, struct err *err)
{
    if (!socket_set(socket, ZMQ_ROUTER_MANDATORY, 1) || !socket_set(socket, ZMQ_ROUTER_HANDOVER, 0) ||
        !socket_set(socket, ZMQ_BACKLOG, options->front ? FRONT_BACKLOG : BACKLOG) ||
        (options->front && !socket_keep_alive(socket)))
        return socket_error(err, "cannot set up a socket");
    if (options->keys != NULL)
        return zap_set_server(options->zap, socket, options->keys, options->domain, err);
    return options->zap == NULL || zap_set_open(options->zap, socket, err);
}

static bool socket_configure_dealer(void *socket, const struct socket_options *options, struct err *err)
{
    if (!socket_set(socket, ZMQ_IMMEDIATE, 1) || !socket_set(socket, ZMQ_RECONNECT_IVL, SOCKET_RECONNECT_MS) ||
        !socket_set(socket, ZMQ_RECONNECT_IVL_MAX, SOCKET_RECONNECT_MOST_MS) ||
        !socket_set(socket, ZMQ_CONNECT_TIMEOUT, MONITOR_HANDSHAKE_MS))
        return socket_error(err, "cannot set up a socket");
    return options->keys == NULL || curve_set_client(socket, options->keys, options->server_key, err);
}

static void *socket_open(int type, const struct socket_options *options, struct err *err)
{
    void *socket = zmq_socket(options->context, type);
    if (socket == NULL) {
        socket_error(err, "cannot open a socket");
        return NULL;
    }
    bool router = type == ZMQ_ROUTER;
    if (!socket_configure(socket, options, err) ||
        !(router ? socket_configure_router(socket, options, err) : socket_configure_dealer(socket, options, err)))
        socket_close(&socket);
    return socket;
}

/* Whether this process may listen at the endpoint. */
static bool socket_may_bind(const struct socket_options *options, const char *endpoint, enum transport transport,
                            struct err *err)
{
    if (options->zap == NULL && (options->keys != NULL || transport != TRANSPORT_INPROC))
        return err_set(err, ERR_FAILED, "%s: a socket that listens needs the ZAP handler", endpoint);
    if (options->keys != NULL || endpoint_is_local(endpoint))
        return true;
    if (!options->insecure && !endpoint_check_host(endpoint, err))
        return false;
    if (!options->insecure)
        return err_set(err, ERR_USAGE,
                       "%s can be reached from other machines, and no keys protect it: make keys with \"lstmq keygen\" "
                       "and give --curve.key and --curve.allow, or accept every peer with --insecure",
                       typed_show(endpoint).shown);
    log_event(LOG_WARN, "listening_insecure", LOG_FIELDS(LOG_TEXT("address", endpoint)),
              "%s accepts every peer that reaches it, and encrypts nothing (--insecure)", endpoint);
    return true;
}

/* The endpoint in libzmq's form for a bind, and whether it needs IPv6. */
static bool socket_bindable(void *socket, const char *endpoint, struct address address, char text[ENDPOINT_SIZE + 8],
                            struct err *err)
{
    snprintf(text, ENDPOINT_SIZE + 8, "%s", endpoint);
    if (address.transport != TRANSPORT_TCP)
        return true;
    const char *port = strcmp(address.port, "0") == 0 ? "*" : address.port;
    if (strcmp(address.host, "localhost") == 0)
        strcpy(address.host, "127.0.0.1");
    snprintf(text, ENDPOINT_SIZE + 8, address.literal6 ? "tcp://[%s]:%s" : "tcp://%s:%s", address.host, port);
    return socket_set(socket, ZMQ_IPV6, endpoint_wants_ipv6(&address, true)) ||
           socket_error(err, "cannot set up a socket");
}

/* The endpoint at which a given descriptor listens. */
static bool socket_given(int fd, char endpoint[ENDPOINT_SIZE], struct err *err)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address, length = sizeof(int);
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
    const struct sockaddr_un *file = (const struct sockaddr_un *)&address;
    char host[INET6_ADDRSTRLEN] = "";
    int listens = 0;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0)
        return err_errno(err, ERR_USAGE, "cannot use descriptor %d as a socket that listens", fd);
    if (address.ss_family == AF_INET && inet_ntop(AF_INET, &four->sin_addr, host, sizeof host) != NULL)
        snprintf(endpoint, ENDPOINT_SIZE, "tcp://%s:%u", host, ntohs(four->sin_port));
    else if (address.ss_family == AF_INET6 && inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host) != NULL)
        snprintf(endpoint, ENDPOINT_SIZE, "tcp://[%s]:%u", host, ntohs(six->sin6_port));
    else if (address.ss_family == AF_UNIX && file->sun_path[0] == '/')
        snprintf(endpoint, ENDPOINT_SIZE, "ipc://%s", file->sun_path);
    else
        listens = 0;
    int flags = fcntl(fd, F_GETFL);
    return (listens != 0 && flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) ||
           err_set(err, ERR_USAGE, "descriptor %d is no socket that listens at a TCP port or a path", fd);
}

void *socket_bind(const struct socket_options *options, const char *endpoint, char bound[ENDPOINT_SIZE],
                  struct err *err)
{
    char text[ENDPOINT_SIZE + 8], given[ENDPOINT_SIZE];
    struct address address;
    if (options->listener > 0 && !socket_given(options->listener, given, err))
        return NULL;
    if (options->listener > 0)
        endpoint = given;
    if (!endpoint_parse(endpoint, &address, err) || !socket_may_bind(options, endpoint, address.transport, err))
        return NULL;
    void *socket = socket_open(ZMQ_ROUTER, options, err);
    if (socket == NULL)
        return NULL;
    size_t size = ENDPOINT_SIZE;
    bool ok = socket_bindable(socket, endpoint, address, text, err) &&
              (options->listener <= 0 || socket_set(socket, ZMQ_USE_FD, options->listener) ||
               socket_error(err, "cannot set up a socket")) &&
              (options->watch == NULL || watch_socket(options->watch, socket, err));
    if (ok && zmq_bind(socket, text) != 0)
        ok = err_set(err, ERR_USAGE, "cannot bind %s: %s", typed_show(endpoint).shown, zmq_strerror(zmq_errno()));
    if (ok && options->watch != NULL)
        watch_bound(options->watch);
    if (ok && zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &size) != 0)
        ok = socket_error(err, "cannot read where a socket is bound");
    if (ok)
        return socket;
    if (options->watch != NULL)
        watch_leave(options->watch);
    socket_close(&socket);
    return NULL;
}

void *socket_connect(const struct socket_options *options, const char *endpoint, struct err *err)
{
    struct address address;
    if (!endpoint_parse_target(endpoint, &address, err))
        return NULL;
    void *socket = socket_open(ZMQ_DEALER, options, err);
    if (socket == NULL)
        return NULL;
    struct monitor *monitor = options->monitor != NULL ? monitor_new(options->context, socket, err) : NULL;
    bool ok = options->monitor == NULL || monitor != NULL;
    if (ok &&
        ((address.transport == TRANSPORT_TCP && !socket_set(socket, ZMQ_IPV6, endpoint_wants_ipv6(&address, false))) ||
         zmq_connect(socket, endpoint) != 0))
        ok = err_set(err, ERR_USAGE, "cannot connect to %s: %s", typed_show(endpoint).shown, zmq_strerror(zmq_errno()));
    if (!ok) {
        monitor_destroy(&monitor);
        socket_close(&socket);
    } else if (monitor != NULL) {
        *options->monitor = monitor;
    }
    return socket;
}

void socket_close(void **socket)
{
    if (*socket != NULL)
        zmq_close(*socket);
    *socket = NULL;
}
