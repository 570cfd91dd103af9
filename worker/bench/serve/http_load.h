/* http_load.h - HTTP clients of a queue: connections that each send a request when the one before is answered.
 *
 * A request is a POST of JSON to /translate with a text that no other request has. The answer must be 200 and hold that
 * text, so the queue must echo. Connections stay open. One thread; one epoll for all connections. */
#ifndef LSTMQ_WORKER_BENCH_SERVE_HTTP_LOAD_H
#define LSTMQ_WORKER_BENCH_SERVE_HTTP_LOAD_H

#include "proto/base/err.h"
#include "worker/bench/serve/latency.h"

struct http_load {
    const char *address; /* HOST:PORT, numeric */
    unsigned connections;
    double seconds;
    /* what came back */
    struct latency answered;
    uint64_t done; /* within `seconds` */
};

/* ERR_FAILED: a connection ended, or an answer is not what the request wants. */
bool http_load_run(struct http_load *load, struct err *err);

/* Open so many connections at once, to HOST:PORT. With `request` it is sent on each, else the peer speaks first. *ms is
 * the time until the last of them has received a byte. */
bool http_load_burst(const char *address, unsigned connections, const char *request, double *ms, struct err *err);

#endif
