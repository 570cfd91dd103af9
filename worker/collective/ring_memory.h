/* ring_memory.h - memory that two neighbours of a ring share if both are on one machine.
 *
 * A socket costs two copies in the kernel, and its threads' time, for each byte. So a rank whose endpoint is an
 * abstract local socket also makes shared memory: trays of one chunk each, which its predecessor fills and it empties.
 * The message of such a chunk is sent as usual, with the tray's number in place of the elements. No rank waits for a
 * tray: when all are filled, the elements travel in the message.
 *
 * The memory has no name in any folder and ends with its processes. A neighbour finds it through the maker's
 * descriptors in /proc, which takes the same user and the right to look into the maker. A neighbour elsewhere (in
 * another container, say) finds none and does without. The maker seals its size, so no neighbour can shrink it under a
 * reader. It belongs to one endpoint and so to one generation: a late writer of an earlier generation writes where no
 * rank reads.
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
    RING_TRAY_LEAST = 1 << 16 /* smaller chunks travel in the message; larger than a tray's number */
};

struct ring_memory;

/* Memory for the endpoint `place`, with empty trays. The call appends to the text what finds the memory; `size` is the
 * text's space. NULL, and the text unchanged, when the system gives no memory. */
struct ring_memory *ring_memory_new(char *place, size_t size);

/* The memory of another rank's endpoint, as its listen returned it. NULL: it has none, or none that can be found from
 * here. */
struct ring_memory *ring_memory_find(const char *place);

/* NULL is ignored. */
void ring_memory_destroy(struct ring_memory **memory);

/* Sender: copy `bytes` (RING_CHUNK at most) into an empty tray and return its number. False: no tray is empty. */
bool ring_memory_put(struct ring_memory *memory, const void *elements, size_t bytes, uint32_t *tray);

/* Receiver: the RING_CHUNK bytes of a filled tray, valid until ring_memory_empty. NULL: no such tray, or it is empty.
 * */
const void *ring_memory_at(const struct ring_memory *memory, uint32_t tray);
void ring_memory_empty(struct ring_memory *memory, uint32_t tray);

#endif
