/* panel_product.c - GEMMs cut into oneDNN's tiles: which part of K and of N, which rows, on which thread.
 *
 * B is cut into blocks that fit a core's cache, and each is packed into a panel. Where B is wide (the projection to a
 * vocabulary), each thread packs and multiplies columns of its own; else the threads share the rows of C. A thread
 * takes rows in tiles of nearly equal height; fewer rows than the smallest tile are padded in our memory. Where A is
 * transposed (weight gradients, K = positions), the sum runs over chunks of K. The last chunk is padded with zeros to a
 * multiple of K_UNIT, and the tiles of A are transposed first. So M and K may be any number, and there are few shapes
 * to compile. */
#include "kernels/cpu/gemm/panel_product.h"

#include "kernels/cpu/gemm/area.h"
#include "kernels/cpu/gemm/panel.h"

#include <stdatomic.h>
#include <string.h>

/* Rows of B in a chunk under a transposed A; the last chunk is padded to a multiple of K_UNIT. */
enum { K_CHUNK = 256, K_UNIT = 16 };

/* A side of B with LARGE elements or more is cut. Columns and rows of a block. */
enum { LARGE = 2048, N_BLOCK = 512, K_BLOCK = 1024 };

/* With fewer multiply-adds, or elements to pack, another thread costs more than it gains. */
static const double WORTH = 256.0 * 1024.0;
enum { PACK_WORTH = 256 * 1024 };

/* Parts of a GEMM for each thread, where there are that many: see team.h. */
enum { PARTS = 4 };

/* Rows k.. and columns n.. of B. */
struct block {
    struct panel *panel;
    const float *b;   /* where it is stored                          */
    int k, n, height; /* height: rows of B; the panel may have more  */
    size_t at;        /* of its packed form in the memory            */
};

struct panel_packed {
    int N, K;             /* of B             */
    struct block *blocks; /* [columns][rows] */
    int columns, rows;
    size_t capacity; /* blocks allocated */
    struct area memory;
};

struct panel_products {
    struct team *team;
    int threads;
    enum precision type;
    const struct vector_table *vector;
    struct panels *panels;
    struct panel_packed own; /* B of the running GEMM              */
    struct area stage;       /* the last chunk of B, padded                   */
    struct area *scratch;    /* [threads] tiles of C and A, and oneDNN's part */
};

/* What the threads of a running GEMM share. */
struct run {
    struct panel_products *products;
    const struct gemm *gemm;
    const struct panel_packed *packed;
    bool by_columns; /* threads share the columns, else the rows          */
    bool packs;      /* each thread packs its columns before it starts */
    atomic_bool failed;
};

static int panel_product_least(int a, int b)
{
    return a < b ? a : b;
}

/* ---- a tile ---- */

/* A thread's scratch: a tile of C, one of A as stored, one of A in bf16, and oneDNN's scratch. */
static size_t panel_product_scratch_a(const struct panel *panel)
{
    return area_round((size_t)panel->most * (size_t)panel->shape.N * sizeof(float), 4096);
}

static size_t panel_product_scratch_half(const struct panel *panel)
{
    return panel_product_scratch_a(panel) +
           area_round((size_t)panel->most * (size_t)panel->shape.K * sizeof(float), 4096);
}

static size_t panel_product_scratch_theirs(const struct panel *panel)
{
    size_t half = panel->shape.type == PRECISION_BF16 ? (size_t)panel->most * (size_t)panel->shape.K : 0;
    return panel_product_scratch_half(panel) + area_round(half * sizeof(uint16_t), 4096);
}

/* Rows of the tile that takes `rows` rows. */
static int panel_product_height(const struct panel *panel, int rows)
{
    return rows < panel->unit ? panel->unit : rows;
}

static float *panel_product_floats(char *memory)
{
    return (float *)(void *)memory;
}

