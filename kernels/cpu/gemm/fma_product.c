/* fma_product.c - how an fp32 GEMM is cut: into parts for the threads, those into blocks of B, those into tiles.
 *
 * The longer side of C is cut into parts. A part takes a block of B, some panels wide and some rows deep, small enough
 * to stay in the core's cache while the part's rows of A pass by, six at a time. Where B is wide and not prepacked,
 * each part packs the blocks that it uses. Else all threads pack B first, or tiles read it in place, if its rows are
 * short and whole vectors. A transposed A is copied in strips of some rows, so that tiles read it in order. */
#include "kernels/cpu/gemm/fma_product.h"

#include "kernels/cpu/gemm/area.h"

/* Rows of B in a block, and floats in it: A and C then fit beside it in a second-level cache of 1 MiB or more. */
enum { DEPTH = 640, BLOCK = 192 * 1024 };

/* Panels of a part where threads share the columns. */
enum { PART_PANELS = 4 };

/* Rows of A in a strip; parts and strips begin at multiples of STRIP_UNIT, a cache line. */
enum { STRIP = 96, STRIP_UNIT = 16 };

/* The longest row of a B that is read in place: longer rows use too few sets of the cache and too many pages. */
enum { ROW_MOST = 512 };

/* With fewer multiply-adds, or elements to pack, another thread costs more than it gains. */
static const double WORTH = 256.0 * 1024.0;
enum { PACK_WORTH = 64 * 1024 };

/* Parts of a GEMM for each thread: see team.h. Where B is larger than a cache there are fewer, because each part
 * reads it again. */
enum { PARTS = 4, B_LARGE = 384 * 1024 };

struct fma_packed {
    int N, K;
    const float *b;    /* panel p from row k on is at b + p * panel + k * row */
    size_t panel, row; /* floats from a panel to the next, from a row to the next */
    struct area memory;
};

struct fma_products {
    struct team *team;
    int threads;
    const struct fma_table *table;
    struct fma_packed own; /* B of the running GEMM           */
    struct area *scratch;  /* [threads] a block of B, and a strip of A   */
};

/* What the threads of a running GEMM share. */
struct job {
    const struct fma_products *products;
    const struct gemm *gemm;
    const struct fma_packed *packed; /* NULL: each part packs its blocks */
    bool by_columns;
    int panels;     /* of B                       */
    int depth;      /* rows of B in a block       */
    int width;      /* most panels in a block     */
    size_t packing; /* floats that a part packs at a time; a strip of A follows them */
};

/* Panels first..last-1 and rows k..k+depth-1 of B. */
struct block {
    int first, last, k, depth;
    const float *b; /* panel `first` from row k on, and as in struct fma_packed */
    size_t panel, row;
};

/* Where part `part` of 0..count-1 begins, at a multiple of `unit`. */
static int fma_product_cut(int count, int unit, int part, int parts)
{
    int64_t units = (count + unit - 1) / unit, at = units * part / parts * unit;
    return at < count ? (int)at : count;
}

static int fma_product_least(int a, int b)
{
    return a < b ? a : b;
}

static int fma_product_pieces(int count, int most)
{
    return count > 0 ? (count + most - 1) / most : 1;
}

/* ---- packing ---- */

/* Panel `panel` of B, rows k..k+depth-1, dense. */
static void fma_product_pack_panel(const struct fma_table *table, const float *b, int N, int K, bool transposed,
                                   int panel, int k, int depth, float *to)
{
    size_t width = (size_t)table->width, n = (size_t)panel * width, stride = transposed ? (size_t)K : (size_t)N;
    size_t columns = (size_t)N - n < width ? (size_t)N - n : width;
    if (transposed)
        table->turn((size_t)depth, columns, b + n * stride + (size_t)k, stride, to);
    else
        table->copy((size_t)depth, columns, b + (size_t)k * stride + n, stride, to, width);
}

struct packing {
    const struct fma_table *table;
    const float *b;
    int N, K;
    bool transposed;
    float *to;
};

static void fma_product_pack_part(void *context, int thread, int part, int parts)
{
    const struct packing *p = context;
    size_t size = (size_t)p->K * (size_t)p->table->width;
    (void)thread, (void)parts;
    fma_product_pack_panel(p->table, p->b, p->N, p->K, p->transposed, part, 0, p->K, p->to + (size_t)part * size);
}

static int fma_product_threads(const struct fma_products *products, double work)
{
    return work < 2.0 ? 1 : work < products->threads ? (int)work : products->threads;
}

/* Whether B can be read in place. */
static bool fma_product_lies_well(const struct fma_table *table, int N, bool transposed)
{
    return !transposed && N % table->lanes == 0 && N <= ROW_MOST;
}

