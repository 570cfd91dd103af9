/* model.c - the table of tensors, how each begins, and how a file fills them; see model.h. */
#include "worker/model/model.h"

#include "proto/base/random.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void model_add(struct model *model, const char *prefix, struct tensor tensor)
{
    struct tensor *added = &model->tensors[model->tensor_count++];
    *added = tensor;
    snprintf(added->name, sizeof added->name, "%s.%.24s", prefix, tensor.name);
    added->dims = tensor.shape[1] == 1 ? 1 : 2;
    added->offset = model->elements;
    added->size = (size_t)tensor.shape[0] * (size_t)tensor.shape[1];
    model->elements += added->size;
}

static void model_add_side(struct model *model, enum model_side side, const char *name, int V)
{
    const struct model_shape *shape = &model->shape;
    int E = shape->E, H = shape->H, G = shape->G;
    bool lstm = shape->cell == CELL_LSTM;
    char layer[TENSOR_NAME / 2];
    snprintf(layer, sizeof layer, "%s.%s", name, lstm ? "lstm" : "rnn");
    /* Xavier's bound of one gate, a matrix [H, E] or [H, H] (Glorot & Bengio 2010). */
    double bound_ih = sqrt(6.0 / (E + H)), bound_hh = sqrt(6.0 / (H + H));
    enum init_rule state_init = lstm ? INIT_UNIFORM : INIT_ORTHOGONAL;
    const unsigned looked_up = TENSOR_BY_ROW | TENSOR_DECAYS, dense = TENSOR_DECAYS;
    model_add(model, name,
              (struct tensor){"embedding", side, ROLE_EMBEDDING, looked_up, .shape = {V, E}, .init = INIT_NORMAL});
    model_add(model, layer,
              (struct tensor){"weight_ih_l0", side, ROLE_INPUT_WEIGHT, dense, .shape = {G, E}, .init = INIT_UNIFORM,
                              .bound = bound_ih});
    model_add(model, layer,
              (struct tensor){"weight_hh_l0", side, ROLE_STATE_WEIGHT, dense, .shape = {G, H}, .init = state_init,
                              .bound = bound_hh});
    model_add(model, layer,
              (struct tensor){"bias_ih_l0", side, ROLE_GATE_BIAS, dense, .shape = {G, 1}, .init = INIT_ZERO});
}

static void model_add_projection(struct model *model)
{
    int V = model->shape.tgt_vocab, H = model->shape.H;
    double bound = 1.0 / sqrt(H);
    model_add(model, "projection",
              (struct tensor){"weight", SIDE_TGT, ROLE_PROJECTION, TENSOR_DECAYS, .shape = {V, H}, .init = INIT_UNIFORM,
                              .bound = bound});
    model_add(model, "projection",
              (struct tensor){"bias", SIDE_TGT, ROLE_PROJECTION_BIAS, TENSOR_DECAYS, .shape = {V, 1},
                              .init = INIT_UNIFORM, .bound = bound});
}

const struct tensor *model_tensor(const struct model *model, enum model_side side, enum tensor_role role)
{
    const struct tensor *tensor = model->tensors;
    while (tensor->side != side || tensor->role != role) {
        tensor++;
        assert(tensor < model->tensors + model->tensor_count);
    }
    return tensor;
}

static struct side_weights model_side_weights(const struct model *model, enum model_side side, float *arena)
{
    return (struct side_weights){
        .embedding = arena + model_tensor(model, side, ROLE_EMBEDDING)->offset,
        .w_ih = arena + model_tensor(model, side, ROLE_INPUT_WEIGHT)->offset,
        .w_hh = arena + model_tensor(model, side, ROLE_STATE_WEIGHT)->offset,
        .bias = arena + model_tensor(model, side, ROLE_GATE_BIAS)->offset,
    };
}

struct weights model_weights(const struct model *model, float *arena)
{
    return (struct weights){
        .encoder = model_side_weights(model, SIDE_SRC, arena),
        .decoder = model_side_weights(model, SIDE_TGT, arena),
        .projection = arena + model_tensor(model, SIDE_TGT, ROLE_PROJECTION)->offset,
        .projection_bias = arena + model_tensor(model, SIDE_TGT, ROLE_PROJECTION_BIAS)->offset,
    };
}