/* rows x width floats; stored rows are `from_stride` and `to_stride` apart. */
static void panel_product_copy(float *to, size_t to_stride, const float *from, size_t from_stride, int rows, int width)
{
    for (int r = 0; r < rows; r++)
        memcpy(to + (size_t)r * to_stride, from + (size_t)r * from_stride, (size_t)width * sizeof *to);
}

/* out[r][k] = a[k][r] for `rows` x K of `height` x `width`; the rest is zero. `stride` is the stored row of a. */
static void panel_product_turn(const float *a, size_t stride, int rows, int K, int height, int width, float *out)
{
    enum { STRIP = 16 };
    if (rows < height || K < width)
        memset(out, 0, (size_t)height * (size_t)width * sizeof *out);
    for (int first = 0; first < rows; first += STRIP) {
        int last = panel_product_least(first + STRIP, rows);
        for (int k = 0; k < K; k++)
            for (int r = first; r < last; r++)
                out[(size_t)r * (size_t)width + (size_t)k] = a[(size_t)k * stride + (size_t)r];
    }
}

static uint16_t *panel_product_halves(char *memory)
{
    return (uint16_t *)(void *)memory;
}

/* Copy `rows` rows of A, stored `lda` apart, for a tile of `height` rows: dense, padded with zeros, of the panel's
 * type. */
static const void *panel_product_plain_a(const struct run *run, const struct panel *panel, int thread, int rows,
                                         const float *a, size_t lda)
{
    const struct panel_products *products = run->products;
    char *scratch = products->scratch[thread].memory;
    size_t K = (size_t)panel->shape.K, missing = (size_t)(panel_product_height(panel, rows) - rows) * K;
    if (panel->shape.type == PRECISION_BF16) {
        uint16_t *half = panel_product_halves(scratch + panel_product_scratch_half(panel));
        for (int r = 0; r < rows; r++)
            products->vector->to_bf16(K, a + (size_t)r * lda, half + (size_t)r * K);
        memset(half + (size_t)rows * K, 0, missing * sizeof *half);
        return half;
    }
    if (missing == 0 && lda == K)
        return a;
    float *own = panel_product_floats(scratch + panel_product_scratch_a(panel));
    panel_product_copy(own, K, a, lda, rows, (int)K);
    memset(own + (size_t)rows * K, 0, missing * sizeof *own);
    return own;
}

/* The same from a transposed A: `rows` columns of `depth` of its rows. */
static const void *panel_product_turned_a(const struct run *run, const struct panel *panel, int thread, int rows,
                                          const float *a, int depth)
{
    const struct panel_products *products = run->products;
    char *scratch = products->scratch[thread].memory;
    size_t K = (size_t)panel->shape.K, stride = (size_t)run->gemm->M;
    int height = panel_product_height(panel, rows);
    if (panel->shape.type == PRECISION_BF16) {
        uint16_t *half = panel_product_halves(scratch + panel_product_scratch_half(panel));
        products->vector->turn_to_bf16((size_t)rows, (size_t)depth, a, stride, K, half);
        memset(half + (size_t)rows * K, 0, (size_t)(height - rows) * K * sizeof *half);
        return half;
    }
    float *own = panel_product_floats(scratch + panel_product_scratch_a(panel));
    panel_product_turn(a, stride, rows, depth, height, panel->shape.K, own);
    return own;
}

/* `rows` rows of C (+)= A B (+ bias) in one tile; stored rows of C are ldc apart. Rows that are not dense, or fewer
 * than a unit, go through copies. */
