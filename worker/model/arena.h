/* arena.h - arrays side by side in one block of memory.
 *
 * A function that lays out arrays calls arena_take for each array, and its caller calls it twice. The first time
 * `base` is NULL, and `used` ends as the bytes that the block needs. The second time `base` is the block, and each
 * array gets its place. An arena is plain memory of one thread. */
#ifndef LSTMQ_WORKER_MODEL_ARENA_H
#define LSTMQ_WORKER_MODEL_ARENA_H

#include <stddef.h>

enum { ARENA_ALIGN = 64 }; /* a cache line, and the widest vector */

struct arena {
    char *base;  /* not owned; NULL = only measure */
    size_t used; /* bytes                          */
};

/* `count` items of `size` bytes; NULL while measuring. */
static inline void *arena_take(struct arena *arena, size_t count, size_t size)
{
    void *taken = arena->base == NULL ? NULL : arena->base + arena->used;
    arena->used += (count * size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    return taken;
}

#endif
