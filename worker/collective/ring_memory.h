/* ring_memory.h - memory that two neighbours of a ring share if both are on one machine.
 *
 * A socket costs two copies in the kernel and its threads' time for each byte. So a rank whose endpoint is a local
 * socket by name also makes memory: trays that hold a chunk each, which its predecessor fills and it empties. The
 * message of such a chunk is sent as any other, with the tray's number in place of the elements. No rank waits for a
 * tray: if none is free, the elements travel in the message.
 *
 * The memory has no name in any folder and ends with its processes. It is found through its maker in /proc, by
 * processes of the same user that may look into the maker; a process in another container, for example, finds none and
 * does without. The maker seals its size, so no neighbour can remove it under a reader. It belongs to one endpoint,
 * that is, to one generation: writes for an earlier one are never read.
 *
 * Each end belongs to the thread of its ring, from ring_memory_new (the receiver's) or ring_memory_find (the sender's)
 * to ring_memory_destroy. */
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

/* Memory for `place`, whose text of at most `size` bytes with its NUL is made longer by what finds it; empty trays.
 * NULL, and the text as it was, where the system has none to give. */
struct ring_memory *ring_memory_new(char *place, size_t size);

/* The memory of another rank's place, as its listen said it. NULL where it has none, or none that can be found from
 * here. */
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
