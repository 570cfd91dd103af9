/* backend.h - the one table of operations that a model is computed with.
 *
 * The CPU backend defines what each operation means; every other backend is tested against it. A backend is opened with
 * its threads and precision, belongs to one compute thread, and is closed by it. All tensor pointers are the backend's
 * memory (from `alloc`); id, index and target arrays too. Operations do not return failures: the first one is kept,
 * later operations do nothing, and `check` reports it, once a step. Operations may run behind the caller (a stream);
 * `download` and `check` wait.
 *
 * Bits: the same call gives the same bits on any number of threads. A row's result does not depend on the other rows of
 * the call, for: gather, gemm (rows of A where A is not transposed), recurrent_forward, recurrent_backward,
 * cross_entropy, argmax, top_k, likeliest. An fp32 product on a processor with fused multiply-add has one right answer,
 * see struct gemm: neither the vector length nor a cut of K into several accumulating calls changes it. */
#ifndef LSTMQ_BACKEND_H
#define LSTMQ_BACKEND_H

#include "kernels/shape.h"
#include "kernels/sharing.h"
#include "proto/base/config.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct backend;

/* What one stands for in a quantised sum. */
#define BACKEND_QUANTUM 0x1p-40f

struct matmul; /* a product of the library beneath, see matmul_open */

struct packed; /* a matrix as `pack` gave it */

/* C[M, N] = A[M, K] B[K, N] (+ bias[N] in each row) (+ C when accumulate). A is stored [K, M] when transpose_a, B is
 * stored [N, K] when transpose_b. Rows are contiguous: the leading dimension is the stored row's length.
 *
 * The bits of fp32 on the CPU: sum = (accumulate ? C[i][j] : 0) + bias[j]; sum = fma(A[i][k], B[k][j], sum) for k = 0 to
 * K - 1; C[i][j] = sum. A processor without fma sums by tiles, and has bits of its own. */
struct gemm {
    int M, N, K;
    const float *a, *b, *bias; /* bias may be NULL */
    float *c;
    bool transpose_a, transpose_b, accumulate;
    const struct packed *packed; /* B, instead of b and transpose_b; A is not transposed then; or NULL */
};

/* One layer, one direction, over a whole packed sequence. The input's part of the gates is given once for each distinct
 * input: position n adds row slot[n] of `input`, which already holds W_ih x + b.
 *   lstm: i, f, o = sigmoid, g = tanh of (input + W_hh h); c' = f c + i g; h' = o tanh(c')     (Hochreiter &
 * Schmidhuber 1997; Gers 2000) rnn:  h' = tanh(input + W_hh h) (Elman 1990) A row's final state is its state at its own
 * last step. */
struct recurrent {
    enum cell cell;
    const struct sequence *seq;
    int H;
    const float *input;             /* [U, G]                                                 */
    const int32_t *slot;            /* [N], each below U                                      */
    const float *w_hh;              /* [G, H]                                                 */
    const struct packed *packed_hh; /* w_hh as `pack` gave it, for forward; or NULL   */
    const float *h0, *c0;           /* [B, H]; NULL = zeros; c0 for lstm only                 */
    float *gates;                   /* [N, G] after their nonlinearity; backward turns it into dgates */
    float *c;                       /* [N, H] lstm only                                       */
    float *h;                       /* [N, H]                                                 */
    float *h_before;        /* [N, H] h at the step before, h0 at t = 0: for dW_hh; may be NULL when only decoding */
    float *h_last, *c_last; /* [B, H]                                                 */
};

struct recurrent_gradient {
    const float *dh;                /* [N, H] from above; NULL = zeros       */
    const float *dh_last, *dc_last; /* [B, H]; NULL = zeros                */
    float *dh0, *dc0;               /* [B, H]; may be NULL                   */
};

/* Adam as torch.optim.Adam (Kingma & Ba 2015, with L2 added to the gradient): g = scale * gradient + decay * p; m, v
 * moments; p -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). Double, because 1 - beta2 is to be that of
 * 0.999: rounded to float first, it is wrong by 1.3e-5 of itself. */
struct adam {
    double lr, beta1, beta2, eps, decay;
    uint64_t t; /* 1 at the first step */
};

/* What the input's part of a layer's gates is made of: W_ih x + b, with x a row of the embedding. */
struct inputs_of {
    int V, E, G;
    const float *embedding, *w_ih, *bias; /* [V, E], [G, E], [G] */
    const struct packed *packed;          /* w_ih as `pack` gave it, or NULL */
};

