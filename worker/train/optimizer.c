/* optimizer.c - norm, clip and update, as torch.nn.utils.clip_grad_norm_ and torch.optim do them; see optimizer.h. */
#include "worker/train/optimizer.h"

#include <stdlib.h>
#include <string.h>

/* Adam's constants as PyTorch sets them. */
static const double ADAM_BETA1 = 0.9, ADAM_BETA2 = 0.999, ADAM_EPS = 1e-8;

/* ---- life ---- */

/* Cut the arenas where marks begin or end, or decay does. */
static void optimizer_cut(struct optimizer *optimizer)
{
    const struct model *model = optimizer->model;
    struct update_part *part = NULL;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        const uint64_t *marks = (tensor->flags & TENSOR_BY_ROW) != 0 ? optimizer->marks[tensor->side] : NULL;
        bool decays = (tensor->flags & TENSOR_DECAYS) != 0;
        if (part != NULL && marks == NULL && part->marks == NULL && part->decays == decays) {
            part->width += tensor->size;
            continue;
        }
        part = &optimizer->parts[optimizer->part_count++];
        *part = (struct update_part){.offset = tensor->offset, .marks = marks, .decays = decays};
        part->rows = marks != NULL ? (size_t)tensor->shape[0] : 1;
        part->width = marks != NULL ? (size_t)tensor->shape[1] : tensor->size;
    }
}

static bool optimizer_alloc(const struct model *model, float **arena, struct err *err)
{
    *arena = model->backend->op->alloc(model->backend, model->elements * sizeof(float), err);
    return *arena != NULL || err_context(err, "moments of the optimizer");
}

/* Rows of an embedding that decays change without a gradient, so none is left out. */
static bool optimizer_open_marks(struct optimizer *optimizer, struct err *err)
{
    struct backend *backend = optimizer->model->backend;
    for (int side = 0; side < MODEL_SIDES; side++) {
        const struct tensor *tensor = model_tensor(optimizer->model, (enum model_side)side, ROLE_EMBEDDING);
        size_t bytes = step_rows_words(tensor) * sizeof(uint64_t);
        if (optimizer->decay != 0 && (tensor->flags & TENSOR_DECAYS) != 0)
            continue;
        optimizer->touched[side] = calloc(1, bytes);
        if (optimizer->touched[side] == NULL)
            return err_set(err, ERR_MEMORY, "no memory for the optimizer");
        optimizer->marks[side] = backend->op->alloc(backend, bytes, err);
        if (optimizer->marks[side] == NULL)
            return false;
    }
    return true;
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
    bool adam = optimizer->rule == OPTIMIZER_ADAM;
    if ((adam && (!optimizer_alloc(model, &optimizer->m, err) || !optimizer_alloc(model, &optimizer->v, err))) ||
        !optimizer_open_marks(optimizer, err)) {
        optimizer_close(optimizer);
        return false;
    }
    optimizer_cut(optimizer);
    return true;
}

void optimizer_close(struct optimizer *optimizer)
{
    if (optimizer->model == NULL)
        return;
    struct backend *backend = optimizer->model->backend;
    void *const memory[] = {optimizer->m, optimizer->v, optimizer->gathered, optimizer->marks[SIDE_SRC],
                            optimizer->marks[SIDE_TGT]};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (memory[i] != NULL)
            backend->op->free(backend, memory[i]);
    for (int side = 0; side < MODEL_SIDES; side++)
        free(optimizer->touched[side]);
    *optimizer = (struct optimizer){0};
}

void optimizer_reset(struct optimizer *optimizer)
{
    const struct model *model = optimizer->model;
    float *moments[] = {optimizer->m, optimizer->v};
    for (int i = 0; i < 2; i++)
        if (moments[i] != NULL)
            model->backend->op->zero(model->backend, moments[i], model->elements * sizeof(float));
    for (int side = 0; side < MODEL_SIDES; side++)
        if (optimizer->touched[side] != NULL)
            memset(optimizer->touched[side], 0,
                   step_rows_words(model_tensor(model, (enum model_side)side, ROLE_EMBEDDING)) * sizeof(uint64_t));
}

/* A row with zero moments, never touched or long faded, loses nothing by being left out. */
static bool optimizer_find_side(struct optimizer *optimizer, enum model_side side, struct err *err)
{
    const struct model *model = optimizer->model;
    const struct tensor *tensor = model_tensor(model, side, ROLE_EMBEDDING);
    const float *arenas[] = {optimizer->m, optimizer->v};
    size_t width = (size_t)tensor->shape[1];
    float *values = malloc(tensor->size * sizeof *values);
    if (values == NULL)
        return err_set(err, ERR_MEMORY, "no memory to look through the moments");
    for (int a = 0; a < 2; a++) {
        model->backend->op->download(model->backend, values, arenas[a] + tensor->offset, tensor->size * sizeof *values);
        for (size_t k = 0; k < tensor->size; k++)
            if (values[k] != 0.0f)
                optimizer->touched[side][k / width / 64] |= UINT64_C(1) << (k / width % 64);
    }
    free(values);
    return true;
}

