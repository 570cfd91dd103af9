/* collective.h - sums and copies between the ranks of a generation.
 *
 * A collective is one rank's end of what connects the workers: memory between threads of a process (local), sockets
 * from neighbour to neighbour (ring). Whichever it is, every rank issues the same operations in the same order, and
 * when an operation is done every rank holds the same bits.
 *
 *   open -> (listen -> connect -> operations... -> abort or the next listen)* -> close
 *
 * listen makes the place where others reach this rank, and says its name; the coordinator tells all names to all;
 * connect begins the generation. Neither waits for anybody: a rank that is not there is waited for by an operation.
 * An operation is started, which gives a handle, and finished by `wait`. From start to wait its memory belongs to the
 * collective: not to be read, changed or freed. It makes progress whenever the owner calls in, and data already
 * handed over travels meanwhile.
 *
 * A rank that has died or is frozen answers nothing, and who has is for the coordinator to say: operations wait until
 * `abort`, or for `patience_ms`. Whatever makes an operation fail ends the generation on this rank: its memory is the
 * caller's again, that of all operations started after it too, contents undefined (of a broadcast, each byte is what it
 * was or the root's); every later operation fails in the same way; listen begins anew. ERR_ABORTED = `abort` was called:
 * the generation is over, nothing is wrong. ERR_PROTOCOL = a rank did not issue the same operation, or sent what does not
 * fit. ERR_FAILED = patience ended, or nothing moved for 5 s (6.5 s) after a connection between two ranks broke. An
 * operation that is refused (ERR_FULL, ERR_MEMORY, an argument that cannot be) has not
 * been started: the generation stands, but the other ranks will wait for it.
 *
 * Owned by one compute thread. `abort` alone may be called by any thread, until close begins. */
#ifndef LSTMQ_COLLECTIVE_H
#define LSTMQ_COLLECTIVE_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct collective;
struct curve_keys;
struct watch;
struct zap;

enum {
    COLLECTIVE_ENDPOINT = 256,   /* bytes of an endpoint's text, the final NUL among them          */
    COLLECTIVE_OPERATIONS = 64,  /* started and not yet done, at most                              */
    COLLECTIVE_RANKS_MOST = 4096 /* of a generation                                                */
};

/* What is summed, and how it travels. */
enum collective_element {
    ELEMENT_F32,      /* float: added rank by rank in an order that depends on size and count alone  */
    ELEMENT_F32_BF16, /* float, rounded to bf16 whenever it is sent, and the result too: half the bytes, at most `size`
                         roundings of 2^-9. Where nothing is sent (local, one rank) nothing is rounded. */
    ELEMENT_I64,      /* int64_t: the same for any order. The caller's scale leaves room for the sum of all ranks; a sum
                         beyond int64 wraps. */
    ELEMENT_I64_F32,  /* int64_t, added as such; the sums are sent as floats: of fold alone, which
                         all_reduce refuses (ERR_PROTOCOL) */
};

/* A generation as PEERS tells it. Texts are the caller's, and needed during connect only. */
struct collective_group {
    uint64_t generation;            /* as in listen                                                          */
    uint32_t rank, size;            /* rank < size; size 1: operations are done when started                 */
    const char *const *endpoints;   /* [size] what each rank's listen said                        */
    const char *const *public_keys; /* [size] Z85; needed where the collective has keys, else NULL */
    int64_t patience_ms;            /* an operation fails when nothing has come for so long; 0 = it waits for ever */
};

struct collective_table {
    const char *name; /* "local", "ring" */

    /* End what went before and be reachable for `generation`. Writes the endpoint for the others. */
    bool (*listen)(struct collective *self, uint64_t generation, char endpoint[COLLECTIVE_ENDPOINT], struct err *err);
    /* Begin the generation that was listened for. */
    bool (*connect)(struct collective *self, const struct collective_group *group, struct err *err);

    /* data[i] = the sum of all ranks' data[i], in place, for i < count. ERR_FULL when too many are started. */
    bool (*all_reduce)(struct collective *self, enum collective_element element, void *data, size_t count,
                       uint64_t *handle, struct err *err);
    /* result[i] = (float)(the sum of all ranks' data[i]) * scale, rounded once, for i < count; `scale` is a power of two,
     * the same on every rank, that takes no sum out of float's range. `data` is used up: what it holds after is
     * undefined. `result` lies elsewhere, and belongs to the collective until wait as data does. ERR_FULL as above. */
    bool (*fold)(struct collective *self, int64_t *data, size_t count, float scale, float *result, uint64_t *handle,
                 struct err *err);
    /* The bytes of rank `root` to all. */
    bool (*broadcast)(struct collective *self, void *data, size_t bytes, uint32_t root, uint64_t *handle,
                      struct err *err);
    /* Return when the operation is done, and with it all that were started before. */
    bool (*wait)(struct collective *self, uint64_t handle, struct err *err);

    /* End every generation up to this one, at once (10 ms): the owner's operations fail with ERR_ABORTED, whether
     * waiting or not yet started. Later generations are not touched; UINT64_MAX leaves none. Between threads of a hub
     * it is the generation of all. Any thread. */
    void (*abort)(struct collective *self, uint64_t generation);

    void (*close)(struct collective *self);
};

struct collective {
    const struct collective_table *op;
};

/* ---- ring: processes, over ZeroMQ ---- */

struct ring_options {
    void *zmq_context; /* not owned; closed after the collective */
    /* Where to listen: "tcp://ADDRESS" (and ":PORT", or any port), where ADDRESS is one by which the other ranks reach
     * this host; "ipc://PATH", or "ipc://" for a file of its own, or "ipc://@" for a name of its own that is no file and
     * ends with the process (Linux; within a network namespace, as ports are), where without keys chunks are handed over
     * in memory, 16 MiB that each rank shares with its predecessor; "inproc://" within zmq_context. Read in
     * ring_open. */
    const char *bind;
    /* This worker's own; NULL = no encryption. Both outlive the collective. With keys, whoever owns `zap` tells it the
     * predecessor's (zap_set_ring) when PEERS comes; until then the predecessor's attempts are put off. Without keys a zap
     * keeps out who speaks an older protocol, whose messages cannot be told to be a stranger's; NULL = they come in. */
    const struct curve_keys *keys;
    struct zap *zap; /* of zmq_context */
    /* Of zmq_context; it watches the ring's place and nothing else, and outlives the collective. NULL = whoever comes in
     * may fill the memory, and what makes no sense ends the generation whoever sends it. With it a neighbour is a stranger
     * until a frame of its own was taken, so nothing large should be sent before all ranks have met (reduce.h). */
    struct watch *watch;
};

struct collective *ring_open(const struct ring_options *options, struct err *err);

/* ---- local: threads of one process ---- */

/* Where the threads meet: one for all, made before they start, destroyed after they closed their collectives. */
struct local_hub;

struct local_hub *local_hub_new(struct err *err);
void local_hub_destroy(struct local_hub **hub);

struct collective *local_open(struct local_hub *hub, struct err *err);

/* ---- both ---- */

/* NULL is ignored. */
void collective_close(struct collective **collective);

/* The first generation that is not over when all up to `generation` are; UINT64_MAX, which is none, stays what it is. */
static inline uint64_t collective_after(uint64_t generation)
{
    return generation < UINT64_MAX ? generation + 1 : UINT64_MAX;
}

/* all_reduce and its wait in one. */
bool collective_sum(struct collective *collective, enum collective_element element, void *data, size_t count,
                    struct err *err);

#endif
