/* ring_frame.h - the line before every piece of data in a ring.
 *
 * A message between neighbours is two frames: this line, of fixed size, and the elements. Where the elements lie in
 * shared memory, the second frame is the number of their tray (u32). Little-endian:
 *
 *   at  size  field
 *    0     3  "LQR"
 *    3     1  kind        0..3 as enum collective_element, summed; 4 = bytes, copied
 *    4     2  step        of the operation, on the sender's side of the ring
 *    6     2  rank        of the sender
 *    8     8  generation
 *   16     8  count       elements of the whole operation
 *   24     4  operation   counted from 1 in each generation; its lowest 32 bits
 *   28     4  chunk       of the step
 *
 * libzmq keeps up to 33 bytes inside a message. For longer ones it allocates, and it leaks that memory when a neighbour
 * leaves between two frames. A receiver knows what must come next, so it makes that line and compares. Pure functions;
 * any thread. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_FRAME_H
#define LSTMQ_WORKER_COLLECTIVE_RING_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RING_FRAME = 32,
    RING_KIND_BYTES = 4,
    RING_TRAY_NUMBER = 4 /* bytes */
};

struct ring_frame {
    uint8_t kind;
    uint16_t step, rank;
    uint32_t operation, chunk;
    uint64_t generation, count;
};

void ring_frame_write(const struct ring_frame *frame, uint8_t bytes[RING_FRAME]);

/* False: the bytes are no such line. The fields' ranges are not checked. */
bool ring_frame_read(const void *bytes, size_t size, struct ring_frame *frame);

/* The second frame where the elements lie in shared memory (ring_memory.h). */
void ring_tray_write(uint32_t tray, uint8_t bytes[RING_TRAY_NUMBER]);
uint32_t ring_tray_read(const uint8_t bytes[RING_TRAY_NUMBER]);

#endif
