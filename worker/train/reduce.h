/* reduce.h - a step's gradient, summed over its shards and over the ranks of a generation.
 *
 * A reducer is told which rows of the embeddings the step has on any rank, takes the gradient after each batch, and
 * gives back the sum over all batches of all ranks. Of the embeddings nothing but the step's rows is touched. What a
 * shard or a rank counted (loss, tokens, right predictions) travels along in a slot of its own, so that every rank adds
 * up the same figures in the same order.
 *
 *   exact   each shard's gradient as int64 at a scale of 2^40, whose sum does not depend on who has which shard; a slot
 *           for each shard of a batch. Shards are taken two at a time, since the sums are the most of the memory that is
 *           passed over
 *   fp32    floats, added in an order that depends on the number of ranks; a slot for each rank, who computes its shards
 *   bf16    as one batch. bf16 rounds what is sent to half the bytes
 *
 * A rank that is alone sends nothing. A sum that fails, or is aborted, leaves an undefined gradient, and nothing else.
 * Belongs to the compute thread; closed before model and backend. */
#ifndef LSTMQ_REDUCE_H
#define LSTMQ_REDUCE_H

#include "kernels/collective.h"
#include "proto/base/step_result.h"
#include "worker/model/network.h"
#include "worker/train/step_rows.h"

/* Tensors that stand side by side and are no embeddings: they are summed whole. */
struct dense {
    size_t offset, size; /* floats, in an arena */
};

struct reducer {
    const struct model *model; /* not owned */
    enum reduce how;
    uint32_t shards;               /* of a batch                                                */
    float below;                   /* exact: what elements must be, that no sum of all shards leaves an int64 */
    struct collective *collective; /* not owned; NULL = alone                                   */
    uint32_t rank, size;
    struct dense dense[MODEL_TENSORS];
    int dense_count;

    const struct step_rows *step; /* the step's rows, from begin to end                        */
    bool empty;                   /* nothing was added so far                                  */
    float *held;                  /* exact: added, and to be taken with the next; NULL = none  */
    bool summed;                  /* exact: there are sums                                     */
    float *rows;                  /* [step's rows of all embeddings, E] backend memory         */
    size_t rows_capacity;         /* floats                                                    */
    int64_t *sums;                /* exact: dense parts, rows, slots; backend memory           */
    size_t sums_capacity;
    int64_t *slots; /* [slots][3] loss sum (bits of a double), tokens, correct: host memory */
    int64_t *sent;  /* the same, backend memory; in exact reduction they travel with `sums` */
    uint32_t slot_count, slot_capacity;

    uint64_t waited_ns; /* in collective operations, so far                              */
    bool failed;        /* the last failure was the collective's, abort excepted         */
};

/* Alone, until reducer_join says otherwise; no memory is taken before the first step. */
void reducer_open(struct reducer *reducer, const struct model *model, const struct config *config);
void reducer_close(struct reducer *reducer);

/* Be one of `size` ranks from now on; collective NULL: alone. */
void reducer_join(struct reducer *reducer, struct collective *collective, uint32_t rank, uint32_t size);

/* Every rank has heard of the one before it when this returns on any of them: what is sent from here on finds its receiver
 * expecting it. ERR_PROTOCOL: they are not `size`. */
bool reducer_meet(struct reducer *reducer, struct err *err);

/* Begin a step with these rows, as step_rows_list left them: those of all ranks. The gradient's are zero. */
bool reducer_begin(struct reducer *reducer, const struct step_rows *rows, struct err *err);

/* A batch's gradient and figures. In exact reduction the batch is shard `shard`, and its gradient is left alone until the
 * next batch, which has another arena, was added, or until reducer_end; from then on its rows of the embeddings are zero
 * again. ERR_DIVERGED: an element that is not finite, or too large for the sum of so many shards; it names the tensor. */
bool reducer_add(struct reducer *reducer, float *gradient, uint32_t shard, const struct network_result *figures,
                 struct err *err);

/* All-reduce: `gradient`, an arena that was added, and the figures become the whole batch's. */
bool reducer_end(struct reducer *reducer, float *gradient, struct step_result *result, struct err *err);

/* `size` bytes of backend memory of rank `root` to all ranks. */
bool reducer_broadcast(struct reducer *reducer, void *memory, size_t size, uint32_t root, struct err *err);

#endif
