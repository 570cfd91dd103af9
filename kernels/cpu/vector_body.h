/* vector_body.h - the row kernels, once, over a vector of VEC_LANES floats.
 *
 * Each vector_ISA.c defines the `vec` of its instruction set and includes this file last; the result is its table. It
 * defines:
 *   VECTOR_TABLE, VECTOR_ISA     the table's symbol and its name
 *   VEC_LANES                    floats in a vec
 *   vec, vec_mask, vec_int       floats, truth values, and int32 of as many lanes
 *   vec_load, vec_store          the first `lanes` floats at an unaligned address; load fills the other lanes
 *   vec_add .. vec_sqrt          as IEEE 754 has them; vec_fma ab + c and vec_nfma c - ab, with one rounding or two
 *   vec_abs, vec_sign            |a|; the first argument's size with the second's sign
 *   vec_round, vec_scale         the nearest integer, ties to even; a 2^n for an integer n of -126 to 127
 *   vec_less, vec_select         a < b (false for NaN); by mask, the second or the third argument
 *   vec_int_*                    the same on integers
 *   vec_sum_*                    a running sum in double for each lane; plus adds two such sums lane by lane;
 *                                total adds the upper half of the lanes to the lower half until one is left
 *   vec_quantise                 VEC_LANES elements; or false, nothing done, if one of them needs handling one by one
 *   vec_dequantise               VEC_LANES elements
 *
 * A loop over a row takes whole vectors, then the rest with fewer `lanes`: the same arithmetic in every lane. The
 * source fixes the bits, so these files are compiled without contraction of a b + c. */
#ifndef LSTMQ_KERNELS_CPU_VECTOR_BODY_H
#define LSTMQ_KERNELS_CPU_VECTOR_BODY_H

#include "kernels/cpu/vector_math.h"
#include "kernels/natural_log.h"

#include <stdint.h>
#include <string.h>

/* Call `step` with (..., index, lanes) over 0 .. count-1; with whole vectors `lanes` is a constant to the compiler. */
#define FOR_VECTORS(count, step, ...)                                                                                  \
    do {                                                                                                               \
        size_t at_ = 0;                                                                                                \
        for (; at_ + VEC_LANES <= (size_t)(count); at_ += VEC_LANES)                                                   \
            step(__VA_ARGS__, at_, VEC_LANES);                                                                         \
        if (at_ < (size_t)(count))                                                                                     \
            step(__VA_ARGS__, at_, (int)((size_t)(count)-at_));                                                        \
    } while (0)

/* One step of a loop: always inlined, so that its last argument can be a constant. */
#define STEP static inline __attribute__((always_inline)) void

/* A row of LSTM gates: H floats at each pointer. */
struct vector_gates {
    float *i, *f, *g, *o;
};

static inline struct vector_gates vector_gates_of(float *gates, size_t row, size_t H)
{
    float *at = gates + row * 4 * H;
    return (struct vector_gates){at, at + H, at + 2 * H, at + 3 * H};
}

STEP vector_lstm_forward_step(struct vector_gates gate, const float *input, size_t H, const float *c_before, float *c,
                              float *h, size_t at, int lanes)
{
    input += at;
    const vec i = vector_sigmoid(vec_add(vec_load(gate.i + at, lanes, 0), vec_load(input, lanes, 0)));
    const vec f = vector_sigmoid(vec_add(vec_load(gate.f + at, lanes, 0), vec_load(input + H, lanes, 0)));
    const vec g = vector_tanh(vec_add(vec_load(gate.g + at, lanes, 0), vec_load(input + 2 * H, lanes, 0)));
    const vec o = vector_sigmoid(vec_add(vec_load(gate.o + at, lanes, 0), vec_load(input + 3 * H, lanes, 0)));
    vec_store(gate.i + at, lanes, i);
    vec_store(gate.f + at, lanes, f);
    vec_store(gate.g + at, lanes, g);
    vec_store(gate.o + at, lanes, o);

    const vec before = c_before != NULL ? vec_load(c_before + at, lanes, 0) : vec_set(0.0f);
    const vec after = vec_fma(f, before, vec_mul(i, g));
    vec_store(c + at, lanes, after);
    vec_store(h + at, lanes, vec_mul(o, vector_tanh(after)));
}

