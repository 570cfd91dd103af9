/* The argmax of a projection is that of all logits, to the bit, whatever the screen found. */
#include "kernels/backend.h"
#include "kernels/cpu/decode/screen.h"
#include "kernels/decode.h"
#include "proto/base/random.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A projection and states for it, in the backend's memory, and what all logits say. */
struct fixture {
    struct backend *backend;
    int V, H, N;
    float *w, *bias, *h, *logits;
    int32_t *index, *expected;
};

static void *projection_alloc(struct backend *backend, size_t size)
{
    struct err err;
    void *memory = backend->op->alloc(backend, size, &err);
    assert_non_null(memory);
    return memory;
}

/* Normal deviates times `scale`. */
static void projection_fill(struct mt19937 *random, float *x, size_t count, double scale)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(scale * mt19937_gauss(random));
}

static void projection_open(struct fixture *fixture, int threads, int V, int H, int N)
{
    struct err err;
    *fixture = (struct fixture){.V = V, .H = H, .N = N};
    fixture->backend = backend_open("cpu", threads, PRECISION_FP32, &err);
    assert_non_null(fixture->backend);
    size_t v = (size_t)V, k = (size_t)H, n = (size_t)N;
    fixture->w = projection_alloc(fixture->backend, v * k * sizeof(float));
    fixture->bias = projection_alloc(fixture->backend, v * sizeof(float));
    fixture->h = projection_alloc(fixture->backend, n * k * sizeof(float));
    fixture->logits = projection_alloc(fixture->backend, n * v * sizeof(float));
    fixture->index = projection_alloc(fixture->backend, n * sizeof(int32_t));
    fixture->expected = projection_alloc(fixture->backend, n * sizeof(int32_t));
}

static void projection_close(struct fixture *fixture)
{
    void *memory[] = {fixture->w, fixture->bias, fixture->h, fixture->logits, fixture->index, fixture->expected};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        fixture->backend->op->free(fixture->backend, memory[i]);
    backend_close(&fixture->backend);
}

/* Ask for all states together and one by one. */
static void projection_check(struct fixture *fixture)
{
    struct backend *backend = fixture->backend;
    struct err err = {0};
    int V = fixture->V, H = fixture->H, N = fixture->N;
    struct prepacked *packed = backend->op->prepack(backend, fixture->w, V, H, true, &err);
    struct projection *projection =
        backend->op->decode->projection_open(backend, fixture->w, fixture->bias, V, H, packed, &err);
    assert_non_null(projection);
    backend->op->gemm(backend, &(struct gemm){.M = N,
                                              .N = V,
                                              .K = H,
                                              .a = fixture->h,
                                              .b = fixture->w,
                                              .bias = fixture->bias,
                                              .c = fixture->logits,
                                              .transpose_b = true});
    backend->op->argmax(backend, fixture->logits, N, V, fixture->expected);
    backend->op->decode->projection_argmax(backend, projection, fixture->h, N, fixture->index);
    assert_true(backend->op->check(backend, &err));
    assert_memory_equal(fixture->index, fixture->expected, (size_t)N * sizeof(int32_t));
    for (int n = 0; n < N; n++) {
        backend->op->decode->projection_argmax(backend, projection, fixture->h + (size_t)n * (size_t)H, 1,
                                               fixture->index);
        assert_int_equal(fixture->index[0], fixture->expected[n]);
    }
    assert_true(backend->op->check(backend, &err));
    backend->op->decode->projection_close(backend, projection);
    backend->op->prepack_free(backend, packed);
}

static void argmax_is_that_of_all_logits_for_any_shape(void **state)
{
    (void)state;
    static const int V[] = {1, 2, 15, 64, 65, 127, 300, 1111}, H[] = {1, 3, 4, 16, 17, 33, 100, 256};
    struct mt19937 random;
    mt19937_seed(&random, 1);
    for (int threads = 1; threads <= 3; threads++)
        for (size_t i = 0; i < sizeof V / sizeof V[0]; i++)
            for (size_t j = 0; j < sizeof H / sizeof H[0]; j++) {
                struct fixture fixture;
                projection_open(&fixture, threads, V[i], H[j], 1 + (int)mt19937_below(&random, 20));
                projection_fill(&random, fixture.w, (size_t)V[i] * (size_t)H[j], 0.1);
                projection_fill(&random, fixture.bias, (size_t)V[i], 0.1);
                projection_fill(&random, fixture.h, (size_t)fixture.N * (size_t)H[j], 0.7);
                projection_check(&fixture);
                projection_close(&fixture);
            }
}

enum { WIDE = 700, DEEP = 64, STATES = 13 };

static void projection_open_drawn(struct fixture *fixture, struct mt19937 *random, double w, double bias, double h)
{
    projection_open(fixture, 2, WIDE, DEEP, STATES);
    projection_fill(random, fixture->w, (size_t)WIDE * DEEP, w);
    projection_fill(random, fixture->bias, WIDE, bias);
    projection_fill(random, fixture->h, (size_t)STATES * DEEP, h);
}