struct inputs;     /* rows of it that were computed before             */
struct single;     /* a layer's recurrence, laid out for one row       */
struct projection; /* a projection of which only the likeliest id is wanted */

struct backend_table {
    const char *name; /* "cpu"                                   */
    /* "oneDNN 2.6.3", "avx512_core_amx"; static or owned by the backend */
    const char *(*version)(const struct backend *self);
    const char *(*isa)(const struct backend *self);
    int (*threads)(const struct backend *self);

    void (*close)(struct backend *self);
    /* The first failure since the last check, if any: false and err. Waits for everything issued so far. */
    bool (*check)(struct backend *self, struct err *err);

    /* Memory, 64-byte aligned, zeroed. NULL and err when there is none. */
    void *(*alloc)(struct backend *self, size_t bytes, struct err *err);
    void (*free)(struct backend *self, void *memory);
    void (*upload)(struct backend *self, void *to, const void *from, size_t bytes);
    void (*download)(struct backend *self, void *to, const void *from, size_t bytes);
    void (*zero)(struct backend *self, void *memory, size_t bytes);

    void (*gemm)(struct backend *self, const struct gemm *gemm);
    /* B [K, N] (stored [N, K] when transposed) in the order that products read fastest, for many products with a B that
     * does not change: `b` must stay as it is until unpack. NULL and err on failure. */
    struct packed *(*pack)(struct backend *self, const float *b, int N, int K, bool transposed, struct err *err);
    void (*unpack)(struct backend *self, struct packed *packed);

    /* out[r] = table[index[r]]: rows of `width` floats, r < count. */
    void (*gather)(struct backend *self, const float *table, const int32_t *index, int count, int width, float *out);
    /* table[index[r]] += rows[r]. Indices are distinct. */
    void (*scatter_add)(struct backend *self, const float *rows, const int32_t *index, int count, int width,
                        float *table);
    /* table[index[r]] = 0. Indices are distinct. */
    void (*zero_rows)(struct backend *self, const int32_t *index, int count, int width, float *table);
    /* out[u] = sum over n with slot[n] = u of rows[n], in order of n; out is [U, width]. */
    void (*fold)(struct backend *self, const float *rows, const int32_t *slot, int N, int U, int width, float *out);
    /* out[j] (+)= sum over r of rows[r][j], in order of r within fixed blocks. */
    void (*column_sum)(struct backend *self, const float *rows, int count, int width, bool accumulate, float *out);

    void (*recurrent_forward)(struct backend *self, const struct recurrent *layer);
    void (*recurrent_backward)(struct backend *self, const struct recurrent *layer,
                               const struct recurrent_gradient *gradient);

    /* For each of N rows of logits [N, V]: loss[n] = log sum exp - logit[target]; predicted[n] = the first index of the
     * largest logit; and, where `gradient`, logits become softmax - onehot(target). One pass over memory. loss,
     * predicted may be NULL. */
    void (*cross_entropy)(struct backend *self, float *logits, const int32_t *target, int N, int V, bool gradient,
                          float *loss, int32_t *predicted);
    void (*argmax)(struct backend *self, const float *logits, int N, int V, int32_t *index);
    /* The k largest of each row, falling, ties by lower index; values and index are [N, k]. */
    void (*top_k)(struct backend *self, const float *logits, int N, int V, int k, float *values, int32_t *index);

    /* Greedy decoding: the same values as gather, gemm, recurrent_forward and argmax give, to the bit, with less to
     * read. What an `open` is given stays as it is until `close`. An open returns NULL and err on failure. */

    struct inputs *(*inputs_open)(struct backend *self, const struct inputs_of *of, struct err *err);
    void (*inputs_close)(struct backend *self, struct inputs *inputs);
    /* Rows of `count` tokens: row slot[n] of what is returned ([rows, G], until the next call) is W_ih x + b of
     * token[n]. NULL after a failure. */
    const float *(*inputs_rows)(struct backend *self, struct inputs *inputs, const int32_t *token, int count,
                                int32_t *slot);

    /* `packed` is w_hh [G, H] as `pack` gave it, or NULL. */
    struct single *(*single_open)(struct backend *self, enum cell cell, const float *w_hh, int H,
                                  const struct packed *packed, struct err *err);
    void (*single_close)(struct backend *self, struct single *single);
    /* T steps of one row, step t with row slot[t] of `input`: h and c [H] (c for lstm only) become the last state's. */
    void (*single_run)(struct backend *self, struct single *single, const float *input, const int32_t *slot, int T,
                       float *h, float *c);

