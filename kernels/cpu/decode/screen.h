/* screen.h - the largest of a row's logits without computing all of them.
 *
 * Greedy decoding wants the first index of the largest of V logits w_v h + b_v, which costs a read of all of W. A screen
 * holds W once more with every weight rounded to 8 bits, a quarter of the bytes, in the order that the processor's 8-bit
 * dot products read it. With h rounded likewise it gives each logit to within a bound, and only those whose upper bound
 * reaches the best lower bound can be the largest. These few are then computed as the product computes them, to the bit,
 * so the answer is that of the whole product whatever the rounding did.
 *
 * The bound. Let row v be s q + e with whole numbers q, and h = t p + d. Then w h = s t qp + e h + s q d, so by Cauchy and
 * Schwarz the middle sum is wrong by at most |e||h| + s|q||d|; a chain of K fused multiply-adds is wrong by at most
 * gamma(K+1) (|b| + |w||h|) beside (Higham 2002, section 3.1), and the few operations of the bound itself by less than
 * that. A screen of weights or a state beyond what this holds for (not finite, or huge) is not used.
 *
 * Immutable after screen_open: any thread may read it. */
#ifndef LSTMQ_KERNELS_CPU_DECODE_SCREEN_H
#define LSTMQ_KERNELS_CPU_DECODE_SCREEN_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Codes run from -127 to 127; a state's are stored 128 higher, without a sign. */
enum { SCREEN_MOST = 127, SCREEN_OFFSET = 128 };

/* Bounds are made larger by more than all the roundings that they meet on their way to a comparison. The longest norm of
 * a row or a state that a screen takes, so that no sum can leave the floats. */
#define SCREEN_SAFE    (1.0f + 1.0f / 1024)
#define SCREEN_LONGEST 1e15f

/* Columns that are screened together (rows of W), the terms of one 8-bit dot product, and states at a time. */
enum { SCREEN_BLOCK = 64, SCREEN_TERMS = 4, SCREEN_ROWS = 6 };

struct screen_block {
    float scale[SCREEN_BLOCK];   /* s                                                              */
    float bias[SCREEN_BLOCK];    /* b; beyond V the least float, which no best logit is below      */
    int32_t start[SCREEN_BLOCK]; /* -128 sum q: states come as p + 128                             */
    float of_state, of_rest;     /* upper bounds of |e| / s (and what stands for gamma) and of |q| */
};

struct screen {
    int V, K, blocks, quads; /* quads: K in units of SCREEN_TERMS, rounded up */
    const float *w, *bias;   /* [V, K], [V]; not owned                       */
    int8_t *codes;           /* [blocks][quads][SCREEN_BLOCK][SCREEN_TERMS]  */
    struct screen_block *block;
    float slack; /* what the bound adds to every logit              */
    bool usable; /* false: weights that the bound does not hold for */
};

/* A state as it is screened, and the best that was found for it. */
struct screen_state {
    const uint8_t *codes;                /* [quads][SCREEN_TERMS] p + 128                                      */
    float step;                          /* t                                                                  */
    float norm, rest;                    /* upper bounds of |h| and |d|                                        */
    float least;                         /* what an upper bound has to reach, rising with each better candidate */
    int count;                           /* candidates; more than SCREEN_CANDIDATES: not counted any further    */
    struct screen_candidate *candidates; /* [SCREEN_CANDIDATES], index rising */
};

enum { SCREEN_CANDIDATES = 64 };

struct screen_candidate {
    int32_t index;
    float upper; /* of its logit, but for the slack */
};

/* How an instruction set does it. */
struct screen_kernels {
    /* Screen blocks first..last-1 for `rows` states, 1 to SCREEN_ROWS. */
    void (*rows)(const struct screen *screen, int first, int last, int rows, struct screen_state *states);
    /* logits[i] = the chain of fused multiply-adds b + w_v h, k rising, for v = index[i]. */
    void (*exact)(const struct screen *screen, const float *h, int count, const int32_t *index, float *logits);
    /* Round h [K] into `codes` (quads of terms) and fill in `state` but for its candidates; false where the bound does
     * not hold for it. */
    bool (*round)(const struct screen *screen, const float *h, uint8_t *codes, struct screen_state *state);
};

/* Those that go with the vector table of this name; NULL where there are none, or this machine lacks their
 * instructions. */
const struct screen_kernels *screen_kernels(const char *isa);

/* Of w [V, K] and bias [V], which outlive it. NULL and err when there is no memory. */
struct screen *screen_open(const float *w, const float *bias, int V, int K, struct err *err);
void screen_close(struct screen **screen);

/* Take in the upper bounds (but for the slack) of logits first..first+63, of which `reaching` has a bit for each that
 * reached state->least; `wide` is half the width of their bounds divided by their scale. For struct screen_kernels. */
void screen_note(const struct screen *screen, const struct screen_block *block, int first, uint64_t reaching,
                 const float *upper, float wide, struct screen_state *state);

#endif
