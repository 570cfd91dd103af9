/* http_listen.c - the listener, new connections, and the end of those that are too slow; see http_inside.h. */
#include "coordinator/http/http_inside.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/typed.h"
#include "proto/wire/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

/* A client that vanished without a word is noticed after two minutes. */
enum { HTTP_KEEPALIVE_S = 60, HTTP_KEEPALIVE_EVERY_S = 15, HTTP_KEEPALIVE_TIMES = 4 };

/* ---- addresses ---- */

/* The host of a socket's address as text; an IPv4 address that came over IPv6 is shown as IPv4. *port may be NULL. */
static void http_show_host(const struct sockaddr_storage *address, char text[HTTP_ADDRESS], unsigned *port)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    bool is_six = address->ss_family == AF_INET6;
    strcpy(text, "-");
    if (is_six && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], text, HTTP_ADDRESS);
    else if (is_six)
        inet_ntop(AF_INET6, &six->sin6_addr, text, HTTP_ADDRESS);
    else if (address->ss_family == AF_INET)
        inet_ntop(AF_INET, &four->sin_addr, text, HTTP_ADDRESS);
    if (port != NULL)
        *port = ntohs(is_six ? six->sin6_port : four->sin_port);
}

static bool http_name_listener(struct http *http, struct err *err)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    char host[HTTP_ADDRESS];
    unsigned port = 0;
    if (getsockname(http->listener, (struct sockaddr *)&address, &size) != 0)
        return err_errno(err, ERR_FAILED, "cannot read the address of the HTTP socket");
    if (address.ss_family != AF_INET && address.ss_family != AF_INET6)
        return err_set(err, ERR_USAGE, "the socket for HTTP that this process was given is no TCP socket");
    http_show_host(&address, host, &port);
    http->local = strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
    snprintf(http->address, sizeof http->address, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
    return true;
}

static bool http_parse(const char *bind, struct address *address, struct err *err)
{
    char endpoint[ENDPOINT_SIZE];
    if (snprintf(endpoint, sizeof endpoint, "tcp://%s", bind) < ENDPOINT_SIZE &&
        endpoint_parse(endpoint, address, NULL))
        return true;
    return err_set(err, ERR_USAGE, "\"%s\" is no address for HTTP: use HOST:PORT, [::1]:PORT or *:PORT",
                   typed_show(bind).shown);
}

/* A socket that is bound to the address; -1 with errno. */
static int http_bind_one(const struct addrinfo *to)
{
    const int on = 1, off = 0;
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (to->ai_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, to->ai_addr, to->ai_addrlen) == 0 && listen(fd, HTTP_BACKLOG) == 0)
        return fd;
    int failure = errno;
    close(fd);
    errno = failure;
    return -1;
}

static int http_bind(const char *bind, struct err *err)
{
    struct address address;
    if (!http_parse(bind, &address, err))
        return -1;
    bool any = strcmp(address.host, "*") == 0, here = strcmp(address.host, "localhost") == 0;
    const char *port = strcmp(address.port, "*") == 0 ? "0" : address.port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    hints.ai_family = any ? AF_INET6 : here ? AF_INET : AF_UNSPEC;
    int unknown = getaddrinfo(any ? NULL : address.host, port, &hints, &found);
    if (unknown != 0) {
        err_set(err, ERR_USAGE, "%s: no host has the name \"%s\": %s", typed_show(bind).shown,
                typed_show(address.host).shown, gai_strerror(unknown));
        return -1;
    }
    int fd = http_bind_one(found);
    freeaddrinfo(found);
    if (fd < 0 && any && errno == EAFNOSUPPORT) {
        hints.ai_family = AF_INET;
        if (getaddrinfo(NULL, port, &hints, &found) == 0) {
            fd = http_bind_one(found);
            freeaddrinfo(found);
        }
    }
    if (fd < 0)
        err_errno(err, ERR_USAGE, "cannot bind %s for HTTP", typed_show(bind).shown);
    return fd;
}

/* ---- the listener ---- */

static bool http_watch_listener(struct http *http, bool watches)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = http};
    if (http->listens == watches)
        return true;
    http->listens = watches;
    return epoll_ctl(http->epoll, watches ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, http->listener, &event) == 0;
}

/* Connections get these options from their listener. A listener that was given may be one that blocks. */
static void http_set_listener(int fd)
{
    const int on = 1, idle = HTTP_KEEPALIVE_S, every = HTTP_KEEPALIVE_EVERY_S, times = HTTP_KEEPALIVE_TIMES;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
}

bool http_listen(struct http *http, const struct http_options *options, struct err *err)
{
    struct rlimit files;
    http->counts.limit = options->connections;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && http->counts.limit > files.rlim_cur / 2)
        http->counts.limit = files.rlim_cur / 2;
    if (http->listener < 0)
        http->listener = http_bind(options->bind, err);
    if (http->listener < 0 || !http_name_listener(http, err))
        return false;
    http_set_listener(http->listener);
    return http_watch_listener(http, true) || err_errno(err, ERR_FAILED, "cannot wait for HTTP connections");
}

/* End connections that have been idle for a while. One that has just been answered is spared: its next request may be
 * on the way, and gets an answer with "Connection: close". */
static void http_end_idle(struct http *http)
{
    int64_t idle_ms = clock_ms() - HTTP_IDLE_MS;
    char byte;
    for (struct client *client = http->active.first; client != NULL && client->since_ms <= idle_ms;
         client = client->next)
        if (client->state == CLIENT_IDLE && !client->cut && client->connection != NULL &&
            recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
            shutdown(client->fd, SHUT_RDWR);
            client->cut = true;
        }
}

