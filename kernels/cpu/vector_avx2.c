/* vector_avx2.c - the row kernels on eight lanes: x86-64 with AVX2 and FMA. Only vector.c may refer to this table,
 * after it has checked the processor. */
#include "kernels/cpu/vector.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#define VECTOR_TABLE vector_avx2
#define VECTOR_ISA   "avx2"
#define VEC_LANES    8

typedef __m256 vec;
typedef __m256 vec_mask; /* all bits of a lane, or none */
typedef __m256i vec_int;

/* One running sum in double for each lane: lanes 0 to 3, and 4 to 7. */
typedef struct {
    __m256d low, high;
} vec_sum;

static inline vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

/* All bits of the first `lanes` lanes. */
static inline __m256i vector_first(int lanes)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vec vec_load(const float *from, int lanes, float fill)
{
    if (lanes == VEC_LANES)
        return _mm256_loadu_ps(from);
    const __m256i first = vector_first(lanes);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(from, first), _mm256_castsi256_ps(first));
}

static inline void vec_store(float *to, int lanes, vec x)
{
    if (lanes == VEC_LANES)
        _mm256_storeu_ps(to, x);
    else
        _mm256_maskstore_ps(to, vector_first(lanes), x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

static inline vec vec_sqrt(vec a)
{
    return _mm256_sqrt_ps(a);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec vec_nfma(vec a, vec b, vec c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

static inline vec vec_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

static inline vec vec_sign(vec size, vec sign)
{
    const __m256 bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, size), _mm256_and_ps(bit, sign));
}

static inline vec vec_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec vec_scale(vec a, vec n)
{
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

static inline vec_mask vec_less(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}

static inline vec vec_select(vec_mask mask, vec yes, vec no)
{
    return _mm256_blendv_ps(no, yes, mask);
}

static inline vec_int vec_int_set(int32_t x)
{
    return _mm256_set1_epi32(x);
}

static inline vec_int vec_int_select(vec_mask mask, vec_int yes, vec_int no)
{
    return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(mask));
}

static inline void vec_int_store(int32_t *to, vec_int x)
{
    _mm256_storeu_si256((__m256i *)to, x);
}

static inline vec_sum vec_sum_zero(void)
{
    return (vec_sum){_mm256_setzero_pd(), _mm256_setzero_pd()};
}

static inline __m256d vector_low(vec x)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}

static inline __m256d vector_high(vec x)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

static inline vec_sum vec_sum_add(vec_sum sum, vec x)
{
    return (vec_sum){_mm256_add_pd(sum.low, vector_low(x)), _mm256_add_pd(sum.high, vector_high(x))};
}

static inline vec_sum vec_sum_add_square(vec_sum sum, vec x)
{
    const __m256d low = vector_low(x), high = vector_high(x);
    return (vec_sum){_mm256_fmadd_pd(low, low, sum.low), _mm256_fmadd_pd(high, high, sum.high)};
}

static inline vec_sum vec_sum_plus(vec_sum a, vec_sum b)
{
    return (vec_sum){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}

static inline double vec_sum_total(vec_sum sum)
{
    const __m256d four = _mm256_add_pd(sum.low, sum.high);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* Adding 1.5 2^52 rounds to an integer, ties to even, and leaves it in the lowest bits. This is right for |x 2^40| <
 * 2^51; larger values and NaN are handled one by one. */
static inline bool vec_quantise(const float *x, float below, int64_t *sum)
{
    const vec value = _mm256_loadu_ps(x);
    if (_mm256_movemask_ps(vec_less(vec_abs(value), vec_set(below < 0x1p11f ? below : 0x1p11f))) != 0xff)
        return false;
    const __m256d scale = _mm256_set1_pd(1 / (double)BACKEND_QUANTUM), shift = _mm256_set1_pd(0x1.8p52);
    const __m256i bias = _mm256_castpd_si256(shift);
    const __m256i low =
        _mm256_sub_epi64(_mm256_castpd_si256(_mm256_add_pd(_mm256_mul_pd(vector_low(value), scale), shift)), bias);
    const __m256i high =
        _mm256_sub_epi64(_mm256_castpd_si256(_mm256_add_pd(_mm256_mul_pd(vector_high(value), scale), shift)), bias);
    __m256i *const to = (__m256i *)sum;
    _mm256_storeu_si256(to, _mm256_add_epi64(_mm256_loadu_si256(to), low));
    _mm256_storeu_si256(to + 1, _mm256_add_epi64(_mm256_loadu_si256(to + 1), high));
    return true;
}

/* AVX2 has no conversion from int64. */
static inline void vec_dequantise(const int64_t *sum, float *x)
{
    for (int lane = 0; lane < VEC_LANES; lane++)
        x[lane] = (float)sum[lane] * BACKEND_QUANTUM;
}

#include "kernels/cpu/vector_body.h"

#endif
