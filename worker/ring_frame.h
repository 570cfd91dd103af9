/* ring_frame.h - the line that stands before every piece of data in a ring.
 *
 * A message between neighbours is two frames: this one, of fixed size, and the elements. Little-endian:
 *
 *   at  size  field
 *    0     4  "LQR1"
 *    4     2  kind        0..2 as enum collective_element, summed; 3 = bytes, copied
 *    6     2  step        of the operation, on the sender's side of the ring
 *    8     8  generation
 *   16     8  operation   counted from 1 in each generation
 *   24     8  count       elements of the whole operation
 *   32     4  chunk       of the step
 *   36     4  rank        of the sender
 *
 * A receiver knows what must come next, so it makes that line and compares. Pure functions; any thread. */
#ifndef LSTMQ_RING_FRAME_H
#define LSTMQ_RING_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING_FRAME = 40, RING_KIND_BYTES = 3 };

struct ring_frame {
    uint16_t kind, step;
    uint32_t chunk, rank;
    uint64_t generation, operation, count;
};

void ring_frame_write(const struct ring_frame *frame, uint8_t bytes[RING_FRAME]);

/* False where the bytes are no such line. Fields are as they came: nothing is said about their range. */
bool ring_frame_read(const void *bytes, size_t size, struct ring_frame *frame);

#endif
