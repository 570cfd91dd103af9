/* area.h - memory that is kept from one product to the next and grows when one wants more. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_AREA_H
#define LSTMQ_KERNELS_CPU_GEMM_AREA_H

#include "proto/base/err.h"

#include <stdlib.h>

/* Starts as zeroes; who owns it frees `memory`. */
struct area {
    char *memory; /* 4096-byte aligned */
    size_t size;
};

static inline size_t area_round(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* At least `size` bytes, whose contents are lost when it grows. False and err (ERR_MEMORY) when there are none. */
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