static void vector_lstm_forward(int rows, int H, float *gates, const float *input, const int32_t *slot,
                                const float *c_before, float *c, float *h)
{
    const size_t width = (size_t)H;
    for (size_t r = 0; r < (size_t)rows; r++) {
        const struct vector_gates gate = vector_gates_of(gates, r, width);
        const float *added = input + (size_t)slot[r] * 4 * width;
        const float *before = c_before != NULL ? c_before + r * width : NULL;
        FOR_VECTORS(width, vector_lstm_forward_step, gate, added, width, before, c + r * width, h + r * width);
    }
}

/* With C = tanh(c): dc += dh o (1 - C^2); do = dh C; di = dc g; df = dc c_before; dg = dc i; dc_before = dc f; then
 * each through its nonlinearity: y (1 - y) for sigmoid, 1 - y^2 for tanh. */
STEP vector_lstm_backward_step(struct vector_gates gate, const float *c_before, const float *c, const float *dh,
                               float *dc, size_t at, int lanes)
{
    const vec one = vec_set(1.0f);
    const vec i = vec_load(gate.i + at, lanes, 0), f = vec_load(gate.f + at, lanes, 0);
    const vec g = vec_load(gate.g + at, lanes, 0), o = vec_load(gate.o + at, lanes, 0);
    const vec before = c_before != NULL ? vec_load(c_before + at, lanes, 0) : vec_set(0.0f);
    const vec from_above = vec_load(dh + at, lanes, 0);
    const vec state = vector_tanh(vec_load(c + at, lanes, 0));

    const vec through = vec_mul(vec_mul(from_above, o), vec_nfma(state, state, one));
    const vec cell = vec_add(vec_load(dc + at, lanes, 0), through);
    vec_store(dc + at, lanes, vec_mul(cell, f));
    vec_store(gate.i + at, lanes, vec_mul(vec_mul(cell, g), vec_mul(i, vec_sub(one, i))));
    vec_store(gate.f + at, lanes, vec_mul(vec_mul(cell, before), vec_mul(f, vec_sub(one, f))));
    vec_store(gate.g + at, lanes, vec_mul(vec_mul(cell, i), vec_nfma(g, g, one)));
    vec_store(gate.o + at, lanes, vec_mul(vec_mul(from_above, state), vec_mul(o, vec_sub(one, o))));
}

static void vector_lstm_backward(int rows, int H, float *gates, const float *c_before, const float *c, const float *dh,
                                 float *dc)
{
    const size_t width = (size_t)H;
    for (size_t r = 0; r < (size_t)rows; r++) {
        const struct vector_gates gate = vector_gates_of(gates, r, width);
        const float *before = c_before != NULL ? c_before + r * width : NULL;
        FOR_VECTORS(width, vector_lstm_backward_step, gate, before, c + r * width, dh + r * width, dc + r * width);
    }
}

STEP vector_rnn_forward_step(float *gate, const float *input, size_t at, int lanes)
{
    vec_store(gate + at, lanes, vector_tanh(vec_add(vec_load(gate + at, lanes, 0), vec_load(input + at, lanes, 0))));
}

static void vector_rnn_forward(int rows, int H, float *gates, const float *input, const int32_t *slot)
{
    const size_t width = (size_t)H;
    for (size_t r = 0; r < (size_t)rows; r++)
        FOR_VECTORS(width, vector_rnn_forward_step, gates + r * width, input + (size_t)slot[r] * width);
}

STEP vector_rnn_backward_step(float *gates, const float *dh, size_t at, int lanes)
{
    const vec h = vec_load(gates + at, lanes, 0);
    vec_store(gates + at, lanes, vec_mul(vec_load(dh + at, lanes, 0), vec_nfma(h, h, vec_set(1.0f))));
}

static void vector_rnn_backward(int rows, int H, float *gates, const float *dh)
{
    FOR_VECTORS((size_t)rows * (size_t)H, vector_rnn_backward_step, gates, dh);
}

/* For each lane the largest value so far, and the index of the vector in which it first occurred. */
struct vector_largest {
    vec value;
    vec_int at;
};

STEP vector_largest_step(struct vector_largest *largest, const float *x, size_t at, int lanes)
{
    const vec value = vec_load(x + at, lanes, -INFINITY);
    const vec_mask larger = vec_less(largest->value, value);
    largest->value = vec_select(larger, value, largest->value);
    largest->at = vec_int_select(larger, vec_int_set((int32_t)at), largest->at);
}

