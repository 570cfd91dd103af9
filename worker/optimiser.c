/* optimiser.c - norm, clip and update, as torch.nn.utils.clip_grad_norm_ and torch.optim do them.
 *
 * Marks keep which rows of the embeddings were ever touched, so that an update passes over those that cannot change. */
#include "worker/optimiser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Adam's constants as PyTorch sets them. */
static const double ADAM_BETA1 = 0.9, ADAM_BETA2 = 0.999, ADAM_EPS = 1e-8;

/* torch.nn.utils.clip_grad_norm_ adds this to the norm before it divides. */
static const double CLIP_EPS = 1e-6;

/* Rows of the embeddings among the first `tensors` of the table. */
static size_t s_embedding_rows(const struct model *model, int tensors)
{
    size_t rows = 0;
    for (int i = 0; i < tensors; i++)
        rows += model->tensors[i].embedding ? (size_t)model->tensors[i].shape[0] : 0;
    return rows;
}

static bool s_alloc(const struct model *model, float **arena, struct err *err)
{
    *arena = model->backend->op->alloc(model->backend, model->elements * sizeof(float), err);
    return *arena != NULL || err_context(err, "moments of the optimiser");
}

bool optimiser_open(struct optimiser *optimiser, const struct model *model, const struct config *config,
                    struct err *err)
{
    *optimiser = (struct optimiser){
        .model = model,
        .rule = (enum optimizer)config->train_optimizer,
        .lr = config->train_lr,
        .decay = config->train_weight_decay,
        .norm = (enum norm)config->train_norm,
        .clip = config->train_clip,
    };
    if (optimiser->rule == OPTIMIZER_ADAM &&
        (!s_alloc(model, &optimiser->m, err) || !s_alloc(model, &optimiser->v, err))) {
        optimiser_close(optimiser);
        return false;
    }
    if (optimiser->decay == 0) {
        optimiser->touched = calloc(s_embedding_rows(model, model->tensor_count), sizeof *optimiser->touched);
        if (optimiser->touched == NULL) {
            optimiser_close(optimiser);
            return err_set(err, ERR_MEMORY, "no memory for the optimiser");
        }
    }
    return true;
}

void optimiser_close(struct optimiser *optimiser)
{
    if (optimiser->model == NULL)
        return;
    struct backend *backend = optimiser->model->backend;
    if (optimiser->m != NULL)
        backend->op->free(backend, optimiser->m);
    if (optimiser->v != NULL)
        backend->op->free(backend, optimiser->v);
    free(optimiser->touched);
    *optimiser = (struct optimiser){0};
}

void optimiser_reset(struct optimiser *optimiser)
{
    const struct model *model = optimiser->model;
    float *moments[] = {optimiser->m, optimiser->v};
    for (int i = 0; i < 2; i++)
        if (moments[i] != NULL)
            model->backend->op->zero(model->backend, moments[i], model->elements * sizeof(float));
    if (optimiser->touched != NULL)
        memset(optimiser->touched, 0, s_embedding_rows(model, model->tensor_count) * sizeof *optimiser->touched);
}

/* The marks of an embedding's rows. */
static bool *s_marks(const struct optimiser *optimiser, int tensor)
{
    return optimiser->touched + s_embedding_rows(optimiser->model, tensor);
}

void optimiser_touch(struct optimiser *optimiser, int tensor, const int32_t *rows, int count)
{
    if (optimiser->touched == NULL)
        return;
    bool *marks = s_marks(optimiser, tensor);
    for (int i = 0; i < count; i++)
        marks[rows[i]] = true;
}

