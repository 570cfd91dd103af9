/* socket.c - the options of a ROUTER that binds and a DEALER that connects; see socket.h. */
#include "proto/wire/socket.h"

#include "proto/base/log.h"
#include "proto/base/typed.h"
#include "proto/wire/message.h"
#include "proto/wire/monitor.h"
#include "proto/wire/watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

/* tcp://HOST:PORT, its host without brackets. */
struct address {
    char host[SOCKET_ENDPOINT], port[8];
    bool literal6; /* an IPv6 address */
};

static const char socket_tcp[] = "tcp://", socket_ipc[] = "ipc://", socket_inproc[] = "inproc://";

static bool socket_begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* A path or white space is a typing mistake. libzmq reads the part before a semicolon as a local address. */
static const char socket_not_in_host[] = "/\\@;?# \t\r\n", socket_not_in_name[] = ":[]/\\@;?# \t\r\n";

static bool socket_is_number(const char *port)
{
    return port[0] != '\0' && port[strspn(port, "0123456789")] == '\0';
}

/* libzmq wraps a number beyond 65535 to another port. */
static bool socket_is_port(const char *port)
{
    return strcmp(port, "*") == 0 || (socket_is_number(port) && strtol(port, NULL, 10) <= UINT16_MAX);
}

static bool socket_not_an_endpoint(const char *endpoint, const char *detail, struct err *err)
{
    return err_set(err, ERR_USAGE, "\"%s\" is not an endpoint: use tcp://HOST:PORT%s", typed_show(endpoint).shown,
                   detail);
}

static bool socket_parse_tcp(const char *endpoint, struct address *address, struct err *err)
{
    const char *host = endpoint + strlen(socket_tcp), *colon = strrchr(host, ':');
    size_t size = colon == NULL ? 0 : (size_t)(colon - host), digits = colon == NULL ? 0 : strlen(colon + 1);
    *address = (struct address){0};
    bool bracketed = size > 2 && host[0] == '[' && host[size - 1] == ']';
    if (bracketed)
        host++, size -= 2;
    bool good = size > 0 && size < sizeof address->host && digits > 0 && digits < sizeof address->port;
    if (good) {
        memcpy(address->host, host, size);
        memcpy(address->port, colon + 1, digits);
        unsigned char bytes[16];
        char *zone = strchr(address->host, '%');
        if (zone != NULL)
            *zone = '\0';
        address->literal6 = inet_pton(AF_INET6, address->host, bytes) == 1;
        if (zone != NULL)
            *zone = '%';
        good = address->literal6 == bracketed &&
               strpbrk(address->host, bracketed ? socket_not_in_host : socket_not_in_name) == NULL &&
               socket_is_port(address->port);
    }
    const char *detail = address->literal6 && !bracketed ? ", with the address in brackets"
                         : socket_is_number(address->port) && !socket_is_port(address->port)
                             ? ", with a port of at most 65535"
                             : "";
    return good || socket_not_an_endpoint(endpoint, detail, err);
}

/* Parse any endpoint; fills in `address` for tcp only. */
static bool socket_parse(const char *endpoint, struct address *address, struct err *err)
{
    if (strlen(endpoint) >= SOCKET_ENDPOINT)
        return err_set(err, ERR_USAGE, "\"%s\" is longer than the %d bytes of an endpoint", typed_show(endpoint).shown,
                       SOCKET_ENDPOINT - 1);
    if (socket_begins(endpoint, socket_tcp))
        return socket_parse_tcp(endpoint, address, err);
    *address = (struct address){0};
    bool local = (socket_begins(endpoint, socket_ipc) && endpoint[strlen(socket_ipc)] != '\0') ||
                 (socket_begins(endpoint, socket_inproc) && endpoint[strlen(socket_inproc)] != '\0');
    return local || socket_not_an_endpoint(endpoint, "", err);
}

