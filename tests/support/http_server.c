/* http_server.c - see http_server.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/http_server.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

static const char page[] = "<!doctype html><title>page</title>\n";

/* ---- the owner ---- */

static void server_echo(struct exchange *exchange)
{
    struct buffer out = {0};
    buffer_format(&out, "%s %s %s %zu:", exchange->method, exchange->path, exchange->query, exchange->body.size);
    buffer_append(&out, exchange->body.data == NULL ? "" : exchange->body.data, exchange->body.size);
    http_set_header(exchange, "X-Echo", "yes");
    http_set_header(exchange, "X-Split", "a\r\nX-Injected: b");
    http_answer(exchange, 200, "text/plain", out.data, out.size);
    buffer_free(&out);
}

static void server_head(struct exchange *exchange)
{
    char out[512];
    const char *ask = http_header(exchange, "x-ask");
    int size = snprintf(out, sizeof out, "%s\n%s\n%s\n%s\n", ask == NULL ? "" : ask, exchange->address, exchange->id,
                        exchange->trace);
    http_answer(exchange, 200, "text/plain", out, (size_t)size);
}

static void server_size(struct exchange *exchange)
{
    size_t size = strtoul(exchange->query, NULL, 10);
    char *out = malloc(size + 1);
    memset(out, 'x', size);
    http_answer(exchange, 200, "text/plain", out, size);
    free(out);
}

static void server_hold(struct http_server *server, struct exchange *exchange)
{
    for (size_t i = 0; i < HTTP_SERVER_HELD; i++)
        if (server->held[i] == NULL) {
            server->held[i] = exchange;
            exchange->owner = &server->held[i];
            return;
        }
    http_answer_error(exchange, 503, "the test holds too many");
}

static void server_answer(struct http_server *server, struct exchange *exchange)
{
    if (strcmp(exchange->path, "/echo") == 0)
        server_echo(exchange);
    else if (strcmp(exchange->path, "/head") == 0)
        server_head(exchange);
    else if (strcmp(exchange->path, "/size") == 0)
        server_size(exchange);
    else if (strcmp(exchange->path, "/page") == 0)
        http_answer_static(exchange, "text/html; charset=utf-8", page, sizeof page - 1);
    else if (strcmp(exchange->path, "/wait") == 0 || strcmp(exchange->path, "/later") == 0)
        server_hold(server, exchange);
    else
        http_answer_error(exchange, 404, exchange->path);
}

static bool server_turn(void *context, struct err *err)
{
    struct http_server *server = context;
    (void)err;
    for (struct exchange *one = http_take(server->http); one != NULL; one = http_take(server->http)) {
        server_answer(server, one);
        server->taken++;
    }
    for (struct exchange *one = http_gone(server->http); one != NULL; one = http_gone(server->http)) {
        *(struct exchange **)one->owner = NULL;
        http_drop(one);
        server->gone++;
    }
    http_say(server->http);
    struct http_counts counts = http_counts(server->http);
    server->connections = counts.connections;
    server->cut = counts.cut;
    server->waiting = counts.waiting;
    return true;
}

static void server_answer_held(struct http_server *server)
{
    for (size_t i = 0; i < HTTP_SERVER_HELD; i++)
        if (server->held[i] != NULL && strcmp(server->held[i]->path, "/later") == 0) {
            server_echo(server->held[i]);
            server->held[i] = NULL;
        }
}

static bool server_order(void *context, struct err *err)
{
    struct http_server *server = context;
    char order = 0;
    (void)err;
    if (read(server->orders[0], &order, 1) != 1 || order == 's')
        loop_stop(server->loop);
    else if (order == 'd')
        http_drain(server->http);
    else
        server_answer_held(server);
    return true;
}

static void *server_run(void *context)
{
    struct http_server *server = context;
    struct err err = {0};
    if (!loop_run(server->loop, &err))
        fprintf(stderr, "the loop of the HTTP server failed: %s\n", err.text);
    return NULL;
}

