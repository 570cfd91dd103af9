/* random.c - MT19937 and CPython's methods on it; see random.h for their definitions. */
#include "proto/base/random.h"

#include <math.h>

enum { MT_N = 624, MT_M = 397 };

static void random_seed_word(struct mt19937 *mt, uint32_t seed)
{
    mt->state[0] = seed;
    for (uint32_t i = 1; i < MT_N; i++)
        mt->state[i] = 1812433253u * (mt->state[i - 1] ^ (mt->state[i - 1] >> 30)) + i;
}

void mt19937_seed(struct mt19937 *mt, uint64_t seed)
{
    /* CPython seeds through the array form: the int's absolute value in 32-bit words, lowest first. */
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    unsigned words = key[1] != 0 ? 2 : 1;
    uint32_t *state = mt->state;
    unsigned i = 1, j = 0;

    random_seed_word(mt, 19650218u);
    for (unsigned k = 0; k < MT_N; k++) {
        state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) * 1664525u)) + key[j] + j;
        j = (j + 1) % words;
        if (++i == MT_N) {
            state[0] = state[MT_N - 1];
            i = 1;
        }
    }
    for (unsigned k = 0; k < MT_N - 1; k++) {
        state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i == MT_N) {
            state[0] = state[MT_N - 1];
            i = 1;
        }
    }
    state[0] = 0x80000000u;
    mt->index = MT_N;
    mt->has_gauss = false;
    mt->gauss_next = 0.0;
}

static void random_refill(struct mt19937 *mt)
{
    uint32_t *state = mt->state;
    for (unsigned i = 0; i < MT_N; i++) {
        uint32_t y = (state[i] & 0x80000000u) | (state[(i + 1) % MT_N] & 0x7fffffffu);
        state[i] = state[(i + MT_M) % MT_N] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
    }
    mt->index = 0;
}

uint32_t mt19937_next(struct mt19937 *mt)
{
    if (mt->index >= MT_N)
        random_refill(mt);
    uint32_t y = mt->state[mt->index++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint32_t mt19937_bits(struct mt19937 *mt, unsigned k)
{
    return mt19937_next(mt) >> (32 - k);
}

double mt19937_double(struct mt19937 *mt)
{
    uint32_t a = mt19937_next(mt) >> 5;
    uint32_t b = mt19937_next(mt) >> 6;
    return ((double)a * 67108864.0 + (double)b) * (1.0 / 9007199254740992.0);
}

double mt19937_gauss(struct mt19937 *mt)
{
    if (mt->has_gauss) {
        mt->has_gauss = false;
        return mt->gauss_next;
    }
    const double two_pi = 6.283185307179586;
    double angle = mt19937_double(mt) * two_pi;
    double radius = sqrt(-2.0 * log(1.0 - mt19937_double(mt)));
    mt->gauss_next = sin(angle) * radius;
    mt->has_gauss = true;
    return cos(angle) * radius;
}

uint32_t mt19937_below(struct mt19937 *mt, uint32_t n)
{
    unsigned k = 32 - (unsigned)__builtin_clz(n);
    uint32_t draw = mt19937_bits(mt, k);
    while (draw >= n)
        draw = mt19937_bits(mt, k);
    return draw;
}

void mt19937_shuffle(struct mt19937 *mt, uint32_t *items, size_t count)
{
    for (size_t i = count; i-- > 1;) {
        uint32_t j = mt19937_below(mt, (uint32_t)(i + 1));
        uint32_t kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}

uint64_t splitmix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