bool optimiser_find_touched(struct optimiser *optimiser, struct err *err)
{
    const struct model *model = optimiser->model;
    if (optimiser->touched == NULL || optimiser->v == NULL)
        return true;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        if (!tensor->embedding)
            continue;
        float *values = malloc(tensor->size * sizeof *values);
        if (values == NULL)
            return err_set(err, ERR_MEMORY, "no memory to look through the moments");
        bool *marks = s_marks(optimiser, i);
        size_t width = (size_t)tensor->shape[1];
        /* A row with zero moments, never touched or long faded, loses nothing by being left out. */
        const float *arenas[] = {optimiser->m, optimiser->v};
        for (int a = 0; a < 2; a++) {
            model->backend->op->download(model->backend, values, arenas[a] + tensor->offset,
                                         tensor->size * sizeof *values);
            for (size_t k = 0; k < tensor->size; k++)
                if (values[k] != 0.0f)
                    marks[k / width] = true;
        }
        free(values);
    }
    return true;
}

static void s_update(struct optimiser *optimiser, const float *gradient, size_t offset, size_t count, float scale,
                     const struct adam *adam)
{
    const struct model *model = optimiser->model;
    struct backend *backend = model->backend;
    float *p = model->parameters + offset;
    const float *g = gradient + offset;
    if (optimiser->rule == OPTIMIZER_ADAM)
        backend->op->adam(backend, p, g, optimiser->m + offset, optimiser->v + offset, count, scale, adam);
    else
        backend->op->sgd(backend, p, g, count, scale, (float)optimiser->lr, (float)optimiser->decay);
}

/* Update the rows of an embedding that were ever touched, in runs. */
static void s_update_touched(struct optimiser *optimiser, int tensor, const float *gradient, float scale,
                             const struct adam *adam)
{
    const struct tensor *row = &optimiser->model->tensors[tensor];
    const bool *marks = s_marks(optimiser, tensor);
    int rows = row->shape[0];
    size_t width = (size_t)row->shape[1];
    for (int first = 0; first < rows;) {
        int end = first;
        while (end < rows && marks[end])
            end++;
        if (end > first)
            s_update(optimiser, gradient, row->offset + (size_t)first * width, (size_t)(end - first) * width, scale,
                     adam);
        first = end + 1;
    }
}

/* The norm of scale * gradient. */
static double s_norm(const struct optimiser *optimiser, const float *gradient, double scale)
{
    const struct model *model = optimiser->model;
    struct backend *backend = model->backend;
    if (optimiser->norm == NORM_DOUBLE)
        return scale * sqrt(backend->op->sum_squares(backend, gradient, model->elements));
    const float *tensors[MODEL_TENSORS];
    size_t sizes[MODEL_TENSORS];
    float norms[MODEL_TENSORS];
    for (int i = 0; i < model->tensor_count; i++) {
        tensors[i] = gradient + model->tensors[i].offset;
        sizes[i] = model->tensors[i].size;
    }
    backend->op->norms_float(backend, tensors, sizes, model->tensor_count, (float)scale, norms);
    double sum = 0;
    for (int i = 0; i < model->tensor_count; i++)
        sum += (double)norms[i] * (double)norms[i];
    return sqrt(sum);
}

bool optimiser_step(struct optimiser *optimiser, const float *gradient, uint64_t t, uint32_t tokens, double *norm,
                    struct err *err)
{
    const struct model *model = optimiser->model;
    double scale = 1.0 / tokens;
    *norm = s_norm(optimiser, gradient, scale);
    if (!isfinite(*norm))
        return err_set(err, ERR_FAILED, "step %llu: the gradient is not finite; try a smaller train.lr or train.clip",
                       (unsigned long long)t);
    if (optimiser->clip > 0 && *norm > 0) {
        double clip = optimiser->clip / (*norm + CLIP_EPS);
        if (clip < 1.0)
            scale *= clip;
    }
    struct adam adam = {.lr = optimiser->lr,
                        .beta1 = ADAM_BETA1,
                        .beta2 = ADAM_BETA2,
                        .eps = ADAM_EPS,
                        .decay = optimiser->decay,
                        .t = t};
    if (optimiser->touched == NULL) {
        s_update(optimiser, gradient, 0, model->elements, (float)scale, &adam);
        return true;
    }
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        if (tensor->embedding)
            s_update_touched(optimiser, i, gradient, (float)scale, &adam);
        else
            s_update(optimiser, gradient, tensor->offset, tensor->size, (float)scale, &adam);
    }
    return true;
}