static bool panel_product_tile(const struct panel_products *products, const struct panel_packed *packed,
                               const struct block *block, int thread, int rows, const void *tile_a, const float *bias,
                               bool accumulate, float *c, size_t ldc)
{
    const struct panel *panel = block->panel;
    char *scratch = products->scratch[thread].memory, *theirs = scratch + panel_product_scratch_theirs(panel);
    int N = panel->shape.N, height = panel_product_height(panel, rows);
    const void *tile_b = panel->size > 0 ? (const void *)(packed->memory.memory + block->at) : block->b;
    if (bias != NULL)
        bias += block->n;
    if (rows == height && ldc == (size_t)N)
        return panel_tile(products->panels, panel, thread, rows, tile_a, tile_b, bias, accumulate, c, theirs);

    float *own_c = panel_product_floats(scratch);
    if (accumulate) {
        panel_product_copy(own_c, (size_t)N, c, ldc, rows, N);
        memset(own_c + (size_t)rows * (size_t)N, 0, (size_t)(height - rows) * (size_t)N * sizeof *own_c);
    }
    bool ok = panel_tile(products->panels, panel, thread, height, tile_a, tile_b, bias, accumulate, own_c, theirs);
    panel_product_copy(c, ldc, own_c, (size_t)N, rows, N);
    return ok;
}

/* How many of `rows` rows the next tile takes: nearly equal multiples of the unit, until less than a unit is left.
 */
static int panel_product_next_rows(const struct panel *panel, int rows)
{
    int tiles = (rows + panel->most - 1) / panel->most;
    int even = (rows / tiles + panel->unit - 1) / panel->unit * panel->unit;
    if (even > panel->most)
        even = panel->most;
    return rows < panel->unit ? rows : even <= rows ? even : rows / panel->unit * panel->unit;
}

/* ---- a thread's part of a GEMM ---- */

/* Rows first..last-1 of A [M, K] times one column of blocks. */
static bool panel_product_plain(const struct run *run, int column, int thread, int first, int last)
{
    const struct gemm *g = run->gemm;
    const struct panel_packed *packed = run->packed;
    size_t lda = (size_t)g->K;
    bool ok = true;
    for (int i = 0; i < packed->rows && ok; i++) {
        const struct block *block = &packed->blocks[column * packed->rows + i];
        for (int row = first, rows; row < last && ok; row += rows) {
            rows = panel_product_next_rows(block->panel, last - row);
            const void *a = panel_product_plain_a(run, block->panel, thread, rows,
                                                  g->a + (size_t)row * lda + (size_t)block->k, lda);
            ok = panel_product_tile(run->products, packed, block, thread, rows, a, i == 0 ? g->bias : NULL,
                                    i > 0 || g->accumulate, g->c + (size_t)row * (size_t)g->N + (size_t)block->n,
                                    (size_t)g->N);
        }
    }
    return ok;
}

/* Rows first..last-1 of C under a transposed A: transpose a tile's chunks of A one after the other. */
static bool panel_product_turned(const struct run *run, int column, int thread, int first, int last)
{
    const struct gemm *g = run->gemm;
    const struct panel_packed *packed = run->packed;
    const struct block *blocks = &packed->blocks[column * packed->rows];
    bool ok = true;
    for (int row = first, rows; row < last && ok; row += rows) {
        rows = panel_product_next_rows(blocks[0].panel, last - row);
        for (int i = 0; i < packed->rows && ok; i++) {
            const void *a =
                panel_product_turned_a(run, blocks[i].panel, thread, rows,
                                       g->a + (size_t)blocks[i].k * (size_t)g->M + (size_t)row, blocks[i].height);
            ok = panel_product_tile(run->products, packed, &blocks[i], thread, rows, a, i == 0 ? g->bias : NULL,
                                    i > 0 || g->accumulate, g->c + (size_t)row * (size_t)g->N + (size_t)blocks[i].n,
                                    (size_t)g->N);
        }
    }
    return ok;
}

static bool panel_product_pack_block(const struct panel_products *products, const struct panel_packed *packed,
                                     int index, int thread)
{
    const struct block *block = &packed->blocks[index];
    return panel_pack(products->panels, block->panel, thread, block->b, packed->memory.memory + block->at);
}

/* The beginning of part `thread` of `count` items. */
static int panel_product_cut(int count, int thread, int threads)
{
    return (int)((int64_t)count * thread / threads);
}

