/* panel.c - panels and tiles as oneDNN primitives; see panel.h. */
#include "kernels/cpu/gemm/panel.h"

#include "kernels/cpu/gemm/onednn.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of tiles that are not brgemm, for a small and for a large B. Packing gains little for them and costs much time
 * for a large B. */
enum { PLAIN_ROWS = 16, PLAIN_MOST = PANEL_MOST };

enum { BUCKETS = 64 };

enum { ARG_A, ARG_B, ARG_BIAS, ARG_C, ARG_SCRATCH, ARGS };
static const int panel_arg_id[ARGS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST,
                                       DNNL_ARG_SCRATCHPAD};

/* A compiled shape. Each thread has memory objects of its own. */
struct tile {
    dnnl_primitive_t primitive;    /* NULL until first used                    */
    dnnl_memory_t (*memory)[ARGS]; /* [threads]; bias and scratch may be NULL    */
    size_t scratch;                /* bytes of scratch               */
};

/* A thread's memory objects for packing. */
struct pack {
    dnnl_memory_t from, to;
};

struct panel_code {
    uint64_t used;                       /* the tick of the panel's last use */
    struct layout layout;                /* of a packed B                    */
    dnnl_primitive_t pack;               /* NULL where B is used in place    */
    struct pack *pack_memory;            /* [threads]                     */
    struct tile tile[PANEL_SIZES][2][2]; /* by rows, bias, accumulate */
};

struct panels {
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    uint64_t tick;
    size_t count;
    struct panel *bucket[BUCKETS];
};

/* ---- tiles ---- */

static dnnl_status_t panel_attributes(dnnl_primitive_attr_t *attr, bool accumulate)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !accumulate)
        return status;
    status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success)
        status = onednn_append_sum(ops);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops != NULL)
        dnnl_post_ops_destroy(ops);
    return status;
}

/* Layouts of a tile's matrices; `layout[ARG_B]` is the panel's. */
static dnnl_status_t panel_tile_layouts(const struct panel_shape *shape, int rows, struct layout *layout)
{
    dnnl_status_t status = layout_matrix(&layout[ARG_A], onednn_type(shape->type), rows, shape->K, shape->K, false);
    if (status == dnnl_success)
        status = layout_matrix(&layout[ARG_BIAS], dnnl_f32, 1, shape->N, shape->N, false);
    if (status == dnnl_success)
        status = layout_matrix(&layout[ARG_C], dnnl_f32, rows, shape->N, shape->N, false);
    return status;
}

static dnnl_status_t panel_tile_describe(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const struct layout *layout,
                                         bool bias, bool accumulate)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = panel_attributes(&attr, accumulate);
    if (status == dnnl_success)
        status = onednn_describe_matmul(desc, engine, &layout[ARG_A], &layout[ARG_B], bias ? &layout[ARG_BIAS] : NULL,
                                        &layout[ARG_C], attr);
    if (attr != NULL)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

static void panel_tile_drop(struct tile *tile, int threads)
{
    for (int i = 0; tile->memory != NULL && i < threads * ARGS; i++)
        if (tile->memory[i / ARGS][i % ARGS] != NULL)
            dnnl_memory_destroy(tile->memory[i / ARGS][i % ARGS]);
    if (tile->primitive != NULL)
        dnnl_primitive_destroy(tile->primitive);
    free(tile->memory);
    *tile = (struct tile){0};
}

static dnnl_status_t panel_tile_memory(const struct panels *panels, struct tile *tile, const struct layout *layout,
                                       bool bias)
{
    dnnl_status_t status = dnnl_success;
    tile->memory = calloc((size_t)panels->threads, sizeof *tile->memory);
    if (tile->memory == NULL)
        return dnnl_out_of_memory;
    for (int thread = 0; thread < panels->threads; thread++)
        for (int i = 0; i < ARGS && status == dnnl_success; i++)
            if ((i != ARG_BIAS || bias) && (i != ARG_SCRATCH || tile->scratch > 0))
                status = layout_memory(&tile->memory[thread][i], &layout[i], panels->engine);
    return status;
}

static dnnl_status_t panel_tile_compile(const struct panels *panels, const struct panel *panel, int rows, bool bias,
                                        bool accumulate, struct tile *tile)
{
    struct layout layout[ARGS] = {0};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = panel_tile_layouts(&panel->shape, rows, layout);
    layout[ARG_B] = panel->code->layout;
    if (status == dnnl_success)
        status = panel_tile_describe(&desc, panels->engine, layout, bias, accumulate);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&tile->primitive, desc);
    if (status == dnnl_success)
        status = layout_query(&layout[ARG_SCRATCH], desc, dnnl_query_scratchpad_md);
    if (status == dnnl_success) {
        tile->scratch = layout_size(&layout[ARG_SCRATCH]);
        status = panel_tile_memory(panels, tile, layout, bias);
    }
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    for (int i = 0; i < ARGS; i++)
        if (i != ARG_B)
            layout_drop(&layout[i]);
    if (status != dnnl_success)
        panel_tile_drop(tile, panels->threads);
    return status;
}

