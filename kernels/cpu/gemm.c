/* gemm.c - matrix products as oneDNN matmul primitives that are compiled once for each shape and kept.
 *
 * Compiling a primitive costs far more than running a small one, so they live in a hash by shape, and the oldest makes room
 * when the hash is full. All scratch memory is ours: running a product allocates nothing. */
#include "kernels/cpu/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 256, PRODUCTS = 1024 };

struct shape {
    int M, N, K;
    bool transpose_a, transpose_b, bias, accumulate;
};

enum { ARG_A, ARG_B, ARG_BIAS, ARG_C, ARG_SCRATCH, ARGS };
static const int s_arg_id[ARGS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};

/* A compiled shape. */
struct product {
    struct shape shape;
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[ARGS]; /* bias and scratch may be NULL */
    size_t scratch;             /* bytes it needs while it runs */
    uint64_t used;              /* the multiplier's tick of its last run */
    struct product *next;       /* in its bucket */
};

struct multiplier {
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    void *scratch;
    size_t scratch_size;
    uint64_t tick;
    size_t products;
    struct product *bucket[BUCKETS];
};

static bool s_check(dnnl_status_t status, const char *what, struct err *err)
{
    if (status == dnnl_success)
        return true;
    return err_set(err, status == dnnl_out_of_memory ? ERR_MEMORY : ERR_FAILED, "oneDNN: %s failed with status %d",
                   what, (int)status);
}

/* ---- what differs between oneDNN 2.x and 3.x ---- */

struct layout {
    dnnl_memory_desc_t md;
};

#if DNNL_VERSION_MAJOR >= 3

static dnnl_status_t s_layout_make(struct layout *layout, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(&layout->md, 2, dims, dnnl_f32, strides);
}

static void s_layout_drop(struct layout *layout)
{
    if (layout->md != NULL)
        dnnl_memory_desc_destroy(layout->md);
}

static dnnl_status_t s_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t s_describe(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *a,
                                const struct layout *b, const struct layout *bias, const struct layout *c,
                                dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(desc, engine, a->md, b->md, bias != NULL ? bias->md : NULL, c->md, attr);
}

static dnnl_status_t s_memory_make(dnnl_memory_t *memory, const struct layout *layout, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, layout->md, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t s_scratch_make(struct product *product, const_dnnl_primitive_desc_t desc, dnnl_engine_t engine)
{
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    product->scratch = md != NULL ? dnnl_memory_desc_get_size(md) : 0;
    if (product->scratch == 0)
        return dnnl_success;
    return dnnl_memory_create(&product->memory[ARG_SCRATCH], md, engine, DNNL_MEMORY_NONE);
}

#else

static dnnl_status_t s_layout_make(struct layout *layout, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(&layout->md, 2, dims, dnnl_f32, strides);
}

static void s_layout_drop(struct layout *layout)
{
    (void)layout;
}

static dnnl_status_t s_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

static dnnl_status_t s_describe(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *a,
                                const struct layout *b, const struct layout *bias, const struct layout *c,
                                dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t matmul;
    dnnl_status_t status = dnnl_matmul_desc_init(&matmul, &a->md, &b->md, bias != NULL ? &bias->md : NULL, &c->md);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(desc, &matmul, attr, engine, NULL);
}

static dnnl_status_t s_memory_make(dnnl_memory_t *memory, const struct layout *layout, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, &layout->md, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t s_scratch_make(struct product *product, const_dnnl_primitive_desc_t desc, dnnl_engine_t engine)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    product->scratch = md != NULL ? dnnl_memory_desc_get_size(md) : 0;
    if (product->scratch == 0)
        return dnnl_success;
    return dnnl_memory_create(&product->memory[ARG_SCRATCH], md, engine, DNNL_MEMORY_NONE);
}

#endif

/* ---- compiling a shape ---- */

static dnnl_status_t s_matrix(struct layout *layout, int rows, int columns, bool transposed)
{
    const dnnl_dims_t dims = {rows, columns};
    const dnnl_dims_t plain = {columns, 1};
    const dnnl_dims_t turned = {1, rows};
    return s_layout_make(layout, dims, transposed ? turned : plain);
}

static dnnl_status_t s_attributes(dnnl_primitive_attr_t *attr, bool accumulate)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !accumulate)
        return status;
    status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success)
        status = s_append_sum(ops);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops != NULL)
        dnnl_post_ops_destroy(ops);
    return status;
}

