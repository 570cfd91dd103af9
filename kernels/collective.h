/* collective.h - sums and copies between the ranks of a generation.
 *
 * A collective is one rank's end of the connection between the workers. worker/collective/ implements two: local
 * (memory between threads of one process) and ring (sockets from neighbour to neighbour). A device's plug-in may add
 * its own. Every rank starts the same operations in the same order. When an operation is done, every rank holds the
 * same bits.
 *
 *   open -> (listen -> connect -> operations... -> abort or the next listen)* -> close
 *
 * listen binds this rank's endpoint and returns its name. The coordinator sends the names of all ranks to all ranks.
 * connect begins the generation. Neither waits for another rank: the first operation waits for the ranks that are late.
 * An operation starts and returns a handle; `wait` finishes it. From start to wait the collective owns the operation's
 * memory: the caller does not read, change or free it. Work is done in the owner's calls. Data that was handed over
 * travels between them.
 *
 * A dead or frozen rank answers nothing, and the coordinator decides which rank that is: operations wait until `abort`,
 * or for `timeout_ms`. A failed operation ends the generation on this rank. The memory of all started operations is the
 * caller's again; its contents are undefined (after a broadcast each byte is the old one or the root's). Every later
 * operation fails with the same error, and listen begins the next generation. The errors:
 *   ERR_ABORTED   `abort` was called: the generation is over, and nothing is wrong
 *   ERR_PROTOCOL  a rank started another operation, or sent data that does not fit
 *   ERR_FAILED    the timeout, or nothing moved for 5 s (6.5 s) after a connection between two ranks broke
 * A refused operation (ERR_FULL, ERR_MEMORY, an impossible argument) has not started: the generation goes on, but the
 * other ranks will wait for it.
 *
 * One compute thread owns a collective. Any thread may call `abort`, until close begins. */
#ifndef LSTMQ_KERNELS_COLLECTIVE_H
#define LSTMQ_KERNELS_COLLECTIVE_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct collective;

enum {
    COLLECTIVE_ENDPOINT = 256,   /* bytes of an endpoint's text, the final NUL included */
    COLLECTIVE_OPERATIONS = 64,  /* started and not yet done, at most                   */
    COLLECTIVE_RANKS_MOST = 4096 /* of a generation                                     */
};

/* The type of a sum's elements, in memory and on the wire. */
enum collective_element {
    ELEMENT_F32,      /* float, added rank by rank in an order that depends on size and count alone */
    ELEMENT_F32_BF16, /* float; rounded to bf16 for each transfer, and so is the result: half the bytes, at most `size`
                         roundings of 2^-9. Where nothing is sent (local, one rank) nothing is rounded. */
    ELEMENT_I64,      /* int64_t: the same bits in any order. The caller's scale leaves space for the sum of all ranks;
                         a sum beyond int64 wraps. */
    ELEMENT_I64_F32,  /* int64_t, added as int64_t; the complete sums travel as floats. For all_reduce_scaled only:
                         all_reduce refuses it (ERR_PROTOCOL) */
};

/* A generation, as the message PEERS describes it. The texts are the caller's; connect alone reads them. */
struct collective_group {
    uint64_t generation;            /* as in listen                                                   */
    uint32_t rank, size;            /* rank < size; with size 1 an operation is done once it starts   */
    const char *const *endpoints;   /* [size] what each rank's listen returned                        */
    const char *const *public_keys; /* [size] Z85; needed where the collective has keys, else NULL    */
    int64_t timeout_ms;             /* an operation fails when no data came for so long; 0 = no limit */
};

struct collective_table {
    const char *name; /* "local", "ring" */

    /* End the generation before and become reachable for `generation`. Writes the endpoint for the other ranks. */
    bool (*listen)(struct collective *self, uint64_t generation, char endpoint[COLLECTIVE_ENDPOINT], struct err *err);
    /* Begin the generation of the last listen. */
    bool (*connect)(struct collective *self, const struct collective_group *group, struct err *err);

    /* data[i] = the sum of all ranks' data[i], in place, for i < count. ERR_FULL: too many operations are started. */
    bool (*all_reduce)(struct collective *self, enum collective_element element, void *data, size_t count,
                       uint64_t *handle, struct err *err);
    /* result[i] = (float)(the sum of all ranks' data[i]) * scale, rounded once, for i < count. `scale` is a power of
     * two, the same on every rank, that takes no sum out of float's range. `data` serves as scratch: its contents are
     * undefined afterwards. `result` lies elsewhere and, as data, belongs to the collective until wait. ERR_FULL as
     * above. */
    bool (*all_reduce_scaled)(struct collective *self, int64_t *data, size_t count, float scale, float *result,
                              uint64_t *handle, struct err *err);
    /* Copy the bytes of rank `root` to all ranks. */
    bool (*broadcast)(struct collective *self, void *data, size_t bytes, uint32_t root, uint64_t *handle,
                      struct err *err);
    /* Return when the operation and all that started before it are done. */
    bool (*wait)(struct collective *self, uint64_t handle, struct err *err);

    /* End every generation up to this one within 10 ms: the owner's operations fail with ERR_ABORTED, whether waiting
     * or not yet started. Later generations go on; UINT64_MAX leaves none. Threads of one hub share a generation, so it
     * ends for all of them. Any thread. */
    void (*abort)(struct collective *self, uint64_t generation);

    void (*close)(struct collective *self);
};

/* The first member of every collective's own struct. */
struct collective {
    const struct collective_table *op;
};

/* NULL is ignored. */
void collective_close(struct collective **collective);

/* all_reduce and its wait in one. */
bool collective_sum(struct collective *collective, enum collective_element element, void *data, size_t count,
                    struct err *err);

/* The generation after this one; after UINT64_MAX, which stands for all generations, UINT64_MAX. */
static inline uint64_t collective_after(uint64_t generation)
{
    return generation < UINT64_MAX ? generation + 1 : UINT64_MAX;
}

#endif