static void panel_product_pack_part(void *context, int thread, int part, int parts)
{
    struct run *run = context;
    (void)parts;
    if (!panel_product_pack_block(run->products, run->packed, part, thread))
        run->failed = true;
}

/* A part is a column of blocks, or rows of C. */
static void panel_product_multiply_part(void *context, int thread, int part, int parts)
{
    struct run *run = context;
    const struct panel_packed *packed = run->packed;
    int unit = packed->blocks[0].panel->unit, M = run->gemm->M, units = (M + unit - 1) / unit;
    int column = run->by_columns ? part : 0, end = run->by_columns ? part + 1 : packed->columns;
    int first = run->by_columns ? 0 : panel_product_cut(units, part, parts) * unit;
    int last = run->by_columns ? M : panel_product_least(panel_product_cut(units, part + 1, parts) * unit, M);
    bool ok = true;
    for (; column < end && ok; column++) {
        for (int i = 0; run->packs && i < packed->rows && ok; i++)
            ok = panel_product_pack_block(run->products, packed, column * packed->rows + i, thread);
        ok = ok &&
             (run->gemm->transpose_a ? panel_product_turned : panel_product_plain)(run, column, thread, first, last);
    }
    if (!ok)
        run->failed = true;
}

/* How many parts: the columns of blocks, or nearly equal shares of the rows, of a tile's height at best. */
static int panel_product_parts(const struct run *run, int threads)
{
    int tiles = run->gemm->M / PANEL_MOST, most = threads * PARTS;
    if (run->by_columns)
        return run->packed->columns;
    return threads < 2 ? 1 : tiles <= threads ? threads : tiles < most ? tiles : most;
}

/* ---- cutting B ---- */

/* Copy rows k..k+rows-1 of B, padded with zeros to `height` rows. */
static bool panel_product_stage(struct panel_products *products, const struct gemm *g, int k, int rows, int height,
                                struct err *err)
{
    size_t N = (size_t)g->N;
    if (!area_reserve(&products->stage, (size_t)K_CHUNK * N * sizeof(float), err))
        return false;
    float *stage = panel_product_floats(products->stage.memory);
    if (g->transpose_b)
        panel_product_turn(g->b + k, (size_t)g->K, rows, g->N, rows, g->N, stage);
    else
        memcpy(stage, g->b + (size_t)k * N, (size_t)rows * N * sizeof *stage);
    memset(stage + (size_t)rows * N, 0, (size_t)(height - rows) * N * sizeof *stage);
    return true;
}

/* The panel of a block of width `width` at block->k, block->n; staged: its rows are padded to `height`.
 */
static bool panel_product_block(struct panel_products *products, const struct gemm *g, int width, int height,
                                bool staged, struct block *block, struct err *err)
{
    struct panel_shape shape = {
        .N = width,
        .K = height,
        .ldb = !staged && g->transpose_b ? g->K : g->N,
        .transposed = !staged && g->transpose_b,
        .large = g->N >= LARGE || (g->K >= LARGE && !g->transpose_a),
        .type = products->type,
    };
    block->panel = panels_get(products->panels, &shape, err);
    size_t n = (size_t)block->n, k = (size_t)block->k;
    if (staged)
        block->b = panel_product_floats(products->stage.memory) + n;
    else
        block->b = shape.transposed ? g->b + n * (size_t)g->K + k : g->b + k * (size_t)g->N + n;
    return block->panel != NULL;
}

/* The block of `height` rows at k, n. The last chunk under a transposed A is padded to a multiple of K_UNIT, or to a
 * whole chunk if its panel would not take the tiles of A of the chunks before. */
