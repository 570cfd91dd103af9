/* ring_parts.h - what the parts of the ring share: its life (ring.c), the way of its data (ring_flow.c), and the state
 * of its connections (ring_line.c).
 *
 * An all-reduce cuts the elements into one segment a rank. In 2(n-1) steps each rank sends a segment and receives
 * another. For n-1 steps it adds received elements to its own, so segment j, which started at rank j, is complete at
 * rank j-1. For n-1 more steps the complete segments go around and replace. A broadcast is one segment that goes around
 * once. A step sends what the step before received, in chunks, so that all ranks send and receive at once. (Patarasuk
 * and Yuan, Bandwidth optimal all-reduce algorithms, 2009.)
 *
 * Any peer that can reach a rank's endpoint may connect to it: with keys as a stranger, without them as a peer. The
 * watch (watch.h) bounds the memory that they can use. The sender of the due message is the predecessor; the ranks'
 * meeting (reducer_meet) establishes that before anything large is sent. A peer that sends an invalid message is
 * disconnected.
 *
 * Sockets and everything here except the fields under `lock` and the atomic one belong to the owner's thread. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_PARTS_H
#define LSTMQ_WORKER_COLLECTIVE_RING_PARTS_H

#include "kernels/collective.h"
#include "proto/wire/auth/zap.h"
#include "proto/wire/watch.h"
#include "worker/collective/ring_frame.h"
#include "worker/collective/ring_memory.h"

#include <pthread.h>
#include <stdatomic.h>

/* Bytes of elements in a frame, of elements that stay whole: long enough to cost no calls, short enough that a chunk
 * is still in the cache when it is added and that the first is on its way early. */
enum { RING_CHUNK = 1 << 20 };

/* Milliseconds without progress after which, on a broken connection, a message is missing: longer than the coordinator
 * needs to report a dead rank. */
enum { RING_BROKEN_MS = 5000 };

/* Added for odd ranks, so that of two neighbours one stops and the other is notified (the first and the last of an odd
 * number both stop, and both join again); and time without progress before a rank checks its connections. */
enum { RING_BROKEN_MORE_MS = 1500, RING_LOOK_MS = 500 };

/* The next chunk to send or receive. */
struct ring_position {
    uint32_t step, chunk;
};

struct ring_operation {
    struct ring *ring;
    uint32_t number; /* within the generation, from 1                                   */
    uint8_t kind;    /* of its frames                                                   */
    bool all_reduce;
    uint8_t *data; /* the caller's                                                      */
    size_t count;
    float *result;                /* of a fold: complete sums, the caller's; else NULL          */
    float scale;                  /* of a fold                                                  */
    struct ring_scratch *scratch; /* rounded elements as they travel; NULL = as they are in memory */
    struct ring_position send, receive;
    uint32_t send_end, receive_end; /* steps */
    unsigned lent;                  /* frames that ZeroMQ still reads from the memory; under `lock` */
};

struct ring_scratch {
    uint8_t *elements;
    size_t capacity; /* bytes */
    bool used;
};

struct ring {
    struct collective base;
    void *zmq_context;
    char bind[COLLECTIVE_ENDPOINT];
    const struct curve_keys *keys; /* NULL = none                                             */
    struct zap *zap;               /* NULL only without keys                                                 */
    struct watch *watch;           /* over `from`; NULL = none                                  */

    void *from, *to;                  /* PULL, bound; PUSH, connected; NULL = none                             */
    struct ring_memory *here, *there; /* whose trays the predecessor fills, and the successor's; NULL = none   */
    uint64_t generation;
    uint32_t rank, size; /* size 0 = not connected                                            */
    int64_t timeout_ms;
    void *line;                    /* PAIR with what the monitor of `to` tells; NULL = none */
    uint64_t lost;                 /* of the watch, when the generation began */
    bool stood;                    /* the connection to the successor did once in this generation */
    bool broken;                   /* a connection to a neighbour broke since: what was on its way may be lost */
    bool cut;                      /* the successor went away in the middle of a message: nothing is sent any more */
    bool copies;                   /* inproc: a frame would be read by the neighbour's thread for as long as it likes */
    char predecessor[CURVE_KEY];   /* its public key; "" = not asked for               */
    int neighbour;                 /* descriptor by which the predecessor's frames came last; -1 = none did yet */
    struct err failure;            /* that ended the generation, or ERR_NONE                                 */
    uint64_t first, done, started; /* handles: before the generation; finished; started                     */
    int64_t moved_ms;              /* when a frame last went or came                                         */
    struct ring_operation operations[COLLECTIVE_OPERATIONS]; /* by handle modulo length                             */
    struct ring_scratch scratch[COLLECTIVE_OPERATIONS];

    int bell;              /* eventfd: look up, something has changed                             */
    _Atomic uint64_t over; /* generations below this one were aborted; any thread         */
    pthread_mutex_t lock;
    bool listening; /* the owner sleeps and wants the bell when frames are back; under `lock`    */
};

static inline struct ring_operation *ring_operation_of(struct ring *ring, uint64_t handle)
{
    return &ring->operations[handle % COLLECTIVE_OPERATIONS];
}

/* Set out: fill in the steps of an operation whose kind, data and count are there. */
void ring_flow_all_reduce(struct ring_operation *operation);
void ring_flow_broadcast(struct ring_operation *operation, uint32_t root);

/* Whether everything was sent and received; frames may still be lent. */
bool ring_flow_done(const struct ring_operation *operation);

/* Send and receive at most a frame each of what can be done at once; *moved when there was one. */
bool ring_flow(struct ring *ring, bool *moved, struct err *err);

/* Whether it is a socket that the ring waits for. */
bool ring_flow_may_send(struct ring *ring);
bool ring_flow_may_receive(struct ring *ring);

/* Look after the connections of the generation that begins, from before `to` connects; until `to` is closed. */
bool ring_line_open(struct ring *ring, struct err *err);
void ring_line_close(struct ring *ring);

/* Whether one broke, looked at while nothing moves. When it turns out, that counts as a movement. */
bool ring_line_is_broken(struct ring *ring);

/* Wake the owner. Any thread. */
void ring_ring(struct ring *ring);

#endif