struct http_server *http_server_new(void)
{
    struct http_server *server = calloc(1, sizeof *server);
    server->options = (struct http_options){.bind = "127.0.0.1:0",
                                            .listener = -1,
                                            .body = 4096,
                                            .connections = 256,
                                            .timeout_ms = PATIENCE_MS,
                                            .access_log = ""};
    return server;
}

void http_server_start(struct http_server *server)
{
    struct err err = {0};
    server->loop = loop_new(&err);
    server->options.loop = server->loop;
    server->http = server->loop == NULL ? NULL : http_open(&server->options, &err);
    if (server->http == NULL)
        fail_msg("%s", err.text);
    snprintf(server->address, sizeof server->address, "%s", http_address(server->http));
    snprintf(server->port, sizeof server->port, "%s", strrchr(server->address, ':') + 1);
    assert_int_equal(pipe(server->orders), 0);
    assert_int_not_equal(loop_add_fd(server->loop, server->orders[0], server_order, server, &err), 0);
    assert_int_not_equal(loop_add_turn(server->loop, server_turn, server, &err), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
}

static void server_send_order(struct http_server *server, char order)
{
    assert_int_equal(write(server->orders[1], &order, 1), 1);
}

void http_server_stop(struct http_server **server)
{
    server_send_order(*server, 's');
    pthread_join((*server)->thread, NULL);
    http_close(&(*server)->http);
    loop_destroy(&(*server)->loop);
    close((*server)->orders[0]);
    close((*server)->orders[1]);
    free(*server);
    *server = NULL;
}

void http_server_answer(struct http_server *server)
{
    server_send_order(server, 'a');
}

void http_server_drain(struct http_server *server)
{
    server_send_order(server, 'd');
}

void http_server_await(atomic_uint *counter, unsigned least)
{
    int64_t until = clock_ms() + PATIENCE_MS;
    while (*counter < least) {
        if (clock_ms() > until)
            fail_msg("waited in vain for %u, there are %u", least, *counter);
        usleep(1000);
    }
}

/* ---- clients ---- */

int http_dial(const struct http_server *server)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    const char *host = server->address[0] == '[' ? "::1" : "127.0.0.1";
    assert_int_equal(getaddrinfo(host, server->port, &hints, &found), 0);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

void http_put(int fd, const char *text)
{
    size_t size = strlen(text);
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(fd, text + done, size - done, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the server has closed it: the test sees that when it reads */
        done += (size_t)sent;
    }
}

unsigned http_get(int fd, bool head, char **answer)
{
    struct buffer in = {0};
    const char *end = NULL;
    char byte;
    while (end == NULL && recv(fd, &byte, 1, 0) == 1) {
        buffer_append(&in, &byte, 1);
        end = strstr(in.data, "\r\n\r\n");
    }
    unsigned status = 0;
    if (end != NULL && sscanf(in.data, "HTTP/1.1 %u", &status) == 1 && !head && status != 304 && status >= 200) {
        const char *length = strcasestr(in.data, "\r\nContent-Length:");
        size_t size = length == NULL ? 0 : strtoul(length + 17, NULL, 10);
        for (size_t i = 0; i < size && recv(fd, &byte, 1, 0) == 1; i++)
            buffer_append(&in, &byte, 1);
    }
    if (answer != NULL)
        *answer = in.data == NULL ? strdup("") : in.data;
    else
        buffer_free(&in);
    return status;
}

bool http_ended(int fd)
{
    char bytes[4096];
    ssize_t size = recv(fd, bytes, sizeof bytes, 0);
    while (size > 0)
        size = recv(fd, bytes, sizeof bytes, 0);
    return size == 0 || errno == ECONNRESET;
}

unsigned http_ask(const struct http_server *server, const char *request, char **answer)
{
    int fd = http_dial(server);
    assert_true(fd >= 0);
    http_put(fd, request);
    unsigned status = http_get(fd, strncmp(request, "HEAD ", 5) == 0, answer);
    close(fd);
    return status;
}
