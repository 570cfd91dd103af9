/* backend.h - the table of operations that a model is computed with.
 *
 * A backend computes on one device. Its table has three parts: the core below, which training needs, decode.h (greedy
 * decoding with fewer memory reads) and measure.h (for `lstmq bench`). A device may lack the last two. The CPU
 * backend defines what each operation means; every other backend is tested against it.
 *
 * backend_open makes a backend with its threads and precision. One compute thread owns it, makes all calls and closes
 * it; another may take it over (take_over) between two calls. All tensor pointers are the backend's memory (from
 * `alloc`); the arrays of ids, indices and targets too.
 * Operations may run behind the caller (a stream): `download` and `check` wait for them. Operations do not return
 * failures. The backend keeps the first failure, later operations do nothing, and `check` reports it, once a step.
 * After a failure a download leaves its memory as it was. Host memory of an argument is read before the call returns.
 * `free` waits for what still uses the memory.
 *
 * Bits: the same call gives the same bits on any number of threads. A row's result does not depend on the other rows
 * of the call. This holds for gather, gemm (rows of A, where A is not transposed), recurrent_forward,
 * recurrent_backward, cross_entropy, argmax and projection_argmax. fp32 bits are defined where the processor has
 * fused multiply-add (fma): then neither the vector length nor the device changes them. Each operation states the
 * order of its sums. Without fma the bits are the machine's own.
 *
 * The letters of the shapes are in shape.h. */
#ifndef LSTMQ_KERNELS_BACKEND_H
#define LSTMQ_KERNELS_BACKEND_H

#include "kernels/shape.h"
#include "proto/base/config.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct backend;
struct decode_table;  /* decode.h  */
struct measure_table; /* measure.h */

/* The value of 1 in a sum of fixed-point numbers, see quantise. */
#define BACKEND_QUANTUM 0x1p-40f

struct prepacked; /* a matrix in the order that GEMMs read fastest, made by `prepack` */

/* C[M, N] = A[M, K] B[K, N] (+ bias[N] in each row) (+ C when accumulate). A is stored [K, M] when transpose_a, B is
 * stored [N, K] when transpose_b. Rows are contiguous: the leading dimension is the stored row's length.
 *
 * The fp32 bits: sum = (accumulate ? C[i][j] : 0) + bias[j]; sum = fma(A[i][k], B[k][j], sum) for k = 0 to K - 1;
 * C[i][j] = sum. So a cut of K into several accumulating calls gives the same bits. */
struct gemm {
    int M, N, K;
    const float *a, *b, *bias; /* bias may be NULL */
    float *c;
    bool transpose_a, transpose_b, accumulate;
    const struct prepacked *prepacked; /* B; then b and transpose_b are ignored and A is not transposed; or NULL */
};

/* One layer in one direction over a whole packed sequence. The input's part of the gates is given once for each
 * distinct input: position n adds row slot[n] of `input`, which already holds W_ih x + b.
 *   lstm: i, f, o = sigmoid, g = tanh of (input + W_hh h); c' = f c + i g; h' = o tanh(c')  (Hochreiter & Schmidhuber
 *         1997; Gers 2000)
 *   rnn:  h' = tanh(input + W_hh h)  (Elman 1990)
 * A row's final state is its state at its own last step. */
struct recurrent {
    enum cell cell;
    const struct sequence *seq;
    int H;
    const float *input;                /* [U, G]                                                   */
    const int32_t *slot;               /* [N], each below U                                        */
    const float *w_hh;                 /* [G, H]                                                   */
    const struct prepacked *prepacked; /* w_hh, for forward; or NULL                               */
    const float *h0, *c0;              /* [B, H]; NULL = zeros; c0 for lstm only                   */
    float *gates;                      /* [N, G] after their nonlinearity; backward makes them dgates */
    float *c;                          /* [N, H] lstm only                                         */
    float *h;                          /* [N, H]                                                   */
    float *h_before;        /* [N, H] h at the step before, h0 at t = 0, for dW_hh; NULL when only decoding */
    float *h_last, *c_last; /* [B, H]                                                   */
};

struct recurrent_gradient {
    const float *dh;                /* [N, H] from above; NULL = zeros */
    const float *dh_last, *dc_last; /* [B, H]; NULL = zeros            */
    float *dh0, *dc0;               /* [B, H]; may be NULL             */
};

/* Adam as torch.optim.Adam (Kingma & Ba 2015, with L2 added to the gradient): g = scale * gradient + decay * p; m, v
 * moments; p -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). The fields are double because 1 - 0.999
 * in float has a relative error of 1.3e-5. */
struct adam {
    double lr, beta1, beta2, eps, decay;
    uint64_t t; /* 1 at the first step */
};

/* What batches came to: sums over target tokens. */
struct figures {
    double loss_sum;
    int64_t tokens, correct; /* correct: the largest logit is the target's */
};

