/* packing.h - encoded sentences, collected for a message.
 *
 * A span, a validation request and a few sample sentences all travel as `struct rows`: lengths in two arrays, ids in
 * one. A packing collects such rows. It starts as all zeroes, keeps its memory from one message to the next
 * (packing_clear), and ends with packing_free. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_DATA_PACKING_H
#define LSTMQ_COORDINATOR_DATA_PACKING_H

#include "proto/base/err.h"
#include "proto/base/rows.h"

struct packing {
    uint16_t *src_lengths, *tgt_lengths; /* [capacity] */
    uint16_t *ids;                       /* [id_capacity] */
    uint32_t count, capacity;
    size_t id_count, id_capacity;
};

void packing_clear(struct packing *packing);

/* Append one row: copies `ids`, which has src_length, then tgt_length entries. ERR_MEMORY. */
bool packing_add(struct packing *packing, const uint16_t *ids, uint16_t src_length, uint16_t tgt_length,
                 struct err *err);

/* The rows collected so far. They point into the packing and are valid until the next add. */
struct rows packing_rows(const struct packing *packing);

void packing_free(struct packing *packing);

#endif
