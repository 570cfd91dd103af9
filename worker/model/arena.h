/* arena.h - arrays side by side in one block of memory.
 *
 * A function that lays out arrays calls arena_take for each, and is called twice: first with `base` NULL, when `used`
 * ends as the bytes that the block needs; then with the block, when each array gets its place. Any thread, one arena
 * each. */
#ifndef LSTMQ_ARENA_H
#define LSTMQ_ARENA_H

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
