/* http.h - an HTTP/1.1 server on the event loop, over libmicrohttpd.
 *
 * The owner opens it on its loop, and calls it once a turn in this order:
 *
 *   http_take    the next request that has arrived whole; the owner answers it in this turn or in a later one
 *   http_gone    the next unanswered request whose client has disconnected; its work can be dropped
 *   http_answer  ends an exchange: status, headers, body
 *   http_say     sends what is due, and ends connections that are too slow
 *
 * An exchange is one request and its answer. The server owns it. It is born when a request has arrived whole and ends
 * in http_answer or, after http_gone returned it, in http_drop. Until then the owner may keep its own data in `owner`.
 * A connection has one exchange at a time; requests that follow on it wait. A client that has closed its side has gone,
 * whether or not it still reads. An answer reaches it only in the turn in which its request was taken.
 *
 * Limits are the server's. It refuses requests that are too large (413, 414, 431), too slow (408) or ambiguous (400,
 * 501) as {"error": TEXT}, and the owner never sees those. Ambiguous is a request with two lengths, with a length and
 * chunks, or without a host. libmicrohttpd itself answers what is no HTTP, or exceeds its memory, with a page of its
 * own. At the limit of connections the oldest one that owes a request is ended. Handlers of libmicrohttpd only record;
 * nothing here calls the owner back. Loop thread. */
#ifndef LSTMQ_COORDINATOR_HTTP_HTTP_H
#define LSTMQ_COORDINATOR_HTTP_HTTP_H

#include "proto/base/buffer.h"
#include "proto/wire/loop.h"

#include <stddef.h>
#include <stdint.h>

enum { HTTP_METHOD = 16, HTTP_ADDRESS = 64, HTTP_ID = 129, HTTP_TRACE = 33 };

struct http;

struct http_options {
    struct loop *loop;
    const char *bind;         /* HOST:PORT, [::1]:PORT or *:PORT; port 0 takes a free one */
    int listener;             /* a listening socket that the process was given, which becomes the server's; -1 = bind */
    size_t body;              /* most bytes of a body */
    unsigned connections;     /* at a time; at most half of what RLIMIT_NOFILE allows */
    int64_t timeout_ms;       /* until a request has arrived, or an answer was read; large ones get longer */
    bool trust_forwarded_for; /* the client's address is the last one of X-Forwarded-For */
    const char *access_log;   /* file; "" = none, "-" = standard error */
};

struct exchange {
    char method[HTTP_METHOD];
    const char *path;           /* decoded, without the query; valid as long as the exchange */
    const char *query;          /* raw, without '?'; "" = none */
    struct buffer body;         /* as received */
    char address[HTTP_ADDRESS]; /* of the client, without port */
    char id[HTTP_ID];           /* X-Request-ID as sent if it is printable, else a new one; the answer carries it */
    char trace[HTTP_TRACE];     /* trace id of a valid traceparent, else a new one */
    int64_t begun_us;           /* monotonic clock, when the request line had arrived */
    void *owner;                /* the owner's */
};

/* NULL and err: the address cannot be bound or the options are wrong. A given listener is closed then, too. */
struct http *http_open(const struct http_options *options, struct err *err);

/* Exchanges that are not answered end without an answer. */
void http_close(struct http **http);

/* The address that was bound, "127.0.0.1:5000", and whether only this machine can reach it. */
const char *http_address(const struct http *http);
bool http_is_local(const struct http *http);

/* Stop listening. Answers carry "Connection: close" from now on. Call it again in later turns: each call ends
 * connections that have been idle for a while. Then http_counts tells when all have ended. */
void http_drain(struct http *http);

/* NULL: none. */
struct exchange *http_take(struct http *http);
struct exchange *http_gone(struct http *http);

/* Call it at the end of each turn, also of one without requests. */
void http_say(struct http *http);

/* A header of the request, by name without regard to case, the first of several; NULL: absent. */
const char *http_header(const struct exchange *exchange, const char *name);

/* A header of the answer. Name and value are copied; a value with control characters is not sent. */
void http_set_header(struct exchange *exchange, const char *name, const char *value);

/* Answer, and end the exchange. The body is copied. HEAD gets no body. Content-Length, X-Request-ID and Date are added
 * here. `content_type` NULL = no such header. */
void http_answer(struct exchange *exchange, unsigned status, const char *content_type, const void *body, size_t size);

/* The same with {"error": TEXT} as body. */
void http_answer_error(struct exchange *exchange, unsigned status, const char *text);

/* The same with bytes that outlive the server (pages, scripts). They get an ETag, 304 where the client has them, and
 * headers that confine a page to this server. */
void http_answer_static(struct exchange *exchange, const char *content_type, const void *bytes, size_t size);

/* End an exchange that http_gone returned. */
void http_drop(struct exchange *exchange);

struct http_counts {
    uint64_t cut;         /* connections that were ended as too slow or to make space, since the beginning */
    uint64_t connections; /* now */
    uint64_t limit;       /* of connections */
    uint64_t waiting;     /* exchanges without an answer */
};
struct http_counts http_counts(const struct http *http);

#endif
