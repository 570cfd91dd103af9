/* decode.h - greedy decoding with fewer memory reads: an optional part of a backend's table.
 *
 * Greedy decoding reads all weights for every token. These operations keep or skip part of that. They give the bits of
 * gather, gemm, recurrent_forward and argmax (backend.h), so a translation is the same text with and without them. A
 * device that reads memory fast enough has no such table: backend->op->decode is NULL.
 *
 * Each `open` makes a helper over weights that do not change or move until its `close`. It returns NULL and err on
 * failure. A helper belongs to the backend's thread. Failures of other operations are kept for `check`. */
#ifndef LSTMQ_KERNELS_DECODE_H
#define LSTMQ_KERNELS_DECODE_H

#include "kernels/backend.h"

struct inputs;     /* the input's part of a layer's gates, kept for tokens seen before */
struct single;     /* a layer's recurrence, laid out for one row                       */
struct projection; /* a projection of which only the argmax is wanted                  */

/* The input's part of a layer's gates is W_ih x + b, with x a row of the embedding. */
struct inputs_of {
    int V, E, G;
    const float *embedding, *w_ih, *bias; /* [V, E], [G, E], [G] */
    const struct prepacked *prepacked;    /* w_ih, or NULL       */
};

struct decode_table {
    struct inputs *(*inputs_open)(struct backend *self, const struct inputs_of *of, struct err *err);
    void (*inputs_close)(struct backend *self, struct inputs *inputs);
    /* The input's part for `count` tokens: returns rows [.., G], valid until the next call; row slot[n] is W_ih x + b
     * of token[n]. NULL after a failure. */
    const float *(*inputs_rows)(struct backend *self, struct inputs *inputs, const int32_t *token, int count,
                                int32_t *slot);

    /* w_hh [G, H]; `prepacked` is w_hh too, or NULL. */
    struct single *(*single_open)(struct backend *self, enum cell cell, const float *w_hh, int H,
                                  const struct prepacked *prepacked, struct err *err);
    void (*single_close)(struct backend *self, struct single *single);
    /* T steps of one row; step t adds row slot[t] of `input`. h and c [H] (c for lstm only) hold the state before and
     * after. */
    void (*single_run)(struct backend *self, struct single *single, const float *input, const int32_t *slot, int T,
                       float *h, float *c);

    /* w [V, H], bias [V]; `prepacked` is w transposed, or NULL. */
    struct projection *(*projection_open)(struct backend *self, const float *w, const float *bias, int V, int H,
                                          const struct prepacked *prepacked, struct err *err);
    void (*projection_close)(struct backend *self, struct projection *projection);
    /* Bytes of it that projection_argmax reads for one row, without the candidates. */
    size_t (*projection_bytes)(struct backend *self, const struct projection *projection);
    /* index[n] = the first index of the largest of h[n] W^T + bias, for N rows. */
    void (*projection_argmax)(struct backend *self, const struct projection *projection, const float *h, int N,
                              int32_t *index);
};

#endif
