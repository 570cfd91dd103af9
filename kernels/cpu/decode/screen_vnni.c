/* screen_vnni.c - screening with x86-64's AVX-512 VNNI: sixteen dot products of four 8-bit terms an instruction. Only
 * screen_kernels may refer to these, once it knows that the processor has them. */
#include "kernels/cpu/decode/screen.h"

#if defined(__x86_64__)

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { LANES = 16, VECTORS = SCREEN_BLOCK / LANES };

/* Always inlined, so that its counts are constants. */
#define STEP static inline __attribute__((always_inline)) void

/* Sums of `blocks` blocks for `rows` states. */
STEP screen_sums(const struct screen *screen, int first, int blocks, int rows, const struct screen_state *states,
                 __m512i (*sums)[VECTORS])
{
    const size_t size = (size_t)screen->quads * SCREEN_BLOCK * SCREEN_TERMS;
    const int8_t *codes = screen->codes + (size_t)first * size;
    for (int b = 0; b < blocks; b++)
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < VECTORS; i++)
                sums[b * rows + r][i] = _mm512_loadu_si512(screen->block[first + b].start + i * LANES);
    for (int quad = 0; quad < screen->quads; quad++) {
        __m512i state[SCREEN_ROWS];
        for (int r = 0; r < rows; r++) {
            int32_t terms;
            memcpy(&terms, states[r].codes + quad * SCREEN_TERMS, sizeof terms);
            state[r] = _mm512_set1_epi32(terms);
        }
        for (int b = 0; b < blocks; b++) {
            const int8_t *at = codes + (size_t)b * size + (size_t)quad * SCREEN_BLOCK * SCREEN_TERMS;
            for (int i = 0; i < VECTORS; i++) {
                const __m512i weights = _mm512_load_si512(at + i * LANES * SCREEN_TERMS);
                for (int r = 0; r < rows; r++)
                    sums[b * rows + r][i] = _mm512_dpbusd_epi32(sums[b * rows + r][i], state[r], weights);
            }
        }
    }
}

/* The upper bounds of one state's logits of a block; those that reach its least are noted. */
STEP screen_bounds(const struct screen *screen, int index, const __m512i *sums, struct screen_state *state)
{
    const struct screen_block *block = &screen->block[index];
    const float wide = block->of_state * state->norm + block->of_rest * state->rest;
    const __m512 step = _mm512_set1_ps(state->step), half = _mm512_set1_ps(wide), least = _mm512_set1_ps(state->least);
    __m512 upper[VECTORS];
    uint64_t reaching = 0;
    for (int i = 0; i < VECTORS; i++) {
        const __m512 most = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i]), step, half);
        upper[i] =
            _mm512_fmadd_ps(most, _mm512_loadu_ps(block->scale + i * LANES), _mm512_loadu_ps(block->bias + i * LANES));
        reaching |= (uint64_t)_mm512_cmp_ps_mask(upper[i], least, _CMP_GE_OQ) << i * LANES;
    }
    if (reaching != 0) {
        float values[SCREEN_BLOCK];
        for (int i = 0; i < VECTORS; i++)
            _mm512_storeu_ps(values + i * LANES, upper[i]);
        screen_note(screen, block, index * SCREEN_BLOCK, reaching, values, wide, state);
    }
}

STEP screen_tile(const struct screen *screen, int first, int blocks, int rows, struct screen_state *states)
{
    __m512i sums[SCREEN_ROWS][VECTORS];
    screen_sums(screen, first, blocks, rows, states, sums);
    for (int b = 0; b < blocks; b++)
        for (int r = 0; r < rows; r++)
            screen_bounds(screen, first + b, sums[b * rows + r], &states[r]);
}