    /* w [V, H], bias [V]; `packed` is w transposed as `pack` gave it, or NULL. */
    struct projection *(*projection_open)(struct backend *self, const float *w, const float *bias, int V, int H,
                                          const struct packed *packed, struct err *err);
    void (*projection_close)(struct backend *self, struct projection *projection);
    /* Bytes that likeliest reads of it for one row, candidates aside. */
    size_t (*projection_bytes)(struct backend *self, const struct projection *projection);
    /* index[n] = the first index of the largest of h[n] W^T + bias, of N rows. */
    void (*likeliest)(struct backend *self, const struct projection *projection, const float *h, int N, int32_t *index);

    /* Read `bytes` bytes (whole units of 512), each thread a part of its own: for bench. */
    void (*sweep)(struct backend *self, const void *memory, size_t bytes);

    /* y = 1 / (1 + exp(-x)) in place; and dx = dy y (1 - y), in place in dy. */
    void (*sigmoid)(struct backend *self, float *x, size_t count);
    void (*sigmoid_backward)(struct backend *self, const float *y, float *dy, size_t count);

    /* The sum of squares, in double, over fixed blocks of 64 Ki elements in index order: returned at once. */
    double (*sum_squares)(struct backend *self, const float *x, size_t count);
    /* The Euclidean norm of scale * x for each of `count` tensors, returned at once, summed in fp32 as PyTorch does on
     * a CPU: element i in lane i mod 8, then the lanes in order. Rounding makes it some 1e-4 too small for millions of
     * elements. */
    void (*norms_float)(struct backend *self, const float *const *x, const size_t *sizes, int count, float scale,
                        float *norms);

    /* p -= lr * (scale * g + decay * p). */
    void (*sgd)(struct backend *self, float *p, const float *g, size_t count, float scale, float lr, float decay);
    void (*adam)(struct backend *self, float *p, const float *g, float *m, float *v, size_t count, float scale,
                 const struct adam *adam);

    /* sum[i] = round(x[i] / BACKEND_QUANTUM) (+ round(y[i] / BACKEND_QUANTUM), unless y is NULL), ties to even, added to
     * what is there when `accumulate`: two at once, since `sum` is the most of the memory that is passed over. A value
     * that is not finite or, without its sign, not below `below` is kept as a failure that names its index; `sum` is
     * undefined then. A sum of n values never leaves an int64 where n * below <= 2^23: more is the caller's to prevent.
     * And back: x[i] = sum[i] * BACKEND_QUANTUM. */
    void (*quantise)(struct backend *self, const float *x, const float *y, size_t count, float below, bool accumulate,
                     int64_t *sum);
    void (*dequantise)(struct backend *self, const int64_t *sum, size_t count, float *x);

    /* For measurements, and NULL where a backend has no such thing. */

    /* C = A B (+ bias) as the library beneath computes it when left to itself: whole matrices, as many threads of its
     * own as the backend has, an order of its choosing. `packed`: B is put beforehand into the order it reads fastest;
     * in bf16 both factors are rounded beforehand. The matrices stay until matmul_close. NULL and err when it cannot.
     */
    struct matmul *(*matmul_open)(struct backend *self, const struct gemm *gemm, bool packed, struct err *err);
    bool (*matmul_run)(struct matmul *matmul, struct err *err);
    void (*matmul_close)(struct matmul **matmul);
    /* From now on count in `sharing` how operations are shared out over threads; NULL = no more. */
    bool (*watch)(struct backend *self, struct sharing *sharing, struct err *err);
    /* Call every thread and wait until all have come, for nothing: what sharing costs by itself. */
    void (*call_all)(struct backend *self);
};

/* The first member of every backend's own struct. */
struct backend {
    const struct backend_table *op;
};

/* Open a backend by device name ("cpu"). ERR_USAGE for an unknown device or a precision this machine cannot do. threads
 * 0 = one a core. */
struct backend *backend_open(const char *device, int threads, enum precision precision, struct err *err);
void backend_close(struct backend **backend);

/* What this program computes with on this machine, for --version: "oneDNN 2.6.3, avx512_core_amx; vector avx512;
 * plug-ins: none". Static text, filled at the first call; call it first from one thread. */
const char *backend_describe(void);

#endif
