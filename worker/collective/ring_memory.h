/* ring_memory.h - memory that two neighbours of a ring share where both are on one machine.
 *
 * A socket costs two copies in the kernel and its threads' time for each byte. So a rank whose place is a local socket by
 * name makes memory beside it: trays that hold a chunk each, which its predecessor fills and it empties. The message of
 * such a chunk is sent as any other and has the tray's number in the place of the elements. Nobody waits for a tray: when
 * none is free, the elements go with the message.
 *
 * The memory has no name in any folder and ends with its processes. It is found through its maker in /proc, by processes
 * of the same user that may look into the maker; whoever is not so near (another container, say) finds none, and does
 * without. The maker's size of it is sealed, so no neighbour can take it away under a reader. It belongs to one place,
 * that is, to one generation: who still writes for an earlier one writes where nobody reads.
 *
 * Each end belongs to the thread of its ring: born in ring_memory_new (the receiver's) or ring_memory_find (the
 * sender's), given back by ring_memory_destroy. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_MEMORY_H
#define LSTMQ_WORKER_COLLECTIVE_RING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RING_TRAYS = 16,
    RING_TRAY_LEAST = 1 << 16 /* bytes of a chunk that are worth a tray, and no tray's number */
};

struct ring_memory;

/* Memory for `place`, whose text of at most `size` bytes with its NUL is made longer by what finds it; empty trays. NULL,
 * and the text as it was, where the system has none to give. */
struct ring_memory *ring_memory_new(char *place, size_t size);

/* The memory of another rank's place, as its listen said it. NULL where it has none, or none that can be found from here. */
struct ring_memory *ring_memory_find(const char *place);

/* NULL is ignored. */
void ring_memory_destroy(struct ring_memory **memory);

/* The sender's: copy `bytes` (RING_CHUNK at most) into a free tray and tell its number. False: none is free. */
bool ring_memory_put(struct ring_memory *memory, const void *elements, size_t bytes, uint32_t *tray);

/* The receiver's: what lies in a tray, RING_CHUNK bytes, until ring_memory_empty; NULL where there is no such tray or
 * nothing was put into it. */
const void *ring_memory_at(const struct ring_memory *memory, uint32_t tray);
void ring_memory_empty(struct ring_memory *memory, uint32_t tray);

#endif
