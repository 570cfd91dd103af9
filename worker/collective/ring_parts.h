/* ring_parts.h - what the ring's files share: its life (ring.c), the flow of its data (ring_flow.c), and the state of
 * its connections (ring_line.c).
 *
 * An all-reduce cuts the elements into one segment for each rank. In 2(n-1) steps each rank sends a segment on and
 * receives another. For n-1 steps it adds what it receives to its own elements: segment j starts at rank j and is
 * complete at rank j-1. For n-1 more steps the complete segments go round and replace the old elements. A broadcast is
 * one segment that goes round once. A step sends what the step before received, in chunks, so all ranks send and
 * receive at once. (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, 2009.)
 *
 * Any process that can reach the endpoint of a rank may connect to it: with keys as a stranger, without keys as a peer.
 * The watch (watch.h) bounds the memory that such peers can fill. The predecessor is the peer that sent the message
 * that was due. The meeting of the ranks (reducer_meet) makes that happen before anything large is sent. The watch
 * disconnects a peer whose first frame no ring would send.
 *
 * The owner's thread uses the sockets and all fields, except those under `lock` and the atomic one. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_PARTS_H
#define LSTMQ_WORKER_COLLECTIVE_RING_PARTS_H

#include "kernels/collective.h"
#include "proto/wire/auth/zap.h"
#include "proto/wire/watch.h"
#include "worker/collective/ring_frame.h"
#include "worker/collective/ring_memory.h"

#include <pthread.h>
#include <stdatomic.h>

/* Bytes of elements in a frame; no element is cut. Large enough that calls cost nothing; small enough that a chunk is
 * still in the cache when it is added, and that the first one leaves early. */
enum { RING_CHUNK = 1 << 20 };

/* After a connection broke: milliseconds without progress after which data must be missing. Longer than the
 * coordinator needs to declare a worker dead. */
enum { RING_BROKEN_MS = 5000 };

/* Odd ranks wait longer, so that of two neighbours one fails and the coordinator stops the other. (With an odd number
 * of ranks the first and the last both fail, and both join again.) RING_LOOK_MS: milliseconds without progress before
 * a rank checks its connections. */
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
    float *result;                /* of all_reduce_scaled: complete sums, the caller's; else NULL          */
    float scale;                  /* of the same                                                 */
    struct ring_scratch *scratch; /* rounded elements, as sent; NULL = sent as they are in memory */
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
    struct ring_memory *here, *there; /* shared with the predecessor, which fills it, and with the successor; NULL =
                                         none   */
    uint64_t generation;
    uint32_t rank, size; /* size 0 = not connected                                            */
    int64_t timeout_ms;
    void *line;                    /* PAIR with the monitor events of `to`; NULL = none */
    uint64_t lost;                 /* of the watch, when the generation began */
    bool stood;                    /* the connection to the successor was made once in this generation */
    bool broken;                   /* a connection to a neighbour broke since: messages on their way may be lost */
    bool cut;                      /* the successor left in the middle of a message: nothing more is sent */
    bool copies;                   /* inproc: a lent frame would be read by the neighbour's thread at any later time */
    char predecessor[CURVE_KEY];   /* its public key; "" = no keys               */
    int neighbour;                 /* descriptor of the predecessor's last frame; -1 = no frame yet */
    struct err failure;            /* that ended the generation, or ERR_NONE                                 */
    uint64_t first, done, started; /* handles: before the generation; finished; started                     */
    int64_t moved_ms;              /* when a frame was last sent or received                                         */
    struct ring_operation operations[COLLECTIVE_OPERATIONS]; /* by handle modulo length                             */
    struct ring_scratch scratch[COLLECTIVE_OPERATIONS];

    int bell;              /* eventfd: wakes the owner                             */
    _Atomic uint64_t over; /* generations below this one were aborted; any thread         */
    pthread_mutex_t lock;
    bool listening; /* the owner sleeps until lent frames are back; under `lock`    */
};

static inline struct ring_operation *ring_operation_of(struct ring *ring, uint64_t handle)
{
    return &ring->operations[handle % COLLECTIVE_OPERATIONS];
}

/* Begin: fill in the steps of an operation that has its kind, data and count. */
void ring_flow_all_reduce(struct ring_operation *operation);
void ring_flow_broadcast(struct ring_operation *operation, uint32_t root);

/* Whether everything was sent and received; frames may still be lent. */
bool ring_flow_done(const struct ring_operation *operation);

/* Send and receive at most one message each, without waiting; moved = there was one. */
bool ring_flow(struct ring *ring, bool *moved, struct err *err);

/* Whether the ring waits to send, and to receive. */
bool ring_flow_may_send(struct ring *ring);
bool ring_flow_may_receive(struct ring *ring);

/* Watch the connections of a generation. Open before `to` connects, close before `to` is closed. */
bool ring_line_open(struct ring *ring, struct err *err);
void ring_line_close(struct ring *ring);

/* Whether a connection broke; checked only while nothing moves. A new break counts as progress, so that the time
 * limit starts again. */
bool ring_line_is_broken(struct ring *ring);

/* Wake the owner. Any thread. */
void ring_ring(struct ring *ring);

#endif
