/* reduce.h - a step's gradient, summed over its shards and over the ranks of a generation.
 *
 * A reducer learns which rows of the embeddings the step has on any rank, takes the gradient after each batch, and
 * gives back the sum over all batches of all ranks. Of the embeddings it covers only the step's rows. The figures of
 * a shard or a rank (loss, tokens, correct predictions) travel along in a slot of their own, so that every rank adds
 * the same figures in the same order.
 *
 *   exact   each shard's gradient as int64 at a scale of 2^40: the sum does not depend on which rank has which shard. A
 *           slot for each shard of a batch. Shards are taken two at a time, because the sums are most of the memory
 *           traffic
 *   fp32    floats, added in an order that depends on the number of ranks. A slot for each rank, which computes its
 *           shards as one batch
 *   bf16    as fp32, but rounded to half the bytes for sending
 *
 * All numbers stay in backend memory. A bad element of an exact sum marks the step's outcome, and makes the slot's
 * loss NaN for the other ranks. A rank that is alone sends nothing. A sum that fails, or is aborted, leaves an
 * undefined gradient, and nothing else.
 *
 * For each step: reducer_begin; for each batch reducer_slot and reducer_add; then reducer_end. The compute thread
 * owns it and closes it before model and backend. */
#ifndef LSTMQ_WORKER_TRAIN_REDUCE_H
#define LSTMQ_WORKER_TRAIN_REDUCE_H

#include "kernels/collective.h"
#include "worker/model/network.h"
#include "worker/train/step_rows.h"

/* Tensors that stand side by side and are not summed by row: they are summed whole. */
struct dense {
    size_t offset, size; /* floats, in an arena */
};

struct reducer {
    const struct model *model; /* not owned */
    struct outcome *outcome;   /* not owned: of the step, backend memory */
    enum reduce how;
    uint32_t shards;               /* of a batch                                                */
    float below;                   /* exact: elements are smaller, so that no sum of all shards leaves an int64 */
    struct collective *collective; /* not owned; NULL = alone                                   */
    uint32_t rank, size;
    struct dense dense[MODEL_TENSORS];
    int dense_count;

    const struct step_rows *step; /* the step's rows, from begin to end                        */
    bool empty;                   /* nothing was added so far                                  */
    float *held;                  /* exact: added, and quantised with the next; NULL = none    */
    bool summed;                  /* exact: there are sums                                     */
    float *rows;                  /* [step's rows of all embeddings, E] backend memory         */
    size_t rows_capacity;         /* floats                                                    */
    int64_t *sums;                /* exact: dense parts, rows; backend memory                  */
    size_t sums_capacity;
    struct figures *slots; /* [slot_count] backend memory */
    struct figures *slot;  /* of the batch added last     */
    uint32_t slot_count, slot_capacity;

    uint64_t waited_ns; /* in collective operations, so far                              */
    bool failed;        /* the last failure was the collective's, abort excepted         */
};

/* Alone, until reducer_join says otherwise; it takes no memory before the first step. */
void reducer_open(struct reducer *reducer, const struct model *model, const struct config *config,
                  struct outcome *outcome);
void reducer_close(struct reducer *reducer);

/* Be one of `size` ranks from now on; collective NULL: alone. */
void reducer_join(struct reducer *reducer, struct collective *collective, uint32_t rank, uint32_t size);

/* When this returns on any rank, every rank has heard from the rank before it, so the next messages find their receiver
 * ready. ERR_PROTOCOL: the ranks are not `size`. */
bool reducer_meet(struct reducer *reducer, struct err *err);

/* Begin a step with these rows, as step_rows_list left them: those of all ranks. The gradient's are zero. */
bool reducer_begin(struct reducer *reducer, const struct step_rows *rows, struct err *err);

/* Where a batch's figures go; in exact reduction the batch is shard `shard`. Backend memory, zero. NULL and
 * ERR_PROTOCOL: there is no such shard. */
struct figures *reducer_slot(struct reducer *reducer, uint32_t shard, struct err *err);

/* A batch's gradient. In exact reduction it stays in place until the next batch, which has another arena, was added, or
 * until reducer_end; from then on its rows of the embeddings are zero again. */
void reducer_add(struct reducer *reducer, float *gradient, struct figures *slot);

/* All-reduce: `gradient`, an arena that was added, and the slots become the whole batch's. */
bool reducer_end(struct reducer *reducer, float *gradient, struct err *err);

/* Describe the bad element of an exact sum by its tensor: ERR_DIVERGED. `outcome` is host memory. Returns false. */
bool reducer_bad_element(const struct reducer *reducer, const struct outcome *outcome, struct err *err);

/* `size` bytes of backend memory of rank `root` to all ranks. */
bool reducer_broadcast(struct reducer *reducer, void *memory, size_t size, uint32_t root, struct err *err);

#endif
