/* batch.h - rows of token ids, packed for the network.
 *
 * A batch is built from rows in their own order and holds what the operations of kernels/backend.h want: each side as a
 * packed sequence, its rows sorted by falling length (ties in the order given), and each side's inputs as distinct ids
 * plus a slot for each position, so that an input is looked up and projected once however often it stands in the batch.
 *
 *   source  ids as they come; with a padded length L every row runs L steps, its end filled with <pad>
 *   target  what must be predicted; the decoder's input is <sos>, then the target but for its last id
 *
 * The two sides have different row orders: src_row[r] is the source-side row of target-side row r, and tgt_row its
 * inverse. Arrays for operations are backend memory; the sequences' own arrays are host memory. A batch keeps its
 * memory from one use to the next. Belongs to one compute thread. */
#ifndef LSTMQ_BATCH_H
#define LSTMQ_BATCH_H

#include "kernels/backend.h"
#include "proto/base/rows.h"

struct batch_side {
    struct sequence seq;
    int U;                        /* distinct input ids                                             */
    int real;                     /* of those, the ones that are not <pad>, which stands last       */
    int32_t *distinct;            /* [U] backend                                                    */
    int32_t *slot;                /* [N] backend: position -> place in distinct                     */
    struct segments positions;    /* of each place in distinct: `slot` the other way round          */
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

/* Start empty: *batch = (struct batch){.backend = backend}. */

/* Pack `rows`, at least one. pad_to 0 = source lengths as they are, else every source runs pad_to steps. ERR_DATA where an
 * id is outside its vocabulary, or where positions are too many to count in an int. */
bool batch_pack(struct batch *batch, const struct rows *rows, int pad_to, int src_vocab, int tgt_vocab,
                struct err *err);

/* The pad_to of a run: data.length where the encoder runs over padding, else 0. */
int batch_padding(const struct config *config);

void batch_free(struct batch *batch);

#endif
