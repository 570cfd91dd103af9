/* ngram.c - one sort of each sequence serves all orders.
 *
 * Each position has a key: its n-gram of the highest order as one number, the first unit in the highest bits. Zeroes
 * follow the last unit. Sorting the keys also sorts the shorter n-grams, because these are prefixes. So one merge of
 * the two sorted arrays finds the matches of one n. Equal n-grams pair off one by one, which yields the smaller of the
 * two counts. */
#include "proto/score/ngram.h"

#include <stdlib.h>

struct key {
    unsigned __int128 units;
};

static int ngram_by_units(const void *left, const void *right)
{
    unsigned __int128 a = ((const struct key *)left)->units, b = ((const struct key *)right)->units;
    return a < b ? -1 : a > b;
}

static void ngram_make_keys(const uint32_t *units, size_t size, unsigned order, struct key *keys)
{
    unsigned bits = NGRAM_BITS(order);
    unsigned __int128 key = 0;
    for (size_t i = size; i-- > 0;) {
        key = key >> bits | (unsigned __int128)units[i] << (bits * (order - 1));
        keys[i].units = key;
    }
    qsort(keys, size, sizeof *keys, ngram_by_units);
}

static uint64_t ngram_count_matches(const struct key *first, size_t first_size, const struct key *second,
                                    size_t second_size, unsigned order, unsigned n)
{
    unsigned bits = NGRAM_BITS(order), shift = bits * (order - n);
    unsigned __int128 unit = ((unsigned __int128)1 << bits) - 1;
    uint64_t matches = 0;
    for (size_t i = 0, j = 0; i < first_size && j < second_size;) {
        unsigned __int128 a = first[i].units >> shift, b = second[j].units >> shift;
        matches += a == b && (a & unit) != 0; /* 0 as the last unit: the position has fewer than n units */
        i += a <= b;
        j += b <= a;
    }
    return matches;
}

bool ngram_match(const uint32_t *first, size_t first_size, const uint32_t *second, size_t second_size, unsigned order,
                 uint64_t *right, struct err *err)
{
    if (first_size == 0 || second_size == 0)
        return true;
    struct key *keys = malloc((first_size + second_size) * sizeof *keys);
    if (keys == NULL)
        return err_set(err, ERR_MEMORY, "out of memory for %zu n-grams", first_size + second_size);
    ngram_make_keys(first, first_size, order, keys);
    ngram_make_keys(second, second_size, order, keys + first_size);
    for (unsigned n = 1; n <= order; n++)
        right[n - 1] += ngram_count_matches(keys, first_size, keys + first_size, second_size, order, n);
    free(keys);
    return true;
}
