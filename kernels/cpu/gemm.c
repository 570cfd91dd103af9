/* gemm.c - matrix products as tiles of a few shapes that oneDNN compiles once.
 *
 * C = A B: B is packed into a panel, the rows of C are shared out over threads, and each thread runs tiles of up to MOST_ROWS
 * rows, each a multiple of UNIT_ROWS; fewer rows than a unit are padded in memory of ours. Where A is transposed (weight
 * gradients, K = positions), the sum runs over chunks of K, and the last one is padded with zeros to a multiple of K_UNIT; its
 * tiles are turned first. So M and K may be any number, and the compiled shapes stay few. */
#include "kernels/cpu/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_ROWS = 8, MOST_ROWS = 64, SIZES = MOST_ROWS / UNIT_ROWS };
enum { K_CHUNK = 256, K_UNIT = 16 };

/* What is not oneDNN's brgemm may compute a row by its place among few or many rows: it only ever gets tiles of this size. */
enum { PLAIN_ROWS = 16 };

/* Multiply-adds below which another thread costs more than it gains. */
static const double WORTH = 256.0 * 1024.0;

enum { BUCKETS = 64, PANELS = 256 };

enum { ARG_A, ARG_B, ARG_BIAS, ARG_C, ARG_SCRATCH, ARGS };
static const int s_arg_id[ARGS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};

/* ---- what differs between oneDNN 2.x and 3.x ---- */

#if DNNL_VERSION_MAJOR >= 3

struct layout {
    dnnl_memory_desc_t md; /* owned */
};

static dnnl_status_t s_layout_strided(struct layout *layout, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(&layout->md, 2, dims, dnnl_f32, strides);
}

static dnnl_status_t s_layout_any(struct layout *layout, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_create_with_tag(&layout->md, 2, dims, dnnl_f32, dnnl_format_tag_any);
}

static dnnl_status_t s_layout_query(struct layout *layout, const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(desc, what, 0);
    return md != NULL ? dnnl_memory_desc_clone(&layout->md, md) : dnnl_success;
}

static void s_layout_drop(struct layout *layout)
{
    if (layout->md != NULL)
        dnnl_memory_desc_destroy(layout->md);
    layout->md = NULL;
}

static size_t s_layout_size(const struct layout *layout)
{
    return layout->md != NULL ? dnnl_memory_desc_get_size(layout->md) : 0;
}

static dnnl_status_t s_memory_make(dnnl_memory_t *memory, const struct layout *layout, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, layout->md, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t s_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

/* bias NULL = none */
static dnnl_status_t s_describe_matmul(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *a,
                                       const struct layout *b, const struct layout *bias, const struct layout *c,
                                       dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(desc, engine, a->md, b->md, bias != NULL ? bias->md : NULL, c->md, attr);
}

static dnnl_status_t s_describe_reorder(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *from,
                                        const struct layout *to)
{
    return dnnl_reorder_primitive_desc_create(desc, from->md, engine, to->md, engine, NULL);
}

#else

struct layout {
    dnnl_memory_desc_t md;
};

static dnnl_status_t s_layout_strided(struct layout *layout, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(&layout->md, 2, dims, dnnl_f32, strides);
}

static dnnl_status_t s_layout_any(struct layout *layout, const dnnl_dims_t dims)
{
    return dnnl_memory_desc_init_by_tag(&layout->md, 2, dims, dnnl_f32, dnnl_format_tag_any);
}

static dnnl_status_t s_layout_query(struct layout *layout, const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, what, 0);
    if (md != NULL)
        layout->md = *md;
    return dnnl_success;
}

static void s_layout_drop(struct layout *layout)
{
    (void)layout;
}

static size_t s_layout_size(const struct layout *layout)
{
    return dnnl_memory_desc_get_size(&layout->md);
}

