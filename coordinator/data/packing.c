/* packing.c - collect rows; see packing.h. */
#include "coordinator/data/packing.h"

#include <stdlib.h>
#include <string.h>

void packing_clear(struct packing *packing)
{
    packing->count = 0;
    packing->id_count = 0;
}

static bool packing_grow(uint16_t **array, size_t entries, struct err *err)
{
    uint16_t *grown = realloc(*array, entries * sizeof **array);
    if (grown == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the rows of a message");
    *array = grown;
    return true;
}

static bool packing_room_for_row(struct packing *packing, struct err *err)
{
    if (packing->count < packing->capacity)
        return true;
    uint32_t capacity = packing->capacity * 2 + 64;
    if (!packing_grow(&packing->src_lengths, capacity, err) || !packing_grow(&packing->tgt_lengths, capacity, err))
        return false;
    packing->capacity = capacity;
    return true;
}

static bool packing_room_for_ids(struct packing *packing, size_t more, struct err *err)
{
    if (packing->id_count + more <= packing->id_capacity)
        return true;
    size_t capacity = packing->id_capacity * 2 + more + 1024;
    if (!packing_grow(&packing->ids, capacity, err))
        return false;
    packing->id_capacity = capacity;
    return true;
}

bool packing_add(struct packing *packing, const uint16_t *ids, uint16_t src_length, uint16_t tgt_length,
                 struct err *err)
{
    size_t more = (size_t)src_length + tgt_length;
    if (!packing_room_for_row(packing, err) || !packing_room_for_ids(packing, more, err))
        return false;
    packing->src_lengths[packing->count] = src_length;
    packing->tgt_lengths[packing->count] = tgt_length;
    memcpy(packing->ids + packing->id_count, ids, more * sizeof *ids);
    packing->count++;
    packing->id_count += more;
    return true;
}

struct rows packing_rows(const struct packing *packing)
{
    return (struct rows){.count = packing->count,
                         .src_lengths = packing->src_lengths,
                         .tgt_lengths = packing->tgt_lengths,
                         .ids = packing->ids,
                         .id_count = packing->id_count};
}

void packing_free(struct packing *packing)
{
    free(packing->src_lengths);
    free(packing->tgt_lengths);
    free(packing->ids);
    *packing = (struct packing){0};
}