bool panel_prepare(struct panels *panels, struct panel *panel, int rows, bool bias, bool accumulate, struct err *err)
{
    dnnl_status_t status = dnnl_success;
    for (int size = panel->unit; size <= panel->most && status == dnnl_success; size += panel->unit) {
        struct tile *tile = &panel->code->tile[size / panel->unit - 1][bias][accumulate];
        if (tile->primitive != NULL || (size > panel->unit && size > rows))
            continue;
        status = panel_tile_compile(panels, panel, size, bias, accumulate, tile);
        if (tile->scratch > panel->scratch)
            panel->scratch = tile->scratch;
    }
    return onednn_check(status, err);
}

bool panel_tile(const struct panels *panels, const struct panel *panel, int thread, int rows, const void *a,
                const void *packed, const float *bias, bool accumulate, float *c, void *scratch)
{
    const struct tile *tile = &panel->code->tile[rows / panel->unit - 1][bias != NULL][accumulate];
    void *handle[ARGS] = {(void *)(uintptr_t)a, (void *)(uintptr_t)packed, (void *)(uintptr_t)bias, c, scratch};
    dnnl_exec_arg_t args[ARGS];
    int count = 0;
    for (int i = 0; i < ARGS; i++) {
        dnnl_memory_t memory = tile->memory[thread][i];
        if (memory == NULL)
            continue;
        if (dnnl_memory_set_data_handle(memory, handle[i]) != dnnl_success)
            return false;
        args[count].arg = panel_arg_id[i];
        args[count++].memory = memory;
    }
    return dnnl_primitive_execute(tile->primitive, panels->stream, count, args) == dnnl_success;
}

/* ---- packing ---- */

static dnnl_status_t panel_pack_compile(const struct panels *panels, struct panel *panel, const struct layout *from)
{
    struct panel_code *code = panel->code;
    dnnl_primitive_desc_t desc = NULL;
    code->pack_memory = calloc((size_t)panels->threads, sizeof *code->pack_memory);
    dnnl_status_t status = code->pack_memory != NULL ? dnnl_success : dnnl_out_of_memory;
    for (int thread = 0; thread < panels->threads && status == dnnl_success; thread++) {
        status = layout_memory(&code->pack_memory[thread].from, from, panels->engine);
        if (status == dnnl_success)
            status = layout_memory(&code->pack_memory[thread].to, &code->layout, panels->engine);
    }
    if (status == dnnl_success)
        status = onednn_describe_reorder(&desc, panels->engine, from, &code->layout);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&code->pack, desc);
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    return status;
}

bool panel_pack(const struct panels *panels, const struct panel *panel, int thread, const float *b, void *packed)
{
    if (panel->size == 0)
        return true;
    const struct pack *memory = &panel->code->pack_memory[thread];
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, memory->from}, {DNNL_ARG_TO, memory->to}};
    return dnnl_memory_set_data_handle(memory->from, (void *)(uintptr_t)b) == dnnl_success &&
           dnnl_memory_set_data_handle(memory->to, packed) == dnnl_success &&
           dnnl_primitive_execute(panel->code->pack, panels->stream, 2, args) == dnnl_success;
}

/* ---- panels ---- */

static void panel_destroy(struct panel *panel, int threads)
{
    struct panel_code *code = panel->code;
    for (int i = 0; i < PANEL_SIZES * 4; i++)
        panel_tile_drop(&code->tile[i / 4][i / 2 % 2][i % 2], threads);
    if (code->pack != NULL)
        dnnl_primitive_destroy(code->pack);
    for (int thread = 0; code->pack_memory != NULL && thread < threads; thread++) {
        if (code->pack_memory[thread].from != NULL)
            dnnl_memory_destroy(code->pack_memory[thread].from);
        if (code->pack_memory[thread].to != NULL)
            dnnl_memory_destroy(code->pack_memory[thread].to);
    }
    free(code->pack_memory);
    layout_drop(&code->layout);
    free(code);
    free(panel);
}

/* Ask oneDNN for its order of B with the largest tile, and for its implementation. */
static dnnl_status_t panel_ask(struct panel *panel, dnnl_engine_t engine, bool *brgemm)
{
    const struct panel_shape *shape = &panel->shape;
    const dnnl_dims_t dims = {shape->K, shape->N};
    struct layout layout[ARGS] = {0};
    dnnl_primitive_desc_t desc = NULL;
    const char *name = "";
    dnnl_status_t status = panel_tile_layouts(shape, PANEL_MOST, layout);
    if (status == dnnl_success)
        status = layout_any(&layout[ARG_B], onednn_type(shape->type), dims);
    if (status == dnnl_success)
        status = panel_tile_describe(&desc, engine, layout, false, false);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    if (status == dnnl_success)
        status = layout_query(&panel->code->layout, desc, dnnl_query_weights_md);
    *brgemm = strncmp(name, "brg", 3) == 0;
    if (desc != NULL)
        dnnl_primitive_desc_destroy(desc);
    for (int i = 0; i < ARGS; i++)
        layout_drop(&layout[i]);
    return status;
}

