/* step_rows.c - a bit for each row, and the list of the bits that are set; see step_rows.h. */
#include "worker/train/step_rows.h"

#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

static size_t step_rows_words(const struct tensor *tensor)
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
    for (int i = 0; i < model->tensor_count; i++) {
        if (!model->tensors[i].embedding)
            continue;
        if (!step_rows_open_list(&rows->lists[rows->embeddings++], model->backend, &model->tensors[i], err)) {
            step_rows_close(rows);
            return false;
        }
    }
    return true;
}

void step_rows_close(struct step_rows *rows)
{
    for (int i = 0; i < rows->embeddings; i++) {
        struct row_list *list = &rows->lists[i];
        free(list->marks);
        free(list->host);
        if (list->index != NULL)
            rows->model->backend->op->free(rows->model->backend, list->index);
    }
    *rows = (struct step_rows){0};
}

static const struct row_list *step_rows_of_tensor(const struct step_rows *rows, int tensor)
{
    const struct row_list *list = rows->lists;
    while (list->tensor != &rows->model->tensors[tensor])
        list++;
    return list;
}

void step_rows_add(struct step_rows *rows, int tensor, const int32_t *ids, int count)
{
    const struct row_list *list = step_rows_of_tensor(rows, tensor);
    for (int i = 0; i < count; i++)
        list->marks[ids[i] / WORD] |= UINT64_C(1) << (ids[i] % WORD);
}

bool step_rows_have(const struct step_rows *rows, int tensor, const int32_t *ids, int count)
{
    const struct row_list *list = step_rows_of_tensor(rows, tensor);
    for (int i = 0; i < count; i++)
        if ((list->marks[ids[i] / WORD] >> (ids[i] % WORD) & 1) == 0)
            return false;
    return true;
}

void step_rows_list(struct step_rows *rows)
{
    struct backend *backend = rows->model->backend;
    for (int i = 0; i < rows->embeddings; i++) {
        struct row_list *list = &rows->lists[i];
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
    for (int i = 0; i < rows->embeddings; i++) {
        const struct row_list *list = &rows->lists[i];
        backend->op->zero_rows(backend, list->index, list->count, list->tensor->shape[1],
                               gradient + list->tensor->offset);
    }
}

void step_rows_clear(struct step_rows *rows, float *gradient)
{
    step_rows_list(rows);
    step_rows_zero(rows, gradient);
    for (int i = 0; i < rows->embeddings; i++) {
        struct row_list *list = &rows->lists[i];
        memset(list->marks, 0, step_rows_words(list->tensor) * sizeof *list->marks);
        list->count = 0;
    }
}