static bool panel_product_cut_block(struct panel_products *products, const struct gemm *g, const struct block *before,
                                    int width, struct block *block, struct err *err)
{
    int padded = (int)area_round((size_t)block->height, K_UNIT);
    if (!g->transpose_a || padded == block->height)
        return panel_product_block(products, g, width, block->height, false, block, err);
    for (;;) {
        if (!panel_product_stage(products, g, block->k, block->height, padded, err) ||
            !panel_product_block(products, g, width, padded, true, block, err))
            return false;
        if (before == NULL || padded == K_CHUNK ||
            (block->panel->unit == before->panel->unit && block->panel->most == before->panel->most))
            return true;
        padded = K_CHUNK;
    }
}

static bool panel_product_reserve_blocks(struct panel_packed *packed, size_t count, struct err *err)
{
    if (count <= packed->capacity)
        return true;
    struct block *blocks = realloc(packed->blocks, count * sizeof *blocks);
    if (blocks == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a matrix product");
    packed->blocks = blocks;
    packed->capacity = count;
    return true;
}

/* Cut B of a GEMM into blocks, and give each its place in the memory. */
static bool panel_product_cut_b(struct panel_products *products, const struct gemm *g, struct panel_packed *packed,
                                struct err *err)
{
    int width = g->N >= LARGE ? N_BLOCK : g->N;
    int height = g->transpose_a ? K_CHUNK : g->K >= LARGE ? K_BLOCK : g->K;
    size_t size = 0;
    packed->N = g->N;
    packed->K = g->K;
    packed->columns = (g->N + width - 1) / width;
    packed->rows = (g->K + height - 1) / height;
    if (!panel_product_reserve_blocks(packed, (size_t)packed->columns * (size_t)packed->rows, err))
        return false;
    for (int i = 0; i < packed->columns * packed->rows; i++) {
        struct block *block = &packed->blocks[i];
        int row = i % packed->rows;
        *block = (struct block){.n = i / packed->rows * width, .k = row * height, .at = size};
        block->height = panel_product_least(height, g->K - block->k);
        if (!panel_product_cut_block(products, g, row > 0 ? block - 1 : NULL,
                                     panel_product_least(width, g->N - block->n), block, err))
            return false;
        size += block->panel->size;
    }
    return area_reserve(&packed->memory, size, err);
}

/* ---- a GEMM ---- */

static bool panel_product_prepare(struct panel_products *products, const struct panel_packed *packed,
                                  const struct gemm *g, struct err *err)
{
    bool ok = true;
    for (int i = 0; i < packed->columns * packed->rows && ok; i++) {
        struct panel *panel = packed->blocks[i].panel;
        bool first = i % packed->rows == 0;
        ok = panel_prepare(products->panels, panel, g->M, first && g->bias != NULL, !first || g->accumulate, err);
        for (int thread = 0; thread < products->threads && ok; thread++)
            ok = area_reserve(&products->scratch[thread], panel_product_scratch_theirs(panel) + panel->scratch, err);
    }
    return ok;
}

static int panel_product_threads(const struct panel_products *products, double work)
{
    return work < 2.0 ? 1 : work < products->threads ? (int)work : products->threads;
}

static bool panel_product_failed(const struct gemm *g, struct err *err)
{
    return err_set(err, ERR_FAILED, "a matrix product of %d x %d x %d failed", g->M, g->N, g->K);
}

static bool panel_product_pack_all(struct run *run, struct err *err)
{
    struct panel_products *products = run->products;
    double elements = (double)run->packed->N * (double)run->packed->K;
    team_run(products->team, panel_product_threads(products, elements / PACK_WORTH),
             run->packed->columns * run->packed->rows, panel_product_pack_part, run);
    return !run->failed || panel_product_failed(run->gemm, err);
}

bool panel_products_run(struct panel_products *products, const struct gemm *gemm, const struct panel_packed *packed,
                        struct err *err)
{
    struct run run = {.products = products, .gemm = gemm, .packed = packed};
    int threads = panel_product_threads(products, (double)gemm->M * (double)gemm->N * (double)gemm->K / WORTH);
    if (run.packed == NULL) {
        if (!panel_product_cut_b(products, gemm, &products->own, err))
            return false;
        run.packed = &products->own;
    }
    run.by_columns = !gemm->transpose_a && run.packed->columns >= PARTS * threads;
    run.packs = run.by_columns && packed == NULL;
    if (!panel_product_prepare(products, run.packed, gemm, err) ||
        (packed == NULL && !run.packs && !panel_product_pack_all(&run, err)))
        return false;
    team_run(products->team, threads, panel_product_parts(&run, threads), panel_product_multiply_part, &run);
    return !run.failed || panel_product_failed(gemm, err);
}

/* ---- prepacked ---- */

static bool panel_product_pack_whole(struct panel_products *products, const float *b, int N, int K, bool transposed,
                                     struct panel_packed *packed, struct err *err)
{
    const struct gemm gemm = {.M = PANEL_MOST, .N = N, .K = K, .b = b, .transpose_b = transposed};
    struct run run = {.products = products, .gemm = &gemm, .packed = packed};
    return panel_product_cut_b(products, &gemm, packed, err) && panel_product_pack_all(&run, err);
}

struct panel_packed *panel_products_keep(struct panel_products *products, const float *b, int N, int K, bool transposed,
                                         struct err *err)
{
    struct panel_packed *packed = calloc(1, sizeof *packed);
    if (packed == NULL)
        err_set(err, ERR_MEMORY, "no memory for a packed matrix");
    else if (!panel_product_pack_whole(products, b, N, K, transposed, packed, err))
        panel_packed_destroy(&packed);
    return packed;
}

void panel_packed_destroy(struct panel_packed **packed)
{
    if (*packed != NULL) {
        free((*packed)->blocks);
        free((*packed)->memory.memory);
        free(*packed);
    }
    *packed = NULL;
}

struct panel_packed *panel_products_pack(struct panel_products *products, const float *b, int N, int K, bool transposed,
                                         struct err *err)
{
    return panel_product_pack_whole(products, b, N, K, transposed, &products->own, err) ? &products->own : NULL;
}

bool panel_products_prepare(struct panel_products *products, const struct panel_packed *packed, int rows,
                            struct err *err)
{
    const struct gemm gemm = {.M = rows};
    return panel_product_prepare(products, packed, &gemm, err);
}

bool panel_products_rows(struct panel_products *products, const struct panel_packed *packed, int thread, int rows,
                         const float *a, float *c)
{
    const struct gemm gemm = {.M = rows, .N = packed->N, .K = packed->K, .a = a, .c = c};
    const struct run run = {.products = products, .gemm = &gemm, .packed = packed};
    bool ok = true;
    for (int column = 0; column < packed->columns && ok; column++)
        ok = panel_product_plain(&run, column, thread, 0, rows);
    return ok;
}

/* ---- life ---- */

struct panel_products *panel_products_open(struct team *team, enum precision type, const struct vector_table *vector,
                                           struct err *err)
{
    int threads = team_threads(team);
    struct panel_products *products = calloc(1, sizeof *products);
    struct area *scratch = calloc((size_t)threads, sizeof *scratch);
    if (products == NULL || scratch == NULL) {
        err_set(err, ERR_MEMORY, "no memory for matrix products");
        free(products);
        free(scratch);
        return NULL;
    }
    products->team = team;
    products->threads = threads;
    products->type = type;
    products->vector = vector;
    products->scratch = scratch;
    products->panels = panels_open(threads, err);
    if (products->panels == NULL)
        panel_products_close(&products);
    return products;
}

void panel_products_close(struct panel_products **products)
{
    struct panel_products *gone = *products;
    *products = NULL;
    if (gone == NULL)
        return;
    panels_close(&gone->panels);
    for (int thread = 0; thread < gone->threads; thread++)
        free(gone->scratch[thread].memory);
    free(gone->scratch);
    free(gone->own.blocks);
    free(gone->own.memory.memory);
    free(gone->stage.memory);
    free(gone);
}
