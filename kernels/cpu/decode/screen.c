/* screen.c - rounding weights and states to 8 bits, the bounds that follow, and the candidates; see screen.h. */
#include "kernels/cpu/decode/screen.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Beyond these a sum might overflow, or have more roundings than SCREEN_SAFE allows for. */
static const double LARGEST_BIAS = 1e30;
enum { MOST_TERMS = 4096 };

/* Covers gamma(K + 1), and at least as much again for the roundings of the bound itself. */
static double screen_gamma(int K)
{
    return (K + 64) * (double)FLT_EPSILON;
}

static float screen_up(double x)
{
    return nextafterf((float)x, INFINITY);
}

static size_t screen_code_at(const struct screen *screen, int v, int k)
{
    size_t block = (size_t)(v / SCREEN_BLOCK), lane = (size_t)(v % SCREEN_BLOCK);
    size_t quad = (size_t)(k / SCREEN_TERMS), term = (size_t)(k % SCREEN_TERMS);
    return ((block * (size_t)screen->quads + quad) * SCREEN_BLOCK + lane) * SCREEN_TERMS + term;
}

/* ---- weights ---- */

/* Round row v of W. False: a weight is not finite or too large. */
static bool screen_round_row(struct screen *screen, int v)
{
    struct screen_block *block = &screen->block[v / SCREEN_BLOCK];
    int lane = v % SCREEN_BLOCK;
    const float *w = screen->w + (size_t)v * (size_t)screen->K;
    double most = 0, square = 0, error = 0, codes = 0;
    int32_t sum = 0;
    for (int k = 0; k < screen->K; k++) {
        most = fmax(most, fabs((double)w[k]));
        square += (double)w[k] * (double)w[k];
    }
    if (!(sqrt(square) < (double)SCREEN_LONGEST) || !(fabs((double)screen->bias[v]) < LARGEST_BIAS))
        return false;
    float scale = (float)fmax(most / SCREEN_MOST, (double)FLT_MIN);
    for (int k = 0; k < screen->K; k++) {
        double code = fmin(fmax(rint((double)w[k] / (double)scale), -SCREEN_MOST), SCREEN_MOST);
        double rest = (double)w[k] - code * (double)scale;
        screen->codes[screen_code_at(screen, v, k)] = (int8_t)code;
        sum += (int32_t)code;
        codes += code * code;
        error += rest * rest;
    }
    block->scale[lane] = scale;
    block->bias[lane] = screen->bias[v];
    block->start[lane] = -SCREEN_OFFSET * sum;
    double of_state = (sqrt(error) + screen_gamma(screen->K) * sqrt(square)) / (double)scale * (double)SCREEN_SAFE;
    block->of_state = fmaxf(block->of_state, screen_up(of_state));
    block->of_rest = fmaxf(block->of_rest, screen_up(sqrt(codes) * (double)SCREEN_SAFE));
    screen->slack = fmaxf(screen->slack, fabsf(screen->bias[v]));
    return true;
}

struct screen *screen_open(const float *w, const float *bias, int V, int K, struct err *err)
{
    struct screen *screen = calloc(1, sizeof *screen);
    int blocks = (V + SCREEN_BLOCK - 1) / SCREEN_BLOCK, quads = (K + SCREEN_TERMS - 1) / SCREEN_TERMS;
    size_t size = (size_t)blocks * (size_t)quads * SCREEN_BLOCK * SCREEN_TERMS;
    if (screen != NULL) {
        *screen = (struct screen){.V = V, .K = K, .blocks = blocks, .quads = quads, .w = w, .bias = bias};
        screen->codes = aligned_alloc(SCREEN_BLOCK, size > 0 ? size : SCREEN_BLOCK);
        screen->block = calloc((size_t)blocks + 1, sizeof *screen->block);
    }
    if (screen == NULL || screen->codes == NULL || screen->block == NULL) {
        err_set(err, ERR_MEMORY, "no memory to screen %d logits", V);
        screen_close(&screen);
        return NULL;
    }
    memset(screen->codes, 0, size);
    for (int v = V; v < blocks * SCREEN_BLOCK; v++)
        screen->block[v / SCREEN_BLOCK].bias[v % SCREEN_BLOCK] = -FLT_MAX;
    screen->usable = V > 0 && K > 0 && K <= MOST_TERMS;
    for (int v = 0; v < V && screen->usable; v++)
        screen->usable = screen_round_row(screen, v);
    screen->slack =
        screen_up((double)screen->slack * screen_gamma(K) + (K + 64) * (double)FLT_MIN * (double)SCREEN_LONGEST);
    return screen;
}

void screen_close(struct screen **screen)
{
    if (*screen != NULL) {
        free((*screen)->codes);
        free((*screen)->block);
        free(*screen);
    }
    *screen = NULL;
}

/* ---- candidates ---- */

/* Drop candidates below the best lower bound. */
static void screen_prune(struct screen_state *state)
{
    int kept = 0;
    for (int i = 0; i < state->count; i++)
        if (state->candidates[i].upper >= state->least)
            state->candidates[kept++] = state->candidates[i];
    state->count = kept;
}

void screen_note(const struct screen *screen, const struct screen_block *block, int first, uint64_t reaching,
                 const float *upper, float wide, struct screen_state *state)
{
    for (uint64_t left = reaching; left != 0; left &= left - 1) {
        int lane = __builtin_ctzll(left);
        /* Twice, for both ends, and the slack that neither holds; rounded down by more than the operations lose. */
        float lower = upper[lane] - 2.0f * SCREEN_SAFE * (block->scale[lane] * wide + screen->slack);
        if (first + lane < screen->V && lower > state->least)
            state->least = lower;
    }
    for (uint64_t left = reaching; left != 0 && state->count <= SCREEN_CANDIDATES; left &= left - 1) {
        int lane = __builtin_ctzll(left);
        if (first + lane >= screen->V || !(upper[lane] >= state->least))
            continue;
        if (state->count == SCREEN_CANDIDATES)
            screen_prune(state);
        if (state->count < SCREEN_CANDIDATES)
            state->candidates[state->count] = (struct screen_candidate){first + lane, upper[lane]};
        state->count++;
    }
}

/* ---- instruction sets ---- */

#if defined(__x86_64__)
extern const struct screen_kernels screen_vnni;
#endif

const struct screen_kernels *screen_kernels(const char *isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512vnni"))
        return &screen_vnni;
#endif
    (void)isa;
    return NULL;
}
