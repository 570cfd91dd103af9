/* fma_avx512.c - the tiles of fma.h on sixteen lanes: x86-64 with AVX-512 F. Only fma.c may refer to this table. */
#include "kernels/cpu/gemm/fma.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define FMA_TABLE fma_avx512
#define FMA_ISA   "avx512"
#define VEC_LANES 16
#define VECTORS   4

typedef __m512 vec;

static inline vec tile_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec tile_zero(void)
{
    return _mm512_setzero_ps();
}

static inline vec tile_load(const float *from, int lanes)
{
    return lanes == VEC_LANES ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), from);
}

static inline void tile_store(float *to, int lanes, vec x)
{
    if (lanes == VEC_LANES)
        _mm512_storeu_ps(to, x);
    else
        _mm512_mask_storeu_ps(to, (__mmask16)((1u << lanes) - 1), x);
}

static inline vec tile_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec tile_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* Exchange squares of 1, 2, 4 and 8 lanes across the diagonal, in this order. */
static inline __attribute__((always_inline)) void tile_turn(vec *x)
{
    vec y[VEC_LANES];
    for (int i = 0; i < VEC_LANES; i += 2) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < VEC_LANES; i += 4)
        for (int j = 0; j < 2; j++) {
            const __m512d low = _mm512_castps_pd(y[i + j]), high = _mm512_castps_pd(y[i + j + 2]);
            x[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            x[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    for (int i = 0; i < VEC_LANES; i += 8)
        for (int j = 0; j < 4; j++) {
            y[i + j] = _mm512_shuffle_f32x4(x[i + j], x[i + j + 4], 0x88);
            y[i + j + 4] = _mm512_shuffle_f32x4(x[i + j], x[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        x[j] = _mm512_shuffle_f32x4(y[j], y[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_f32x4(y[j], y[j + 8], 0xdd);
    }
}

#include "kernels/cpu/gemm/fma_body.h"

#endif
