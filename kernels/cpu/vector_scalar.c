/* vector_scalar.c - the row kernels in plain C, for machines without AVX2, and for tests of the wider tables.
 *
 * A `vec` of one lane: the tails of vector_body.h never run. It has no fused multiply-add, which is slow where the
 * processor lacks it. */
#include "kernels/cpu/vector.h"

#include <math.h>
#include <string.h>

#define VECTOR_TABLE vector_scalar
#define VECTOR_ISA   "scalar"
#define VEC_LANES    1

typedef float vec;
typedef bool vec_mask;
typedef int32_t vec_int;
typedef double vec_sum; /* one running sum in double for each lane */

static inline uint32_t vector_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float vector_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline vec vec_set(float x)
{
    return x;
}

static inline vec vec_load(const float *from, int lanes, float fill)
{
    return lanes > 0 ? *from : fill;
}

static inline void vec_store(float *to, int lanes, vec x)
{
    if (lanes > 0)
        *to = x;
}

static inline vec vec_add(vec a, vec b)
{
    return a + b;
}

static inline vec vec_sub(vec a, vec b)
{
    return a - b;
}

static inline vec vec_mul(vec a, vec b)
{
    return a * b;
}

static inline vec vec_div(vec a, vec b)
{
    return a / b;
}

static inline vec vec_sqrt(vec a)
{
    return sqrtf(a);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

static inline vec vec_nfma(vec a, vec b, vec c)
{
    return c - a * b;
}

static inline vec vec_abs(vec a)
{
    return fabsf(a);
}

static inline vec vec_sign(vec size, vec sign)
{
    return copysignf(size, sign);
}

/* 1.5 2^23: adding it drops the fraction and leaves the integer in the lowest bits. */
static const float vector_shift = 12582912.0f;

/* Ties to even, for |a| < 2^22; undefined beyond. */
static inline vec vec_round(vec a)
{
    return a + vector_shift - vector_shift;
}

static inline vec vec_scale(vec a, vec n)
{
    return a * vector_float((vector_bits(n + vector_shift) + 127u) << 23);
}

static inline vec_mask vec_less(vec a, vec b)
{
    return a < b;
}

static inline vec vec_select(vec_mask mask, vec yes, vec no)
{
    return mask ? yes : no;
}

static inline vec_int vec_int_set(int32_t x)
{
    return x;
}

static inline vec_int vec_int_select(vec_mask mask, vec_int yes, vec_int no)
{
    return mask ? yes : no;
}

static inline void vec_int_store(int32_t *to, vec_int x)
{
    *to = x;
}

static inline vec_sum vec_sum_zero(void)
{
    return 0.0;
}

static inline vec_sum vec_sum_add(vec_sum sum, vec x)
{
    return sum + (double)x;
}

static inline vec_sum vec_sum_add_square(vec_sum sum, vec x)
{
    return sum + (double)x * (double)x;
}

static inline vec_sum vec_sum_plus(vec_sum a, vec_sum b)
{
    return a + b;
}

static inline double vec_sum_total(vec_sum sum)
{
    return sum;
}

/* vector_body.h handles the elements one by one. */
static inline bool vec_quantise(const float *x, float below, int64_t *sum)
{
    (void)x, (void)below, (void)sum;
    return false;
}

static inline void vec_dequantise(const int64_t *sum, float *x)
{
    *x = (float)*sum * BACKEND_QUANTUM;
}

#include "kernels/cpu/vector_body.h"