bool optimizer_find_touched(struct optimizer *optimizer, struct err *err)
{
    bool ok = true;
    for (int side = 0; side < MODEL_SIDES && ok; side++)
        if (optimizer->touched[side] != NULL && optimizer->v != NULL)
            ok = optimizer_find_side(optimizer, (enum model_side)side, err);
    return ok;
}

/* ---- norm ---- */

/* The floats that PyTorch sums side by side: a row of so many, or a multiple, keeps its elements' lanes wherever it
 * stands. */
enum { NORM_LANES = 8 };

static size_t optimizer_list_size(const struct row_list *list)
{
    return (size_t)list->count * (size_t)list->tensor->shape[1];
}

static bool optimizer_reserve_rows(struct optimizer *optimizer, const struct step_rows *rows, struct err *err)
{
    struct backend *backend = optimizer->model->backend;
    size_t needed = 0;
    for (int side = 0; side < MODEL_SIDES; side++)
        needed += optimizer_list_size(&rows->lists[side]);
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

/* Each tensor's part of the norm, in table order. */
static void optimizer_parts(const struct optimizer *optimizer, const float *gradient, const struct step_rows *rows,
                            struct clip_part parts[MODEL_TENSORS])
{
    const struct model *model = optimizer->model;
    float *to = optimizer->gathered;
    for (int i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        bool whole = optimizer->norm == NORM_FLOAT && tensor->shape[1] % NORM_LANES != 0;
        parts[i] = (struct clip_part){gradient + tensor->offset, tensor->size};
        if ((tensor->flags & TENSOR_BY_ROW) == 0 || whole)
            continue;
        const struct row_list *list = &rows->lists[tensor->side];
        model->backend->op->gather(model->backend, gradient + tensor->offset, list->index, list->count,
                                   tensor->shape[1], to);
        parts[i] = (struct clip_part){to, optimizer_list_size(list)};
        to += parts[i].size;
    }
}

bool optimizer_clip(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows,
                    const struct figures *figures, uint32_t count, uint32_t tokens, struct outcome *outcome,
                    struct err *err)
{
    const struct model *model = optimizer->model;
    struct clip_part parts[MODEL_TENSORS];
    if (!optimizer_reserve_rows(optimizer, rows, err))
        return false;
    optimizer_parts(optimizer, gradient, rows, parts);
    const struct clip clip = {.figures = figures,
                              .count = (int)count,
                              .tokens = tokens,
                              .rule = optimizer->norm,
                              .largest = optimizer->clip,
                              .parts = parts,
                              .part_count = model->tensor_count};
    model->backend->op->clip(model->backend, &clip, outcome);
    return true;
}

/* ---- update ---- */

/* The step's rows are updated from now on. */
static void optimizer_touch(struct optimizer *optimizer, const struct step_rows *rows)
{
    struct backend *backend = optimizer->model->backend;
    for (int side = 0; side < MODEL_SIDES; side++) {
        const struct row_list *list = &rows->lists[side];
        uint64_t *touched = optimizer->touched[side];
        size_t words = step_rows_words(list->tensor);
        if (touched == NULL)
            continue;
        for (size_t w = 0; w < words; w++)
            touched[w] |= list->marks[w];
        backend->op->upload(backend, optimizer->marks[side], touched, words * sizeof *touched);
    }
}

void optimizer_update(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows, uint64_t t,
                      const struct outcome *outcome)
{
    const struct model *model = optimizer->model;
    struct backend *backend = model->backend;
    const struct update update = {.p = model->parameters,
                                  .g = gradient,
                                  .m = optimizer->m,
                                  .v = optimizer->v,
                                  .parts = optimizer->parts,
                                  .count = optimizer->part_count,
                                  .outcome = outcome};
    const struct adam adam = {.lr = optimizer->lr,
                              .beta1 = ADAM_BETA1,
                              .beta2 = ADAM_BETA2,
                              .eps = ADAM_EPS,
                              .decay = optimizer->decay,
                              .t = t};
    optimizer_touch(optimizer, rows);
    if (optimizer->rule == OPTIMIZER_ADAM)
        backend->op->adam(backend, &update, &adam);
    else
        backend->op->sgd(backend, &update, (float)optimizer->lr, (float)optimizer->decay);
}
