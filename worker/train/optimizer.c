/* optimizer.c - norm, clip and update, as torch.nn.utils.clip_grad_norm_ and torch.optim do them.
 *
 * Marks keep which rows of the embeddings were ever touched, so that an update passes over those that cannot change. */
#include "worker/train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Adam's constants as PyTorch sets them. */
static const double ADAM_BETA1 = 0.9, ADAM_BETA2 = 0.999, ADAM_EPS = 1e-8;

/* torch.nn.utils.clip_grad_norm_ adds this to the norm before it divides. */
static const double CLIP_EPS = 1e-6;

/* Rows of the embeddings among the first `tensors` of the table. */
static size_t optimizer_embedding_rows(const struct model *model, int tensors)
{
    size_t rows = 0;
    for (int i = 0; i < tensors; i++)
        rows += (model->tensors[i].flags & TENSOR_BY_ROW) != 0 ? (size_t)model->tensors[i].shape[0] : 0;
    return rows;
}

static bool optimizer_alloc(const struct model *model, float **arena, struct err *err)
{
    *arena = model->backend->op->alloc(model->backend, model->elements * sizeof(float), err);
    return *arena != NULL || err_context(err, "moments of the optimizer");
}

bool optimizer_open(struct optimizer *optimizer, const struct model *model, const struct config *config,
                    struct err *err)
{
    *optimizer = (struct optimizer){
        .model = model,
        .rule = (enum optimizer_rule)config->train_optimizer,
        .lr = config->train_lr,
        .decay = config->train_weight_decay,
        .norm = (enum norm)config->train_norm,
        .clip = config->train_clip,
    };
    if (optimizer->rule == OPTIMIZER_ADAM &&
        (!optimizer_alloc(model, &optimizer->m, err) || !optimizer_alloc(model, &optimizer->v, err))) {
        optimizer_close(optimizer);
        return false;
    }
    if (optimizer->decay == 0) {
        optimizer->touched = calloc(optimizer_embedding_rows(model, model->tensor_count), sizeof *optimizer->touched);
        if (optimizer->touched == NULL) {
            optimizer_close(optimizer);
            return err_set(err, ERR_MEMORY, "no memory for the optimizer");
        }
    }
    return true;
}

void optimizer_close(struct optimizer *optimizer)
{
    if (optimizer->model == NULL)
        return;
    struct backend *backend = optimizer->model->backend;
    if (optimizer->m != NULL)
        backend->op->free(backend, optimizer->m);
    if (optimizer->v != NULL)
        backend->op->free(backend, optimizer->v);
    if (optimizer->gathered != NULL)
        backend->op->free(backend, optimizer->gathered);
    free(optimizer->touched);
    *optimizer = (struct optimizer){0};
}

void optimizer_reset(struct optimizer *optimizer)
{
    const struct model *model = optimizer->model;
    float *moments[] = {optimizer->m, optimizer->v};
    for (int i = 0; i < 2; i++)
        if (moments[i] != NULL)
            model->backend->op->zero(model->backend, moments[i], model->elements * sizeof(float));
    if (optimizer->touched != NULL)
        memset(optimizer->touched, 0,
               optimizer_embedding_rows(model, model->tensor_count) * sizeof *optimizer->touched);
}

/* The marks of an embedding's rows. */
static bool *optimizer_marks(const struct optimizer *optimizer, int tensor)
{
    return optimizer->touched + optimizer_embedding_rows(optimizer->model, tensor);
}

/* The step's rows will be updated from now on. */
static void optimizer_touch(struct optimizer *optimizer, const struct step_rows *rows)
{
    for (int i = 0; i < MODEL_SIDES; i++) {
        const struct row_list *list = &rows->lists[i];
        bool *marks = optimizer_marks(optimizer, (int)(list->tensor - optimizer->model->tensors));
        for (int r = 0; r < list->count; r++)
            marks[list->host[r]] = true;
    }
}