void http_drain(struct http *http)
{
    http->draining = true;
    http_end_idle(http);
    if (http->listener < 0)
        return;
    if (http->epoll >= 0)
        http_watch_listener(http, false);
    close(http->listener);
    http->listener = -1;
}

/* ---- the end of connections ---- */

/* Shut a connection down. A client that owes a request gets `status` first. libmicrohttpd then finds the connection
 * ended. */
static void client_cut(struct client *client, unsigned status, const char *text)
{
    char answer[256];
    bool owes = client->state == CLIENT_HEAD || client->state == CLIENT_BODY ||
                (client->state == CLIENT_IDLE && client->requests == 0);
    if (owes) {
        int size = snprintf(answer, sizeof answer,
                            "HTTP/1.1 %u Closed\r\nContent-Type: application/json\r\nConnection: close\r\n"
                            "Content-Length: %zu\r\n\r\n{\"error\": \"%s\"}\n",
                            status, strlen(text) + 14, text);
        send(client->fd, answer, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        client->status = status;
    }
    shutdown(client->fd, SHUT_RDWR);
    client->cut = true;
    client->http->counts.cut++;
}

/* Bytes that a client has sent of a body, or read of answers. */
static uint64_t client_progress(const struct client *client)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (client->state == CLIENT_BODY)
        return client->received;
    if (client->state != CLIENT_ANSWERING || getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return 0;
    return info.tcpi_bytes_acked;
}

/* Whether a client has made no progress since the last look, a time-out ago, or is too slow all in all. */
static bool client_is_slow(struct client *client, int64_t now)
{
    size_t bytes = client->state == CLIENT_BODY ? client->received : client->size;
    uint64_t progress = client_progress(client);
    int64_t timeout_ms = client->http->timeout_ms;
    if (progress <= client->progress || now >= client->since_ms + timeout_ms + (int64_t)(bytes / HTTP_BYTES_PER_MS))
        return true;
    client->progress = progress;
    client->look_ms = now + timeout_ms;
    return false;
}

/* End connections whose time is over. Returns when to look again; -1 = there are none. */
static int64_t http_cut_slow(struct http *http, int64_t now)
{
    int64_t next_ms = -1;
    bool over = true;
    for (struct client *client = http->active.first; client != NULL && over; client = client->next) {
        over = client->since_ms + http->timeout_ms <= now;
        if (client->cut || client->connection == NULL)
            continue;
        if (client->look_ms <= now && client_is_slow(client, now))
            client_cut(client, MHD_HTTP_REQUEST_TIMEOUT, "The request took too long to arrive");
        else if (next_ms < 0 || client->look_ms < next_ms)
            next_ms = client->look_ms;
    }
    return next_ms;
}

/* At the limit: end the oldest connection that owes a request. */
static void http_make_space(struct http *http)
{
    int64_t young_ms = clock_ms() - HTTP_SPARED_MS;
    for (struct client *client = http->active.first; client != NULL && client->since_ms < young_ms;
         client = client->next)
        if (!client->cut && client->connection != NULL && client->state <= CLIENT_BODY) {
            client_cut(client, MHD_HTTP_SERVICE_UNAVAILABLE, "Too many connections");
            return;
        }
}

void http_keep_time(struct http *http)
{
    int64_t now = clock_ms();
    if (http->active.first != NULL && now >= http->look_ms) {
        int64_t next_ms = http_cut_slow(http, now);
        http->look_ms = next_ms < 0 ? now + http->timeout_ms : next_ms;
    }
    if (http->active.first != NULL)
        loop_wake(http->loop, http->look_ms - now);
    if (http->listens || http->listener < 0)
        return;
    if (now >= http->listens_again_ms)
        http_watch_listener(http, true);
    else
        loop_wake(http->loop, http->listens_again_ms - now);
}

/* ---- new connections ---- */

static void http_pause(struct http *http, const char *why)
{
    int64_t now = clock_ms();
    http_watch_listener(http, false);
    http->listens_again_ms = now + HTTP_PAUSE_MS;
    if (http->complained_ms != 0 && now - http->complained_ms < HTTP_COMPLAINT_MS)
        return;
    http->complained_ms = now;
    log_event(LOG_WARN, "http_full", LOG_FIELDS(LOG_COUNT("connections", http->counts.connections)),
              "HTTP has %" PRIu64 " connections and accepts no more for the moment: %s", http->counts.connections, why);
}

/* Give a new connection to libmicrohttpd, which closes it when that fails. */
static void http_adopt(struct http *http, int fd, const struct sockaddr_storage *address, socklen_t size)
{
    struct client *client = client_new(http);
    if (client == NULL) {
        close(fd);
        return;
    }
    http_show_host(address, client->peer, NULL);
    client->fd = fd;
    if (MHD_add_connection(http->daemon, fd, (const struct sockaddr *)address, size) != MHD_YES) {
        if (client->fd == fd)
            client_retire(client);
        return;
    }
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = client};
    epoll_ctl(http->epoll, EPOLL_CTL_ADD, fd, &event);
}

void http_accept(struct http *http)
{
    for (int i = 0; i < HTTP_ACCEPTS && http->listener >= 0; i++) {
        if (http->counts.connections >= http->counts.limit) {
            http_make_space(http);
            http_pause(http, "see --http.connections and ulimit -n");
            return;
        }
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int fd = accept4(http->listener, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            http_adopt(http, fd, &address, size);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            http_pause(http, strerror(errno));
        if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
            return;
    }
}
