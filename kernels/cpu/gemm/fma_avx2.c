/* fma_avx2.c - the tiles of fma.h on eight lanes: x86-64 with AVX2 and FMA. Only fma.c may refer to this table. */
#include "kernels/cpu/gemm/fma.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define FMA_TABLE fma_avx2
#define FMA_ISA   "avx2"
#define VEC_LANES 8
#define VECTORS   2

typedef __m256 vec;

static inline __m256i fma_first(int lanes)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vec tile_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec tile_zero(void)
{
    return _mm256_setzero_ps();
}

static inline vec tile_load(const float *from, int lanes)
{
    return lanes == VEC_LANES ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, fma_first(lanes));
}

static inline void tile_store(float *to, int lanes, vec x)
{
    if (lanes == VEC_LANES)
        _mm256_storeu_ps(to, x);
    else
        _mm256_maskstore_ps(to, fma_first(lanes), x);
}

static inline vec tile_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec tile_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* Exchange squares of 1, 2 and 4 lanes across the diagonal, in this order. */
static inline __attribute__((always_inline)) void tile_turn(vec *x)
{
    vec y[VEC_LANES];
    for (int i = 0; i < VEC_LANES; i += 2) {
        y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < VEC_LANES; i += 4)
        for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = _mm256_shuffle_ps(y[i + j], y[i + j + 2], 0x44);
            x[i + 2 * j + 1] = _mm256_shuffle_ps(y[i + j], y[i + j + 2], 0xee);
        }
    for (int j = 0; j < 4; j++) {
        y[j] = _mm256_permute2f128_ps(x[j], x[j + 4], 0x20);
        y[j + 4] = _mm256_permute2f128_ps(x[j], x[j + 4], 0x31);
    }
    for (int j = 0; j < VEC_LANES; j++)
        x[j] = y[j];
}

#include "kernels/cpu/gemm/fma_body.h"

#endif