static bool fma_product_pack(const struct fma_products *products, const float *b, int N, int K, bool transposed,
                             struct fma_packed *packed, struct err *err)
{
    const struct fma_table *table = products->table;
    size_t width = (size_t)table->width;
    int panels = fma_product_pieces(N, table->width);
    packed->N = N;
    packed->K = K;
    if (fma_product_lies_well(table, N, transposed)) {
        packed->b = b;
        packed->panel = width;
        packed->row = (size_t)N;
        return true;
    }
    packed->panel = (size_t)K * width;
    packed->row = width;
    if (!area_reserve(&packed->memory, (size_t)panels * packed->panel * sizeof(float), err))
        return false;
    packed->b = area_floats(&packed->memory);
    struct packing packing = {table, b, N, K, transposed, area_floats(&packed->memory)};
    team_run(products->team, fma_product_threads(products, (double)N * (double)K / PACK_WORTH), panels,
             fma_product_pack_part, &packing);
    return true;
}

/* ---- a part of a GEMM ---- */

/* Rows first..first+count-1 of C, in tiles of nearly equal height. Element r, k of A is a[r a_row + k a_k]. */
static void fma_product_multiply(const struct fma_table *table, const struct gemm *g, const struct block *block,
                                 int first, int count, const float *a, size_t a_row, size_t a_k)
{
    size_t N = (size_t)g->N;
    int tiles = fma_product_pieces(count, FMA_ROWS);
    struct fma_tile tile = {.K = block->depth,
                            .a_row = a_row,
                            .a_k = a_k,
                            .b_k = block->row,
                            .c_row = N,
                            .accumulate = g->accumulate || block->k > 0};
    for (int i = 0; i < tiles; i++) {
        int row = fma_product_cut(count, 1, i, tiles);
        tile.rows = fma_product_cut(count, 1, i + 1, tiles) - row;
        tile.a = a + (size_t)row * a_row;
        for (int p = block->first; p < block->last; p++) {
            int n = p * table->width;
            tile.columns = fma_product_least(table->width, g->N - n);
            tile.b = block->b + (size_t)(p - block->first) * block->panel;
            tile.bias = g->bias != NULL && block->k == 0 ? g->bias + n : NULL;
            tile.c = g->c + (size_t)(first + row) * N + (size_t)n;
            table->tile(&tile);
        }
    }
}

/* The same from an A that is stored transposed: strip by strip. */
static void fma_product_multiply_strips(const struct fma_table *table, const struct gemm *g, const struct block *block,
                                        int first, int count, float *strip)
{
    int strips = fma_product_pieces(count, STRIP);
    size_t M = (size_t)g->M, depth = (size_t)block->depth;
    for (int i = 0; i < strips; i++) {
        int row = first + fma_product_cut(count, STRIP_UNIT, i, strips),
            next = first + fma_product_cut(count, STRIP_UNIT, i + 1, strips);
        if (row == next)
            continue;
        table->copy(depth, (size_t)(next - row), g->a + (size_t)block->k * M + (size_t)row, M, strip, STRIP);
        fma_product_multiply(table, g, block, row, next - row, strip, 1, STRIP);
    }
}

/* Find the block's panels; pack them into `memory` unless they are packed already. */
static void fma_product_find_block(const struct job *job, struct block *block, float *memory)
{
    const struct fma_table *table = job->products->table;
    const struct gemm *g = job->gemm;
    const struct fma_packed *packed = job->packed;
    if (packed != NULL) {
        block->b = packed->b + (size_t)block->first * packed->panel + (size_t)block->k * packed->row;
        block->panel = packed->panel;
        block->row = packed->row;
        return;
    }
    block->b = memory;
    block->row = (size_t)table->width;
    block->panel = (size_t)block->depth * block->row;
    for (int p = block->first; p < block->last; p++)
        fma_product_pack_panel(table, g->b, g->N, g->K, g->transpose_b, p, block->k, block->depth,
                               memory + (size_t)(p - block->first) * block->panel);
}

/* Rows first..last-1 of C, panels from..to-1. */
static void fma_product_region(const struct job *job, int thread, int first, int last, int from, int to)
{
    const struct gemm *g = job->gemm;
    const struct fma_table *table = job->products->table;
    float *memory = area_floats(&job->products->scratch[thread]);
    int groups = fma_product_pieces(to - from, job->width), depths = fma_product_pieces(g->K, job->depth);
    for (int i = 0; i < groups; i++)
        for (int j = 0; j < depths; j++) {
            struct block block = {.first = from + fma_product_cut(to - from, 1, i, groups),
                                  .last = from + fma_product_cut(to - from, 1, i + 1, groups),
                                  .k = fma_product_cut(g->K, 1, j, depths)};
            block.depth = fma_product_cut(g->K, 1, j + 1, depths) - block.k;
            fma_product_find_block(job, &block, memory);
            if (g->transpose_a)
                fma_product_multiply_strips(table, g, &block, first, last - first, memory + job->packing);
            else
                fma_product_multiply(table, g, &block, first, last - first,
                                     g->a + (size_t)first * (size_t)g->K + (size_t)block.k, (size_t)g->K, 1);
        }
}

static void fma_product_part(void *context, int thread, int part, int parts)
{
    const struct job *job = context;
    int M = job->gemm->M, unit = job->gemm->transpose_a ? STRIP_UNIT : 1;
    if (job->by_columns)
        fma_product_region(job, thread, 0, M, fma_product_cut(job->panels, 1, part, parts),
                           fma_product_cut(job->panels, 1, part + 1, parts));
    else
        fma_product_region(job, thread, fma_product_cut(M, unit, part, parts),
                           fma_product_cut(M, unit, part + 1, parts), 0, job->panels);
}

