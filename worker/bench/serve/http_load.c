/* http_load.c - HTTP clients on one epoll; see http_load.h. */
#include "worker/bench/serve/http_load.h"

#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HTTP_LOAD_REQUEST = 512, HTTP_LOAD_ANSWER = 4096, HTTP_LOAD_EVENTS = 64, HTTP_LOAD_WAIT_MS = 10000 };

struct http_client {
    int fd;
    int64_t sent_ns;
    char text[48]; /* of the request in flight */
    char answer[HTTP_LOAD_ANSWER];
    size_t size;
};

struct http_group {
    struct http_load *load;
    struct http_client *clients;
    int epoll;
    uint64_t next; /* number of the next request */
    uint64_t flying;
    int64_t end_ns;
};

static bool http_load_address(const char *address, struct sockaddr_in *to, struct err *err)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    snprintf(host, sizeof host, "%.*s", colon == NULL ? 0 : (int)(colon - address), address);
    *to =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)(colon == NULL ? 0 : atoi(colon + 1)))};
    return inet_pton(AF_INET, host, &to->sin_addr) == 1 ||
           err_set(err, ERR_FAILED, "%s is not a numeric HOST:PORT", address);
}

static bool http_load_send(struct http_group *group, struct http_client *client, struct err *err)
{
    char request[HTTP_LOAD_REQUEST], body[128];
    snprintf(client->text, sizeof client->text, "sentence %llu of the queue", (unsigned long long)group->next++);
    int body_size =
        snprintf(body, sizeof body, "{\"q\": \"%s\", \"source\": \"en\", \"target\": \"fr\"}", client->text);
    int size = snprintf(request, sizeof request,
                        "POST /translate HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                        "Content-Length: %d\r\n\r\n%s",
                        group->load->address, body_size, body);
    client->size = 0;
    client->sent_ns = clock_ns();
    group->flying++;
    return send(client->fd, request, (size_t)size, MSG_NOSIGNAL) == size ||
           err_errno(err, ERR_FAILED, "cannot send a request");
}

/* Whether the answer is complete. */
static bool http_load_complete(const struct http_client *client)
{
    const char *end = strstr(client->answer, "\r\n\r\n"), *length = strcasestr(client->answer, "\r\nContent-Length:");
    if (end == NULL || length == NULL || length > end)
        return false;
    return client->size >=
           (size_t)(end + 4 - client->answer) + strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
}

static bool http_load_take(struct http_group *group, struct http_client *client, struct err *err)
{
    ssize_t got = recv(client->fd, client->answer + client->size, sizeof client->answer - 1 - client->size, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0)
        return err_set(err, ERR_FAILED, "the server ended a connection");
    client->size += (size_t)got;
    client->answer[client->size] = '\0';
    if (!http_load_complete(client))
        return client->size < sizeof client->answer - 1 || err_set(err, ERR_FAILED, "an answer is too long");
    if (strncmp(client->answer, "HTTP/1.1 200 ", 13) != 0 || strstr(client->answer, client->text) == NULL)
        return err_set(err, ERR_FAILED, "a wrong answer: %.300s", client->answer);
    int64_t now_ns = clock_ns();
    latency_add(&group->load->answered, now_ns - client->sent_ns);
    group->load->done += now_ns <= group->end_ns;
    group->flying--;
    return now_ns >= group->end_ns || http_load_send(group, client, err);
}

