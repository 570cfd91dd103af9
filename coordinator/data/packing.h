/* packing.h - encoded sentences on their way into a message.
 *
 * A span, a validation request and a handful of sample sentences all travel as `struct rows`: lengths in two arrays,
 * ids in one. A packing is where such rows are gathered. It starts as all zeroes, keeps its memory from one message to
 * the next (packing_clear), and is given back with packing_free. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_DATA_PACKING_H
#define LSTMQ_COORDINATOR_DATA_PACKING_H

#include "proto/base/err.h"
#include "proto/wire/message.h"

struct packing {
    uint16_t *src_lengths, *tgt_lengths; /* [capacity] */
    uint16_t *ids;                       /* [id_capacity] */
    uint32_t count, capacity;
    size_t id_count, id_capacity;
};

void packing_clear(struct packing *packing);

/* Append one row: `ids` has src_length then tgt_length entries and is copied. ERR_MEMORY. */
bool packing_add(struct packing *packing, const uint16_t *ids, uint16_t src_length, uint16_t tgt_length,
                 struct err *err);

/* What was gathered so far; it points into the packing and lasts until the next add. */
struct rows packing_rows(const struct packing *packing);

void packing_free(struct packing *packing);

#endif