static bool socket_is_loopback(const struct address *address)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, address->host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (address->literal6 && inet_pton(AF_INET6, address->host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
    return strcmp(address->host, "localhost") == 0 || strcmp(address->host, "lo") == 0;
}

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

/* A wildcard host or port can be bound, but not connected to. */
static bool socket_is_wildcard(const struct address *address)
{
    return strcmp(address->host, "*") == 0 || strcmp(address->port, "*") == 0 || strtol(address->port, NULL, 10) == 0;
}

/* Parse an endpoint to connect to. */
static bool socket_parse_target(const char *endpoint, struct address *address, struct err *err)
{
    if (!socket_parse(endpoint, address, err))
        return false;
    if (!socket_begins(endpoint, socket_tcp) || !socket_is_wildcard(address))
        return true;
    return err_set(err, ERR_USAGE, "%s can only be listened at: to connect, name the host and its port",
                   typed_show(endpoint).shown);
}

bool socket_check(const char *endpoint, bool binds, struct err *err)
{
    struct address address;
    if (socket_begins(endpoint, socket_inproc))
        return socket_not_an_endpoint(endpoint, " or ipc://PATH", err);
    return binds ? socket_parse(endpoint, &address, err) : socket_parse_target(endpoint, &address, err);
}

bool socket_check_host(const char *endpoint, struct err *err)
{
    struct address address;
    struct addrinfo *found = NULL;
    if (!socket_begins(endpoint, socket_tcp) || !socket_parse_tcp(endpoint, &address, NULL) ||
        strcmp(address.host, "*") == 0 || if_nametoindex(address.host) != 0)
        return true;
    int unknown = getaddrinfo(address.host, NULL, NULL, &found);
    if (found != NULL)
        freeaddrinfo(found);
    return unknown != EAI_NONAME || err_set(err, ERR_USAGE, "%s: no host has the name \"%s\"",
                                            typed_show(endpoint).shown, typed_show(address.host).shown);
}

bool socket_is_local(const char *endpoint)
{
    struct address address;
    if (socket_begins(endpoint, socket_tcp))
        return socket_parse_tcp(endpoint, &address, NULL) && socket_is_loopback(&address);
    return socket_begins(endpoint, socket_ipc) || socket_begins(endpoint, socket_inproc);
}

/* Whether libzmq must use IPv6 for this host. For a name, only if it has no IPv4 address: many a "localhost" has both,
 * and servers mostly bind IPv4. */
static bool socket_wants_ipv6(const struct address *address, bool binds)
{
    struct in_addr four;
    if (address->literal6 || inet_pton(AF_INET, address->host, &four) == 1)
        return address->literal6;
    if (binds)
        return strcmp(address->host, "*") == 0;
    const struct addrinfo old = {.ai_family = AF_INET}, new = {.ai_family = AF_INET6};
    struct addrinfo *found = NULL;
    bool has_old = getaddrinfo(address->host, NULL, &old, &found) == 0;
    bool has_new = !has_old && getaddrinfo(address->host, NULL, &new, &found) == 0;
    if (found != NULL)
        freeaddrinfo(found);
    return has_new;
}

static bool socket_set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

/* The options of both kinds of socket. */
static bool socket_configure(void *socket, const struct socket_options *options, struct err *err)
{
    int queue = options->queue > 0 ? options->queue : SOCKET_QUEUE;
    int64_t most = options->most_bytes > 0 ? (int64_t)options->most_bytes : MESSAGE_BYTES;
    if (socket_set(socket, ZMQ_LINGER, SOCKET_LINGER_MS) && socket_set(socket, ZMQ_SNDHWM, queue) &&
        socket_set(socket, ZMQ_RCVHWM, SOCKET_QUEUE_IN) && socket_set(socket, ZMQ_HANDSHAKE_IVL, SOCKET_HANDSHAKE_MS) &&
        socket_set(socket, ZMQ_TCP_KEEPALIVE, 0) && socket_set(socket, ZMQ_HEARTBEAT_IVL, 0) &&
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0)
        return true;
    return socket_error(err, "cannot set up a socket");
}

static bool socket_configure_router(void *socket, const struct socket_options *options, struct err *err)
{
    if (!socket_set(socket, ZMQ_ROUTER_MANDATORY, 1) || !socket_set(socket, ZMQ_ROUTER_HANDOVER, 0) ||
        !socket_set(socket, ZMQ_BACKLOG, 1024))
        return socket_error(err, "cannot set up a socket");
    if (options->keys != NULL)
        return zap_set_server(options->zap, socket, options->keys, options->domain, err);
    return options->zap == NULL || zap_set_open(options->zap, socket, err);
}

static bool socket_configure_dealer(void *socket, const struct socket_options *options, struct err *err)
{
    if (!socket_set(socket, ZMQ_IMMEDIATE, 1) || !socket_set(socket, ZMQ_RECONNECT_IVL, SOCKET_RECONNECT_MS) ||
        !socket_set(socket, ZMQ_RECONNECT_IVL_MAX, SOCKET_RECONNECT_MOST_MS) ||
        !socket_set(socket, ZMQ_CONNECT_TIMEOUT, SOCKET_HANDSHAKE_MS))
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
static bool socket_may_bind(const struct socket_options *options, const char *endpoint, struct err *err)
{
    if (options->zap == NULL && (options->keys != NULL || !socket_begins(endpoint, socket_inproc)))
        return err_set(err, ERR_FAILED, "%s: a socket that listens needs the ZAP handler", endpoint);
    if (options->keys != NULL || socket_is_local(endpoint))
        return true;
    if (!options->insecure && !socket_check_host(endpoint, err))
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
static bool socket_bindable(void *socket, const char *endpoint, struct address address, char text[SOCKET_ENDPOINT + 8],
                            struct err *err)
{
    snprintf(text, SOCKET_ENDPOINT + 8, "%s", endpoint);
    if (!socket_begins(endpoint, socket_tcp))
        return true;
    const char *port = strcmp(address.port, "0") == 0 ? "*" : address.port;
    if (strcmp(address.host, "localhost") == 0)
        strcpy(address.host, "127.0.0.1");
    snprintf(text, SOCKET_ENDPOINT + 8, address.literal6 ? "tcp://[%s]:%s" : "tcp://%s:%s", address.host, port);
    return socket_set(socket, ZMQ_IPV6, socket_wants_ipv6(&address, true)) ||
           socket_error(err, "cannot set up a socket");
}

void *socket_bind(const struct socket_options *options, const char *endpoint, char bound[SOCKET_ENDPOINT],
                  struct err *err)
{
    char text[SOCKET_ENDPOINT + 8];
    struct address address;
    if (!socket_parse(endpoint, &address, err) || !socket_may_bind(options, endpoint, err))
        return NULL;
    void *socket = socket_open(ZMQ_ROUTER, options, err);
    if (socket == NULL)
        return NULL;
    size_t size = SOCKET_ENDPOINT;
    bool ok = socket_bindable(socket, endpoint, address, text, err) &&
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
    bool tcp = socket_begins(endpoint, socket_tcp);
    if (!socket_parse_target(endpoint, &address, err))
        return NULL;
    void *socket = socket_open(ZMQ_DEALER, options, err);
    if (socket == NULL)
        return NULL;
    struct monitor *monitor = options->monitor != NULL ? monitor_new(options->context, socket, err) : NULL;
    bool ok = options->monitor == NULL || monitor != NULL;
    if (ok && ((tcp && !socket_set(socket, ZMQ_IPV6, socket_wants_ipv6(&address, false))) ||
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

/* Connect once, within SOCKET_EXPLAIN_MS. Returns the descriptor, or -errno. */
static int socket_try(const struct addrinfo *to)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failure = fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (fd >= 0 && failure == EINPROGRESS) {
        struct pollfd item = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof failure;
        if (poll(&item, 1, SOCKET_EXPLAIN_MS) <= 0)
            failure = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
            failure = errno;
    }
    if (fd >= 0 && failure != 0)
        close(fd);
    return failure == 0 ? fd : -failure;
}

/* The same for the one address that libzmq tries: the first of its family. *unknown = getaddrinfo's error. */
static int socket_dial(const struct address *address, int *unknown)
{
    const struct addrinfo hints = {.ai_family = socket_wants_ipv6(address, false) ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    *unknown = getaddrinfo(address->host, address->port, &hints, &found);
    int fd = *unknown == 0 ? socket_try(found) : -EHOSTUNREACH;
    if (found != NULL)
        freeaddrinfo(found);
    return fd;
}

bool socket_greets(const char *endpoint)
{
    struct address address;
    char byte;
    int unknown;
    if (!socket_begins(endpoint, socket_tcp) || !socket_parse_tcp(endpoint, &address, NULL))
        return true;
    struct pollfd item = {.fd = socket_dial(&address, &unknown), .events = POLLIN};
    bool greets = item.fd >= 0 && poll(&item, 1, SOCKET_EXPLAIN_MS) > 0 && recv(item.fd, &byte, 1, MSG_DONTWAIT) == 1;
    if (item.fd >= 0)
        close(item.fd);
    return greets;
}

void socket_explain(const char *endpoint, struct err *err)
{
    struct address address;
    int failure = ECONNREFUSED, unknown;
    if (socket_begins(endpoint, socket_tcp) && socket_parse_tcp(endpoint, &address, NULL)) {
        int fd = socket_dial(&address, &unknown);
        if (unknown != 0) {
            err_set(err, ERR_FAILED, "%s cannot be reached: %s", endpoint, gai_strerror(unknown));
            return;
        }
        failure = fd < 0 ? -fd : 0;
        if (fd >= 0)
            close(fd);
    }
    if (failure == ECONNREFUSED)
        err_set(err, ERR_FAILED, "nothing listens at %s", endpoint);
    else if (failure == ETIMEDOUT)
        err_set(err, ERR_FAILED, "%s does not answer: is the host up, and does a firewall let the port through?",
                endpoint);
    else
        err_set(err, ERR_FAILED, "%s cannot be reached: %s", endpoint,
                failure == 0 ? "the connection ended at once" : strerror(failure));
}