/* ---- a GEMM ---- */

static int fma_product_parts(const struct job *job, int threads)
{
    const struct gemm *g = job->gemm;
    if (job->by_columns) {
        int most = fma_product_pieces(job->panels, PART_PANELS), even = fma_product_least(job->panels, threads * PARTS);
        return most > even ? most : even;
    }
    double b = (double)g->N * (double)g->K;
    return fma_product_least(b > B_LARGE ? threads : threads * PARTS, fma_product_pieces(g->M, STRIP_UNIT));
}

/* For every thread of the team: a late thread may find this job's parts taken, and take some of the next job. */
static bool fma_product_reserve_scratch(struct fma_products *products, const struct job *job, struct err *err)
{
    size_t strip = job->gemm->transpose_a ? (size_t)STRIP * (size_t)job->depth : 0;
    size_t size = (job->packing + strip) * sizeof(float);
    bool ok = true;
    for (int i = 0; i < products->threads && ok; i++)
        ok = area_reserve(&products->scratch[i], size, err);
    return ok;
}

bool fma_products_run(struct fma_products *products, const struct gemm *gemm, const struct fma_packed *packed,
                      struct err *err)
{
    int threads = fma_product_threads(products, (double)gemm->M * (double)gemm->N * (double)gemm->K / WORTH);
    struct job job = {.products = products, .gemm = gemm, .packed = packed};
    job.panels = fma_product_pieces(gemm->N, products->table->width);
    job.by_columns = !gemm->transpose_a && gemm->N > gemm->M;
    job.depth = fma_product_pieces(gemm->K, fma_product_pieces(gemm->K, DEPTH));
    if (packed == NULL && (!job.by_columns || fma_product_lies_well(products->table, gemm->N, gemm->transpose_b))) {
        if (!fma_product_pack(products, gemm->b, gemm->N, gemm->K, gemm->transpose_b, &products->own, err))
            return false;
        job.packed = &products->own;
    }
    int fit = BLOCK / (job.depth * products->table->width);
    job.width = fma_product_least(job.panels, fit > 1 ? fit : 1);
    if (job.packed == NULL)
        job.packing = (size_t)job.width * (size_t)job.depth * (size_t)products->table->width;
    if (!fma_product_reserve_scratch(products, &job, err))
        return false;
    team_run(products->team, threads, fma_product_parts(&job, threads), fma_product_part, &job);
    return true;
}

void fma_products_rows(const struct fma_products *products, const struct fma_packed *packed, int rows, const float *a,
                       float *c)
{
    const struct fma_table *table = products->table;
    const struct gemm gemm = {.M = rows, .N = packed->N, .K = packed->K, .a = a, .c = c};
    const struct block block = {.last = fma_product_pieces(packed->N, table->width),
                                .depth = packed->K,
                                .b = packed->b,
                                .panel = packed->panel,
                                .row = packed->row};
    fma_product_multiply(table, &gemm, &block, 0, rows, a, (size_t)packed->K, 1);
}

/* ---- prepacked ---- */

struct fma_packed *fma_products_keep(struct fma_products *products, const float *b, int N, int K, bool transposed,
                                     struct err *err)
{
    struct fma_packed *packed = calloc(1, sizeof *packed);
    if (packed == NULL)
        err_set(err, ERR_MEMORY, "no memory for a packed matrix");
    else if (!fma_product_pack(products, b, N, K, transposed, packed, err))
        fma_packed_destroy(&packed);
    return packed;
}

void fma_packed_destroy(struct fma_packed **packed)
{
    if (*packed != NULL) {
        free((*packed)->memory.memory);
        free(*packed);
    }
    *packed = NULL;
}

struct fma_packed *fma_products_pack(struct fma_products *products, const float *b, int N, int K, bool transposed,
                                     struct err *err)
{
    return fma_product_pack(products, b, N, K, transposed, &products->own, err) ? &products->own : NULL;
}

/* ---- life ---- */

struct fma_products *fma_products_open(struct team *team, const struct fma_table *table, struct err *err)
{
    int threads = team_threads(team);
    struct fma_products *products = calloc(1, sizeof *products);
    struct area *scratch = calloc((size_t)threads, sizeof *scratch);
    if (products == NULL || scratch == NULL) {
        err_set(err, ERR_MEMORY, "no memory for matrix products");
        free(products);
        free(scratch);
        return NULL;
    }
    *products = (struct fma_products){.team = team, .threads = threads, .table = table, .scratch = scratch};
    return products;
}

void fma_products_close(struct fma_products **products)
{
    struct fma_products *gone = *products;
    *products = NULL;
    if (gone == NULL)
        return;
    for (int thread = 0; thread < gone->threads; thread++)
        free(gone->scratch[thread].memory);
    free(gone->scratch);
    free(gone->own.memory.memory);
    free(gone);
}