/* The first index of the largest of x[0..V); NaN is never larger, and a row without any number above -inf gives 0.
 * Four chains run at once, so that no comparison waits for the one before. */
static inline int32_t vector_largest(int V, const float *x, float *value)
{
    struct vector_largest a = {vec_set(-INFINITY), vec_int_set(0)}, b = a, c = a, d = a;
    const size_t width = (size_t)V;
    size_t at = 0;
    for (; at + 4 * VEC_LANES <= width; at += 4 * VEC_LANES) {
        vector_largest_step(&a, x, at, VEC_LANES);
        vector_largest_step(&b, x, at + VEC_LANES, VEC_LANES);
        vector_largest_step(&c, x, at + 2 * VEC_LANES, VEC_LANES);
        vector_largest_step(&d, x, at + 3 * VEC_LANES, VEC_LANES);
    }
    for (; at + VEC_LANES <= width; at += VEC_LANES)
        vector_largest_step(&a, x, at, VEC_LANES);
    if (at < width)
        vector_largest_step(&a, x, at, (int)(width - at));

    const struct vector_largest chain[] = {a, b, c, d};
    int32_t best = 0;
    *value = -INFINITY;
    for (int k = 0; k < 4; k++) {
        float values[VEC_LANES];
        int32_t places[VEC_LANES];
        vec_store(values, VEC_LANES, chain[k].value);
        vec_int_store(places, chain[k].at);
        for (int32_t lane = 0; lane < VEC_LANES; lane++) {
            const int32_t place = places[lane] + lane;
            if (values[lane] > *value || (values[lane] == *value && place < best)) {
                *value = values[lane];
                best = place;
            }
        }
    }
    return best;
}

static void vector_argmax(int rows, int V, const float *logits, int32_t *index)
{
    for (size_t r = 0; r < (size_t)rows; r++) {
        float value;
        index[r] = vector_largest(V, logits + r * (size_t)V, &value);
    }
}

STEP vector_exp_step(const float *x, vec most, float *to, vec *y, size_t at, int lanes)
{
    *y = vector_exp_small(vec_sub(vec_load(x + at, lanes, -INFINITY), most));
    if (to != NULL)
        vec_store(to + at, lanes, *y);
}

/* A sum in double has a fixed number of virtual lanes, so that its bits do not depend on the length of a vector:
 * element i is added to lane i mod that number. This adds up the lanes, `parts` vectors of them: the upper half is
 * added to the lower half until one lane is left. */
static inline __attribute__((always_inline)) double vector_lanes_total(vec_sum *part, int parts)
{
    for (; parts > 1; parts /= 2)
        for (int i = 0; i < parts / 2; i++)
            part[i] = vec_sum_plus(part[i], part[i + parts / 2]);
    return vec_sum_total(part[0]);
}

/* The sum of exp(x - most), on 16 virtual lanes; each term is stored at `to` unless that is NULL. In whole blocks of
 * 64 elements the four of a lane are added as floats, (0 + 1) + (2 + 3), before they are widened. Arithmetic limits
 * the speed, so the next row is prefetched meanwhile. */
static inline __attribute__((always_inline)) double vector_exp_sum(size_t width, const float *x, vec most, float *to,
                                                                   const float *next)
{
    enum { LANES = 16, PARTS = LANES / VEC_LANES, BLOCK = 4 * LANES };
    vec_sum sum[PARTS];
    vec y[4];
    size_t at = 0;
    for (size_t part = 0; part < PARTS; part++)
        sum[part] = vec_sum_zero();
    for (; at + BLOCK <= width; at += BLOCK) {
        for (size_t k = 0; k < 4 && VEC_LANES > 1; k++)
            __builtin_prefetch(next + at + k * LANES, 0, 2);
        for (size_t part = 0; part < PARTS; part++) {
            for (size_t k = 0; k < 4; k++)
                vector_exp_step(x, most, to, &y[k], at + k * LANES + part * VEC_LANES, VEC_LANES);
            sum[part] = vec_sum_add(sum[part], vec_add(vec_add(y[0], y[1]), vec_add(y[2], y[3])));
        }
    }
    for (; at < width; at += VEC_LANES) {
        vec_sum *const part = &sum[at % LANES / VEC_LANES];
        vector_exp_step(x, most, to, &y[0], at, width - at < VEC_LANES ? (int)(width - at) : VEC_LANES);
        *part = vec_sum_add(*part, y[0]);
    }
    return vector_lanes_total(sum, PARTS);
}