static dnnl_status_t s_memory_make(dnnl_memory_t *memory, const struct layout *layout, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, &layout->md, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t s_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

/* bias NULL = none */
static dnnl_status_t s_describe_matmul(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *a,
                                       const struct layout *b, const struct layout *bias, const struct layout *c,
                                       dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t matmul;
    dnnl_status_t status = dnnl_matmul_desc_init(&matmul, &a->md, &b->md, bias != NULL ? &bias->md : NULL, &c->md);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(desc, &matmul, attr, engine, NULL);
}

static dnnl_status_t s_describe_reorder(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *from,
                                        const struct layout *to)
{
    return dnnl_reorder_primitive_desc_create(desc, &from->md, engine, &to->md, engine, NULL);
}

#endif

/* A compiled shape: rows x K times a panel. Each thread has memory objects of its own. */
struct tile {
    dnnl_primitive_t primitive;    /* NULL until it is wanted */
    dnnl_memory_t (*memory)[ARGS]; /* [threads]; bias and scratch may be NULL */
    size_t scratch;                /* bytes oneDNN needs while it runs */
};

/* All about B matrices of one shape: how they are packed and the tiles that multiply them. */
struct panel {
    int N, K;
    int unit, most;           /* rows of the smallest and of the largest tile */
    struct layout layout;     /* of B when packed */
    size_t size;              /* bytes of that, rounded up */
    dnnl_primitive_t pack[2]; /* from [K, N], from [N, K] */
    dnnl_memory_t from[2], to;
    struct tile tile[SIZES][2][2]; /* by rows, bias, accumulate */
    uint64_t used;                 /* the multiplier's tick of its last use */
    struct panel *next;            /* in its bucket */
};

struct area {
    char *memory; /* 4096-byte aligned */
    size_t size;
};

struct multiplier {
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct area packed;   /* the panels of the product that is running */
    struct area stage;    /* a chunk of B on its way to its panel */
    struct area *scratch; /* [threads] */
    uint64_t tick;
    size_t panels;
    struct panel *bucket[BUCKETS];
};

static dnnl_status_t s_layout_matrix(struct layout *layout, int rows, int columns, bool transposed)
{
    const dnnl_dims_t dims = {rows, columns}, plain = {columns, 1}, turned = {1, rows};
    return s_layout_strided(layout, dims, transposed ? turned : plain);
}

/* ---- compiling ---- */

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

static void s_tile_drop(struct tile *tile, int threads)
{
    for (int i = 0; tile->memory != NULL && i < threads * ARGS; i++)
        if (tile->memory[i / ARGS][i % ARGS] != NULL)
            dnnl_memory_destroy(tile->memory[i / ARGS][i % ARGS]);
    if (tile->primitive != NULL)
        dnnl_primitive_destroy(tile->primitive);
    free(tile->memory);
    *tile = (struct tile){0};
}

/* Layouts of a tile's matrices; `layout[ARG_B]` is the panel's. */
static dnnl_status_t s_tile_layouts(const struct panel *panel, int rows, struct layout *layout)
{
    dnnl_status_t status = s_layout_matrix(&layout[ARG_A], rows, panel->K, false);
    if (status == dnnl_success)
        status = s_layout_matrix(&layout[ARG_BIAS], 1, panel->N, false);
    if (status == dnnl_success)
        status = s_layout_matrix(&layout[ARG_C], rows, panel->N, false);
    return status;
}

static dnnl_status_t s_tile_describe(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *layout,
                                     bool bias, bool accumulate)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = s_attributes(&attr, accumulate);
    if (status == dnnl_success)
        status = s_describe_matmul(desc, engine, &layout[ARG_A], &layout[ARG_B], bias ? &layout[ARG_BIAS] : NULL,
                                   &layout[ARG_C], attr);
    if (attr != NULL)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

static dnnl_status_t s_tile_memory(struct multiplier *multiplier, struct tile *tile, const struct layout *layout,
                                   bool bias)
{
    dnnl_status_t status = dnnl_success;
    tile->memory = calloc((size_t)multiplier->threads, sizeof *tile->memory);
    if (tile->memory == NULL)
        return dnnl_out_of_memory;
    for (int thread = 0; thread < multiplier->threads; thread++)
        for (int i = 0; i < ARGS && status == dnnl_success; i++)
            if ((i != ARG_BIAS || bias) && (i != ARG_SCRATCH || tile->scratch > 0))
                status = s_memory_make(&tile->memory[thread][i], &layout[i], multiplier->engine);
    return status;
}

/* Runs on one OpenMP thread of its own, so that oneDNN compiles for one. */
static dnnl_status_t s_tile_compile(struct multiplier *multiplier, const struct panel *panel,
                                    const struct layout *packed, int rows, bool bias, bool accumulate,
                                    struct tile *tile)
{
    struct layout layout[ARGS] = {0};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = s_tile_layouts(panel, rows, layout);
    layout[ARG_B] = *packed;
    if (status == dnnl_success)
        status = s_tile_describe(&desc, multiplier->engine, layout, bias, accumulate);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&tile->primitive, desc);
    if (status == dnnl_success)
        status = s_layout_query(&layout[ARG_SCRATCH], desc, dnnl_query_scratchpad_md);
    if (status == dnnl_success) {
        tile->scratch = s_layout_size(&layout[ARG_SCRATCH]);
        status = s_tile_memory(multiplier, tile, layout, bias);
    }
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    for (int i = 0; i < ARGS; i++)
        if (i != ARG_B)
            s_layout_drop(&layout[i]);
    if (status != dnnl_success)
        s_tile_drop(tile, multiplier->threads);
    return status;
}