static bool http_load_open(struct http_group *group, struct err *err)
{
    struct sockaddr_in to;
    int on = 1;
    group->epoll = epoll_create1(EPOLL_CLOEXEC);
    group->clients = calloc(group->load->connections, sizeof *group->clients);
    if (group->epoll < 0 || group->clients == NULL)
        return err_errno(err, ERR_MEMORY, "cannot make %u connections", group->load->connections);
    if (!http_load_address(group->load->address, &to, err))
        return false;
    for (unsigned i = 0; i < group->load->connections; i++) {
        struct http_client *client = &group->clients[i];
        client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
            setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
            epoll_ctl(group->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
            return err_errno(err, ERR_FAILED, "cannot connect to %s", group->load->address);
    }
    return true;
}

static void http_load_close(struct http_group *group)
{
    for (unsigned i = 0; group->clients != NULL && i < group->load->connections; i++)
        if (group->clients[i].fd > 0)
            close(group->clients[i].fd);
    if (group->epoll >= 0)
        close(group->epoll);
    free(group->clients);
}

bool http_load_run(struct http_load *load, struct err *err)
{
    struct http_group group = {.load = load, .epoll = -1};
    bool ok = http_load_open(&group, err);
    group.end_ns = clock_ns() + (int64_t)(load->seconds * 1e9);
    for (unsigned i = 0; ok && i < load->connections; i++)
        ok = http_load_send(&group, &group.clients[i], err);
    while (ok && group.flying > 0) {
        struct epoll_event events[HTTP_LOAD_EVENTS];
        int count = epoll_wait(group.epoll, events, HTTP_LOAD_EVENTS, HTTP_LOAD_WAIT_MS);
        if (count == 0 || (count < 0 && errno != EINTR))
            ok = err_set(err, ERR_FAILED, "no answer within %d s", HTTP_LOAD_WAIT_MS / 1000);
        for (int i = 0; ok && i < count; i++)
            ok = http_load_take(&group, events[i].data.ptr, err);
    }
    http_load_close(&group);
    return ok || err_context(err, "http");
}

/* ---- a burst ---- */

static bool http_load_burst_open(int epoll, int *fds, unsigned count, const struct sockaddr_in *to, struct err *err)
{
    for (unsigned i = 0; i < count; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct epoll_event event = {.events = EPOLLOUT, .data.u32 = i};
        if (fds[i] < 0 || (connect(fds[i], (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) != 0)
            return err_errno(err, ERR_FAILED, "cannot open %u connections at once", count);
    }
    return true;
}

/* A connection is there, or has received its first byte. */
static bool http_load_burst_event(int epoll, int fd, const struct epoll_event *event, const char *request,
                                  unsigned *left, struct err *err)
{
    char bytes[64];
    struct epoll_event next = {.events = EPOLLIN, .data = event->data};
    if ((event->events & EPOLLOUT) != 0) {
        if (request != NULL && send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
            return err_errno(err, ERR_FAILED, "a connection of a burst failed");
        return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &next) == 0 || err_errno(err, ERR_FAILED, "epoll");
    }
    if (recv(fd, bytes, sizeof bytes, 0) <= 0)
        return err_set(err, ERR_FAILED, "the server ended a connection of a burst");
    --*left;
    return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &next) == 0 || err_errno(err, ERR_FAILED, "epoll");
}

bool http_load_burst(const char *address, unsigned connections, const char *request, double *ms, struct err *err)
{
    struct sockaddr_in to;
    int epoll = epoll_create1(EPOLL_CLOEXEC), *fds = calloc(connections, sizeof *fds);
    unsigned left = connections;
    bool ok = (epoll >= 0 && fds != NULL) || err_set(err, ERR_MEMORY, "cannot make %u connections", connections);
    ok = ok && http_load_address(address, &to, err);
    int64_t begin_ns = clock_ns();
    ok = ok && http_load_burst_open(epoll, fds, connections, &to, err);
    while (ok && left > 0) {
        struct epoll_event events[HTTP_LOAD_EVENTS];
        int count = epoll_wait(epoll, events, HTTP_LOAD_EVENTS, HTTP_LOAD_WAIT_MS);
        if (count == 0)
            ok = err_set(err, ERR_FAILED, "%u of %u connections of a burst got no answer", left, connections);
        for (int i = 0; ok && i < count; i++)
            ok = http_load_burst_event(epoll, fds[events[i].data.u32], &events[i], request, &left, err);
    }
    *ms = (double)(clock_ns() - begin_ns) / 1e6;
    for (unsigned i = 0; fds != NULL && i < connections; i++)
        if (fds[i] > 0)
            close(fds[i]);
    if (epoll >= 0)
        close(epoll);
    free(fds);
    return ok;
}
