/* zap.h - the ZeroMQ authentication handler (ZAP, RFC 27) of a process: which peers may connect.
 *
 * libzmq asks it, over inproc://zeromq.zap.01, about each CURVE peer that has proved its key. It answers from the
 * allow-list: the key must be listed, with a role that the socket's domain accepts. Each refusal is a log line
 * (refusal.h).
 *
 * The handler is a source of the event loop, on its thread. The sockets it protects may belong to other threads of the
 * same context. It must exist before them and end after them, because libzmq accepts every peer while no handler is
 * bound. A peer without CURVE can also write any User-Id into its greeting. So believe a message's User-Id (route.key
 * in message.h) only on a socket that zap_set_server has set up, and drop a message without one there. Sockets without
 * keys need the handler too: see zap_set_open. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_ZAP_H
#define LSTMQ_PROTO_WIRE_AUTH_ZAP_H

#include "proto/wire/auth/allow.h"
#include "proto/wire/loop.h"

#include <stdint.h>

/* What a socket is used for. */
enum zap_domain {
    ZAP_TRAIN, /* a coordinator's: roles train and admin */
    ZAP_RING,  /* between workers: the keys of zap_set_ring */
    ZAP_SERVE, /* a queue's: roles serve, client and admin */
    ZAP_ADMIN, /* for operators: role admin */
    ZAP_DOMAINS
};

struct zap;

/* Bind the handler. The caller owns `allow`, which must outlive the handler; with NULL, only the ring's key is
 * accepted. ERR_FAILED: the context has a handler already. */
struct zap *zap_new(void *zmq_context, struct loop *loop, struct allow *allow, struct err *err);

void zap_destroy(struct zap **zap);

/* Before zmq_bind: make the socket a CURVE server that accepts the peers of `domain`. It must be the side that binds:
 * when a CURVE server connects and its key is refused, libzmq aborts the process. Any thread. */
bool zap_set_server(struct zap *zap, void *socket, const struct curve_keys *keys, enum zap_domain domain,
                    struct err *err);

/* Before zmq_bind: accept every peer that speaks ZMTP 3. Without a domain, libzmq 4.3.4 also accepts the greetings of
 * ZMTP 1 and 2; a few bytes of such a peer can abort the process, by an assertion on its id. Any thread. */
bool zap_set_open(struct zap *zap, void *socket, struct err *err);

/* From now on the ring's sockets accept only this key (Z85); NULL: no key. Connected peers stay. Loop thread only: call
 * it before the peer gets the endpoint. */
void zap_set_ring(struct zap *zap, const char *key);

/* The allow-list's entry for a key, such as a message's route.key; NULL: no longer listed. */
const struct curve_public *zap_find(struct zap *zap, const char *key);

struct zap_counts {
    uint64_t accepted, refused;
};
struct zap_counts zap_counts(const struct zap *zap);

#endif