STEP vector_scale_step(float *x, vec scale, size_t at, int lanes)
{
    vec_store(x + at, lanes, vec_mul(vec_load(x + at, lanes, 0), scale));
}

static void vector_cross_entropy(int rows, int V, float *logits, const int32_t *target, bool gradient, float *loss,
                                 int32_t *predicted)
{
    for (size_t r = 0; r < (size_t)rows; r++) {
        float *x = logits + r * (size_t)V;
        float most;
        const int32_t best = vector_largest(V, x, &most);
        if (predicted != NULL)
            predicted[r] = best;

        const double behind = (double)most - (double)x[target[r]];
        const float *next = r + 1 < (size_t)rows ? x + V : x;
        const double sum = gradient ? vector_exp_sum((size_t)V, x, vec_set(most), x, next)
                                    : vector_exp_sum((size_t)V, x, vec_set(most), NULL, next);
        if (loss != NULL)
            loss[r] = (float)(natural_log(sum) + behind);
        if (gradient) {
            FOR_VECTORS(V, vector_scale_step, x, vec_set((float)(1.0 / sum)));
            x[target[r]] -= 1.0f;
        }
    }
}

STEP vector_add_step(float *to, const float *from, size_t at, int lanes)
{
    vec_store(to + at, lanes, vec_add(vec_load(to + at, lanes, 0), vec_load(from + at, lanes, 0)));
}

static void vector_add(size_t count, float *to, const float *from)
{
    FOR_VECTORS(count, vector_add_step, to, from);
}

/* On 64 virtual lanes: enough chains to hide the latency of an addition. The square of a float is exact in double, so
 * tables with and without fma give the same bits. */
static double vector_sum_squares(size_t count, const float *x)
{
    enum { LANES = 64, PARTS = LANES / VEC_LANES };
    vec_sum sum[PARTS];
    size_t at = 0;
    for (size_t part = 0; part < PARTS; part++)
        sum[part] = vec_sum_zero();
    for (; at + LANES <= count; at += LANES)
#pragma GCC unroll 8
        for (size_t part = 0; part < PARTS; part++)
            sum[part] = vec_sum_add_square(sum[part], vec_load(x + at + part * VEC_LANES, VEC_LANES, 0));
    for (size_t part = 0; at < count; part++, at += VEC_LANES) {
        const int lanes = count - at < VEC_LANES ? (int)(count - at) : VEC_LANES;
        sum[part] = vec_sum_add_square(sum[part], vec_load(x + at, lanes, 0));
    }
    return vector_lanes_total(sum, PARTS);
}

/* One chain of additions for each lane, so that no other order can give these bits. */
static float vector_sum_squares_float(size_t count, const float *x, float scale)
{
    typedef float lanes __attribute__((vector_size(32)));
    enum { LANES = sizeof(lanes) / sizeof(float) };
    lanes sum = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes next;
        memcpy(&next, x + i, sizeof next);
        next *= scale;
        sum += next * next;
    }
    float total = sum[0];
    for (int lane = 1; lane < LANES; lane++)
        total += sum[lane];
    for (; i < count; i++)
        total += (scale * x[i]) * (scale * x[i]);
    return total;
}

STEP vector_sgd_step(float *p, const float *g, vec scale, vec lr, vec decay, size_t at, int lanes)
{
    const vec old = vec_load(p + at, lanes, 0);
    const vec slope = vec_fma(decay, old, vec_mul(scale, vec_load(g + at, lanes, 0)));
    vec_store(p + at, lanes, vec_sub(old, vec_mul(lr, slope)));
}

static void vector_sgd(size_t count, float *p, const float *g, float scale, float lr, float decay)
{
    FOR_VECTORS(count, vector_sgd_step, p, g, vec_set(scale), vec_set(lr), vec_set(decay));
}

/* The constants of an Adam step. */
struct vector_adam {
    vec scale, decay, fresh1, beta2, fresh2, root, eps, step;
};

/* Elements that Adam prefetches ahead: the processor does not follow four streams of memory from page to page. A
 * prefetch beyond an array's end does no harm. */
enum { ADAM_AHEAD = 256 };

