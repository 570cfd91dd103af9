/* step_rows.c - a bit for each row, and the list of the bits that are set; see step_rows.h. */
#include "worker/train/step_rows.h"

#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

size_t step_rows_words(const struct tensor *tensor)
{
    return ((size_t)tensor->shape[0] + WORD - 1) / WORD;
}

static bool step_rows_open_list(struct row_list *list, struct backend *backend, const struct tensor *tensor,
                                struct err *err)
{
    size_t rows = (size_t)tensor->shape[0];
    list->tensor = tensor;
    list->marks = calloc(step_rows_words(tensor), sizeof *list->marks);
    list->host = malloc(rows * sizeof *list->host);
    if (list->marks == NULL || list->host == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the rows of %s", tensor->name);
    list->index = backend->op->alloc(backend, rows * sizeof *list->index, err);
    return list->index != NULL || err_context(err, "rows of %s", tensor->name);
}

bool step_rows_open(struct step_rows *rows, const struct model *model, struct err *err)
{
    *rows = (struct step_rows){.model = model};
    for (int side = 0; side < MODEL_SIDES; side++)
        if (!step_rows_open_list(&rows->lists[side], model->backend,
                                 model_tensor(model, (enum model_side)side, ROLE_EMBEDDING), err)) {
            step_rows_close(rows);
            return false;
        }
    return true;
}

void step_rows_close(struct step_rows *rows)
{
    for (int side = 0; side < MODEL_SIDES; side++) {
        struct row_list *list = &rows->lists[side];
        free(list->marks);
        free(list->host);
        if (list->index != NULL)
            rows->model->backend->op->free(rows->model->backend, list->index);
    }
    *rows = (struct step_rows){0};
}

void step_rows_add(struct step_rows *rows, enum model_side side, const int32_t *ids, int count)
{
    uint64_t *marks = rows->lists[side].marks;
    for (int i = 0; i < count; i++)
        marks[ids[i] / WORD] |= UINT64_C(1) << (ids[i] % WORD);
}

bool step_rows_have(const struct step_rows *rows, enum model_side side, const int32_t *ids, int count)
{
    const uint64_t *marks = rows->lists[side].marks;
    for (int i = 0; i < count; i++)
        if ((marks[ids[i] / WORD] >> (ids[i] % WORD) & 1) == 0)
            return false;
    return true;
}

void step_rows_list(struct step_rows *rows)
{
    struct backend *backend = rows->model->backend;
    for (int side = 0; side < MODEL_SIDES; side++) {
        struct row_list *list = &rows->lists[side];
        size_t words = step_rows_words(list->tensor);
        list->count = 0;
        for (size_t w = 0; w < words; w++)
            for (uint64_t left = list->marks[w]; left != 0; left &= left - 1)
                list->host[list->count++] = (int32_t)(w * WORD) + __builtin_ctzll(left);
        backend->op->upload(backend, list->index, list->host, (size_t)list->count * sizeof *list->host);
    }
}

void step_rows_zero(const struct step_rows *rows, float *gradient)
{
    struct backend *backend = rows->model->backend;
    for (int side = 0; side < MODEL_SIDES; side++) {
        const struct row_list *list = &rows->lists[side];
        backend->op->zero_rows(backend, list->index, list->count, list->tensor->shape[1],
                               gradient + list->tensor->offset);
    }
}

void step_rows_clear(struct step_rows *rows, float *gradient)
{
    step_rows_list(rows);
    step_rows_zero(rows, gradient);
    for (int side = 0; side < MODEL_SIDES; side++) {
        struct row_list *list = &rows->lists[side];
        memset(list->marks, 0, step_rows_words(list->tensor) * sizeof *list->marks);
        list->count = 0;
    }
}
