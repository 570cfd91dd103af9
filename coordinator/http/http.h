/* http.h - an HTTP/1.1 server on the event loop, over libmicrohttpd.
 *
 * The owner opens it on its loop and looks at it once a turn:
 *
 *   http_take    the next request that has arrived whole; the owner answers it in this turn or in a later one
 *   http_gone    the next unanswered request whose client has disconnected; its work can be dropped
 *   http_answer  ends an exchange: status, headers, body
 *
 * An exchange is one request and its answer. The server owns it. It is born when a request has arrived whole and ends
 * in http_answer or, after http_gone returned it, in http_drop. Until then the owner may keep its own data in `owner`.
 * Limits (body, connections, time-outs) are the server's: it answers 413, 431 and 408 itself, never the owner. Handlers
 * of libmicrohttpd only record; nothing here calls the owner back. Loop thread. */
#ifndef LSTMQ_COORDINATOR_HTTP_HTTP_H
#define LSTMQ_COORDINATOR_HTTP_HTTP_H

#include "proto/base/buffer.h"
#include "proto/wire/loop.h"

#include <stddef.h>
#include <stdint.h>

enum { HTTP_METHOD = 8, HTTP_ADDRESS = 64, HTTP_ID = 129 };

struct http;

struct http_options {
    struct loop *loop;
    const char *bind; /* HOST:PORT; port 0 takes a free one */
    int listener;     /* a listening socket that the process was given; -1 = bind one */
    size_t body;      /* most bytes of a body */
    unsigned connections;
    unsigned timeout_s;
    const char *access_log; /* file; "" = none, "-" = standard error */
};

struct exchange {
    char method[HTTP_METHOD];
    const char *path;           /* decoded, without the query; valid as long as the exchange */
    const char *query;          /* raw, without '?'; "" = none */
    struct buffer body;         /* as received */
    char address[HTTP_ADDRESS]; /* of the peer, without port */
    char id[HTTP_ID];           /* X-Request-ID as sent if it is printable, else a new one; the answer carries it */
    char trace[33];             /* trace id of a valid traceparent, else a new one */
    int64_t begun_us;           /* monotonic clock, at the first byte of the request line */
    void *owner;                /* the owner's */
};

/* NULL and err: the address cannot be bound or the options are wrong. */
struct http *http_open(const struct http_options *options, struct err *err);

/* Exchanges that are not answered end without an answer. */
void http_close(struct http **http);

/* The address that was bound, "127.0.0.1:5000". */
const char *http_address(const struct http *http);

/* Stop listening; connections stay, and answers carry "Connection: close". */
void http_drain(struct http *http);

/* NULL: none. */
struct exchange *http_take(struct http *http);
struct exchange *http_gone(struct http *http);

/* A header of the request, by name without regard to case; NULL: absent. */
const char *http_header(const struct exchange *exchange, const char *name);

/* A header of the answer. Name and value are copied; a value with control characters is not sent. */
void http_set_header(struct exchange *exchange, const char *name, const char *value);

/* Answer, and end the exchange. `body` is moved: it is empty afterwards. HEAD gets no body. Content-Length,
 * X-Request-ID and Date are added here. */
void http_answer(struct exchange *exchange, unsigned status, const char *content_type, struct buffer *body);

/* The same with bytes that outlive the program (pages, scripts): they get an ETag, and 304 where the client has them. */
void http_answer_static(struct exchange *exchange, const char *content_type, const void *bytes, size_t size);

/* End an exchange that http_gone returned. */
void http_drop(struct exchange *exchange);

struct http_counts {
    uint64_t accepted, refused; /* connections since the beginning */
    uint64_t connections;       /* now */
    uint64_t waiting;           /* exchanges without an answer */
};
struct http_counts http_counts(const struct http *http);

#endif
