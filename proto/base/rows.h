/* rows.h - sentence pairs as ids, packed: a coordinator sends them and a model reads them.
 *
 * Row r is src_lengths[r] ids, then tgt_lengths[r] ids; rows follow each other in `ids`. A length counts what the model
 * reads, markers included: at least 1 a side. A struct rows owns nothing: the arrays belong to a received message or to
 * the caller, and must outlive it. Any thread. */
#ifndef LSTMQ_PROTO_BASE_ROWS_H
#define LSTMQ_PROTO_BASE_ROWS_H

#include <stddef.h>
#include <stdint.h>

struct rows {
    uint32_t count;
    const uint16_t *src_lengths, *tgt_lengths; /* [count] */
    const uint16_t *ids;                       /* [id_count] */
    size_t id_count;
};

/* The number of ids in rows first..first+count-1, both sides. */
static inline size_t rows_ids(const struct rows *rows, uint32_t first, uint32_t count)
{
    size_t sum = 0;
    for (uint32_t r = first; r < first + count; r++)
        sum += (size_t)rows->src_lengths[r] + rows->tgt_lengths[r];
    return sum;
}

/* The first `count` rows of `rows`, which then begins after them. */
static inline struct rows rows_take(struct rows *rows, uint32_t count)
{
    struct rows taken = *rows;
    taken.count = count;
    taken.id_count = rows_ids(rows, 0, count);
    rows->count -= count;
    rows->src_lengths += count;
    rows->tgt_lengths += count;
    rows->ids += taken.id_count;
    rows->id_count -= taken.id_count;
    return taken;
}

#endif