/* Why a step has no update: a set of these. */
enum {
    OUTCOME_LOSS = 1,    /* the sum of losses is not finite                         */
    OUTCOME_TOKENS = 2,  /* the figures' tokens are not as many as were announced   */
    OUTCOME_NORM = 4,    /* the norm is not finite                                  */
    OUTCOME_ELEMENT = 8, /* an element is not finite or too large for an exact sum  */
};

/* What a step came to, in backend memory until its one download. Zero before the first step. */
struct outcome {
    struct figures figures; /* of the whole batch                                                            */
    double norm;            /* of the mean gradient, before clipping                                         */
    float scale;            /* of the gradient in the update: 1 / tokens, times the clip                     */
    uint32_t bad;           /* not 0: this update and all later ones do nothing                              */
    float value;            /* OUTCOME_ELEMENT: the first bad element, and its place in the caller's numbers */
    uint64_t element;
};

/* sum[i] = round(x[i] / BACKEND_QUANTUM) (+ round(y[i] / BACKEND_QUANTUM), unless y is NULL), ties to even; with
 * `accumulate` added to sum[i]. Two addends in one call, because `sum` is most of the memory traffic. Bad is a value
 * that is not finite or whose size is not below `below`. A sum of n values fits an int64 where n * below <= 2^23: the
 * caller keeps to that. */
struct quantise {
    const float *x, *y;
    size_t count;
    float below;
    bool accumulate;
    int64_t *sum;
    uint64_t first; /* element i is `first` + i in the caller's numbers */
};

/* A tensor's part of a gradient. */
struct clip_part {
    const float *x;
    size_t size;
};

/* From the figures of shards or ranks and the gradient of their sum: outcome.figures in the order of `figures`,
 * outcome.norm, the Euclidean norm of gradient / tokens, and outcome.scale = 1 / tokens, times largest / (norm +
 * 1e-6) where that is below 1 (torch.nn.utils.clip_grad_norm_). NORM_DOUBLE: squares are summed in double, over
 * blocks of 64 Ki elements of each part in index order, then part by part; in a block element i is added to lane i
 * mod 64, then the upper half of the lanes to the lower half, until one is left. NORM_FLOAT: in fp32, as PyTorch's on
 * a CPU: each element times (float)(1 / tokens), squared; element i of a part's whole eights in lane i mod 8, then the
 * lanes in order, then the other elements; the part's root in fp32, then the squares of the parts in double. Rounding
 * makes that about 1e-4 too small for millions of elements. */
struct clip {
    const struct figures *figures; /* [count] */
    int count;
    uint32_t tokens; /* target tokens of the batch: the figures must add up to them */
    enum norm rule;
    double largest;                /* 0 = no clip */
    const struct clip_part *parts; /* [part_count], host memory */
    int part_count;
};

/* A piece of the arenas that an update covers: rows of `width` floats from `offset` on. */
struct update_part {
    size_t offset, rows, width;
    const uint64_t *marks; /* backend memory: only rows r with bit r % 64 of marks[r / 64]; NULL = all rows */
    bool decays;           /* false: decay is 0 here                                                      */
};

/* An update of whole arenas, in one call. */
struct update {
    float *p;                        /* parameters                     */
    const float *g;                  /* gradient                       */
    float *m, *v;                    /* moments, of adam alone         */
    const struct update_part *parts; /* [count], host memory */
    int count;
    const struct outcome *outcome; /* backend memory: the scale */
};

enum { HASH_BLOCK = 64 * 1024 };

struct backend_table {
    const char *name; /* "cpu" */
    /* "oneDNN 2.6.3", "avx512_core_amx"; static or owned by the backend. */
    const char *(*version)(const struct backend *self);
    const char *(*isa)(const struct backend *self);
    /* The name of its bits: backends of one name compute the same bits. Any device with fma: "fp32-fma". Where a
     * library chooses the order of sums, the name holds the library and the instruction set:
     * "fp32-plain-onednn-2.6.3-avx2", "bf16-onednn-2.6.3-avx512_core_amx". It begins with the precision and a dash. */
    const char *(*arithmetic)(const struct backend *self);
    int (*threads)(const struct backend *self);

    /* Make the calling thread the owner. */
    void (*take_over)(struct backend *self);
    void (*close)(struct backend *self);
    /* False and err: the first failure since the last check. Waits for all operations so far. */
    bool (*check)(struct backend *self, struct err *err);
    /* Whether a failure is known already; waits for nothing. */
    bool (*failing)(const struct backend *self);

    /* Its memory is the host's: an operation may also read what the caller has elsewhere. */
    bool host;
    /* Zeroed memory, 64-byte aligned. NULL and err when there is not enough. */
    void *(*alloc)(struct backend *self, size_t bytes, struct err *err);
    void (*free)(struct backend *self, void *memory);
    void (*upload)(struct backend *self, void *to, const void *from, size_t bytes);
    void (*download)(struct backend *self, void *to, const void *from, size_t bytes);
    void (*zero)(struct backend *self, void *memory, size_t bytes);
    /* A download that nothing waits for: `to` is filled when download_end(ticket) returns. That call waits for what
     * was issued before download_begin, not for what came after, and reports a failure as `check` does. Tickets are 0
     * and 1, and each is for one download at a time. */
    void (*download_begin)(struct backend *self, int ticket, void *to, const void *from, size_t bytes);
    bool (*download_end)(struct backend *self, int ticket, struct err *err);

