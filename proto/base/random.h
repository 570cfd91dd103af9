/* random.h - the two random number generators of the program.
 *
 * `mt19937` follows CPython's random.Random to the bit (seed from an int, random(), getrandbits, gauss, shuffle), so
 * shuffles and initial parameters equal those of a Python script. Source: Matsumoto and Nishimura 1998, and the Python
 * documentation of `random`. `splitmix` is a counter-based mixer (Steele, Lea, Flood 2014) for draws that must be a
 * pure function of (seed, step, row, position). Plain memory without cleanup; an mt19937 belongs to one thread at a
 * time. */
#ifndef LSTMQ_PROTO_BASE_RANDOM_H
#define LSTMQ_PROTO_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mt19937 {
    uint32_t state[624];
    unsigned index;    /* next word to return; 624 = all used */
    double gauss_next; /* the second of a pair of normal draws */
    bool has_gauss;
};

void mt19937_seed(struct mt19937 *mt, uint64_t seed);

uint32_t mt19937_next(struct mt19937 *mt);

/* k random bits, 1 <= k <= 32: random.getrandbits(k). */
uint32_t mt19937_bits(struct mt19937 *mt, unsigned k);

/* 53 bits in [0, 1): random.random(). */
double mt19937_double(struct mt19937 *mt);

/* random.gauss(0.0, 1.0), the cached second value included. */
double mt19937_gauss(struct mt19937 *mt);

/* 0 <= result < n, n >= 1, drawn as random.shuffle does. */
uint32_t mt19937_below(struct mt19937 *mt, uint32_t n);

/* random.shuffle on an array of indices. */
void mt19937_shuffle(struct mt19937 *mt, uint32_t *items, size_t count);

/* Mix the counter `x` to 64 bits; each bit depends on each bit of x. */
uint64_t splitmix(uint64_t x);

#endif