static void s_product_destroy(struct product *product)
{
    for (int i = 0; i < ARGS; i++)
        if (product->memory[i] != NULL)
            dnnl_memory_destroy(product->memory[i]);
    if (product->primitive != NULL)
        dnnl_primitive_destroy(product->primitive);
    free(product);
}

static dnnl_status_t s_product_compile(struct product *product, dnnl_engine_t engine)
{
    const struct shape *s = &product->shape;
    struct layout layout[ARG_SCRATCH] = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = s_matrix(&layout[ARG_A], s->M, s->K, s->transpose_a);
    if (status == dnnl_success)
        status = s_matrix(&layout[ARG_B], s->K, s->N, s->transpose_b);
    if (status == dnnl_success)
        status = s_matrix(&layout[ARG_C], s->M, s->N, false);
    if (status == dnnl_success)
        status = s_matrix(&layout[ARG_BIAS], 1, s->N, false);
    if (status == dnnl_success)
        status = s_attributes(&attr, s->accumulate);
    if (status == dnnl_success)
        status = s_describe(&desc, engine, &layout[ARG_A], &layout[ARG_B], s->bias ? &layout[ARG_BIAS] : NULL,
                            &layout[ARG_C], attr);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&product->primitive, desc);
    for (int i = 0; i < ARG_SCRATCH && status == dnnl_success; i++)
        if (i != ARG_BIAS || s->bias)
            status = s_memory_make(&product->memory[i], &layout[i], engine);
    if (status == dnnl_success)
        status = s_scratch_make(product, desc, engine);
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    if (attr != NULL)
        dnnl_primitive_attr_destroy(attr);
    for (int i = 0; i < ARG_SCRATCH; i++)
        s_layout_drop(&layout[i]);
    return status;
}

/* ---- the kept shapes ---- */

static bool s_same(const struct shape *x, const struct shape *y)
{
    return x->M == y->M && x->N == y->N && x->K == y->K && x->transpose_a == y->transpose_a &&
           x->transpose_b == y->transpose_b && x->bias == y->bias && x->accumulate == y->accumulate;
}

static size_t s_bucket(const struct shape *s)
{
    uint64_t h = (uint64_t)s->M * 0x9E3779B97F4A7C15u;
    h = (h ^ (uint64_t)s->N) * 0xBF58476D1CE4E5B9u;
    h = (h ^ (uint64_t)s->K) * 0x94D049BB133111EBu;
    h ^= (uint64_t)s->transpose_a << 63 | (uint64_t)s->transpose_b << 62 | (uint64_t)s->bias << 61 |
         (uint64_t)s->accumulate << 60;
    return (size_t)(h >> 56) % BUCKETS;
}

static void s_forget_oldest(struct multiplier *multiplier)
{
    struct product **oldest = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct product **at = &multiplier->bucket[i]; *at != NULL; at = &(*at)->next)
            if (oldest == NULL || (*at)->used < (*oldest)->used)
                oldest = at;
    struct product *gone = *oldest;
    *oldest = gone->next;
    s_product_destroy(gone);
    multiplier->products--;
}