/* A model without parameters. */
static struct model *model_lay_out(struct backend *backend, const struct config *config, int src_vocab, int tgt_vocab,
                                   struct err *err)
{
    struct model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a model");
        return NULL;
    }
    int H = (int)config->model_hidden;
    model->backend = backend;
    model->shape = (struct model_shape){
        .cell = (enum cell)config->model_cell,
        .E = (int)config->model_embed,
        .H = H,
        .G = config->model_cell == CELL_LSTM ? 4 * H : H,
        .src_vocab = src_vocab,
        .tgt_vocab = tgt_vocab,
    };
    model_add_side(model, SIDE_SRC, "encoder", src_vocab);
    model_add_side(model, SIDE_TGT, "decoder", tgt_vocab);
    model_add_projection(model);
    return model;
}

static bool model_alloc(struct model *model, struct err *err)
{
    model->parameters = model->backend->op->alloc(model->backend, model->elements * sizeof(float), err);
    if (model->parameters == NULL)
        return err_context(err, "parameters of the model");
    model->weights = model_weights(model, model->parameters);
    return true;
}

struct model *model_new(struct backend *backend, const struct config *config, int src_vocab, int tgt_vocab,
                        struct err *err)
{
    struct model *model = model_lay_out(backend, config, src_vocab, tgt_vocab, err);
    if (model != NULL && !model_alloc(model, err))
        model_destroy(&model);
    return model;
}

void model_destroy(struct model **model)
{
    if (*model == NULL)
        return;
    struct backend *backend = (*model)->backend;
    if ((*model)->parameters != NULL && !(*model)->borrowed)
        backend->op->free(backend, (*model)->parameters);
    free(*model);
    *model = NULL;
}

static void model_draw_normal(struct mt19937 *random, const struct tensor *tensor, float *out)
{
    for (size_t i = 0; i < tensor->size; i++)
        out[i] = (float)mt19937_gauss(random);
    memset(out, 0, (size_t)tensor->shape[1] * sizeof(float));
}

static void model_draw_uniform(struct mt19937 *random, const struct tensor *tensor, float *out)
{
    for (size_t i = 0; i < tensor->size; i++)
        out[i] = (float)(tensor->bound * (2.0 * mt19937_double(random) - 1.0));
}

static double model_dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Modified Gram-Schmidt in double. */
static bool model_draw_orthogonal(struct mt19937 *random, const struct tensor *tensor, float *out, struct err *err)
{
    int n = tensor->shape[0];
    double *q = malloc(tensor->size * sizeof(double));
    if (q == NULL)
        return err_set(err, ERR_MEMORY, "no memory to initialise %s", tensor->name);
    for (size_t i = 0; i < tensor->size; i++)
        q[i] = mt19937_gauss(random);
    for (int i = 0; i < n; i++) {
        double *row = q + (size_t)i * (size_t)n;
        for (int j = 0; j < i; j++) {
            const double *above = q + (size_t)j * (size_t)n;
            double share = model_dot(row, above, n);
            for (int k = 0; k < n; k++)
                row[k] -= share * above[k];
        }
        double length = sqrt(model_dot(row, row, n));
        for (int k = 0; k < n; k++)
            row[k] /= length;
    }
    for (size_t i = 0; i < tensor->size; i++)
        out[i] = (float)q[i];
    free(q);
    return true;
}

bool model_init(struct model *model, uint64_t seed, struct err *err)
{
    struct mt19937 random;
    mt19937_seed(&random, seed);
    float *values = calloc(model->elements, sizeof(float));
    if (values == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the initial parameters");
    bool ok = true;
    for (int i = 0; ok && i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        float *out = values + tensor->offset;
        switch (tensor->init) {
        case INIT_ZERO:
            break;
        case INIT_NORMAL:
            model_draw_normal(&random, tensor, out);
            break;
        case INIT_UNIFORM:
            model_draw_uniform(&random, tensor, out);
            break;
        case INIT_ORTHOGONAL:
            ok = model_draw_orthogonal(&random, tensor, out, err);
            break;
        }
    }
    if (ok)
        model->backend->op->upload(model->backend, model->parameters, values, model->elements * sizeof(float));
    free(values);
    return ok;
}

bool model_entries(const struct model *model, const char *prefix, struct tensor_entry *entries, struct err *err)
{
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        struct tensor_entry *entry = &entries[i];
        *entry = (struct tensor_entry){.dtype = "F32", .dims = tensor->dims};
        int length = snprintf(entry->name, sizeof entry->name, "%s%s", prefix, tensor->name);
        if (length < 0 || (size_t)length >= sizeof entry->name)
            return err_set(err, ERR_FAILED, "the name of tensor %s%s is too long", prefix, tensor->name);
        for (int d = 0; d < tensor->dims; d++)
            entry->shape[d] = (uint64_t)tensor->shape[d];
    }
    return true;
}

/* ---- from a file ---- */

