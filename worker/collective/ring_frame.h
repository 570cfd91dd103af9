/* ring_frame.h - the line that stands before every piece of data in a ring.
 *
 * A message between neighbours is two frames: this one, of fixed size, and the elements, or, of elements that lie in
 * memory which the two share, the number of their tray (u32). Little-endian:
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
 * libzmq keeps up to 33 bytes within a message. It allocates for longer ones, and loses that memory where a neighbour
 * goes away between two frames. A receiver knows what must come next, so it makes that line and compares. Pure
 * functions; any thread. */
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

/* False where the bytes are no such line. Fields are as they came: nothing is said about their range. */
bool ring_frame_read(const void *bytes, size_t size, struct ring_frame *frame);

/* What stands in the place of elements that lie in memory which neighbours share (ring_memory.h). */
void ring_tray_write(uint32_t tray, uint8_t bytes[RING_TRAY_NUMBER]);
uint32_t ring_tray_read(const uint8_t bytes[RING_TRAY_NUMBER]);

#endif