bool optimizer_find_touched(struct optimizer *optimizer, struct err *err)
{
    const struct model *model = optimizer->model;
    if (optimizer->touched == NULL || optimizer->v == NULL)
        return true;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        if ((tensor->flags & TENSOR_BY_ROW) == 0)
            continue;
        float *values = malloc(tensor->size * sizeof *values);
        if (values == NULL)
            return err_set(err, ERR_MEMORY, "no memory to look through the moments");
        bool *marks = optimizer_marks(optimizer, i);
        size_t width = (size_t)tensor->shape[1];
        /* A row with zero moments, never touched or long faded, loses nothing by being left out. */
        const float *arenas[] = {optimizer->m, optimizer->v};
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

static void optimizer_apply(struct optimizer *optimizer, const float *gradient, size_t offset, size_t count,
                            float scale, const struct adam *adam)
{
    const struct model *model = optimizer->model;
    struct backend *backend = model->backend;
    float *p = model->parameters + offset;
    const float *g = gradient + offset;
    if (optimizer->rule == OPTIMIZER_ADAM)
        backend->op->adam(backend, p, g, optimizer->m + offset, optimizer->v + offset, count, scale, adam);
    else
        backend->op->sgd(backend, p, g, count, scale, (float)optimizer->lr, (float)optimizer->decay);
}

/* Update the rows of an embedding that were ever touched, in runs. */
static void optimizer_apply_touched(struct optimizer *optimizer, int tensor, const float *gradient, float scale,
                                    const struct adam *adam)
{
    const struct tensor *row = &optimizer->model->tensors[tensor];
    const bool *marks = optimizer_marks(optimizer, tensor);
    int rows = row->shape[0];
    size_t width = (size_t)row->shape[1];
    for (int first = 0; first < rows;) {
        int end = first;
        while (end < rows && marks[end])
            end++;
        if (end > first)
            optimizer_apply(optimizer, gradient, row->offset + (size_t)first * width, (size_t)(end - first) * width,
                            scale, adam);
        first = end + 1;
    }
}

/* ---- norm ---- */

/* The floats that PyTorch sums side by side: a row of so many, or a multiple, keeps its elements' lanes wherever it
 * stands. */
enum { NORM_LANES = 8 };

/* A tensor's part of the gradient, without the rows of an embedding that must be zero. */
struct part_of_gradient {
    const float *x;
    size_t size;
};

static size_t optimizer_list_size(const struct row_list *list)
{
    return (size_t)list->count * (size_t)list->tensor->shape[1];
}

static bool optimizer_reserve_rows(struct optimizer *optimizer, const struct step_rows *rows, struct err *err)
{
    struct backend *backend = optimizer->model->backend;
    size_t needed = 0;
    for (int i = 0; i < MODEL_SIDES; i++)
        needed += optimizer_list_size(&rows->lists[i]);
    if (needed <= optimizer->gathered_size)
        return true;
    if (optimizer->gathered != NULL)
        backend->op->free(backend, optimizer->gathered);
    optimizer->gathered_size = needed + needed / 4;
    optimizer->gathered = backend->op->alloc(backend, optimizer->gathered_size * sizeof(float), err);
    if (optimizer->gathered == NULL)
        optimizer->gathered_size = 0;
    return optimizer->gathered != NULL || err_context(err, "gradient of the embeddings");
}

/* Each tensor's part of the gradient, in table order: of an embedding the listed rows, back to back. */
static void optimizer_parts(const struct optimizer *optimizer, const float *gradient, const struct step_rows *rows,
                            struct part_of_gradient parts[MODEL_TENSORS])
{
    const struct model *model = optimizer->model;
    float *to = optimizer->gathered;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        parts[i] = (struct part_of_gradient){gradient + tensor->offset, tensor->size};
    }
    for (int i = 0; i < MODEL_SIDES; i++) {
        const struct row_list *list = &rows->lists[i];
        const struct tensor *tensor = list->tensor;
        model->backend->op->gather(model->backend, gradient + tensor->offset, list->index, list->count,
                                   tensor->shape[1], to);
        parts[tensor - model->tensors] = (struct part_of_gradient){to, optimizer_list_size(list)};
        to += optimizer_list_size(list);
    }
}

static double optimizer_norm_double(const struct optimizer *optimizer, const struct part_of_gradient *parts)
{
    const struct model *model = optimizer->model;
    double sum = 0;
    for (int i = 0; i < model->tensor_count; i++)
        sum += model->backend->op->sum_squares(model->backend, parts[i].x, parts[i].size);
    return sqrt(sum);
}

/* A row keeps its elements' lanes when it is moved by multiples of all lanes; else whole embeddings are summed. */
static double optimizer_norm_float(const struct optimizer *optimizer, const float *gradient,
                                   const struct part_of_gradient *parts, float scale)
{
    const struct model *model = optimizer->model;
    const float *x[MODEL_TENSORS];
    size_t sizes[MODEL_TENSORS];
    float norms[MODEL_TENSORS];
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        bool whole = (tensor->flags & TENSOR_BY_ROW) != 0 && tensor->shape[1] % NORM_LANES != 0;
        x[i] = whole ? gradient + tensor->offset : parts[i].x;
        sizes[i] = whole ? tensor->size : parts[i].size;
    }
    model->backend->op->norms_float(model->backend, x, sizes, model->tensor_count, scale, norms);
    double sum = 0;
    for (int i = 0; i < model->tensor_count; i++)
        sum += (double)norms[i] * (double)norms[i];
    return sqrt(sum);
}

/* The norm of scale * gradient. */
static bool optimizer_norm(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows,
                           double scale, double *norm, struct err *err)
{
    struct part_of_gradient parts[MODEL_TENSORS];
    if (!optimizer_reserve_rows(optimizer, rows, err))
        return false;
    optimizer_parts(optimizer, gradient, rows, parts);
    *norm = optimizer->norm == NORM_DOUBLE ? scale * optimizer_norm_double(optimizer, parts)
                                           : optimizer_norm_float(optimizer, gradient, parts, (float)scale);
    return true;
}

bool optimizer_clip(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows,
                    struct step_result *result, double *scale, struct err *err)
{
    double norm;
    *scale = 1.0 / result->tokens;
    if (!optimizer_norm(optimizer, gradient, rows, *scale, &norm, err))
        return false;
    if (!isfinite(norm))
        return err_set(err, ERR_DIVERGED, "the gradient is not finite; lower train.lr or set train.clip");
    if (optimizer->clip > 0 && norm > 0) {
        double clip = optimizer->clip / (norm + CLIP_EPS);
        if (clip < 1.0)
            *scale *= clip;
    }
    result->grad_norm = norm;
    return true;
}

void optimizer_update(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows, double scale,
                      uint64_t t)
{
    const struct model *model = optimizer->model;
    struct adam adam = {.lr = optimizer->lr,
                        .beta1 = ADAM_BETA1,
                        .beta2 = ADAM_BETA2,
                        .eps = ADAM_EPS,
                        .decay = optimizer->decay,
                        .t = t};
    if (optimizer->touched == NULL) {
        optimizer_apply(optimizer, gradient, 0, model->elements, (float)scale, &adam);
        return;
    }
    optimizer_touch(optimizer, rows);
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        if ((tensor->flags & TENSOR_BY_ROW) != 0)
            optimizer_apply_touched(optimizer, i, gradient, (float)scale, &adam);
        else
            optimizer_apply(optimizer, gradient, tensor->offset, tensor->size, (float)scale, &adam);
    }
}