/* ---- panels ---- */

static void s_panel_destroy(struct panel *panel, int threads)
{
    for (int i = 0; i < SIZES * 4; i++)
        s_tile_drop(&panel->tile[i / 4][i / 2 % 2][i % 2], threads);
    for (int i = 0; i < 2; i++) {
        if (panel->pack[i] != NULL)
            dnnl_primitive_destroy(panel->pack[i]);
        if (panel->from[i] != NULL)
            dnnl_memory_destroy(panel->from[i]);
    }
    if (panel->to != NULL)
        dnnl_memory_destroy(panel->to);
    s_layout_drop(&panel->layout);
    free(panel);
}

/* Ask oneDNN how it wants B for tiles of `rows` rows, and which implementation that is. */
static dnnl_status_t s_panel_ask(struct panel *panel, dnnl_engine_t engine, int rows, bool *brgemm)
{
    const dnnl_dims_t dims = {panel->K, panel->N};
    struct layout layout[ARGS] = {0};
    dnnl_primitive_desc_t desc = NULL;
    const char *name = "";
    dnnl_status_t status = s_tile_layouts(panel, rows, layout);
    if (status == dnnl_success)
        status = s_layout_any(&layout[ARG_B], dims);
    if (status == dnnl_success)
        status = s_tile_describe(&desc, engine, layout, false, false);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    if (status == dnnl_success)
        status = s_layout_query(&panel->layout, desc, dnnl_query_weights_md);
    *brgemm = strncmp(name, "brg", 3) == 0;
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    for (int i = 0; i < ARGS; i++)
        s_layout_drop(&layout[i]);
    return status;
}

static dnnl_status_t s_panel_compile(struct panel *panel, dnnl_engine_t engine)
{
    bool brgemm;
    dnnl_status_t status = s_panel_ask(panel, engine, MOST_ROWS, &brgemm);
    panel->unit = brgemm ? UNIT_ROWS : PLAIN_ROWS;
    panel->most = brgemm ? MOST_ROWS : PLAIN_ROWS;
    panel->size = (s_layout_size(&panel->layout) + 4095) / 4096 * 4096;
    return status != dnnl_success ? status : s_memory_make(&panel->to, &panel->layout, engine);
}