static bool model_same_shape(const struct tensor_entry *wanted, const struct tensor_entry *found, const char *name,
                             struct err *err)
{
    bool same = wanted->dims == found->dims && strcmp(wanted->dtype, found->dtype) == 0;
    for (int d = 0; same && d < wanted->dims; d++)
        same = wanted->shape[d] == found->shape[d];
    if (!same)
        return err_set(err, ERR_DATA,
                       "%s: tensor %s is %s [%" PRIu64 ", %" PRIu64 "], the configuration wants %s [%" PRIu64
                       ", %" PRIu64 "]",
                       name, wanted->name, found->dtype, found->dims > 0 ? found->shape[0] : 1,
                       found->dims > 1 ? found->shape[1] : 1, wanted->dtype, wanted->shape[0],
                       wanted->dims > 1 ? wanted->shape[1] : 1);
    return true;
}

/* Copy the tensors named PREFIX + table name into an arena. */
static bool model_load_arena(const struct model *model, const struct safetensors *file, const void *bytes,
                             const char *prefix, float *arena, const char *name, struct err *err)
{
    struct tensor_entry wanted[MODEL_TENSORS];
    if (!model_entries(model, prefix, wanted, err))
        return false;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor_entry *found = safetensors_find(file, wanted[i].name);
        if (found == NULL)
            return err_set(err, ERR_DATA, "%s: tensor %s is missing", name, wanted[i].name);
        if (!model_same_shape(&wanted[i], found, name, err))
            return false;
        const char *data = (const char *)bytes + file->header_size + found->offset;
        model->backend->op->upload(model->backend, arena + model->tensors[i].offset, data, found->size);
    }
    return true;
}

bool model_load_arenas(const struct model *model, const char *const *prefixes, float *const *arenas, int count,
                       const void *bytes, size_t size, const char *name, struct err *err)
{
    struct safetensors file;
    size_t wanted = (size_t)(count * model->tensor_count);
    if (!safetensors_parse(bytes, size, size, name, &file, err))
        return false;
    bool ok = file.count == wanted ||
              err_set(err, ERR_DATA, "%s: %zu tensors, the configuration wants %zu", name, file.count, wanted);
    for (int i = 0; i < count && ok; i++)
        ok = model_load_arena(model, &file, bytes, prefixes[i], arenas[i], name, err);
    safetensors_free(&file);
    return ok;
}

bool model_load(struct model *model, const void *bytes, size_t size, const char *name, struct err *err)
{
    return model_load_arenas(model, (const char *const[]){""}, &model->parameters, 1, bytes, size, name, err);
}

/* Where all tensors lie in the file's bytes as in an arena; NULL: they lie otherwise. */
static const char *model_find_arena(const struct model *model, const struct safetensors *file, const char *bytes)
{
    const char *first = NULL;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor_entry *found = safetensors_find(file, model->tensors[i].name);
        const char *data = bytes + file->header_size + (found != NULL ? found->offset : 0);
        first = first == NULL ? data : first;
        if (found == NULL || data != first + model->tensors[i].offset * sizeof(float) ||
            (uintptr_t)data % sizeof(float) != 0)
            return NULL;
    }
    return first;
}

static bool model_borrow(struct model *model, const void *bytes, size_t size, const char *name, struct err *err)
{
    struct tensor_entry wanted[MODEL_TENSORS];
    struct safetensors file;
    if (!model_entries(model, "", wanted, err) || !safetensors_parse(bytes, size, size, name, &file, err))
        return false;
    const char *arena = model->backend->op->host ? model_find_arena(model, &file, bytes) : NULL;
    bool ok = true;
    for (int i = 0; ok && arena != NULL && i < model->tensor_count; i++)
        ok = model_same_shape(&wanted[i], safetensors_find(&file, wanted[i].name), name, err);
    /* model_load reports a file with other tensors. */
    model->borrowed = ok && arena != NULL && file.count == (size_t)model->tensor_count;
    safetensors_free(&file);
    if (!model->borrowed)
        return ok && model_alloc(model, err) && model_load(model, bytes, size, name, err);
    model->parameters = (float *)(uintptr_t)arena; /* read only, as the header says */
    model->weights = model_weights(model, model->parameters);
    return true;
}

struct model *model_new_from(struct backend *backend, const struct config *config, int src_vocab, int tgt_vocab,
                             const void *bytes, size_t size, const char *name, bool *borrowed, struct err *err)
{
    struct model *model = model_lay_out(backend, config, src_vocab, tgt_vocab, err);
    if (model != NULL && !model_borrow(model, bytes, size, name, err))
        model_destroy(&model);
    *borrowed = model != NULL && model->borrowed;
    return model;
}
