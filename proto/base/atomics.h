/* atomics.h - read-modify-write operations that C11 lacks. Any thread. */
#ifndef LSTMQ_PROTO_BASE_ATOMICS_H
#define LSTMQ_PROTO_BASE_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

/* *value = the larger of *value and `least`. */
static inline void atomics_raise(_Atomic uint64_t *value, uint64_t least)
{
    uint64_t now = atomic_load(value);
    while (now < least && !atomic_compare_exchange_weak(value, &now, least))
        continue;
}

#endif
