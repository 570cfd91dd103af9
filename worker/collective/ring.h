/* ring_parts.h - the collective of ranks that are processes, over ZeroMQ; see kernels/collective.h for what it does.
 *
 * Each rank binds an endpoint, where its predecessor sends, and connects to its successor's. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_H
#define LSTMQ_WORKER_COLLECTIVE_RING_H

#include "kernels/collective.h"

struct curve_keys;
struct watch;
struct zap;

struct ring_options {
    void *zmq_context; /* not owned; closed after the collective */
    /* Where to listen; ring_open copies it:
     *   tcp://ADDRESS[:PORT]  an address by which the other ranks reach this host; without a port, any free one
     *   ipc://PATH            a socket file; "ipc://" alone: a file with a name of its own
     *   ipc://@               a unique abstract socket, which is no file and ends with the process (Linux). Only
     *                         processes in the same network namespace reach it. Without keys each rank shares 16 MiB of
     *                         memory with its predecessor, and chunks travel there
     *   inproc://             a name within zmq_context */
    const char *bind;
    /* This worker's own; NULL = no encryption. Both outlive the collective. With keys, the owner of `zap` gives it the
     * predecessor's key (zap_set_ring) when PEERS arrives; until then the zap refuses the predecessor, which retries.
     * Without keys a zap refuses peers of older ZMTP versions, whose messages cannot be told from a stranger's; NULL =
     * they may connect. */
    const struct curve_keys *keys;
    struct zap *zap; /* of zmq_context */
    /* Of zmq_context; it watches only the ring's endpoint, and outlives the collective. NULL = any peer may fill the
     * memory, and an invalid frame of any peer ends the generation. With it a neighbour is a stranger until it has sent
     * a valid frame, so send nothing large before all ranks have met (reducer_meet). */
    struct watch *watch;
};

/* ERR_USAGE: `bind` is no endpoint that others can connect to. NULL and err on failure. */
struct collective *ring_open(const struct ring_options *options, struct err *err);

#endif
