/* zap.h - who may connect: the ZeroMQ authentication handler (ZAP, RFC 27) of a process.
 *
 * libzmq asks it about each CURVE peer that has proved its key, over inproc://zeromq.zap.01. It answers by the allow-list:
 * the key must be there, with a role that the socket's domain takes. Each refusal is a log line (refusal.h).
 *
 * A source of the event loop, on its thread; the sockets it protects may belong to other threads of the same context. It
 * must be born before them and die after them: libzmq lets everybody in where no handler is bound. Therefore, and because
 * a peer without CURVE can write any User-Id into its own greeting, believe a message's User-Id (route.key in message.h)
 * only on a socket that zap_set_server has set up, and drop what comes there without one. Sockets without keys need the
 * handler too: see zap_set_open. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_ZAP_H
#define LSTMQ_PROTO_WIRE_AUTH_ZAP_H

#include "proto/wire/auth/allow.h"
#include "proto/wire/loop.h"

#include <stdint.h>

/* What a socket is for. */
enum zap_domain {
    ZAP_TRAIN, /* a coordinator's: roles train and admin           */
    ZAP_RING,  /* between workers: the keys of zap_set_ring        */
    ZAP_SERVE, /* a queue's: roles serve, client and admin         */
    ZAP_ADMIN, /* for operators: role admin                        */
    ZAP_DOMAINS
};

struct zap;

/* Bind the handler. `allow` (may be NULL: then only the ring's list lets anybody in) stays the caller's and must outlive
 * it. ERR_FAILED where the context has one already. */
struct zap *zap_new(void *zmq_context, struct loop *loop, struct allow *allow, struct err *err);

void zap_destroy(struct zap **zap);

/* Before zmq_bind: make the socket a CURVE server that lets in whom the handler accepts for `domain`. It must be the side
 * that binds: where a CURVE server connects, libzmq ends the process when a key is refused. Any thread. */
bool zap_set_server(struct zap *zap, void *socket, const struct curve_keys *keys, enum zap_domain domain,
                    struct err *err);

/* Before zmq_bind: let anybody in who speaks ZMTP 3. Without a domain libzmq 4.3.4 also takes the greetings of ZMTP 1
 * and 2, and a few bytes of such a peer can end the process (an assertion on what it sends as its id). Any thread. */
bool zap_set_open(struct zap *zap, void *socket, struct err *err);

/* From now on the ring's sockets take this key (Z85) and no other; NULL: nobody. Who is connected stays. Loop thread
 * only: set it before the peer is told to connect. */
void zap_set_ring(struct zap *zap, const char *key);

/* What the allow-list says of a key, as a message's route.key has it; NULL where it is not there any more. */
const struct curve_public *zap_find(struct zap *zap, const char *key);

struct zap_counts {
    uint64_t accepted, refused;
};
struct zap_counts zap_counts(const struct zap *zap);

#endif
