/* gemm.c - which of the two kinds of GEMM a multiplier uses. */
#include "kernels/cpu/gemm/gemm.h"

#include "kernels/cpu/gemm/fma_product.h"
#include "kernels/cpu/gemm/panel_product.h"

#include <stdlib.h>

/* One of each pair is NULL. */
struct prepacked {
    struct fma_packed *fma;
    struct panel_packed *panel;
};

struct multiplier {
    struct fma_products *fma;
    struct panel_products *panel;
    struct prepacked own; /* the last result of multiplier_pack, which the kinds own */
};

/* K = 0: C is the bias, plus C when accumulate. */
static void gemm_empty_sum(const struct gemm *gemm)
{
    for (int i = 0; i < gemm->M; i++)
        for (int j = 0; j < gemm->N; j++) {
            float *c = &gemm->c[(size_t)i * (size_t)gemm->N + (size_t)j];
            *c = (gemm->accumulate ? *c : 0.0f) + (gemm->bias != NULL ? gemm->bias[j] : 0.0f);
        }
}

bool multiplier_run(struct multiplier *multiplier, const struct gemm *gemm, struct err *err)
{
    const struct prepacked none = {0}, *prepacked = gemm->prepacked != NULL ? gemm->prepacked : &none;
    if (gemm->M <= 0 || gemm->N <= 0)
        return true;
    if (gemm->K <= 0) {
        gemm_empty_sum(gemm);
        return true;
    }
    return multiplier->fma != NULL ? fma_products_run(multiplier->fma, gemm, prepacked->fma, err)
                                   : panel_products_run(multiplier->panel, gemm, prepacked->panel, err);
}

/* ---- prepacked ---- */

struct prepacked *multiplier_keep(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                                  struct err *err)
{
    struct prepacked *prepacked = calloc(1, sizeof *prepacked);
    if (prepacked == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a prepacked matrix");
        return NULL;
    }
    if (multiplier->fma != NULL)
        prepacked->fma = fma_products_keep(multiplier->fma, b, N, K, transposed, err);
    else
        prepacked->panel = panel_products_keep(multiplier->panel, b, N, K, transposed, err);
    if (prepacked->fma == NULL && prepacked->panel == NULL)
        prepacked_destroy(&prepacked);
    return prepacked;
}

void prepacked_destroy(struct prepacked **prepacked)
{
    if (*prepacked != NULL) {
        fma_packed_destroy(&(*prepacked)->fma);
        panel_packed_destroy(&(*prepacked)->panel);
        free(*prepacked);
    }
    *prepacked = NULL;
}

const struct prepacked *multiplier_pack(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                                        struct err *err)
{
    struct prepacked *own = &multiplier->own;
    if (multiplier->fma != NULL)
        own->fma = fma_products_pack(multiplier->fma, b, N, K, transposed, err);
    else
        own->panel = panel_products_pack(multiplier->panel, b, N, K, transposed, err);
    return own->fma != NULL || own->panel != NULL ? own : NULL;
}

bool multiplier_prepare(struct multiplier *multiplier, const struct prepacked *prepacked, int rows, struct err *err)
{
    return multiplier->fma != NULL || panel_products_prepare(multiplier->panel, prepacked->panel, rows, err);
}

bool multiplier_rows(struct multiplier *multiplier, const struct prepacked *prepacked, int thread, int rows,
                     const float *a, float *c)
{
    if (multiplier->fma == NULL)
        return panel_products_rows(multiplier->panel, prepacked->panel, thread, rows, a, c);
    fma_products_rows(multiplier->fma, prepacked->fma, rows, a, c);
    return true;
}

/* ---- life ---- */

struct multiplier *multiplier_open(struct team *team, enum precision type, const struct vector_table *vector,
                                   struct err *err)
{
    const struct fma_table *table = type == PRECISION_FP32 ? fma_table(vector->isa) : NULL;
    struct multiplier *multiplier = calloc(1, sizeof *multiplier);
    if (multiplier == NULL) {
        err_set(err, ERR_MEMORY, "no memory for matrix products");
        return NULL;
    }
    if (table != NULL)
        multiplier->fma = fma_products_open(team, table, err);
    else
        multiplier->panel = panel_products_open(team, type, vector, err);
    if (multiplier->fma == NULL && multiplier->panel == NULL)
        multiplier_close(&multiplier);
    return multiplier;
}

void multiplier_close(struct multiplier **multiplier)
{
    struct multiplier *gone = *multiplier;
    *multiplier = NULL;
    if (gone == NULL)
        return;
    fma_products_close(&gone->fma);
    panel_products_close(&gone->panel);
    free(gone);
}
