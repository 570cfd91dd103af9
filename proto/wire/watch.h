/* watch.h - the connections of a listening socket: log refused peers, and disconnect those that buffer too much.
 *
 * libzmq keeps what a peer sends until the message is complete. It limits a frame, but not the frames of a message: one
 * peer that never ends its message takes all memory. A peer that has not proved its key can take a frame's worth for
 * each of its connections. What libzmq holds is computed from outside: the bytes that the kernel has delivered for a
 * connection (TCP_INFO), minus those of the messages that message_receive returned. Every WATCH_EVERY_MS each
 * connection is compared with the limits. A connection above them is reset, and libzmq drops all that it holds. A
 * disconnected peer may connect again.
 *
 * A connection is a stranger until the owner trusts it, after its first valid message. An empty frame takes 64 bytes of
 * memory here and 2 on the wire (35 with CURVE). The limits of strangers allow for that; those of trusted peers do only
 * with CURVE. So with --insecure, trusted peers can take 32 times WATCH_ALL. When there are too many strangers, the
 * oldest one is disconnected: a worker sends its HELLO at once, so it is trusted before it is the oldest.
 *
 * With an allow-list, a peer whose key or role is no longer listed is disconnected too. The key must be missing in two
 * looks at the list, WATCH_KEYS_MS apart, so that rewriting a file disconnects no peer. A peer's key is known from its
 * first message on, so a peer that has sent nothing stays connected.
 *
 * Over ipc the kernel does not report delivered bytes, and all peers are on this machine: connections are limited in
 * number and checked for what they send, not for what they buffer. Over inproc nothing is watched.
 *
 * Looks and logs run on the loop's thread, which makes and destroys the watch. The socket may belong to another thread:
 * that thread calls the functions from watch_socket to watch_reject, and a lock separates them from the look. The
 * socket's context has one network thread (ZMQ_IO_THREADS, its default). */
#ifndef LSTMQ_PROTO_WIRE_WATCH_H
#define LSTMQ_PROTO_WIRE_WATCH_H

#include "proto/wire/auth/allow.h"
#include "proto/wire/loop.h"
#include "proto/wire/message.h"

enum {
    WATCH_EVERY_MS = 5,
    WATCH_REST_MS = 50, /* instead, while nothing arrives */
    WATCH_KEYS_MS = 400,
    WATCH_STRANGER = 192 << 10,  /* bytes held for one stranger: a HELLO is smaller */
    WATCH_STRANGERS = 512 << 10, /* for all of them together; a quarter of it without CURVE */
    WATCH_ONE = 12 << 20,        /* for a trusted peer: more than SOCKET_QUEUE_IN pieces of state */
    WATCH_ALL = 24 << 20,        /* for all of them together */
    WATCH_CONNECTIONS = 1024,    /* strangers at a time; less where the process may open few files */
};

struct watch;

/* Make a watch without a socket. Loop thread. */
struct watch *watch_new(void *zmq_context, struct loop *loop, struct err *err);

/* Ends the watching of a socket that belongs to this thread. Loop thread; NULL is ignored. */
void watch_destroy(struct watch **watch);

/* Other limits than the WATCH_ ones above, for strangers and for trusted peers, each for one and for all together. */
struct watch_limits {
    uint64_t stranger, strangers, one, all;
};
void watch_set_limits(struct watch *watch, const struct watch_limits *limits);

/* Watch a socket; call it before the bind. The watch first leaves a socket that it watched before. */
bool watch_socket(struct watch *watch, void *socket, struct err *err);

/* Call it after the bind. The address of each later peer is then known, however soon the peer leaves. */
void watch_bound(struct watch *watch);

/* Call it before closing the socket. Does nothing if no socket is watched. */
void watch_leave(struct watch *watch);

/* From now on, disconnect peers whose key is not on this list. The caller owns the list. Only the loop thread may then
 * use list and socket. */
void watch_keys(struct watch *watch, struct allow *allow);

/* Whether the peer's key is still listed; true without a list. False: ignore the peer. */
bool watch_knows(const struct watch *watch, const struct route *from);

/* Call it after each message_receive that set `from`, even if that failed, and before the other functions for this
 * message. */
void watch_received(struct watch *watch, const struct route *from);

/* The same, for a connection that watch_received was called for: it makes no system call. */
void watch_received_again(struct watch *watch, const struct route *from);

/* Give the peer the limits of a trusted peer until it disconnects, after its first valid message. */
void watch_trust(struct watch *watch, const struct route *from);

/* The peer sent what no peer of ours sends: disconnect it at the next look, unless it is trusted. */
void watch_reject(struct watch *watch, const struct route *from);

/* The number of the message's connection, never reused; 0 = unknown. From the first call on, watch_ended reports
 * trusted connections that have ended, by this number; 0 = no more for now. */
uint64_t watch_number(struct watch *watch, const struct route *from);
uint64_t watch_ended(struct watch *watch);

struct watch_counts {
    uint64_t accepted, refused, cut; /* since the beginning */
    uint64_t lost;                   /* trusted ones that left or were disconnected */
    uint64_t connections;            /* now */
    uint64_t kept;                   /* bytes, at the last look */
};
struct watch_counts watch_counts(struct watch *watch);

#endif
