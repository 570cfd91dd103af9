/* vector_avx512.c - the row kernels on sixteen lanes: x86-64 with AVX-512 F, BW, DQ and VL. Only vector.c may refer to
 * this table, after it has checked the processor. */
#include "kernels/cpu/vector.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#define VECTOR_TABLE vector_avx512
#define VECTOR_ISA   "avx512"
#define VEC_LANES    16

typedef __m512 vec;
typedef __mmask16 vec_mask;
typedef __m512i vec_int;

/* One running sum in double for each lane: lanes 0 to 7, and 8 to 15. */
typedef struct {
    __m512d low, high;
} vec_sum;

static inline vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline __mmask16 vector_avx512_first(int lanes)
{
    return (__mmask16)((1u << lanes) - 1);
}

static inline vec vec_load(const float *from, int lanes, float fill)
{
    if (lanes == VEC_LANES)
        return _mm512_loadu_ps(from);
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), vector_avx512_first(lanes), from);
}

static inline void vec_store(float *to, int lanes, vec x)
{
    if (lanes == VEC_LANES)
        _mm512_storeu_ps(to, x);
    else
        _mm512_mask_storeu_ps(to, vector_avx512_first(lanes), x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

static inline vec vec_sqrt(vec a)
{
    return _mm512_sqrt_ps(a);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec vec_nfma(vec a, vec b, vec c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

static inline vec vec_abs(vec a)
{
    return _mm512_abs_ps(a);
}

static inline vec vec_sign(vec size, vec sign)
{
    const __m512 bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, size), _mm512_and_ps(bit, sign));
}

static inline vec vec_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec vec_scale(vec a, vec n)
{
    return _mm512_scalef_ps(a, n);
}

static inline vec_mask vec_less(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline vec vec_select(vec_mask mask, vec yes, vec no)
{
    return _mm512_mask_blend_ps(mask, no, yes);
}

static inline vec_int vec_int_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}

static inline vec_int vec_int_select(vec_mask mask, vec_int yes, vec_int no)
{
    return _mm512_mask_blend_epi32(mask, no, yes);
}

static inline void vec_int_store(int32_t *to, vec_int x)
{
    _mm512_storeu_si512(to, x);
}

static inline vec_sum vec_sum_zero(void)
{
    return (vec_sum){_mm512_setzero_pd(), _mm512_setzero_pd()};
}

static inline __m512d vector_avx512_low(vec x)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}

static inline __m512d vector_avx512_high(vec x)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}

static inline vec_sum vec_sum_add(vec_sum sum, vec x)
{
    return (vec_sum){_mm512_add_pd(sum.low, vector_avx512_low(x)), _mm512_add_pd(sum.high, vector_avx512_high(x))};
}

static inline vec_sum vec_sum_add_square(vec_sum sum, vec x)
{
    const __m512d low = vector_avx512_low(x), high = vector_avx512_high(x);
    return (vec_sum){_mm512_fmadd_pd(low, low, sum.low), _mm512_fmadd_pd(high, high, sum.high)};
}

static inline vec_sum vec_sum_plus(vec_sum a, vec_sum b)
{
    return (vec_sum){_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)};
}

static inline double vec_sum_total(vec_sum sum)
{
    const __m512d eight = _mm512_add_pd(sum.low, sum.high);
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* Values out of range and NaN are handled one by one. */
static inline bool vec_quantise(const float *x, float below, int64_t *sum)
{
    const vec value = _mm512_loadu_ps(x);
    if (vec_less(vec_abs(value), vec_set(below)) != 0xffff)
        return false;
    const __m512d scale = _mm512_set1_pd(1 / (double)BACKEND_QUANTUM);
    const __m512i low = _mm512_cvtpd_epi64(_mm512_mul_pd(vector_avx512_low(value), scale));
    const __m512i high = _mm512_cvtpd_epi64(_mm512_mul_pd(vector_avx512_high(value), scale));
    _mm512_storeu_si512(sum, _mm512_add_epi64(_mm512_loadu_si512(sum), low));
    _mm512_storeu_si512(sum + 8, _mm512_add_epi64(_mm512_loadu_si512(sum + 8), high));
    return true;
}

static inline void vec_dequantise(const int64_t *sum, float *x)
{
    const __m256 low = _mm512_cvtepi64_ps(_mm512_loadu_si512(sum));
    const __m256 high = _mm512_cvtepi64_ps(_mm512_loadu_si512(sum + 8));
    _mm256_storeu_ps(x, _mm256_mul_ps(low, _mm256_set1_ps(BACKEND_QUANTUM)));
    _mm256_storeu_ps(x + 8, _mm256_mul_ps(high, _mm256_set1_ps(BACKEND_QUANTUM)));
}

#include "kernels/cpu/vector_body.h"

#endif
