/* element.h - the arithmetic of a collective: elements in memory, elements as sent, and their sums.
 *
 * As sent: float and int64 little-endian, as in memory; bf16 for ELEMENT_F32_BF16; for ELEMENT_I64_F32 int64 while the
 * sum is incomplete, and float, scaled, once it is complete. Sent elements may lie at any address; memory is aligned
 * for its type. Pure functions; any thread. */
#ifndef LSTMQ_WORKER_COLLECTIVE_ELEMENT_H
#define LSTMQ_WORKER_COLLECTIVE_ELEMENT_H

#include "kernels/collective.h"

/* Bytes of one element in memory, and as sent: while the sum is incomplete, or when it is `complete`. */
size_t element_size(enum collective_element element);
size_t element_size_sent(enum collective_element element, bool complete);

/* to[i] += from[i], both in memory. */
void element_add(enum collective_element element, void *to, const void *from, size_t count);

/* to[i] += sent[i]. */
void element_add_sent(enum collective_element element, void *to, const void *sent, size_t count);

/* floats[i] = (float)(sum[i] + sent[i]) scale, rounded once; sent NULL = zeros. */
void element_scale(float *floats, const int64_t *sum, const void *sent, float scale, size_t count);

/* ELEMENT_F32_BF16 from memory to bf16 and back: to nearest, ties to even; NaN stays NaN. */
void element_round(void *to, const float *from, size_t count);
void element_widen(float *to, const void *sent, size_t count);

#endif