/* The best row once more further on, and the same but for one last bit of one weight or of the bias. */
static void the_first_of_equals_and_the_larger_by_a_bit_win(void **state)
{
    (void)state;
    struct mt19937 random;
    mt19937_seed(&random, 2);
    for (int round = 0; round < 200; round++) {
        struct fixture fixture;
        projection_open_drawn(&fixture, &random, 0.1, 0.1, 1);
        int from = (int)mt19937_below(&random, WIDE), copies = 1 + (int)mt19937_below(&random, 5);
        float *best = fixture.w + (size_t)from * DEEP;
        for (int k = 0; k < DEEP; k++)
            best[k] = 0.3f * fixture.h[k];
        for (int i = 0; i < copies; i++) {
            int to = (int)mt19937_below(&random, WIDE), k = (int)mt19937_below(&random, DEEP);
            float *copy = fixture.w + (size_t)to * DEEP;
            memmove(copy, best, DEEP * sizeof *copy);
            fixture.bias[to] = fixture.bias[from];
            if (round % 3 == 1)
                copy[k] = nextafterf(copy[k], round % 2 ? INFINITY : -INFINITY);
            if (round % 3 == 2)
                fixture.bias[to] = nextafterf(fixture.bias[to], round % 2 ? INFINITY : -INFINITY);
        }
        projection_check(&fixture);
        projection_close(&fixture);
    }
}

/* Nothing to choose between: all rows alike, or weights, biases, states of zero. */
static void rows_that_are_all_alike_give_the_first(void **state)
{
    (void)state;
    static const double scales[][3] = {{0, 0, 1}, {0, 1, 1}, {0.1, 0, 0}, {0.1, 1, 0}, {0, 0, 0}, {1e-4, 0, 1e-4}};
    struct mt19937 random;
    mt19937_seed(&random, 3);
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        struct fixture fixture;
        projection_open_drawn(&fixture, &random, scales[i][0], scales[i][1], scales[i][2]);
        projection_check(&fixture);
        projection_close(&fixture);
    }
    struct fixture fixture;
    projection_open_drawn(&fixture, &random, 0.1, 0, 1);
    for (int v = 1; v < WIDE; v++)
        memcpy(fixture.w + (size_t)v * DEEP, fixture.w, DEEP * sizeof(float));
    projection_check(&fixture);
    for (int n = 0; n < STATES; n++)
        assert_int_equal(fixture.expected[n], 0);
    projection_close(&fixture);
}

/* Rows and states from the least floats to beyond the largest. */
static void numbers_of_any_size_are_compared_rightly(void **state)
{
    (void)state;
    static const double sizes[] = {1e-44, 1e-38, 1e-20, 1e-5, 1e5, 1e14, 1e20, 1e37};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    struct mt19937 random;
    mt19937_seed(&random, 4);
    for (int w = 0; w < SIZES; w++)
        for (int h = 0; h < SIZES; h++) {
            struct fixture fixture;
            projection_open_drawn(&fixture, &random, sizes[w], w % 2 ? 0 : 0.1, sizes[h]);
            projection_check(&fixture);
            /* Also rows, and elements of one row, of very different sizes. */
            for (int v = 0; v < WIDE; v++)
                for (int k = 0; k < DEEP; k++)
                    fixture.w[(size_t)v * DEEP + (size_t)k] *= (float)(v % 7 == 0 ? 1e-6 : k % 9 == 0 ? 1e3 : 1);
            projection_check(&fixture);
            projection_close(&fixture);
        }
}

static void nan_takes_the_slow_path(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX};
    struct mt19937 random;
    mt19937_seed(&random, 5);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        for (int where = 0; where < 4; where++) {
            struct fixture fixture;
            projection_open_drawn(&fixture, &random, 0.1, 0.1, 1);
            if (where == 0)
                fixture.w[(size_t)5 * DEEP + 3] = odd[i];
            if (where == 1)
                fixture.bias[7] = odd[i];
            if (where == 2)
                fixture.h[(size_t)4 * DEEP + 9] = odd[i];
            for (int v = 0; where == 3 && v < WIDE; v++)
                fixture.bias[v] = odd[i];
            projection_check(&fixture);
            projection_close(&fixture);
        }
}

/* What the screen is for: a logit well above the others is the only candidate, and the true largest is always one. */
static void few_candidates_are_left_and_the_largest_among_them(void **state)
{
    (void)state;
    const struct screen_kernels *kernels = screen_kernels("avx512");
    if (kernels == NULL)
        skip();
    struct fixture fixture;
    struct mt19937 random;
    struct err err;
    mt19937_seed(&random, 6);
    projection_open_drawn(&fixture, &random, 0.1, 0.1, 1);
    for (int n = 0; n < STATES; n++) {
        float *row = fixture.w + (size_t)(50 * n) * DEEP;
        for (int k = 0; k < DEEP; k++)
            row[k] = 0.1f * fixture.h[(size_t)n * DEEP + (size_t)k];
    }
    struct screen *screen = screen_open(fixture.w, fixture.bias, WIDE, DEEP, &err);
    assert_non_null(screen);
    assert_true(screen->usable);
    for (int n = 0; n < STATES; n++) {
        uint8_t codes[DEEP];
        struct screen_candidate candidates[SCREEN_CANDIDATES];
        struct screen_state screened = {.least = -INFINITY, .candidates = candidates};
        assert_true(kernels->round(screen, fixture.h + (size_t)n * DEEP, codes, &screened));
        kernels->rows(screen, 0, screen->blocks, 1, &screened);
        int reaching = 0, found = 0;
        for (int i = 0; i < screened.count && i < SCREEN_CANDIDATES; i++) {
            reaching += candidates[i].upper >= screened.least;
            found += candidates[i].index == 50 * n;
        }
        assert_int_equal(found, 1);
        assert_in_range(reaching, 1, 3);
    }
    screen_close(&screen);
    projection_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(argmax_is_that_of_all_logits_for_any_shape),
        cmocka_unit_test(the_first_of_equals_and_the_larger_by_a_bit_win),
        cmocka_unit_test(rows_that_are_all_alike_give_the_first),
        cmocka_unit_test(numbers_of_any_size_are_compared_rightly),
        cmocka_unit_test(nan_takes_the_slow_path),
        cmocka_unit_test(few_candidates_are_left_and_the_largest_among_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