STEP vector_prefetch(const float *x, bool change)
{
    if (VEC_LANES == 1)
        return;
    if (change)
        __builtin_prefetch(x + ADAM_AHEAD, 1);
    else
        __builtin_prefetch(x + ADAM_AHEAD, 0);
}

/* In the order of torch.optim.Adam: lerp, mul and addcmul, sqrt, addcdiv. */
STEP vector_adam_step(const struct vector_adam *k, float *p, const float *g, float *m, float *v, size_t at, int lanes)
{
    vector_prefetch(p + at, true);
    vector_prefetch(m + at, true);
    vector_prefetch(v + at, true);
    vector_prefetch(g + at, false);
    const vec old = vec_load(p + at, lanes, 0), m_old = vec_load(m + at, lanes, 0), v_old = vec_load(v + at, lanes, 0);
    const vec slope = vec_fma(k->decay, old, vec_mul(k->scale, vec_load(g + at, lanes, 0)));
    const vec m_new = vec_fma(k->fresh1, vec_sub(slope, m_old), m_old);
    const vec v_new = vec_fma(vec_mul(k->fresh2, slope), slope, vec_mul(v_old, k->beta2));
    const vec below = vec_add(vec_mul(vec_sqrt(v_new), k->root), k->eps);
    vec_store(m + at, lanes, m_new);
    vec_store(v + at, lanes, v_new);
    vec_store(p + at, lanes, vec_sub(old, vec_div(vec_mul(k->step, m_new), below)));
}

static void vector_adam(size_t count, float *p, const float *g, float *m, float *v, float scale,
                        const struct adam *adam, float step, float root)
{
    const struct vector_adam k = {
        .scale = vec_set(scale),
        .decay = vec_set((float)adam->decay),
        .fresh1 = vec_set((float)(1.0 - adam->beta1)),
        .beta2 = vec_set((float)adam->beta2),
        .fresh2 = vec_set((float)(1.0 - adam->beta2)),
        .root = vec_set(root),
        .eps = vec_set((float)adam->eps),
        .step = vec_set(step),
    };
    FOR_VECTORS(count, vector_adam_step, &k, p, g, m, v);
}

/* False: x is not finite, or not below the limit. x 2^40 is exact in double. */
static inline bool vector_quantise_one(float x, float below, int64_t *sum)
{
    if (!(fabsf(x) < below))
        return false;
    *sum += (int64_t)llrint((double)x / (double)BACKEND_QUANTUM);
    return true;
}

static size_t vector_quantise(size_t count, const float *x, float below, int64_t *sum)
{
    size_t i = 0;
    while (i < count) {
        if (i + VEC_LANES <= count && vec_quantise(x + i, below, sum + i)) {
            i += VEC_LANES;
            continue;
        }
        const size_t end = count - i < VEC_LANES ? count : i + VEC_LANES;
        for (; i < end; i++)
            if (!vector_quantise_one(x[i], below, sum + i))
                return i;
    }
    return count;
}

static void vector_dequantise(size_t count, const int64_t *sum, float *x)
{
    size_t i = 0;
    for (; i + VEC_LANES <= count; i += VEC_LANES)
        vec_dequantise(sum + i, x + i);
    for (; i < count; i++)
        x[i] = (float)sum[i] * BACKEND_QUANTUM;
}

/* The upper 16 bits, after adding a number that carries into them where rounding to nearest, ties to even, goes up.
 * The compiler splits these vectors to the width of the instruction set. */
typedef uint32_t wide_bits __attribute__((vector_size(64)));
typedef uint16_t half_bits __attribute__((vector_size(32)));
enum { WIDE = sizeof(wide_bits) / sizeof(uint32_t) };

STEP vector_rounded(const float *x, wide_bits *out)
{
    wide_bits bits;
    memcpy(&bits, x, sizeof bits);
    const wide_bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    const wide_bits is_nan = (wide_bits)((bits & 0x7fffffff) > 0x7f800000);
    *out = (is_nan & quiet) | (~is_nan & rounded);
}

static inline void vector_round_bits(const float *x, uint16_t *half)
{
    wide_bits rounded;
    vector_rounded(x, &rounded);
    const half_bits out = __builtin_convertvector(rounded, half_bits);
    memcpy(half, &out, sizeof out);
}

