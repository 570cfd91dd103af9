/* area.h - memory that is kept from one GEMM to the next and grows on demand. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_AREA_H
#define LSTMQ_KERNELS_CPU_GEMM_AREA_H

#include "proto/base/err.h"

#include <stdlib.h>

/* Starts zeroed; the owner frees `memory`. */
struct area {
    char *memory; /* 4096-byte aligned */
    size_t size;
};

static inline size_t area_round(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Make it at least `size` bytes; growing loses the contents. False and err (ERR_MEMORY): there is no memory. */
static inline bool area_reserve(struct area *area, size_t size, struct err *err)
{
    if (size <= area->size)
        return true;
    free(area->memory);
    area->size = area_round(size, 4096);
    area->memory = aligned_alloc(4096, area->size);
    if (area->memory != NULL)
        return true;
    area->size = 0;
    return err_set(err, ERR_MEMORY, "no memory for a matrix product: %zu bytes", size);
}

static inline float *area_floats(const struct area *area)
{
    return (float *)(void *)area->memory;
}

#endif