static dnnl_status_t s_pack_compile(struct panel *panel, dnnl_engine_t engine, bool transposed)
{
    struct layout from = {0};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = s_layout_matrix(&from, panel->K, panel->N, transposed);
    if (status == dnnl_success)
        status = s_memory_make(&panel->from[transposed], &from, engine);
    if (status == dnnl_success)
        status = s_describe_reorder(&desc, engine, &from, &panel->layout);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&panel->pack[transposed], desc);
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    s_layout_drop(&from);
    return status;
}

static struct panel **s_bucket(struct multiplier *multiplier, int N, int K)
{
    uint64_t hash = ((uint64_t)N << 32 | (uint64_t)K) * 0x9E3779B97F4A7C15u;
    return &multiplier->bucket[hash >> 32 & (BUCKETS - 1)];
}

static void s_forget_oldest(struct multiplier *multiplier)
{
    struct panel **oldest = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct panel **at = &multiplier->bucket[i]; *at != NULL; at = &(*at)->next)
            if (oldest == NULL || (*at)->used < (*oldest)->used)
                oldest = at;
    struct panel *gone = *oldest;
    *oldest = gone->next;
    s_panel_destroy(gone, multiplier->threads);
    multiplier->panels--;
}

/* The panel of a shape, with its way of packing and its tiles for parts of `rows` rows ready to run. */
static dnnl_status_t s_panel_get(struct multiplier *multiplier, int N, int K, bool transposed, struct panel **found)
{
    struct panel **head = s_bucket(multiplier, N, K), *panel = *head;
    dnnl_status_t status = dnnl_success;
    while (panel != NULL && (panel->N != N || panel->K != K))
        panel = panel->next;
    if (panel == NULL) {
        if (multiplier->panels >= PANELS)
            s_forget_oldest(multiplier);
        panel = calloc(1, sizeof *panel);
        if (panel == NULL)
            return dnnl_out_of_memory;
        panel->N = N;
        panel->K = K;
        status = s_panel_compile(panel, multiplier->engine);
        if (status != dnnl_success) {
            s_panel_destroy(panel, multiplier->threads);
            return status;
        }
        panel->next = *head;
        *head = panel;
        multiplier->panels++;
    }
    if (panel->pack[transposed] == NULL)
        status = s_pack_compile(panel, multiplier->engine, transposed);
    panel->used = ++multiplier->tick;
    *found = panel;
    return status;
}

/* Compile the tiles that parts of up to `rows` rows consist of. */
static dnnl_status_t s_panel_tiles(struct multiplier *multiplier, struct panel *panel, size_t rows, bool bias,
                                   bool accumulate)
{
    dnnl_status_t status = dnnl_success;
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int size = panel->unit; size <= panel->most && status == dnnl_success; size += panel->unit) {
        struct tile *tile = &panel->tile[size / panel->unit - 1][bias][accumulate];
        if (tile->primitive == NULL && (size == panel->unit || (size_t)size <= rows))
            status = s_tile_compile(multiplier, panel, &panel->layout, size, bias, accumulate, tile);
    }
    omp_set_num_threads(before);
    return status;
}

static dnnl_status_t s_pack(struct multiplier *multiplier, struct panel *panel, const float *b, bool transposed,
                            void *to)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, panel->from[transposed]}, {DNNL_ARG_TO, panel->to}};
    dnnl_status_t status = dnnl_memory_set_data_handle(panel->from[transposed], (void *)(uintptr_t)b);
    if (status == dnnl_success)
        status = dnnl_memory_set_data_handle(panel->to, to);
    if (status == dnnl_success)
        status = dnnl_primitive_execute(panel->pack[transposed], multiplier->stream, 2, args);
    return status;
}

/* ---- a thread's part of a product ---- */