static void vector_to_bf16(size_t count, const float *x, uint16_t *half)
{
    size_t i = 0;
    for (; i + WIDE <= count; i += WIDE)
        vector_round_bits(x + i, half + i);
    if (i < count) {
        float rest[WIDE] = {0};
        uint16_t rounded[WIDE];
        memcpy(rest, x + i, (count - i) * sizeof *x);
        vector_round_bits(rest, rounded);
        memcpy(half + i, rounded, (count - i) * sizeof *half);
    }
}

/* m[i][j] becomes m[j][i], in four rounds that each interleave rows i and i + 8. */
STEP vector_transpose(wide_bits m[WIDE])
{
    for (int round = 0; round < 4; round++) {
        wide_bits from[WIDE];
        memcpy(from, m, sizeof from);
        for (int i = 0; i < WIDE / 2; i++) {
            const wide_bits a = from[i], b = from[i + WIDE / 2];
            m[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            m[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
    }
}

/* Transpose 16 columns of 32 rows of a; rows of the result are `width` apart. Two neighbours in k make 32 bits, so
 * each move takes both. */
STEP vector_turn_block(const float *a, size_t stride, size_t width, uint16_t *half)
{
    wide_bits m[WIDE];
    for (size_t pair = 0; pair < WIDE; pair++) {
        wide_bits low, high;
        vector_rounded(a + 2 * pair * stride, &low);
        vector_rounded(a + (2 * pair + 1) * stride, &high);
        m[pair] = low | high << 16;
    }
    vector_transpose(m);
    for (size_t r = 0; r < WIDE; r++)
        memcpy(half + r * width, &m[r], sizeof m[r]);
}

/* A partial block goes through a whole one that is filled up with zeros. */
static void vector_turn_rest(size_t rows, size_t depth, const float *a, size_t stride, size_t space, size_t width,
                             uint16_t *half)
{
    enum { DEPTH = 2 * WIDE };
    float whole[DEPTH][WIDE] = {{0}};
    uint16_t turned[WIDE][DEPTH];
    for (size_t k = 0; k < depth; k++)
        memcpy(whole[k], a + k * stride, rows * sizeof *a);
    vector_turn_block(whole[0], WIDE, DEPTH, turned[0]);
    for (size_t r = 0; r < rows; r++)
        memcpy(half + r * width, turned[r], space * sizeof *half);
}

/* Prefetch the next block: below this one, or at the top of the next column of blocks. The processor does not
 * prefetch lines that are far apart. */
STEP vector_prefetch_block(const float *next, size_t stride)
{
    if (VEC_LANES > 1)
        for (size_t k = 0; k < (size_t)2 * WIDE; k++)
            __builtin_prefetch(next + k * stride, 0, 3);
}

static void vector_turn_to_bf16(size_t rows, size_t depth, const float *a, size_t stride, size_t width, uint16_t *half)
{
    enum { DEPTH = 2 * WIDE };
    for (size_t k = 0; k < width; k += DEPTH) {
        const size_t here = k >= depth ? 0 : depth - k < DEPTH ? depth - k : DEPTH;
        const size_t space = width - k < DEPTH ? width - k : DEPTH;
        for (size_t r = 0; r < rows; r += WIDE) {
            const float *from = a + (here > 0 ? k * stride + r : 0);
            uint16_t *to = half + r * width + k;
            if (here == DEPTH && r + WIDE <= rows) {
                vector_prefetch_block(k + 2 * DEPTH <= depth ? from + DEPTH * stride : a + rows + r, stride);
                vector_turn_block(from, stride, width, to);
            } else
                vector_turn_rest(rows - r < WIDE ? rows - r : WIDE, here, from, stride, space, width, to);
        }
    }
}

const struct vector_table VECTOR_TABLE = {
    .isa = VECTOR_ISA,
    .lstm_forward = vector_lstm_forward,
    .lstm_backward = vector_lstm_backward,
    .rnn_forward = vector_rnn_forward,
    .rnn_backward = vector_rnn_backward,
    .cross_entropy = vector_cross_entropy,
    .argmax = vector_argmax,
    .add = vector_add,
    .sum_squares = vector_sum_squares,
    .sum_squares_float = vector_sum_squares_float,
    .sgd = vector_sgd,
    .adam = vector_adam,
    .quantise = vector_quantise,
    .dequantise = vector_dequantise,
    .to_bf16 = vector_to_bf16,
    .turn_to_bf16 = vector_turn_to_bf16,
};

#endif
