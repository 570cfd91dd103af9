/* http_server.h - an HTTP server on a thread of its own, and plain sockets that talk to it, for tests.
 *
 * The server's owner answers by path, in the turn in which a request arrives:
 *
 *   /echo      "METHOD PATH QUERY SIZE:BODY" (status 200)
 *   /head      the request's header "X-Ask", its address, id and trace, a line each
 *   /size?N    N bytes
 *   /page      http_answer_static
 *   /wait      never; its client has to leave, or the server to end
 *   /later     in a later turn, when http_server_answer is called
 *   others     404 as http_answer_error
 *
 * The test's thread starts and stops it; what it counts is atomic. */
#ifndef LSTMQ_TESTS_SUPPORT_HTTP_SERVER_H
#define LSTMQ_TESTS_SUPPORT_HTTP_SERVER_H

#include "coordinator/http/http.h"

#include <pthread.h>
#include <stdatomic.h>

enum { HTTP_SERVER_HELD = 64 };

struct http_server {
    struct http_options options; /* set before http_server_start; `loop` and `bind` are filled in */
    char address[64];            /* once it runs */
    char port[8];
    atomic_uint taken, gone;
    atomic_uint_fast64_t connections, cut, waiting;
    struct loop *loop;
    struct http *http;
    struct exchange *held[HTTP_SERVER_HELD]; /* /wait and /later; NULL = free */
    int orders[2];                           /* a pipe: 's' stop, 'd' drain, 'a' answer all of /later */
    pthread_t thread;
};

struct http_server *http_server_new(void);
void http_server_start(struct http_server *server);
void http_server_stop(struct http_server **server);

void http_server_answer(struct http_server *server);
void http_server_drain(struct http_server *server);

/* Wait until `counter` is at least `least`; fails the test after 20 s. */
void http_server_await(atomic_uint *counter, unsigned least);

/* A connected socket; -1 = refused. */
int http_dial(const struct http_server *server);

/* Send all bytes of a text. */
void http_put(int fd, const char *text);

/* Read one answer: its status, and its head and body as a text with NUL at *answer, which the caller frees. `head`
 * requests (HEAD) have no body. Status 0: the connection ended first. */
unsigned http_get(int fd, bool head, char **answer);

/* Whether the server has closed the connection, waiting 20 s for it. */
bool http_ended(int fd);

/* The whole of it: send `request` on a new connection and return the status of the first answer. */
unsigned http_ask(const struct http_server *server, const char *request, char **answer);

#endif