/* What the threads of a running product share. */
struct plan {
    const struct gemm *gemm;
    struct panel *full, *tail; /* of K_CHUNK, NULL when there is none; of the rest of K */
    const char *packed;        /* the panels, one behind the other */
    size_t scratch;            /* bytes for a tile of A, a tile of C, and oneDNN */
};

static size_t s_round(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Bytes of a thread's scratch, and where its parts begin: a tile of C, a tile of A, oneDNN's. */
static size_t s_scratch_size(const struct panel *panel, size_t *a, size_t *theirs)
{
    size_t most = 0;
    for (int i = 0; i < SIZES * 4; i++) {
        size_t size = panel->tile[i / 4][i / 2 % 2][i % 2].scratch;
        most = size > most ? size : most;
    }
    *a = s_round((size_t)panel->unit * (size_t)panel->N * sizeof(float), 64);
    *theirs = *a + s_round((size_t)panel->most * (size_t)panel->K * sizeof(float), 4096);
    return *theirs + most;
}

/* out[r][k] = a[k][r] for `rows` x K of `height` x `width`; the rest is zero. `stride` is the stored row of a. */
static void s_turn(const float *a, size_t stride, int rows, int K, int height, int width, float *out)
{
    enum { STRIP = 16 };
    if (rows < height || K < width)
        memset(out, 0, (size_t)height * (size_t)width * sizeof *out);
    for (int first = 0; first < rows; first += STRIP) {
        int last = first + STRIP < rows ? first + STRIP : rows;
        for (int k = 0; k < K; k++)
            for (int r = first; r < last; r++)
                out[(size_t)r * (size_t)width + (size_t)k] = a[(size_t)k * stride + (size_t)r];
    }
}

static dnnl_status_t s_tile_run(const struct multiplier *multiplier, const struct tile *tile, int thread,
                                const float *a, const void *b, const float *bias, float *c, void *scratch)
{
    void *handle[ARGS] = {(void *)(uintptr_t)a, (void *)(uintptr_t)b, (void *)(uintptr_t)bias, c, scratch};
    dnnl_exec_arg_t args[ARGS];
    dnnl_status_t status = dnnl_success;
    int count = 0;
    for (int i = 0; i < ARGS && status == dnnl_success; i++) {
        dnnl_memory_t memory = tile->memory[thread][i];
        if (memory == NULL)
            continue;
        status = dnnl_memory_set_data_handle(memory, handle[i]);
        args[count].arg = s_arg_id[i];
        args[count++].memory = memory;
    }
    return status != dnnl_success ? status : dnnl_primitive_execute(tile->primitive, multiplier->stream, count, args);
}

/* `rows` rows of C (+)= A B (+ bias) in one tile; a is dense. Fewer than a unit go through a padded copy; when `padded` a is that
 * copy already. */
static dnnl_status_t s_tile_rows(const struct multiplier *multiplier, const struct panel *panel, int thread, int rows,
                                 const float *a, bool padded, const void *b, const float *bias, bool accumulate,
                                 float *c)
{
    char *scratch = multiplier->scratch[thread].memory;
    size_t own_a, theirs, row_a = (size_t)panel->K * sizeof *a, row_c = (size_t)panel->N * sizeof *c;
    s_scratch_size(panel, &own_a, &theirs);
    if (rows >= panel->unit)
        return s_tile_run(multiplier, &panel->tile[rows / panel->unit - 1][bias != NULL][accumulate], thread, a, b,
                          bias, c, scratch + theirs);

    float *padded_a = (float *)(void *)(scratch + own_a), *padded_c = (float *)(void *)scratch;
    if (!padded) {
        memcpy(padded_a, a, (size_t)rows * row_a);
        memset((char *)padded_a + (size_t)rows * row_a, 0, (size_t)(panel->unit - rows) * row_a);
    }
    memset(padded_c, 0, (size_t)panel->unit * row_c);
    if (accumulate)
        memcpy(padded_c, c, (size_t)rows * row_c);
    dnnl_status_t status = s_tile_run(multiplier, &panel->tile[0][bias != NULL][accumulate], thread, padded_a, b, bias,
                                      padded_c, scratch + theirs);
    memcpy(c, padded_c, (size_t)rows * row_c);
    return status;
}

/* How many of `rows` rows the next tile takes: even parts, each a multiple of the unit, until less than a unit is left. */
static int s_next_rows(const struct panel *panel, int rows)
{
    int tiles = (rows + panel->most - 1) / panel->most;
    int even = (rows / tiles + panel->unit - 1) / panel->unit * panel->unit;
    if (even > panel->most)
        even = panel->most;
    return rows < panel->unit ? rows : even <= rows ? even : rows / panel->unit * panel->unit;
}

/* Rows first..first+rows-1 of C, all of K: chunk after chunk for a transposed A. */
static dnnl_status_t s_tile_chunks(const struct multiplier *multiplier, const struct plan *plan, int thread, int first,
                                   int rows)
{
    const struct gemm *g = plan->gemm;
    const char *packed = plan->packed;
    float *c = g->c + (size_t)first * (size_t)g->N;
    dnnl_status_t status = dnnl_success;
    if (!g->transpose_a)
        return s_tile_rows(multiplier, plan->tail, thread, rows, g->a + (size_t)first * (size_t)g->K, false, packed,
                           g->bias, g->accumulate, c);
    for (int k = 0; k < g->K && status == dnnl_success; k += K_CHUNK) {
        const struct panel *panel = g->K - k >= K_CHUNK ? plan->full : plan->tail;
        size_t own_a, theirs;
        s_scratch_size(panel, &own_a, &theirs);
        float *a = (float *)(void *)(multiplier->scratch[thread].memory + own_a);
        s_turn(g->a + (size_t)k * (size_t)g->M + (size_t)first, (size_t)g->M, rows,
               g->K - k < K_CHUNK ? g->K - k : K_CHUNK, rows < panel->unit ? panel->unit : rows, panel->K, a);
        status = s_tile_rows(multiplier, panel, thread, rows, a, true, packed, k == 0 ? g->bias : NULL,
                             k > 0 || g->accumulate, c);
        packed += panel->size;
    }
    return status;
}

static dnnl_status_t s_part(const struct multiplier *multiplier, const struct plan *plan, int thread, int threads)
{
    const struct panel *panel = plan->tail != NULL ? plan->tail : plan->full;
    int M = plan->gemm->M, units = (M + panel->unit - 1) / panel->unit;
    int first = (int)((int64_t)units * thread / threads) * panel->unit;
    int last = (int)((int64_t)units * (thread + 1) / threads) * panel->unit;
    dnnl_status_t status = dnnl_success;
    last = last < M ? last : M;
    while (first < last && status == dnnl_success) {
        int rows = s_next_rows(panel, last - first);
        status = s_tile_chunks(multiplier, plan, thread, first, rows);
        first += rows;
    }
    return status;
}

/* ---- a product ---- */

static bool s_check(dnnl_status_t status, struct err *err)
{
    if (status == dnnl_success)
        return true;
    if (status == dnnl_out_of_memory)
        return err_set(err, ERR_MEMORY, "no memory for a matrix product");
    return err_set(err, ERR_FAILED, "a matrix product failed: oneDNN status %d", (int)status);
}

static dnnl_status_t s_reserve(struct area *area, size_t size)
{
    if (size <= area->size)
        return dnnl_success;
    free(area->memory);
    area->size = s_round(size, 4096);
    area->memory = aligned_alloc(4096, area->size);
    if (area->memory == NULL)
        area->size = 0;
    return area->memory != NULL ? dnnl_success : dnnl_out_of_memory;
}

static dnnl_status_t s_reserve_scratch(struct multiplier *multiplier, const struct panel *panel)
{
    size_t a, theirs, size = s_scratch_size(panel, &a, &theirs);
    dnnl_status_t status = dnnl_success;
    for (int thread = 0; thread < multiplier->threads && status == dnnl_success; thread++)
        status = s_reserve(&multiplier->scratch[thread], size);
    return status;
}

/* B as it is for the whole of K. */
static dnnl_status_t s_plan_whole(struct multiplier *multiplier, struct plan *plan)
{
    const struct gemm *g = plan->gemm;
    dnnl_status_t status = s_panel_get(multiplier, g->N, g->K, g->transpose_b, &plan->tail);
    if (status == dnnl_success)
        status = s_panel_tiles(multiplier, plan->tail, (size_t)g->M, g->bias != NULL, g->accumulate);
    if (status == dnnl_success)
        status = s_reserve_scratch(multiplier, plan->tail);
    if (status == dnnl_success)
        status = s_reserve(&multiplier->packed, plan->tail->size);
    plan->packed = multiplier->packed.memory;
    if (status == dnnl_success)
        status = s_pack(multiplier, plan->tail, g->b, g->transpose_b, multiplier->packed.memory);
    return status;
}

/* Make a panel of `width` rows of K ready for a transposed A. */
static dnnl_status_t s_plan_panel(struct multiplier *multiplier, const struct gemm *g, int width, struct panel **panel)
{
    dnnl_status_t status = s_panel_get(multiplier, g->N, width, false, panel);
    for (int i = 0; i < 4 && status == dnnl_success; i++)
        if (i < 2 || g->bias != NULL)
            status = s_panel_tiles(multiplier, *panel, (size_t)g->M, i / 2 != 0, i % 2 != 0);
    return status != dnnl_success ? status : s_reserve_scratch(multiplier, *panel);
}

/* Rows k..k+rows-1 of B, plain and padded with zeros to panel->K rows. Where they lie so already, that is them. */
static const float *s_stage(struct multiplier *multiplier, const struct gemm *g, const struct panel *panel, int k,
                            int rows)
{
    size_t N = (size_t)g->N;
    float *stage = (float *)(void *)multiplier->stage.memory;
    if (g->transpose_b) {
        s_turn(g->b + k, (size_t)g->K, rows, g->N, panel->K, g->N, stage);
        return stage;
    }
    if (rows == panel->K)
        return g->b + (size_t)k * N;
    memcpy(stage, g->b + (size_t)k * N, (size_t)rows * N * sizeof *stage);
    memset(stage + (size_t)rows * N, 0, (size_t)(panel->K - rows) * N * sizeof *stage);
    return stage;
}

static dnnl_status_t s_plan_chunks(struct multiplier *multiplier, struct plan *plan)
{
    const struct gemm *g = plan->gemm;
    int rest = g->K % K_CHUNK, chunks = g->K / K_CHUNK;
    dnnl_status_t status = dnnl_success;
    if (chunks > 0)
        status = s_plan_panel(multiplier, g, K_CHUNK, &plan->full);
    if (rest > 0 && status == dnnl_success)
        status = s_plan_panel(multiplier, g, (rest + K_UNIT - 1) / K_UNIT * K_UNIT, &plan->tail);
    if (status == dnnl_success)
        status = s_reserve(&multiplier->packed,
                           (chunks > 0 ? (size_t)chunks * plan->full->size : 0) + (rest > 0 ? plan->tail->size : 0));
    if (status == dnnl_success)
        status = s_reserve(&multiplier->stage, (size_t)K_CHUNK * (size_t)g->N * sizeof(float));
    char *packed = multiplier->packed.memory;
    plan->packed = packed;
    for (int k = 0; k < g->K && status == dnnl_success; k += K_CHUNK) {
        int rows = g->K - k < K_CHUNK ? g->K - k : K_CHUNK;
        struct panel *panel = rows == K_CHUNK ? plan->full : plan->tail;
        status = s_pack(multiplier, panel, s_stage(multiplier, g, panel, k, rows), false, packed);
        packed += panel->size;
    }
    return status;
}

static dnnl_status_t s_run(struct multiplier *multiplier, const struct gemm *gemm)
{
    struct plan plan = {.gemm = gemm};
    dnnl_status_t status = gemm->transpose_a ? s_plan_chunks(multiplier, &plan) : s_plan_whole(multiplier, &plan);
    double work = (double)gemm->M * (double)gemm->N * (double)gemm->K / WORTH;
    int threads = work < 2.0 ? 1 : work < multiplier->threads ? (int)work : multiplier->threads;
    int worst = dnnl_success;
    if (status != dnnl_success)
        return status;
#pragma omp parallel num_threads(threads) reduction(max : worst)
    {
        omp_set_num_threads(1);
        worst = (int)s_part(multiplier, &plan, omp_get_thread_num(), omp_get_num_threads());
    }
    return (dnnl_status_t)worst;
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
    if (gemm->M <= 0 || gemm->N <= 0)
        return true;
    if (gemm->K <= 0) {
        s_empty_sum(gemm);
        return true;
    }
    /* Packing runs on as many threads as OpenMP says, which is a property of the calling thread. */
    int before = omp_get_max_threads();
    omp_set_num_threads(multiplier->threads);
    dnnl_status_t status = s_run(multiplier, gemm);
    omp_set_num_threads(before);
    return s_check(status, err);
}

struct panel *multiplier_pack(struct multiplier *multiplier, const float *b, int N, int K, bool transposed,
                              struct err *err)
{
    const struct gemm gemm = {.M = MOST_ROWS, .N = N, .K = K, .b = b, .transpose_b = transposed};
    struct plan plan = {.gemm = &gemm};
    int before = omp_get_max_threads();
    omp_set_num_threads(multiplier->threads);
    dnnl_status_t status = s_plan_whole(multiplier, &plan);
    omp_set_num_threads(before);
    return s_check(status, err) ? plan.tail : NULL;
}

bool multiplier_rows(struct multiplier *multiplier, struct panel *panel, int thread, int rows, const float *a, float *c)
{
    dnnl_status_t status = dnnl_success;
    while (rows > 0 && status == dnnl_success) {
        int next = s_next_rows(panel, rows);
        status = s_tile_rows(multiplier, panel, thread, next, a, false, multiplier->packed.memory, NULL, false, c);
        a += (size_t)next * (size_t)panel->K;
        c += (size_t)next * (size_t)panel->N;
        rows -= next;
    }
    return status == dnnl_success;
}

/* ---- life ---- */

struct multiplier *multiplier_open(int threads, struct err *err)
{
    struct multiplier *multiplier = calloc(1, sizeof *multiplier);
    dnnl_status_t status = multiplier != NULL ? dnnl_success : dnnl_out_of_memory;
    if (status == dnnl_success) {
        multiplier->threads = threads;
        multiplier->scratch = calloc((size_t)threads, sizeof *multiplier->scratch);
        status = multiplier->scratch != NULL ? dnnl_success : dnnl_out_of_memory;
    }
    if (status == dnnl_success)
        status = dnnl_engine_create(&multiplier->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&multiplier->stream, multiplier->engine, dnnl_stream_default_flags);
    if (!s_check(status, err))
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
            struct panel *panel = gone->bucket[i];
            gone->bucket[i] = panel->next;
            s_panel_destroy(panel, gone->threads);
        }
    if (gone->stream != NULL)
        dnnl_stream_destroy(gone->stream);
    if (gone->engine != NULL)
        dnnl_engine_destroy(gone->engine);
    for (int thread = 0; gone->scratch != NULL && thread < gone->threads; thread++)
        free(gone->scratch[thread].memory);
    free(gone->scratch);
    free(gone->packed.memory);
    free(gone->stage.memory);
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
