/* ngram.h - how many n-grams two sequences share, for all n up to an order at once.
 *
 * A sequence is an array of units: numbers from 1 to 2^NGRAM_BITS(order) - 1. A unit is a word that the caller
 * numbered, or a code point plus one. Keeps no state; a call allocates and frees its own memory. Any thread. */
#ifndef LSTMQ_PROTO_SCORE_NGRAM_H
#define LSTMQ_PROTO_SCORE_NGRAM_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Bits of a unit: a whole n-gram fits a number of 128 bits. */
#define NGRAM_BITS(order) (128 / (order))

/* Add to right[n - 1], for n = 1..order, the number of n-grams in both sequences. An n-gram counts as often as it
 * occurs in the sequence that has fewer of it. 2 <= order <= 8. */
bool ngram_match(const uint32_t *first, size_t first_size, const uint32_t *second, size_t second_size, unsigned order,
                 uint64_t *right, struct err *err);

/* n-grams in a sequence of `size` units. */
static inline uint64_t ngram_count(size_t size, unsigned n)
{
    return size < n ? 0 : size - n + 1;
}

#endif
