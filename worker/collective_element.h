/* collective_element.h - the arithmetic of a collective: elements in memory, elements as they travel, and their sums.
 *
 * As they travel: float and int64 little-endian as in memory, bf16 for ELEMENT_F32_BF16. What travels may lie at any
 * address; memory is aligned for its type. Pure functions; any thread. */
#ifndef LSTMQ_COLLECTIVE_ELEMENT_H
#define LSTMQ_COLLECTIVE_ELEMENT_H

#include "worker/collective.h"

/* Bytes of one element in memory, and on its way. */
size_t element_size(enum collective_element element);
size_t element_size_sent(enum collective_element element);

/* to[i] += from[i], both in memory. */
void element_add(enum collective_element element, void *to, const void *from, size_t count);

/* to[i] += what has come. */
void element_add_sent(enum collective_element element, void *to, const void *sent, size_t count);

/* bf16 from float, to nearest, ties to even, NaN stays NaN; and back. */
void element_round(uint16_t *to, const float *from, size_t count);
void element_widen(float *to, const void *sent, size_t count);

#endif
