/* onednn.h - the few calls of oneDNN whose interfaces differ between 2.x and 3.x, behind one interface. For the files
 * of this folder that make primitives, and no others.
 *
 * A layout says how a matrix is stored. Start with a zeroed one; layout_drop gives it back. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_ONEDNN_H
#define LSTMQ_KERNELS_CPU_GEMM_ONEDNN_H

#include "proto/base/config.h"
#include "proto/base/err.h"

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR >= 3

struct layout {
    dnnl_memory_desc_t md; /* owned */
};

static inline dnnl_status_t layout_strided(struct layout *layout, dnnl_data_type_t type, const dnnl_dims_t dims,
                                           const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(&layout->md, 2, dims, type, strides);
}

static inline dnnl_status_t layout_any(struct layout *layout, dnnl_data_type_t type, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_create_with_tag(&layout->md, 2, dims, type, dnnl_format_tag_any);
}

static inline dnnl_status_t layout_query(struct layout *layout, const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(desc, what, 0);
    return md != NULL ? dnnl_memory_desc_clone(&layout->md, md) : dnnl_success;
}

static inline void layout_drop(struct layout *layout)
{
    if (layout->md != NULL)
        dnnl_memory_desc_destroy(layout->md);
    layout->md = NULL;
}

static inline size_t layout_size(const struct layout *layout)
{
    return layout->md != NULL ? dnnl_memory_desc_get_size(layout->md) : 0;
}

static inline dnnl_status_t layout_memory(dnnl_memory_t *memory, const struct layout *layout, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, layout->md, engine, DNNL_MEMORY_NONE);
}

static inline dnnl_status_t onednn_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

/* bias NULL = none */
static inline dnnl_status_t onednn_describe_matmul(dnnl_primitive_desc_t *desc, dnnl_engine_t engine,
                                                   const struct layout *a, const struct layout *b,
                                                   const struct layout *bias, const struct layout *c,
                                                   dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(desc, engine, a->md, b->md, bias != NULL ? bias->md : NULL, c->md, attr);
}

static inline dnnl_status_t onednn_describe_reorder(dnnl_primitive_desc_t *desc, dnnl_engine_t engine,
                                                    const struct layout *from, const struct layout *to)
{
    return dnnl_reorder_primitive_desc_create(desc, from->md, engine, to->md, engine, NULL);
}

#else

struct layout {
    dnnl_memory_desc_t md;
};

static inline dnnl_status_t layout_strided(struct layout *layout, dnnl_data_type_t type, const dnnl_dims_t dims,
                                           const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(&layout->md, 2, dims, type, strides);
}

static inline dnnl_status_t layout_any(struct layout *layout, dnnl_data_type_t type, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_init_by_tag(&layout->md, 2, dims, type, dnnl_format_tag_any);
}

static inline dnnl_status_t layout_query(struct layout *layout, const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, what, 0);
    if (md != NULL)
        layout->md = *md;
    return dnnl_success;
}

static inline void layout_drop(struct layout *layout)
{
    (void)layout;
}

static inline size_t layout_size(const struct layout *layout)
{
    return dnnl_memory_desc_get_size(&layout->md);
}

static inline dnnl_status_t layout_memory(dnnl_memory_t *memory, const struct layout *layout, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, &layout->md, engine, DNNL_MEMORY_NONE);
}

static inline dnnl_status_t onednn_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

/* bias NULL = none */
static inline dnnl_status_t onednn_describe_matmul(dnnl_primitive_desc_t *desc, dnnl_engine_t engine,
                                                   const struct layout *a, const struct layout *b,
                                                   const struct layout *bias, const struct layout *c,
                                                   dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t matmul;
    dnnl_status_t status = dnnl_matmul_desc_init(&matmul, &a->md, &b->md, bias != NULL ? &bias->md : NULL, &c->md);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(desc, &matmul, attr, engine, NULL);
}

static inline dnnl_status_t onednn_describe_reorder(dnnl_primitive_desc_t *desc, dnnl_engine_t engine,
                                                    const struct layout *from, const struct layout *to)
{
    return dnnl_reorder_primitive_desc_create(desc, &from->md, engine, &to->md, engine, NULL);
}

#endif

static inline bool onednn_check(dnnl_status_t status, struct err *err)
{
    if (status == dnnl_success)
        return true;
    if (status == dnnl_out_of_memory)
        return err_set(err, ERR_MEMORY, "no memory for a matrix product");
    return err_set(err, ERR_FAILED, "a matrix product failed: oneDNN status %d", (int)status);
}

static inline dnnl_data_type_t onednn_type(enum precision type)
{
    return type == PRECISION_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* rows x columns with stored rows `stride` apart; transposed: the transpose is stored. */
static inline dnnl_status_t layout_matrix(struct layout *layout, dnnl_data_type_t type, int rows, int columns,
                                          int stride, bool transposed)
{
    const dnnl_dims_t dims = {rows, columns}, plain = {stride, 1}, turned = {1, stride};
    return layout_strided(layout, type, dims, transposed ? turned : plain);
}

#endif
