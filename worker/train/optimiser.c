/* optimiser.c - norm, clip and update, as torch.nn.utils.clip_grad_norm_ and torch.optim do them.
 *
 * Marks keep which rows of the embeddings were ever touched, so that an update passes over those that cannot change. */
#include "worker/train/optimiser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Adam's constants as PyTorch sets them. */
static const double ADAM_BETA1 = 0.9, ADAM_BETA2 = 0.999, ADAM_EPS = 1e-8;

/* torch.nn.utils.clip_grad_norm_ adds this to the norm before it divides. */
static const double CLIP_EPS = 1e-6;

/* Rows of the embeddings among the first `tensors` of the table. */
static size_t optimiser_embedding_rows(const struct model *model, int tensors)
{
    size_t rows = 0;
    for (int i = 0; i < tensors; i++)
        rows += model->tensors[i].embedding ? (size_t)model->tensors[i].shape[0] : 0;
    return rows;
}

static bool optimiser_alloc(const struct model *model, float **arena, struct err *err)
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
        (!optimiser_alloc(model, &optimiser->m, err) || !optimiser_alloc(model, &optimiser->v, err))) {
        optimiser_close(optimiser);
        return false;
    }
    if (optimiser->decay == 0) {
        optimiser->touched = calloc(optimiser_embedding_rows(model, model->tensor_count), sizeof *optimiser->touched);
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
    if (optimiser->gathered != NULL)
        backend->op->free(backend, optimiser->gathered);
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
        memset(optimiser->touched, 0,
               optimiser_embedding_rows(model, model->tensor_count) * sizeof *optimiser->touched);
}

/* The marks of an embedding's rows. */
static bool *optimiser_marks(const struct optimiser *optimiser, int tensor)
{
    return optimiser->touched + optimiser_embedding_rows(optimiser->model, tensor);
}

/* The step's rows will be updated from now on. */
static void optimiser_touch(struct optimiser *optimiser, const struct step_rows *rows)
{
    if (optimiser->touched == NULL)
        return;
    for (int i = 0; i < rows->embeddings; i++) {
        const struct row_list *list = &rows->lists[i];
        bool *marks = optimiser_marks(optimiser, (int)(list->tensor - optimiser->model->tensors));
        for (int r = 0; r < list->count; r++)
            marks[list->host[r]] = true;
    }
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
        bool *marks = optimiser_marks(optimiser, i);
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

static void optimiser_update(struct optimiser *optimiser, const float *gradient, size_t offset, size_t count,
                             float scale, const struct adam *adam)
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
static void optimiser_update_touched(struct optimiser *optimiser, int tensor, const float *gradient, float scale,
                                     const struct adam *adam)
{
    const struct tensor *row = &optimiser->model->tensors[tensor];
    const bool *marks = optimiser_marks(optimiser, tensor);
    int rows = row->shape[0];
    size_t width = (size_t)row->shape[1];
    for (int first = 0; first < rows;) {
        int end = first;
        while (end < rows && marks[end])
            end++;
        if (end > first)
            optimiser_update(optimiser, gradient, row->offset + (size_t)first * width, (size_t)(end - first) * width,
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

static size_t optimiser_list_size(const struct row_list *list)
{
    return (size_t)list->count * (size_t)list->tensor->shape[1];
}

static bool optimiser_reserve_rows(struct optimiser *optimiser, const struct step_rows *rows, struct err *err)
{
    struct backend *backend = optimiser->model->backend;
    size_t needed = 0;
    for (int i = 0; i < rows->embeddings; i++)
        needed += optimiser_list_size(&rows->lists[i]);
    if (needed <= optimiser->gathered_size)
        return true;
    if (optimiser->gathered != NULL)
        backend->op->free(backend, optimiser->gathered);
    optimiser->gathered_size = needed + needed / 4;
    optimiser->gathered = backend->op->alloc(backend, optimiser->gathered_size * sizeof(float), err);
    if (optimiser->gathered == NULL)
        optimiser->gathered_size = 0;
    return optimiser->gathered != NULL || err_context(err, "gradient of the embeddings");
}

/* Each tensor's part of the gradient, in table order: of an embedding the listed rows, back to back. */
static void optimiser_parts(const struct optimiser *optimiser, const float *gradient, const struct step_rows *rows,
                            struct part_of_gradient parts[MODEL_TENSORS])
{
    const struct model *model = optimiser->model;
    float *to = optimiser->gathered;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        parts[i] = (struct part_of_gradient){gradient + tensor->offset, tensor->size};
    }
    for (int i = 0; i < rows->embeddings; i++) {
        const struct row_list *list = &rows->lists[i];
        const struct tensor *tensor = list->tensor;
        model->backend->op->gather(model->backend, gradient + tensor->offset, list->index, list->count,
                                   tensor->shape[1], to);
        parts[tensor - model->tensors] = (struct part_of_gradient){to, optimiser_list_size(list)};
        to += optimiser_list_size(list);
    }
}

static double optimiser_norm_double(const struct optimiser *optimiser, const struct part_of_gradient *parts)
{
    const struct model *model = optimiser->model;
    double sum = 0;
    for (int i = 0; i < model->tensor_count; i++)
        sum += model->backend->op->sum_squares(model->backend, parts[i].x, parts[i].size);
    return sqrt(sum);
}

/* A row keeps its elements' lanes when it is moved by multiples of all lanes; else whole embeddings are summed. */
static double optimiser_norm_float(const struct optimiser *optimiser, const float *gradient,
                                   const struct part_of_gradient *parts, float scale)
{
    const struct model *model = optimiser->model;
    const float *x[MODEL_TENSORS];
    size_t sizes[MODEL_TENSORS];
    float norms[MODEL_TENSORS];
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        bool whole = tensor->embedding && tensor->shape[1] % NORM_LANES != 0;
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
static bool optimiser_norm(struct optimiser *optimiser, const float *gradient, const struct step_rows *rows,
                           double scale, double *norm, struct err *err)
{
    struct part_of_gradient parts[MODEL_TENSORS];
    if (!optimiser_reserve_rows(optimiser, rows, err))
        return false;
    optimiser_parts(optimiser, gradient, rows, parts);
    *norm = optimiser->norm == NORM_DOUBLE ? scale * optimiser_norm_double(optimiser, parts)
                                           : optimiser_norm_float(optimiser, gradient, parts, (float)scale);
    return true;
}

bool optimiser_step(struct optimiser *optimiser, const float *gradient, const struct step_rows *rows, uint64_t t,
                    uint32_t tokens, double *norm, struct err *err)
{
    const struct model *model = optimiser->model;
    double scale = 1.0 / tokens;
    if (!optimiser_norm(optimiser, gradient, rows, scale, norm, err))
        return false;
    optimiser_touch(optimiser, rows);
    if (!isfinite(*norm))
        return err_set(err, ERR_DIVERGED, "step %llu: the gradient is not finite; lower train.lr or set train.clip",
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
        optimiser_update(optimiser, gradient, 0, model->elements, (float)scale, &adam);
        return true;
    }
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        if (tensor->embedding)
            optimiser_update_touched(optimiser, i, gradient, (float)scale, &adam);
        else
            optimiser_update(optimiser, gradient, tensor->offset, tensor->size, (float)scale, &adam);
    }
    return true;
}
