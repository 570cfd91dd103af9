/* fma_body.h - the tiles of fma.h, once, over a vector of VEC_LANES floats.
 *
 * Each fma_ISA.c defines the `vec` of its instruction set and includes this file last; the result is its table. It
 * defines:
 *   FMA_TABLE, FMA_ISA           the table's symbol and its name
 *   VEC_LANES, VECTORS           floats in a vec, vecs in a row of a panel: FMA_ROWS x VECTORS sums, a row of B and
 * an element of A fill the registers
 *   tile_set, tile_zero          a float in each lane
 *   tile_load, tile_store        the first `lanes` floats at an unaligned address; load fills with zeros
 *   tile_add, tile_fma           a + b; a b + c with one rounding
 *   tile_turn                    transposes VEC_LANES vecs in place */
#ifndef LSTMQ_KERNELS_CPU_GEMM_FMA_BODY_H
#define LSTMQ_KERNELS_CPU_GEMM_FMA_BODY_H

#define WIDTH (VEC_LANES * VECTORS)

/* Always inlined, so that counts are constants and sums are registers. */
#define INLINE static inline __attribute__((always_inline))

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Rows of B that a tile prefetches ahead. A panel is larger than the first-level cache, so each tile of A reads it
 * from the second level, faster than the processor prefetches on its own. A prefetch beyond a panel's end does no
 * harm. */
enum { B_AHEAD = 8 };

/* Lanes of vector v that hold columns. */
INLINE int fma_lanes(int columns, int v, int vectors)
{
    return v < vectors - 1 ? VEC_LANES : columns - v * VEC_LANES;
}

INLINE vec fma_start(const float *c, const float *bias, bool accumulate, int lanes)
{
    const vec sum = accumulate ? tile_load(c, lanes) : tile_zero();
    return bias != NULL ? tile_add(sum, tile_load(bias, lanes)) : sum;
}

INLINE void fma_compute_tile(const struct fma_tile *t, const int rows, const int vectors)
{
    const size_t a_row = t->a_row, a_k = t->a_k, b_k = t->b_k, c_row = t->c_row;
    const int columns = t->columns, K = t->K;
    const float *a = t->a, *b = t->b;
    float *c = t->c;
    vec sum[FMA_ROWS][VECTORS];
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[r][v] = fma_start(c + (size_t)r * c_row + v * VEC_LANES, t->bias != NULL ? t->bias + v * VEC_LANES : NULL,
                              t->accumulate, fma_lanes(columns, v, vectors));
    for (int k = 0; k < K; k++) {
        vec row[VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++)
            row[v] = tile_load(b + v * VEC_LANES, VEC_LANES);
        UNROLL
        for (int v = 0; v < vectors; v++)
            __builtin_prefetch(b + B_AHEAD * b_k + v * VEC_LANES);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const vec x = tile_set(a[(size_t)r * a_row]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[r][v] = tile_fma(x, row[v], sum[r][v]);
        }
        a += a_k;
        b += b_k;
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        tile_store(c + (size_t)r * c_row + v * VEC_LANES, fma_lanes(columns, v, vectors), sum[r][v]);
}

#define TILE(rows, vectors)                                                                                            \
    static void fma_tile_##rows##_##vectors(const struct fma_tile *t)                                                  \
    {                                                                                                                  \
        fma_compute_tile(t, rows, vectors);                                                                            \
    }
#define TILES(vectors)                                                                                                 \
    TILE(1, vectors) TILE(2, vectors) TILE(3, vectors) TILE(4, vectors) TILE(5, vectors) TILE(6, vectors)
#define TILE_NAMES(vectors)                                                                                            \
    {                                                                                                                  \
        fma_tile_1_##vectors, fma_tile_2_##vectors, fma_tile_3_##vectors, fma_tile_4_##vectors, fma_tile_5_##vectors,  \
            fma_tile_6_##vectors                                                                                       \
    }

TILES(1)
TILES(2)
#if VECTORS == 4
TILES(3)
TILES(4)
#endif

static void fma_any_tile(const struct fma_tile *t)
{
    static void (*const tiles[VECTORS][FMA_ROWS])(const struct fma_tile *) = {
        TILE_NAMES(1),
        TILE_NAMES(2),
#if VECTORS == 4
        TILE_NAMES(3),
        TILE_NAMES(4),
#endif
    };
    tiles[(t->columns - 1) / VEC_LANES][t->rows - 1](t);
}

static void fma_copy(size_t K, size_t columns, const float *from, size_t from_k, float *to, size_t to_k)
{
    const size_t whole = columns / VEC_LANES * VEC_LANES;
    for (size_t k = 0; k < K; k++) {
        for (size_t j = 0; j < whole; j += VEC_LANES)
            tile_store(to + j, VEC_LANES, tile_load(from + j, VEC_LANES));
        if (whole < columns)
            tile_store(to + whole, VEC_LANES, tile_load(from + whole, (int)(columns - whole)));
        from += from_k;
        to += to_k;
    }
}

/* VEC_LANES rows of a panel, or the last `height` of them, from `count` stored rows of B. */
INLINE void fma_turn_square(int count, int height, const float *from, size_t from_row, float *to)
{
    vec square[VEC_LANES];
    UNROLL
    for (int j = 0; j < VEC_LANES; j++)
        square[j] = j < count ? tile_load(from + (size_t)j * from_row, height) : tile_zero();
    tile_turn(square);
    UNROLL
    for (int k = 0; k < VEC_LANES; k++)
        if (k < height)
            tile_store(to + k * WIDTH, VEC_LANES, square[k]);
}

static void fma_turn(size_t K, size_t columns, const float *from, size_t from_row, float *to)
{
    for (size_t j = 0; j < WIDTH; j += VEC_LANES) {
        const int count = j >= columns ? 0 : columns - j < VEC_LANES ? (int)(columns - j) : VEC_LANES;
        const float *rows = count > 0 ? from + j * from_row : from;
        size_t k = 0;
        for (; k + VEC_LANES <= K && count == VEC_LANES; k += VEC_LANES)
            fma_turn_square(VEC_LANES, VEC_LANES, rows + k, from_row, to + k * WIDTH + j);
        for (; k < K; k += VEC_LANES)
            fma_turn_square(count, K - k < VEC_LANES ? (int)(K - k) : VEC_LANES, rows + k, from_row,
                            to + k * WIDTH + j);
    }
}

const struct fma_table FMA_TABLE = {
    .isa = FMA_ISA, .width = WIDTH, .lanes = VEC_LANES, .tile = fma_any_tile, .copy = fma_copy, .turn = fma_turn};

#endif