static dnnl_status_t panel_compile(const struct panels *panels, struct panel *panel)
{
    const struct panel_shape *shape = &panel->shape;
    struct panel_code *code = panel->code;
    struct layout stored = {0};
    bool brgemm;
    dnnl_status_t status = panel_ask(panel, panels->engine, &brgemm);
    panel->unit = brgemm ? PANEL_UNIT : shape->large ? PLAIN_MOST : PLAIN_ROWS;
    panel->most = brgemm ? PANEL_MOST : panel->unit;
    if (status == dnnl_success)
        status = layout_matrix(&stored, dnnl_f32, shape->K, shape->N, shape->ldb, shape->transposed);
    if (status == dnnl_success && (brgemm || !shape->large || shape->type != PRECISION_FP32)) {
        panel->size = (layout_size(&code->layout) + 4095) / 4096 * 4096;
        status = panel_pack_compile(panels, panel, &stored);
        layout_drop(&stored);
    } else {
        layout_drop(&code->layout);
        code->layout = stored;
    }
    return status;
}

static struct panel *panel_make(struct panels *panels, const struct panel_shape *shape, struct err *err)
{
    struct panel *panel = calloc(1, sizeof *panel);
    struct panel_code *code = calloc(1, sizeof *code);
    if (panel == NULL || code == NULL) {
        onednn_check(dnnl_out_of_memory, err);
        free(panel);
        free(code);
        return NULL;
    }
    panel->shape = *shape;
    panel->code = code;
    if (onednn_check(panel_compile(panels, panel), err))
        return panel;
    panel_destroy(panel, panels->threads);
    return NULL;
}

static void panel_forget_oldest(struct panels *panels)
{
    struct panel **oldest = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct panel **at = &panels->bucket[i]; *at != NULL; at = &(*at)->next)
            if (oldest == NULL || (*at)->code->used < (*oldest)->code->used)
                oldest = at;
    struct panel *gone = *oldest;
    *oldest = gone->next;
    panel_destroy(gone, panels->threads);
    panels->count--;
}

static bool panel_same(const struct panel_shape *a, const struct panel_shape *b)
{
    return a->N == b->N && a->K == b->K && a->ldb == b->ldb && a->transposed == b->transposed && a->large == b->large &&
           a->type == b->type;
}

struct panel *panels_get(struct panels *panels, const struct panel_shape *shape, struct err *err)
{
    uint64_t hash = ((uint64_t)shape->N << 32 | (uint64_t)shape->K) * 0x9E3779B97F4A7C15u;
    struct panel **head = &panels->bucket[(hash >> 32) % BUCKETS], *panel = *head;
    while (panel != NULL && !panel_same(&panel->shape, shape))
        panel = panel->next;
    if (panel == NULL) {
        panel = panel_make(panels, shape, err);
        if (panel == NULL)
            return NULL;
        if (panels->count >= PANELS)
            panel_forget_oldest(panels);
        panel->next = *head;
        *head = panel;
        panels->count++;
    }
    panel->code->used = ++panels->tick;
    return panel;
}

/* ---- life ---- */

struct panels *panels_open(int threads, struct err *err)
{
    struct panels *panels = calloc(1, sizeof *panels);
    dnnl_status_t status = panels != NULL ? dnnl_success : dnnl_out_of_memory;
    if (status == dnnl_success) {
        panels->threads = threads;
        status = dnnl_engine_create(&panels->engine, dnnl_cpu, 0);
    }
    if (status == dnnl_success)
        status = dnnl_stream_create(&panels->stream, panels->engine, dnnl_stream_default_flags);
    if (!onednn_check(status, err))
        panels_close(&panels);
    return panels;
}

void panels_close(struct panels **panels)
{
    struct panels *gone = *panels;
    *panels = NULL;
    if (gone == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (gone->bucket[i] != NULL) {
            struct panel *panel = gone->bucket[i];
            gone->bucket[i] = panel->next;
            panel_destroy(panel, gone->threads);
        }
    if (gone->stream != NULL)
        dnnl_stream_destroy(gone->stream);
    if (gone->engine != NULL)
        dnnl_engine_destroy(gone->engine);
    free(gone);
}

/* oneDNN compiles for, and uses, as many threads as OpenMP gives the calling thread. Only the loaded library knows
 * which OpenMP that is, so the function is looked up by name. */
void panels_threads(int threads)
{
    void (*set_threads)(int);
    *(void **)(void *)&set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (set_threads != NULL)
        set_threads(threads);
}

void panels_single_thread(void)
{
    panels_threads(1);
}

void panels_version(char *text, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
}

bool panels_have_bf16(void)
{
    switch ((int)dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_avx512_core_bf16:
    case dnnl_cpu_isa_avx512_core_amx:
#if DNNL_VERSION_MAJOR >= 3
    case dnnl_cpu_isa_avx512_core_fp16:
    case dnnl_cpu_isa_avx512_core_amx_fp16:
#endif
        return true;
    default:
        return false;
    }
}

const char *panels_isa(void)
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
