/* element.h - the arithmetic of a collective: elements in memory, elements as they travel, and their sums.
 *
 * As they travel: float and int64 little-endian as in memory; bf16 for ELEMENT_F32_BF16; for ELEMENT_I64_F32 what is
 * still to be added to as int64, and what is complete as float, scaled. What travels may lie at any address; memory is
 * aligned for its type. Pure functions; any thread. */
#ifndef LSTMQ_WORKER_COLLECTIVE_ELEMENT_H
#define LSTMQ_WORKER_COLLECTIVE_ELEMENT_H

#include "kernels/collective.h"

/* Bytes of one element in memory, and on its way while it is added up, or `complete`. */
size_t element_size(enum collective_element element);
size_t element_size_sent(enum collective_element element, bool complete);

/* to[i] += from[i], both in memory. */
void element_add(enum collective_element element, void *to, const void *from, size_t count);

/* to[i] += what has come. */
void element_add_sent(enum collective_element element, void *to, const void *sent, size_t count);

/* floats[i] = (float)(sum[i] + what has come, if anything) * scale, rounded once; `sent` may be NULL. */
void element_fold(float *floats, const int64_t *sum, const void *sent, float scale, size_t count);

/* What is sent of ELEMENT_F32_BF16, from memory, and back: to nearest, ties to even, NaN stays NaN. */
void element_round(void *to, const float *from, size_t count);
void element_widen(float *to, const void *sent, size_t count);

#endif
