/* batch.h - rows of token ids, packed for the network.
 *
 * batch_pack builds a batch from rows in any order. A batch holds what the operations of kernels/backend.h read: each
 * side as a packed sequence, and each side's inputs as distinct ids with a slot for each position. So an input that
 * stands in the batch many times is looked up and projected once.
 *
 *   source  the ids as given; with a padded length L every row runs L steps, and <pad> fills its end
 *   target  the ids to predict; the decoder's input is <sos>, then the target without its last id
 *
 * The rows of a side are sorted by falling length, equal lengths in the order given. So the two sides have different
 * orders: src_row[r] is the source-side row of target-side row r, and tgt_row is its inverse. Arrays for operations
 * are backend memory, uploaded in one block.
 *
 * A batch begins empty, *batch = (struct batch){.backend = backend}, keeps its memory from one use to the next, and
 * ends in batch_free. It belongs to one compute thread. */
#ifndef LSTMQ_WORKER_MODEL_BATCH_H
#define LSTMQ_WORKER_MODEL_BATCH_H

#include "kernels/backend.h"
#include "proto/base/rows.h"

struct batch_side {
    struct sequence seq;
    int U;                        /* distinct input ids                                             */
    int real;                     /* of these, all but <pad>, which stands last                     */
    int32_t *distinct;            /* [U] backend                                                    */
    int32_t *slot;                /* [N] backend: position -> place in distinct                     */
    struct segments positions;    /* of each place in distinct: the inverse of slot                 */
    const int32_t *host_distinct; /* [U] host: the same as distinct                          */
};

struct batch {
    struct backend *backend; /* not owned */
    int B;
    struct batch_side src, tgt;
    int32_t *target;            /* [N of tgt] backend                                         */
    int32_t *src_row, *tgt_row; /* [B] backend                                               */
    int *row_of;                /* [B] host: target-side row -> row as given                  */
    const int32_t *host_target; /* [N of tgt] host: the same as target                       */
    /* memory */
    int32_t *host; /* one block, uploaded to `device` in one piece */
    int32_t *device;
    size_t capacity;  /* int32 in each */
    int32_t *scratch; /* of batch_pack */
    size_t scratch_capacity;
    int32_t *place; /* [vocabulary] scratch: id -> slot + 1 */
    size_t place_capacity;
    int row_capacity;
};

/* Pack `rows`, at least one. pad_to 0: each source runs its own length; else every source runs pad_to steps. ERR_DATA:
 * an id is outside its vocabulary, or there are too many positions to count in an int. */
bool batch_pack(struct batch *batch, const struct rows *rows, int pad_to, int src_vocab, int tgt_vocab,
                struct err *err);

/* The pad_to of a run: data.length where the encoder runs over padding, else 0. */
int batch_padding(const struct config *config);

void batch_free(struct batch *batch);

#endif
