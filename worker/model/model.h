/* model.h - the parameters of a translation model: one table of tensors over one arena.
 *
 * An encoder and a decoder, each an embedding and a recurrent layer, and a projection to the target vocabulary. The
 * table of tensors is the only list of them: it drives allocation, initialisation, clipping, the update, checkpoints
 * and tests. Tensors stand back to back in table order, so an arena is also the data part of a safetensors file. Names
 * and layouts are PyTorch's. Born in model_new, owned by the compute thread that owns its backend, ended by
 * model_destroy before the backend is closed. */
#ifndef LSTMQ_MODEL_H
#define LSTMQ_MODEL_H

#include "kernels/backend.h"
#include "proto/store/safetensors.h"

enum { MODEL_TENSORS = 10 };

enum init_rule {
    INIT_ZERO,
    INIT_NORMAL,     /* N(0, 1); row <pad> zeroed after its draw */
    INIT_UNIFORM,    /* U(-bound, bound)                         */
    INIT_ORTHOGONAL, /* rows of an N(0, 1) matrix made orthonormal, top to bottom */
};

struct tensor {
    char name[TENSOR_NAME];
    int dims;
    int shape[2];  /* [rows, columns]; columns is 1 for a vector */
    size_t offset; /* floats from the arena's start               */
    size_t size;   /* floats                                      */
    enum init_rule init;
    double bound;   /* of INIT_UNIFORM                             */
    bool embedding; /* rows are looked up one by one: a step touches few of them */
};

/* Pointers into one arena, by role. */
struct side_weights {
    float *embedding; /* [V, E] */
    float *w_ih;      /* [G, E] */
    float *w_hh;      /* [G, H] */
    float *bias;      /* [G]    */
};

struct weights {
    struct side_weights encoder, decoder;
    float *projection;      /* [V, H] of the target */
    float *projection_bias; /* [V] */
};

struct model_shape {
    enum cell cell;
    int E, H, G;
    int src_vocab, tgt_vocab; /* V of either side */
};

struct model {
    struct backend *backend; /* not owned */
    struct model_shape shape;
    struct tensor tensors[MODEL_TENSORS];
    int tensor_count;
    size_t elements;        /* floats in an arena          */
    float *parameters;      /* arena, backend memory       */
    struct weights weights; /* pointers into `parameters`  */
};

/* Sizes come from config->model_*; parameters are zero. */
struct model *model_new(struct backend *backend, const struct config *config, int src_vocab, int tgt_vocab,
                        struct err *err);
void model_destroy(struct model **model);

/* Draw the initial parameters: every tensor in table order, row-major, from one MT19937 seeded with `seed`. */
bool model_init(struct model *model, uint64_t seed, struct err *err);

/* The roles of another arena with this model's layout (gradients, say). */
struct weights model_weights(const struct model *model, float *arena);

/* Table rows as safetensors entries, each name prefixed ("" or "exp_avg."). `entries` has room for tensor_count. */
bool model_entries(const struct model *model, const char *prefix, struct tensor_entry *entries, struct err *err);

#endif