static bool s_scratch_reserve(struct multiplier *multiplier, size_t size, struct err *err)
{
    if (size <= multiplier->scratch_size)
        return true;
    size_t rounded = (size + 4095) / 4096 * 4096;
    free(multiplier->scratch);
    multiplier->scratch_size = 0;
    multiplier->scratch = aligned_alloc(4096, rounded);
    if (multiplier->scratch == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a matrix product: %zu bytes", rounded);
    multiplier->scratch_size = rounded;
    return true;
}

static struct product *s_product_get(struct multiplier *multiplier, const struct shape *shape, struct err *err)
{
    struct product **head = &multiplier->bucket[s_bucket(shape)];
    for (struct product *product = *head; product != NULL; product = product->next)
        if (s_same(&product->shape, shape))
            return product;

    if (multiplier->products >= PRODUCTS)
        s_forget_oldest(multiplier);
    struct product *product = calloc(1, sizeof *product);
    if (product == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a matrix product");
        return NULL;
    }
    product->shape = *shape;
    if (!s_check(s_product_compile(product, multiplier->engine), "compiling a matrix product", err) ||
        !s_scratch_reserve(multiplier, product->scratch, err)) {
        s_product_destroy(product);
        return NULL;
    }
    product->next = *head;
    *head = product;
    multiplier->products++;
    return product;
}

/* ---- the interface ---- */

static bool s_execute(struct multiplier *multiplier, struct product *product, const struct gemm *gemm, struct err *err)
{
    void *handle[ARGS] = {(void *)(uintptr_t)gemm->a, (void *)(uintptr_t)gemm->b, (void *)(uintptr_t)gemm->bias,
                          gemm->c, multiplier->scratch};
    dnnl_exec_arg_t args[ARGS];
    int count = 0;
    for (int i = 0; i < ARGS; i++) {
        if (product->memory[i] == NULL)
            continue;
        if (!s_check(dnnl_memory_set_data_handle(product->memory[i], handle[i]), "handing over a matrix", err))
            return false;
        args[count].arg = s_arg_id[i];
        args[count++].memory = product->memory[i];
    }
    product->used = ++multiplier->tick;
    return s_check(dnnl_primitive_execute(product->primitive, multiplier->stream, count, args), "a matrix product",
                   err) &&
           s_check(dnnl_stream_wait(multiplier->stream), "a matrix product", err);
}

/* K = 0: C is the bias, or what was there. */
static void s_empty_sum(const struct gemm *gemm)
{
    for (int i = 0; i < gemm->M; i++)
        for (int j = 0; j < gemm->N; j++) {
            float *c = &gemm->c[(size_t)i * (size_t)gemm->N + (size_t)j];
            *c = (gemm->accumulate ? *c : 0.0f) + (gemm->bias != NULL ? gemm->bias[j] : 0.0f);
        }
}

bool multiplier_run(struct multiplier *multiplier, const struct gemm *gemm, struct err *err)
{
    const struct shape shape = {
        gemm->M, gemm->N, gemm->K, gemm->transpose_a, gemm->transpose_b, gemm->bias != NULL, gemm->accumulate};
    if (gemm->M <= 0 || gemm->N <= 0)
        return true;
    if (gemm->K <= 0) {
        s_empty_sum(gemm);
        return true;
    }
    /* oneDNN asks OpenMP for the number of threads, which is a property of the calling thread. */
    int before = omp_get_max_threads();
    omp_set_num_threads(multiplier->threads);
    struct product *product = s_product_get(multiplier, &shape, err);
    bool ok = product != NULL && s_execute(multiplier, product, gemm, err);
    omp_set_num_threads(before);
    return ok;
}

struct multiplier *multiplier_open(int threads, struct err *err)
{
    struct multiplier *multiplier = calloc(1, sizeof *multiplier);
    if (multiplier == NULL) {
        err_set(err, ERR_MEMORY, "no memory for matrix products");
        return NULL;
    }
    multiplier->threads = threads;
    if (!s_check(dnnl_engine_create(&multiplier->engine, dnnl_cpu, 0), "opening the processor", err) ||
        !s_check(dnnl_stream_create(&multiplier->stream, multiplier->engine, dnnl_stream_default_flags),
                 "opening a stream", err))
        multiplier_close(&multiplier);
    return multiplier;
}

void multiplier_close(struct multiplier **multiplier)
{
    struct multiplier *gone = *multiplier;
    *multiplier = NULL;
    if (gone == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (gone->bucket[i] != NULL) {
            struct product *product = gone->bucket[i];
            gone->bucket[i] = product->next;
            s_product_destroy(product);
        }
    if (gone->stream != NULL)
        dnnl_stream_destroy(gone->stream);
    if (gone->engine != NULL)
        dnnl_engine_destroy(gone->engine);
    free(gone->scratch);
    free(gone);
}

void multiplier_version(char *text, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
}

const char *multiplier_isa(void)
{
    switch ((int)dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41:
        return "sse41";
    case dnnl_cpu_isa_avx:
        return "avx";
    case dnnl_cpu_isa_avx2:
        return "avx2";
    case dnnl_cpu_isa_avx2_vnni:
        return "avx2_vnni";
    case dnnl_cpu_isa_avx512_core:
        return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni:
        return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16:
        return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx:
        return "avx512_core_amx";
#if DNNL_VERSION_MAJOR >= 3
    case dnnl_cpu_isa_avx2_vnni_2:
        return "avx2_vnni_2";
    case dnnl_cpu_isa_avx512_core_fp16:
        return "avx512_core_fp16";
    case dnnl_cpu_isa_avx512_core_amx_fp16:
        return "avx512_core_amx_fp16";
#endif
    default:
        return "generic";
    }
}
