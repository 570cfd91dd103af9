/* fuzz_http.c - bytes from libFuzzer as what a client sends to the HTTP server: answered, refused or cut off.
 *
 * The server is the real one, with its loop and libmicrohttpd; a connection is a pair of sockets. In an input the byte
 * 0xFE ends a piece: the loop runs before the next one is sent. The owner answers a request at once, or at the end of
 * the input if its path begins with /w. What reaches the owner must be within the limits, and what the client reads
 * must be whole answers, one for each request that the owner answered. At the end no connection may be left. */
#include "tests/fuzz/fuzz.h"

#include "coordinator/http/http_inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { BODY_MOST = 512, HELD_MOST = 4, ROUNDS = 4, ROUNDS_MOST = 100, PIECE_END = 0xFE };

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);

static struct {
    struct loop *loop;
    struct http *http;
    int waits; /* the server's end of a new connection; -1 = none */
    unsigned rounds;
    struct exchange *held[HELD_MOST];
    size_t answered;
    bool over; /* the client has left */
} play = {.waits = -1};

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    const struct sockaddr_in client = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int taken = play.waits;
    (void)fd, (void)flags;
    play.waits = -1;
    errno = EAGAIN;
    if (taken >= 0) {
        memcpy(address, &client, sizeof client);
        *size = sizeof client;
    }
    return taken;
}

/* ---- the owner ---- */

static void http_check_request(const struct exchange *exchange)
{
    const char *host = http_header(exchange, "host"), *length = http_header(exchange, "content-length");
    must(exchange->path[0] == '/' || strcmp(exchange->path, "*") == 0);
    must(exchange->method[0] != '\0' && strlen(exchange->method) < HTTP_METHOD);
    must(exchange->body.size <= BODY_MOST && strlen(exchange->query) <= HTTP_URI);
    must(strcmp(exchange->address, "127.0.0.1") == 0 && strlen(exchange->trace) == HTTP_TRACE - 1);
    must(exchange->id[0] != '\0' && is_one_line(exchange->id, strlen(exchange->id)));
    must(host == NULL || strlen(host) <= HTTP_HEAD);
    must(length == NULL ||
         (strtoull(length, NULL, 10) == exchange->body.size && http_header(exchange, "transfer-encoding") == NULL));
}

static void http_echo(struct exchange *exchange)
{
    char size[32];
    snprintf(size, sizeof size, "%s %zu", exchange->method, exchange->body.size);
    http_set_header(exchange, "X-Echo", size);
    http_answer(exchange, 200, "text/plain", exchange->body.data == NULL ? "" : exchange->body.data,
                exchange->body.size);
    play.answered++;
}

static void http_answer_held(void)
{
    for (size_t i = 0; i < HELD_MOST; i++)
        if (play.held[i] != NULL) {
            http_echo(play.held[i]);
            play.held[i] = NULL;
        }
}

static bool http_turn(void *context, struct err *err)
{
    (void)context, (void)err;
    for (struct exchange *one = http_take(play.http); one != NULL; one = http_take(play.http)) {
        http_check_request(one);
        size_t i = 0;
        while (i < HELD_MOST && play.held[i] != NULL)
            i++;
        if (strncmp(one->path, "/w", 2) == 0 && i < HELD_MOST) {
            play.held[i] = one;
            one->owner = &play.held[i];
        } else {
            http_echo(one);
        }
    }
    for (struct exchange *one = http_gone(play.http); one != NULL; one = http_gone(play.http)) {
        *(struct exchange **)one->owner = NULL;
        http_drop(one);
    }
    http_say(play.http);
    loop_wake(play.loop, 0);
    if (++play.rounds >= ROUNDS)
        loop_stop(play.loop);
    return true;
}

static void http_rounds(void)
{
    struct err err = {0};
    play.rounds = 0;
    loop_wake(play.loop, 0);
    must(loop_run(play.loop, &err));
}

static void http_begin(void)
{
    struct err err = {0};
    if (play.http != NULL)
        return;
    play.loop = loop_new(&err);
    const struct http_options options = {.loop = play.loop,
                                         .bind = "127.0.0.1:0",
                                         .listener = -1,
                                         .body = BODY_MOST,
                                         .connections = 16,
                                         .timeout_ms = 3600000,
                                         .access_log = "/dev/null"};
    play.http = http_open(&options, &err);
    must(play.http != NULL && loop_add_turn(play.loop, http_turn, NULL, &err) != 0);
}

/* ---- the client ---- */

/* Read what has arrived. */
static void http_read(int fd, struct buffer *in)
{
    char bytes[4096];
    for (ssize_t size = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT); size > 0;
         size = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT))
        buffer_append(in, bytes, (size_t)size);
}

/* The answers that were read: whole, and so many of the owner's as it gave. */
static void http_check_answers(const struct buffer *in)
{
    const char *at = in->data == NULL ? "" : in->data, *end = at + in->size;
    size_t echoes = 0;
    while (at < end) {
        unsigned status = 0;
        must(sscanf(at, "HTTP/1.1 %u ", &status) == 1 || sscanf(at, "HTTP/1.0 %u ", &status) == 1);
        const char *body = strstr(at, "\r\n\r\n");
        must(body != NULL);
        const char *length = strstr(at, "\r\nContent-Length: "), *echo = strstr(at, "\r\nX-Echo: ");
        bool ours = echo != NULL && echo < body, empty = status < 200 || (ours && strncmp(echo + 10, "HEAD ", 5) == 0);
        body += 4;
        must(empty || (length != NULL && length < body));
        size_t size = empty ? 0 : strtoul(length + 18, NULL, 10);
        /* A refusal of a HEAD request has no body either. */
        if (!ours && size > 0 && (body == end || strncmp(body, "HTTP/1.", 7) == 0))
            size = 0;
        must(size <= (size_t)(end - body));
        echoes += ours;
        at = body + size;
    }
    must(echoes == play.answered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer in = {0};
    int pair[2];
    http_begin();
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    play.waits = pair[1];
    play.answered = 0;
    http_accept(play.http);
    must(play.waits < 0 && http_counts(play.http).connections == 1);
    while (size > 0) {
        const uint8_t *stop = memchr(data, PIECE_END, size);
        size_t piece = stop == NULL ? size : (size_t)(stop - data);
        for (size_t done = 0; done < piece;) {
            ssize_t sent = send(pair[0], data + done, piece - done, MSG_DONTWAIT | MSG_NOSIGNAL);
            done += sent > 0 ? (size_t)sent : 0;
            if (sent <= 0)
                break; /* the server has cut it off, or reads no more before it has answered */
            http_rounds();
            http_read(pair[0], &in);
        }
        data += piece + (stop != NULL);
        size -= piece + (stop != NULL);
        http_rounds();
        http_read(pair[0], &in);
    }
    for (int i = 0; i < HELD_MOST; i++) {
        http_answer_held();
        http_rounds();
        http_read(pair[0], &in);
    }
    size_t before = play.answered;
    http_rounds();
    http_read(pair[0], &in);
    bool settled = before == play.answered && http_counts(play.http).waiting == 0;
    if (settled)
        http_check_answers(&in);
    close(pair[0]);
    for (size_t i = 0; http_counts(play.http).connections > 0 && i < ROUNDS_MOST; i++)
        http_rounds(); /* requests that libmicrohttpd has read already */
    must(http_counts(play.http).connections == 0 && http_counts(play.http).waiting == 0);
    buffer_free(&in);
    return 0;
}
