/* vector_check.h - what the tests of the row kernels share: guarded arrays, comparisons, and a test of every table.
 *
 * Arrays are not aligned and lie between guards, so that a test finds a kernel that needs alignment or writes beyond
 * its end. Sizes lie around the lengths of vectors. */
#ifndef LSTMQ_TESTS_SUPPORT_VECTOR_CHECK_H
#define LSTMQ_TESTS_SUPPORT_VECTOR_CHECK_H

#include "kernels/cpu/vector.h"
#include "proto/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int check_sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257};
enum { SIZES = sizeof check_sizes / sizeof check_sizes[0], GUARD = 33 };

typedef const struct vector_table table;

static inline float *check_array(size_t count)
{
    float *base = malloc((count + (size_t)2 * GUARD) * sizeof *base);
    assert_non_null(base);
    for (size_t i = 0; i < GUARD; i++)
        base[i] = base[GUARD + count + i] = -12345.0f;
    return base + GUARD;
}

static inline void check_free(float *x, size_t count)
{
    for (size_t i = 1; i <= GUARD; i++)
        if (x[-(ptrdiff_t)i] != -12345.0f || x[count + i - 1] != -12345.0f)
            fail_msg("a kernel wrote outside of its %zu elements", count);
    free(x - GUARD);
}

/* `count` values in -size .. size that depend on `seed` only. */
static inline float *check_random(size_t count, uint64_t seed, double size)
{
    float *x = check_array(count);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(((double)(splitmix(seed * 1000003 + i) >> 11) * 0x1p-52 - 1.0) * size);
    return x;
}

static inline float *check_copy(const float *x, size_t count)
{
    float *copy = check_array(count);
    memcpy(copy, x, count * sizeof *x);
    return copy;
}

static inline void vector_check_near(const char *what, const float *x, const double *right, size_t count,
                                     double relative, double absolute)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)x[i] - right[i]) <= relative * fabs(right[i]) + absolute))
            fail_msg("%s: element %zu of %zu is %.9g, not %.9g", what, i, count, (double)x[i], right[i]);
}

static inline void check_same_bits(const char *what, const void *a, const void *b, size_t bytes)
{
    if (memcmp(a, b, bytes) != 0)
        fail_msg("%s: the bits differ", what);
}

static inline double *check_doubles(size_t count)
{
    double *x = calloc(count, sizeof *x);
    assert_non_null(x);
    return x;
}

static inline void check_each_table(void (*check)(table *t))
{
    size_t count;
    const struct vector_table *const *tables = vector_tables(&count);
    for (size_t i = 0; i < count; i++)
        check(tables[i]);
}

/* A test of all tables from a check of one. */
#define FOR_TABLES(name)                                                                                               \
    static void name##_of(table *t);                                                                                   \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        check_each_table(name##_of);                                                                                   \
    }                                                                                                                  \
    static void name##_of(table *t)

#endif
