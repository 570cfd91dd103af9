/* http_inside.h - the server's own parts, for http*.c.
 *
 * A client is one connection, with the one exchange that it may have. It is in the list of its state:
 *
 *   IDLE --> HEAD --> BODY --> ARRIVED --> TAKEN ------------> ANSWERING --> IDLE
 *              |        |         |          +--> GONE --> LEFT --> DROPPED
 *              +--------+---------|--(refused)--> ANSWERING
 *                                 +--> DROPPED
 *
 * libmicrohttpd suspends a connection from ARRIVED to the answer. It does not read a suspended connection, so it misses
 * that the other side has left. An epoll descriptor of our own watches each connection for that, together with the
 * listener and libmicrohttpd's own descriptor; the loop watches this one. A client's memory is kept for the next
 * connection. */
#ifndef LSTMQ_COORDINATOR_HTTP_HTTP_INSIDE_H
#define LSTMQ_COORDINATOR_HTTP_HTTP_INSIDE_H

#include "coordinator/http/access_log.h"
#include "coordinator/http/http.h"

#include <microhttpd.h>
#include <sys/socket.h>

enum {
    HTTP_POOL = 64 << 10,      /* libmicrohttpd's memory for a connection: a head, and what of a body it reads */
    HTTP_HEAD = 56 << 10,      /* most bytes of a request's head ... */
    HTTP_URI = 50 << 10,       /* ... and of its URI, whose query may hold a text */
    HTTP_KEPT = 64 << 10,      /* memory of a buffer that is kept between requests */
    HTTP_PATIENCE = 16,        /* a body of up to so many times the limit is read, so that the client sees 413 */
    HTTP_BYTES_PER_MS = 8,     /* slower bodies and answers end at the time-out */
    HTTP_SPARED_MS = 1000,     /* at the limit of connections, younger ones are not ended */
    HTTP_IDLE_MS = 300,        /* when the server drains, longer idle connections are ended */
    HTTP_PAUSE_MS = 50,        /* at the limit, or without descriptors: time until accepting again */
    HTTP_ACCEPTS = 64,         /* connections accepted in one go */
    HTTP_BACKLOG = 4096,       /* connections that wait to be accepted */
    HTTP_COMPLAINT_MS = 60000, /* between two warnings about too many connections */
};

/* The text of a 413. */
#define HTTP_TOO_LARGE "The request's body is too large"

enum client_state {
    CLIENT_IDLE,      /* no request line has arrived */
    CLIENT_HEAD,      /* a request line has */
    CLIENT_BODY,      /* the head is accepted */
    CLIENT_ARRIVED,   /* the request is whole; suspended from here on */
    CLIENT_TAKEN,     /* the owner works on it */
    CLIENT_GONE,      /* the other side left; the owner does not know */
    CLIENT_LEFT,      /* the owner knows */
    CLIENT_DROPPED,   /* resumed without an answer: the connection ends */
    CLIENT_ANSWERING, /* an answer is being sent */
};

struct client {
    struct exchange exchange; /* first: an exchange is found in its client */
    struct http *http;
    struct MHD_Connection *connection;
    int fd; /* libmicrohttpd's */
    enum client_state state;
    bool hung_up; /* the kernel reported the other side's end; bytes may wait before it */
    bool cut;     /* shut down: libmicrohttpd ends it soon */
    uint64_t requests;
    int64_t since_ms;  /* it owes a request, or the reading of an answer */
    int64_t look_ms;   /* whether it makes progress */
    uint64_t progress; /* bytes, at the last look */
    struct client *previous, *next;
    struct buffer uri, path;       /* as received; decoded */
    struct buffer headers, answer; /* of the answer: NAME NUL VALUE NUL ...; its body */
    size_t received;               /* bytes of the body, discarded ones included */
    unsigned refusal;              /* status to answer once the body has arrived; 0 = none */
    unsigned status;               /* of the answer; 0 = none */
    size_t size;                   /* of the answer's body */
    char peer[HTTP_ADDRESS];
};

struct client_list {
    struct client *first, *last;
};

struct http {
    struct loop *loop;
    struct MHD_Daemon *daemon;
    struct access_log *log; /* NULL = none */
    uint64_t source;        /* of the loop */
    int epoll, listener;    /* listener -1 = drained */
    size_t body;
    int64_t timeout_ms;
    bool trusts_forwarded, draining, closing;
    bool listens;     /* the listener is in the epoll set */
    bool has_leavers; /* clients that hung up, and what follows from that is not done */
    bool due;         /* libmicrohttpd has work that no descriptor reports */
    int64_t listens_again_ms;
    int64_t look_ms; /* at clients that may be too slow */
    int64_t complained_ms;
    char address[HTTP_ADDRESS + 8];
    bool local;
    uint64_t seed, drawn; /* of ids */
    struct http_counts counts;
    struct client_list active; /* IDLE, HEAD, BODY, ANSWERING, DROPPED, by since_ms */
    struct client_list arrived, taken, gone, unused;
};

/* Put a client, which is in the list of its state, into that of `state`, at its end; since_ms is now. */
void client_move(struct client *client, enum client_state state);
/* http->unused gets it; the caller says from which list. */
void client_retire(struct client *client);
/* One for a new connection, IDLE; NULL: no memory. */
struct client *client_new(struct http *http);

/* ---- http_listen.c ---- */
bool http_listen(struct http *http, const struct http_options *options, struct err *err);
void http_accept(struct http *http);
/* End connections that are too slow, accept again if that was paused, and wake the loop for what is next. */
void http_keep_time(struct http *http);

/* ---- http_request.c: libmicrohttpd's callbacks ---- */
void *http_on_uri(void *context, const char *uri, struct MHD_Connection *connection);
enum MHD_Result http_on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *data, size_t *size, void **client);
void http_on_completed(void *context, struct MHD_Connection *connection, void **client,
                       enum MHD_RequestTerminationCode code);
void http_on_connection(void *context, struct MHD_Connection *connection, void **client,
                        enum MHD_ConnectionNotificationCode code);

/* ---- http_head.c: what a request's head says ---- */
/* Fill the exchange from the head. Returns 0, or the status to refuse it with; *text says why. */
unsigned http_read_head(struct client *client, const char *method, const char *version, const char **text);

/* ---- http_answer.c ---- */
/* Queue an error on a connection that is not suspended. */
bool http_refuse(struct client *client, unsigned status, const char *text);

#endif
