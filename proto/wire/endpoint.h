/* endpoint.h - the text of an endpoint: what it names, and who can reach it.
 *
 * An endpoint is tcp://HOST:PORT, ipc://PATH or inproc://NAME. Users type endpoints, so they are checked before ZeroMQ
 * gets them. A few functions connect once without ZeroMQ, to explain a failure. Keeps no state; any thread. */
#ifndef LSTMQ_PROTO_WIRE_ENDPOINT_H
#define LSTMQ_PROTO_WIRE_ENDPOINT_H

#include "proto/base/err.h"

enum {
    ENDPOINT_SIZE = 256,        /* longest endpoint, its NUL included */
    ENDPOINT_EXPLAIN_MS = 1000, /* that endpoint_explain and endpoint_greets wait for an answer */
};

enum transport { TRANSPORT_TCP, TRANSPORT_IPC, TRANSPORT_INPROC };

struct address {
    enum transport transport;
    char host[ENDPOINT_SIZE], port[8]; /* of TRANSPORT_TCP; the host without brackets */
    bool literal6;                     /* the host is an IPv6 address */
};

/* Parse an endpoint; endpoint_parse_target only one to connect to, without wildcards. ERR_USAGE: it is not one. */
bool endpoint_parse(const char *endpoint, struct address *address, struct err *err);
bool endpoint_parse_target(const char *endpoint, struct address *address, struct err *err);

/* ERR_USAGE: not tcp://HOST:PORT or ipc://PATH. Unless it is for a bind, it must name host and port. */
bool endpoint_check(const char *endpoint, bool binds, struct err *err);

/* ERR_USAGE: no host has the name in tcp://HOST:PORT, as far as this machine knows. May ask a name server. */
bool endpoint_check_host(const char *endpoint, struct err *err);

/* Whether only this machine can reach what is bound there: loopback addresses, ipc and inproc. */
bool endpoint_is_local(const char *endpoint);

/* Whether libzmq must use IPv6 for this host. For a name, only if it has no IPv4 address: many a "localhost" has both,
 * and servers mostly bind IPv4. */
bool endpoint_wants_ipv6(const struct address *address, bool binds);

/* Explain in `err` (ERR_FAILED) why a connection to the endpoint failed. Tries once more, which takes at most
 * ENDPOINT_EXPLAIN_MS plus a name look-up. */
void endpoint_explain(const char *endpoint, struct err *err);

/* Whether the listener at a TCP endpoint sends anything, as ZeroMQ does at once. Takes at most twice
 * ENDPOINT_EXPLAIN_MS plus a name look-up. True for other endpoints. */
bool endpoint_greets(const char *endpoint);

#endif