static void screen_rows(const struct screen *screen, int first, int last, int rows, struct screen_state *states)
{
    enum { PAIR = 2 };
    int at = first;
    /* A single state takes four blocks at a time, so that no sum waits for the one before. */
    for (; rows == 1 && at + 2 * PAIR <= last; at += 2 * PAIR)
        screen_tile(screen, at, 2 * PAIR, 1, states);
    for (; rows == PAIR && at + PAIR <= last; at += PAIR)
        screen_tile(screen, at, PAIR, PAIR, states);
    for (; at < last; at++)
        switch (rows) {
        case 1:
            screen_tile(screen, at, 1, 1, states);
            break;
        case 2:
            screen_tile(screen, at, 1, 2, states);
            break;
        case 3:
            screen_tile(screen, at, 1, 3, states);
            break;
        case 4:
            screen_tile(screen, at, 1, 4, states);
            break;
        case 5:
            screen_tile(screen, at, 1, 5, states);
            break;
        default:
            screen_tile(screen, at, 1, SCREEN_ROWS, states);
            break;
        }
}

/* ---- states ---- */

static inline __mmask16 screen_left(int count)
{
    return (__mmask16)(count >= LANES ? 0xffffu : (1u << count) - 1u);
}

static bool screen_round(const struct screen *screen, const float *h, uint8_t *codes, struct screen_state *state)
{
    const int K = screen->K;
    __m512 most = _mm512_setzero_ps(), square = most, rest = most;
    for (int k = 0; k < K; k += LANES) {
        const __m512 x = _mm512_maskz_loadu_ps(screen_left(K - k), h + k);
        most = _mm512_max_ps(most, _mm512_abs_ps(x));
        square = _mm512_fmadd_ps(x, x, square);
    }
    const float norm = sqrtf(_mm512_reduce_add_ps(square)),
                step = fmaxf(_mm512_reduce_max_ps(most) / SCREEN_MOST, FLT_MIN);
    /* False for NaN too, which the maximum skips. */
    if (!screen->usable || !(norm < SCREEN_LONGEST))
        return false;
    const __m512 steps = _mm512_set1_ps(step), inverse = _mm512_set1_ps(1.0f / step),
                 limit = _mm512_set1_ps(SCREEN_MOST);
    for (int k = 0; k < K; k += LANES) {
        const __m512 x = _mm512_maskz_loadu_ps(screen_left(K - k), h + k);
        __m512 code = _mm512_roundscale_ps(_mm512_mul_ps(x, inverse), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        code = _mm512_max_ps(_mm512_min_ps(code, limit), _mm512_sub_ps(_mm512_setzero_ps(), limit));
        const __m512 d = _mm512_fnmadd_ps(code, steps, x);
        rest = _mm512_fmadd_ps(d, d, rest);
        const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(code), _mm512_set1_epi32(SCREEN_OFFSET));
        _mm512_mask_cvtepi32_storeu_epi8(codes + k, screen_left(screen->quads * SCREEN_TERMS - k), whole);
    }
    state->codes = codes;
    state->step = step;
    state->norm = norm * SCREEN_SAFE + FLT_MIN;
    state->rest = sqrtf(_mm512_reduce_add_ps(rest)) * SCREEN_SAFE + FLT_MIN;
    return true;
}

/* ---- candidates ---- */

/* Several chains at once: a single chain would wait for each of its additions. */
enum { CHAINS = 4 };

static void screen_exact(const struct screen *screen, const float *h, int count, const int32_t *index, float *logits)
{
    for (int first = 0; first < count; first += CHAINS) {
        const float *row[CHAINS];
        __m128 sum[CHAINS];
        for (int i = 0; i < CHAINS; i++) {
            int32_t v = index[first + i < count ? first + i : first];
            row[i] = screen->w + (size_t)v * (size_t)screen->K;
            sum[i] = _mm_set_ss(screen->bias[v]);
        }
        for (int k = 0; k < screen->K; k++)
            for (int i = 0; i < CHAINS; i++)
                sum[i] = _mm_fmadd_ss(_mm_load_ss(h + k), _mm_load_ss(row[i] + k), sum[i]);
        for (int i = 0; i < CHAINS && first + i < count; i++)
            logits[first + i] = _mm_cvtss_f32(sum[i]);
    }
}

const struct screen_kernels screen_vnni = {.rows = screen_rows, .exact = screen_exact, .round = screen_round};

#endif
