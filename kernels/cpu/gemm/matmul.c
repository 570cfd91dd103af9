/* matmul.c - a whole GEMM as one primitive of oneDNN; see matmul.h. */
#include "kernels/cpu/gemm/matmul.h"

#include "kernels/cpu/gemm/onednn.h"
#include "kernels/cpu/gemm/panel.h"

#include <stdint.h>
#include <stdlib.h>

enum { A, B, BIAS, C, MATRICES };
static const int matmul_arg_id[MATRICES] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};

struct matmul {
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    struct layout layout[MATRICES]; /* as the primitive takes them */
    dnnl_memory_t memory[MATRICES]; /* BIAS may be NULL */
    void *copy[2];                  /* of A and B; NULL = used in place */
};

static void *matmul_unchanged(const void *pointer)
{
    return (void *)(uintptr_t)pointer;
}

/* How A and B are stored, in `type`. */
static dnnl_status_t matmul_stored(const struct gemm *g, int which, dnnl_data_type_t type, struct layout *layout)
{
    if (which == A)
        return layout_matrix(layout, type, g->M, g->K, g->transpose_a ? g->M : g->K, g->transpose_a);
    return layout_matrix(layout, type, g->K, g->N, g->transpose_b ? g->K : g->N, g->transpose_b);
}

static dnnl_status_t matmul_layouts(struct matmul *matmul, const struct gemm *g, dnnl_data_type_t type, bool prepacked)
{
    const dnnl_dims_t dims = {g->K, g->N};
    dnnl_status_t status = matmul_stored(g, A, type, &matmul->layout[A]);
    if (status == dnnl_success)
        status = prepacked ? layout_any(&matmul->layout[B], type, dims) : matmul_stored(g, B, type, &matmul->layout[B]);
    if (status == dnnl_success && g->bias != NULL)
        status = layout_matrix(&matmul->layout[BIAS], dnnl_f32, 1, g->N, g->N, false);
    if (status == dnnl_success)
        status = layout_matrix(&matmul->layout[C], dnnl_f32, g->M, g->N, g->N, false);
    return status;
}

static dnnl_status_t matmul_compile(struct matmul *matmul, const struct gemm *g, dnnl_data_type_t type, bool prepacked)
{
    struct layout *layout = matmul->layout;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = matmul_layouts(matmul, g, type, prepacked);
    if (status == dnnl_success)
        status = onednn_describe_matmul(&desc, matmul->engine, &layout[A], &layout[B],
                                        g->bias != NULL ? &layout[BIAS] : NULL, &layout[C], NULL);
    if (status == dnnl_success && prepacked) {
        layout_drop(&layout[B]);
        status = layout_query(&layout[B], desc, dnnl_query_weights_md);
    }
    if (status == dnnl_success)
        status = dnnl_primitive_create(&matmul->primitive, desc);
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    return status;
}

static dnnl_status_t matmul_reorder(const struct matmul *matmul, const struct layout *from, const float *stored,
                                    int which)
{
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_memory_t source = NULL;
    dnnl_status_t status = onednn_describe_reorder(&desc, matmul->engine, from, &matmul->layout[which]);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&reorder, desc);
    if (status == dnnl_success)
        status = layout_memory(&source, from, matmul->engine);
    if (status == dnnl_success)
        status = dnnl_memory_set_data_handle(source, matmul_unchanged(stored));
    if (status == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, matmul->memory[which]}};
        status = dnnl_primitive_execute(reorder, matmul->stream, 2, args);
    }
    if (source != NULL)
        dnnl_memory_destroy(source);
    if (reorder != NULL)
        dnnl_primitive_destroy(reorder);
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    return status;
}

/* A copy of A or B as the primitive takes it. */
static dnnl_status_t matmul_copy(struct matmul *matmul, const struct gemm *g, int which)
{
    struct layout stored = {0};
    size_t size = (layout_size(&matmul->layout[which]) + 4095) / 4096 * 4096;
    matmul->copy[which] = aligned_alloc(4096, size);
    if (matmul->copy[which] == NULL)
        return dnnl_out_of_memory;
    dnnl_status_t status = dnnl_memory_set_data_handle(matmul->memory[which], matmul->copy[which]);
    if (status == dnnl_success)
        status = matmul_stored(g, which, dnnl_f32, &stored);
    if (status == dnnl_success)
        status = matmul_reorder(matmul, &stored, which == A ? g->a : g->b, which);
    layout_drop(&stored);
    return status;
}

static dnnl_status_t matmul_memories(struct matmul *matmul, const struct gemm *g, bool copy_a, bool copy_b)
{
    void *handle[MATRICES] = {matmul_unchanged(g->a), matmul_unchanged(g->b), matmul_unchanged(g->bias), g->c};
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < MATRICES && status == dnnl_success; i++) {
        if (handle[i] == NULL)
            continue;
        status = layout_memory(&matmul->memory[i], &matmul->layout[i], matmul->engine);
        if (status == dnnl_success)
            status = (i == A && copy_a) || (i == B && copy_b)
                         ? matmul_copy(matmul, g, i)
                         : dnnl_memory_set_data_handle(matmul->memory[i], handle[i]);
    }
    return status;
}

struct matmul *matmul_open(int threads, enum precision type, const struct gemm *gemm, bool prepacked, struct err *err)
{
    struct matmul *matmul = calloc(1, sizeof *matmul);
    dnnl_status_t status = matmul != NULL ? dnnl_success : dnnl_out_of_memory;
    bool rounded = type == PRECISION_BF16;
    if (status == dnnl_success) {
        matmul->threads = threads;
        status = dnnl_engine_create(&matmul->engine, dnnl_cpu, 0);
    }
    panels_threads(threads);
    if (status == dnnl_success)
        status = dnnl_stream_create(&matmul->stream, matmul->engine, dnnl_stream_default_flags);
    if (status == dnnl_success)
        status = matmul_compile(matmul, gemm, onednn_type(type), prepacked);
    if (status == dnnl_success)
        status = matmul_memories(matmul, gemm, rounded, rounded || prepacked);
    panels_single_thread();
    if (!onednn_check(status, err))
        matmul_close(&matmul);
    return matmul;
}

bool matmul_run(struct matmul *matmul, struct err *err)
{
    dnnl_exec_arg_t args[MATRICES];
    int count = 0;
    for (int i = 0; i < MATRICES; i++)
        if (matmul->memory[i] != NULL)
            args[count++] = (dnnl_exec_arg_t){matmul_arg_id[i], matmul->memory[i]};
    panels_threads(matmul->threads);
    dnnl_status_t status = dnnl_primitive_execute(matmul->primitive, matmul->stream, count, args);
    if (status == dnnl_success)
        status = dnnl_stream_wait(matmul->stream);
    panels_single_thread();
    return onednn_check(status, err);
}

void matmul_close(struct matmul **matmul)
{
    struct matmul *gone = *matmul;
    *matmul = NULL;
    if (gone == NULL)
        return;
    for (int i = 0; i < MATRICES; i++) {
        if (gone->memory[i] != NULL)
            dnnl_memory_destroy(gone->memory[i]);
        layout_drop(&gone->layout[i]);
    }
    for (int i = 0; i < 2; i++)
        free(gone->copy[i]);
    if (gone->primitive != NULL)
        dnnl_primitive_destroy(gone->primitive);
    if (gone->stream != NULL)
        dnnl_stream_destroy(gone->stream);
    if (gone->engine != NULL)
        dnnl_engine_destroy(gone->engine);
    free(gone);
}
