/* screen.h - the largest of a row's logits without computing all of them.
 *
 * Greedy decoding needs the first index of the largest of V logits w_v h + b_v, which costs a read of all of W. A
 * screen is a copy of W with every weight rounded to 8 bits: a quarter of the bytes, in the order that the
 * processor's 8-bit dot products read. With h rounded in the same way it gives bounds of each logit. Only logits
 * whose upper bound reaches the best lower bound can be the largest. These few are then computed as the GEMM computes
 * them, to the bit, so the answer is that of all logits, whatever the rounding did.
 *
 * The bound. Let row v be s q + e with integers q, and h = t p + d. Then w h = s t qp + e h + s q d, so by Cauchy and
 * Schwarz the error of s t qp is at most |e||h| + s|q||d|. A chain of K fused multiply-adds adds an error of at most
 * gamma(K+1) (|b| + |w||h|) (Higham 2002, section 3.1), and the few operations of the bound itself less than that.
 * Weights or states for which this does not hold (not finite, or huge) are not screened.
 *
 * Immutable after screen_open: any thread may read it. */
#ifndef LSTMQ_KERNELS_CPU_DECODE_SCREEN_H
#define LSTMQ_KERNELS_CPU_DECODE_SCREEN_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Codes are -127 to 127; a state's codes are stored 128 higher, unsigned. */
enum { SCREEN_MOST = 127, SCREEN_OFFSET = 128 };

/* SCREEN_SAFE enlarges a bound by more than all its roundings. SCREEN_LONGEST is the largest norm of a row or a state
 * that is screened, so that no sum overflows. */
#define SCREEN_SAFE    (1.0f + 1.0f / 1024)
#define SCREEN_LONGEST 1e15f

/* Columns that are screened together (rows of W), the terms of one 8-bit dot product, and states at a time. */
enum { SCREEN_BLOCK = 64, SCREEN_TERMS = 4, SCREEN_ROWS = 6 };

struct screen_block {
    float scale[SCREEN_BLOCK];   /* s                                                              */
    float bias[SCREEN_BLOCK];    /* b; beyond V the least float, so that it never wins      */
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

/* A state while it is screened, and the best found for it. */
struct screen_state {
    const uint8_t *codes;                /* [quads][SCREEN_TERMS] p + 128                                      */
    float step;                          /* t                                                                  */
    float norm, rest;                    /* upper bounds of |h| and |d|                                        */
    float least;                         /* what an upper bound must reach; rises with each better candidate */
    int count;                           /* candidates; above SCREEN_CANDIDATES counting stops    */
    struct screen_candidate *candidates; /* [SCREEN_CANDIDATES], index rising */
};

enum { SCREEN_CANDIDATES = 64 };

struct screen_candidate {
    int32_t index;
    float upper; /* of its logit, but for the slack */
};

/* The kernels of one instruction set. */
struct screen_kernels {
    /* Screen blocks first..last-1 for `rows` states, 1 to SCREEN_ROWS. */
    void (*rows)(const struct screen *screen, int first, int last, int rows, struct screen_state *states);
    /* logits[i] = the chain of fused multiply-adds b + w_v h, k rising, for v = index[i]. */
    void (*exact)(const struct screen *screen, const float *h, int count, const int32_t *index, float *logits);
    /* Round h [K] into `codes` (quads of terms) and fill in `state`, except its candidates. False: the bound does not
     * hold for h. */
    bool (*round)(const struct screen *screen, const float *h, uint8_t *codes, struct screen_state *state);
};

/* The kernels for the vector table of this name; NULL: there are no such kernels, or this machine lacks their
 * instructions. */
const struct screen_kernels *screen_kernels(const char *isa);

/* A screen of w [V, K] and bias [V], which outlive it. NULL and err when there is no memory. */
struct screen *screen_open(const float *w, const float *bias, int V, int K, struct err *err);
void screen_close(struct screen **screen);

/* Note the upper bounds (without the slack) of logits first..first+63. `reaching` has a bit for each that reached
 * state->least; `wide` is half the width of their bounds divided by their scale. For struct screen_kernels. */
void screen_note(const struct screen *screen, const struct screen_block *block, int first, uint64_t reaching,
                 const float *upper, float wide, struct screen_state *state);

#endif