    void (*gemm)(struct backend *self, const struct gemm *gemm);
    /* Reorder B [K, N] (stored [N, K] when transposed) for many GEMMs. B must not change or move until prepack_free.
     * NULL and err on failure. */
    struct prepacked *(*prepack)(struct backend *self, const float *b, int N, int K, bool transposed, struct err *err);
    void (*prepack_free)(struct backend *self, struct prepacked *prepacked);

    /* out[r] = table[index[r]]: rows of `width` floats, r < count. */
    void (*gather)(struct backend *self, const float *table, const int32_t *index, int count, int width, float *out);
    /* table[index[r]] += rows[r]. The indices are distinct. */
    void (*scatter_add)(struct backend *self, const float *rows, const int32_t *index, int count, int width,
                        float *table);
    /* table[index[r]] = 0. The indices are distinct. */
    void (*zero_rows)(struct backend *self, const int32_t *index, int count, int width, float *table);
    /* out[u] = sum over n in segment u of rows[n], in order of n; rows is [N, width], out [U, width]. */
    void (*segment_sum)(struct backend *self, const float *rows, const struct segments *segments, int width,
                        float *out);
    /* out[j] (+)= sum over r of rows[r][j]: blocks of 64 rows in order of r, then the blocks in order. */
    void (*column_sum)(struct backend *self, const float *rows, int count, int width, bool accumulate, float *out);

    void (*recurrent_forward)(struct backend *self, const struct recurrent *layer);
    void (*recurrent_backward)(struct backend *self, const struct recurrent *layer,
                               const struct recurrent_gradient *gradient);

    /* For each of N rows of logits [N, V]: loss[n] = log sum exp - logit[target]; predicted[n] = the first index of
     * the largest logit. With `gradient` logits become softmax - onehot(target). One pass over memory. loss and
     * predicted may be NULL. The sum of exponentials is in double on 16 lanes: in each whole block of 64 elements
     * lane l adds (x[l] + x[l+16]) + (x[l+32] + x[l+48]), which is in float; each later element i is added to lane i
     * mod 16. Then the upper half of the lanes is added to the lower half, until one is left. The log is
     * natural_log.h's. */
    void (*cross_entropy)(struct backend *self, float *logits, const int32_t *target, int N, int V, bool gradient,
                          float *loss, int32_t *predicted);
    /* index[n] = the first index of the largest of logits[n], [N, V]. */
    void (*argmax)(struct backend *self, const float *logits, int N, int V, int32_t *index);

    /* What a batch came to: its losses, summed in double in index order, its N target tokens, and the predictions that
     * are the target. */
    void (*score)(struct backend *self, const float *loss, const int32_t *predicted, const int32_t *target, int N,
                  struct figures *figures);

    /* Fixed-point sums, see struct quantise. A bad value makes the first `figures`' loss NaN, so that every rank of the
     * sum knows of it, and is described in `outcome`; `sum` is then undefined. */
    void (*quantise)(struct backend *self, const struct quantise *quantise, struct outcome *outcome,
                     struct figures *figures);
    /* x[i] = sum[i] * BACKEND_QUANTUM. */
    void (*dequantise)(struct backend *self, const int64_t *sum, size_t count, float *x);

    /* Sum a step's figures, and say how far to update: see struct clip and struct outcome. */
    void (*clip)(struct backend *self, const struct clip *clip, struct outcome *outcome);

    /* p -= lr * (scale * g + decay * p). */
    void (*sgd)(struct backend *self, const struct update *update, float lr, float decay);
    void (*adam)(struct backend *self, const struct update *update, const struct adam *adam);

    /* hashes[b] = a hash of the b-th block of HASH_BLOCK elements of x[count]; the last block may be shorter. With u
     * the bits of a block's elements, an absent one 0, and k(i) = 0x9e3779b1 i + 0x85ebca77, both modulo 2^32, it is
     * the sum over even i of (u[i] + k(i)) (u[i + 1] + k(i + 1)) modulo 2^64, with factors modulo 2^32 (NH: Black et
     * al. 1999). */
    void (*hash)(struct backend *self, const float *x, size_t count, uint64_t *hashes);

    const struct decode_table *decode;   /* NULL: the device has none */
    const struct measure_table *measure; /* NULL: the device has none */
};

/* The first member of every backend's own struct. */
struct backend {
    const struct backend_table *op;
};

/* Open a backend by device name ("cpu"). threads 0 = one for each core. ERR_USAGE: an unknown device, or a precision
 * that this machine cannot compute in. */
struct backend *backend_open(const char *device, int threads, enum precision precision, struct err *err);
void backend_close(struct backend **backend);

/* What this program computes with on this machine, for --version: "oneDNN 2.6.3, avx512_core_amx; vector avx512;
 * plug-ins: none". Static text; the first call fills it, so make that call while there is one thread. */
const char *backend_describe(void);

#endif
