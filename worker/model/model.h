/* model.h - the parameters of a translation model: one table of tensors over one arena.
 *
 * An encoder and a decoder, each an embedding and a recurrent layer, and a projection to the target vocabulary. The
 * table of tensors is the only list of them. It drives allocation, initialisation, clipping, the all-reduce, the
 * update, checkpoints and tests; code finds a tensor by its role and its flags, never by its place. So a new layer is
 * new rows of the table. Tensors stand back to back in table order, so an arena is also the data part of a
 * safetensors file. Names and layouts are PyTorch's.
 *
 * A model begins in model_new with parameters of zero. model_init draws them, or model_load reads them from a
 * checkpoint's file. It ends in model_destroy, before its backend is closed. The compute thread that owns the backend
 * owns the model. */
#ifndef LSTMQ_WORKER_MODEL_MODEL_H
#define LSTMQ_WORKER_MODEL_MODEL_H

#include "kernels/backend.h"
#include "proto/store/safetensors.h"

enum { MODEL_TENSORS = 10 };

enum model_side { SIDE_SRC, SIDE_TGT, MODEL_SIDES }; /* the encoder and its language, the decoder and its language */

enum tensor_role {
    ROLE_EMBEDDING,       /* [V, E] */
    ROLE_INPUT_WEIGHT,    /* [G, E] */
    ROLE_STATE_WEIGHT,    /* [G, H] */
    ROLE_GATE_BIAS,       /* [G]    */
    ROLE_PROJECTION,      /* [V, H] */
    ROLE_PROJECTION_BIAS, /* [V]    */
};

enum tensor_flag {
    TENSOR_BY_ROW = 1, /* rows are looked up one by one: a step's gradient has only some of them, see step_rows.h */
    TENSOR_DECAYS = 2, /* train.weight_decay applies */
};

enum init_rule {
    INIT_ZERO,
    INIT_NORMAL,     /* N(0, 1); row <pad> zeroed after its draw */
    INIT_UNIFORM,    /* U(-bound, bound)                         */
    INIT_ORTHOGONAL, /* rows of an N(0, 1) matrix made orthonormal, top to bottom */
};

struct tensor {
    char name[TENSOR_NAME];
    enum model_side side;
    enum tensor_role role;
    unsigned flags; /* set of enum tensor_flag */
    int dims;
    int shape[2];  /* [rows, columns]; columns is 1 for a vector */
    size_t offset; /* floats from the arena's start               */
    size_t size;   /* floats                                      */
    enum init_rule init;
    double bound; /* of INIT_UNIFORM */
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
    bool borrowed;          /* the arena lies in a file's bytes, see model_new_from */
    struct weights weights; /* pointers into `parameters`  */
};

/* Sizes come from config->model_*; parameters are zero. */
struct model *model_new(struct backend *backend, const struct config *config, int src_vocab, int tgt_vocab,
                        struct err *err);
void model_destroy(struct model **model);

/* A model with the parameters of a model file. If *borrowed, they are used where they lie in `bytes`, which the caller
 * then keeps, unchanged, until model_destroy; nothing may write them. Otherwise they were copied: the backend's memory
 * is not the host's, or the file has the tensors in another order than the table. Errors as model_load. */
struct model *model_new_from(struct backend *backend, const struct config *config, int src_vocab, int tgt_vocab,
                             const void *bytes, size_t size, const char *name, bool *borrowed, struct err *err);

/* Draw the initial parameters: every tensor in table order, row-major, from one MT19937 seeded with `seed`. */
bool model_init(struct model *model, uint64_t seed, struct err *err);

/* Parameters from the bytes of a model file, called `name` in errors. ERR_DATA: tensors are missing, too many, or of
 * another shape or type. */
bool model_load(struct model *model, const void *bytes, size_t size, const char *name, struct err *err);

/* The same for `count` arenas of a file that holds all of them: the tensors of the i-th are named prefixes[i] + the
 * name in the table. */
bool model_load_arenas(const struct model *model, const char *const *prefixes, float *const *arenas, int count,
                       const void *bytes, size_t size, const char *name, struct err *err);

/* The only tensor with this role on this side. */
const struct tensor *model_tensor(const struct model *model, enum model_side side, enum tensor_role role);

/* The roles of another arena with this model's layout (gradients, say). */
struct weights model_weights(const struct model *model, float *arena);

/* Table rows as safetensors entries, each name prefixed ("" or "exp_avg."). `entries` has room for tensor_count. */
bool model_entries(const struct model *model, const char *prefix, struct tensor_entry *entries, struct err *err);

#endif
