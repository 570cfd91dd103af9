/* test_gemm.c - matrix products against sums in double, and the promise about bits, also on lesser instruction sets. */
#include "kernels/cpu/fma.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/panel.h"
#include "proto/base/random.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static float *s_random(size_t count, uint64_t seed)
{
    float *x = aligned_alloc(64, (count * sizeof *x + 63) / 64 * 64 + 64);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)((double)(splitmix(seed * 1000003 + i) >> 11) * 0x1p-52 - 1.0);
    return x;
}

struct problem {
    struct gemm g;
    float *a, *b, *bias, *c; /* owned */
};

static struct problem s_problem(int M, int N, int K, int flags)
{
    size_t m = (size_t)M, n = (size_t)N, k = (size_t)K;
    struct problem p = {
        .a = s_random(m * k, 1), .b = s_random(n * k, 2), .bias = s_random(n, 3), .c = s_random(m * n, 4)};
    p.g = (struct gemm){.M = M, .N = N, .K = K, .a = p.a, .b = p.b, .c = p.c};
    p.g.transpose_a = (flags & 1) != 0;
    p.g.transpose_b = (flags & 2) != 0;
    p.g.bias = (flags & 4) != 0 ? p.bias : NULL;
    p.g.accumulate = (flags & 8) != 0;
    return p;
}

static void s_problem_free(struct problem *p)
{
    free(p->a);
    free(p->b);
    free(p->bias);
    free(p->c);
}

/* Teams of 1, 2 and 3 threads, for all tests. */
enum { TEAMS = 3 };
static struct team *s_team[TEAMS];

static int s_open_teams(void **state)
{
    (void)state;
    struct err err;
    for (int i = 0; i < TEAMS; i++)
        if ((s_team[i] = team_open(i + 1, panels_single_thread, &err)) == NULL)
            return -1;
    return 0;
}

static int s_close_teams(void **state)
{
    (void)state;
    for (int i = 0; i < TEAMS; i++)
        team_close(&s_team[i]);
    return 0;
}

static struct multiplier *s_open(int threads)
{
    struct err err;
    struct multiplier *multiplier = multiplier_open(s_team[threads - 1], PRECISION_FP32, vector_best(&err), &err);
    assert_non_null(multiplier);
    return multiplier;
}

static void s_run(struct multiplier *multiplier, const struct gemm *g)
{
    struct err err = {.text = ""};
    if (!multiplier_run(multiplier, g, &err))
        fail_msg("%s", err.text);
}

static double s_twin(const struct gemm *g, const float *before, size_t i, size_t j)
{
    size_t M = (size_t)g->M, N = (size_t)g->N, K = (size_t)g->K;
    double sum = (g->bias != NULL ? (double)g->bias[j] : 0.0) + (g->accumulate ? (double)before[i * N + j] : 0.0);
    for (size_t k = 0; k < K; k++)
        sum +=
            (double)g->a[g->transpose_a ? k * M + i : i * K + k] * (double)g->b[g->transpose_b ? j * K + k : k * N + j];
    return sum;
}

/* Whether the bits are those of the chain of fused multiply-adds that backend.h defines. */
static bool s_exact(void)
{
    struct err err;
    return fma_table(vector_best(&err)->isa) != NULL;
}

/* Row i of C as backend.h defines it: compiled twice, since fmaf is a call where the processor is not known to have the
 * instruction, and there are hundreds of millions. */
#define CHAIN_ROW(name, attributes)                                                                                    \
    attributes static void name(const struct gemm *g, const float *before, size_t i, float *sum)                       \
    {                                                                                                                  \
        size_t M = (size_t)g->M, N = (size_t)g->N, K = (size_t)g->K;                                                   \
        for (size_t j = 0; j < N; j++)                                                                                 \
            sum[j] = (g->accumulate ? before[i * N + j] : 0.0f) + (g->bias != NULL ? g->bias[j] : 0.0f);               \
        for (size_t k = 0; k < K; k++) {                                                                               \
            float a = g->a[g->transpose_a ? k * M + i : i * K + k];                                                    \
            for (size_t j = 0; j < N; j++)                                                                             \
                sum[j] = fmaf(a, g->b[g->transpose_b ? j * K + k : k * N + j], sum[j]);                                \
        }                                                                                                              \
    }

CHAIN_ROW(s_chain_row, )
#ifdef __x86_64__
CHAIN_ROW(s_chain_row_fma, __attribute__((target("avx2,fma"))))
#endif

static void s_chain(const struct gemm *g, const float *before, size_t i, float *sum)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) {
        s_chain_row_fma(g, before, i, sum);
        return;
    }
#endif
    s_chain_row(g, before, i, sum);
}

static void s_compare_row(const struct problem *p, const float *before, size_t i, float *chain, bool exact)
{
    size_t N = (size_t)p->g.N;
    if (exact)
        s_chain(&p->g, before, i, chain);
    /* Of exact rows every seventh element is held against double as well: the chain's own check. */
    for (size_t j = 0; j < N; j++) {
        float got = p->c[i * N + j];
        if (exact && got != chain[j])
            fail_msg("%dx%dx%d at %zu,%zu: %.9g is not the chain's bits, %.9g", p->g.M, p->g.N, p->g.K, i, j,
                     (double)got, (double)chain[j]);
        if (exact && j % 7 != 0)
            continue;
        double want = s_twin(&p->g, before, i, j);
        if (!(fabs(want - (double)got) <= 2e-6 * sqrt((double)p->g.K + 1.0) + 1e-6 * fabs(want)))
            fail_msg("%dx%dx%d at %zu,%zu: %.9g, not %.9g", p->g.M, p->g.N, p->g.K, i, j, (double)got, want);
    }
}

static void s_compare(struct multiplier *multiplier, int M, int N, int K, int flags)
{
    struct problem p = s_problem(M, N, K, flags);
    float *before = s_random((size_t)M * (size_t)N, 4), *chain = s_random((size_t)N, 5);
    bool exact = s_exact();
    s_run(multiplier, &p.g);
    for (size_t i = 0; i < (size_t)M; i++)
        s_compare_row(&p, before, i, chain, exact);
    free(before);
    free(chain);
    s_problem_free(&p);
}

/* 1 to a few, around 8, 16, 64 and 256 where tiles and chunks end, and beyond. */
static const int s_shapes[][3] = {{1, 1, 1},     {4, 3, 2},     {3, 5, 7},     {1, 17, 256},  {7, 9, 16},
                                  {8, 8, 8},     {9, 31, 33},   {16, 64, 15},  {17, 65, 129}, {63, 5, 255},
                                  {64, 16, 256}, {65, 33, 257}, {130, 7, 515}, {71, 77, 300}, {70, 2100, 280}};
enum { SHAPES = sizeof s_shapes / sizeof s_shapes[0] };

/* Of this process. */
static int s_count_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* First of all tests: threads would stay. */
static void no_threads_run_but_the_team(void **state)
{
    (void)state;
    int before = s_count_threads();
    struct multiplier *multiplier = s_open(2);
    for (int flags = 0; flags < 4; flags++)
        s_compare(multiplier, 130, 1100, 600, flags);
    assert_int_equal(s_count_threads(), before);
    multiplier_close(&multiplier);
}

static void every_kind_of_product_is_the_sum_it_should_be(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        struct multiplier *multiplier = s_open(threads);
        for (int s = 0; s < SHAPES; s++)
            for (int flags = 0; flags < 16; flags++)
                s_compare(multiplier, s_shapes[s][0], s_shapes[s][1], s_shapes[s][2], flags);
        multiplier_close(&multiplier);
    }
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    static const int shapes[][3] = {{130, 300, 515}, {70, 2100, 300}, {515, 257, 64}, {300, 1024, 256},
                                    {64, 256, 1024}, {77, 128, 900},  {41, 2100, 100}};
    struct multiplier *one = s_open(1);
    for (int threads = 2; threads <= 3; threads++) {
        struct multiplier *many = s_open(threads);
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int flags = 0; flags < 16; flags++) {
                struct problem x = s_problem(shapes[s][0], shapes[s][1], shapes[s][2], flags);
                struct problem y = s_problem(shapes[s][0], shapes[s][1], shapes[s][2], flags);
                s_run(one, &x.g);
                s_run(many, &y.g);
                assert_memory_equal(x.c, y.c, (size_t)x.g.M * (size_t)x.g.N * sizeof *x.c);
                s_problem_free(&x);
                s_problem_free(&y);
            }
        multiplier_close(&many);
    }
    multiplier_close(&one);
}

/* Row r of a product of M rows against the same row in a product of any other rows. */
static void a_row_does_not_depend_on_the_other_rows(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1024, 256}, {256, 1024}, {300, 77},   {77, 300},
                                    {33, 2100},  {2000, 128}, {7844, 256}, {256, 7844}};
    enum { ROWS = 150 };
    struct multiplier *multiplier = s_open(2);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int flags = 0; flags < 16; flags += 14) {
            size_t N = (size_t)shapes[s][0], K = (size_t)shapes[s][1];
            struct problem all = s_problem(ROWS, shapes[s][0], shapes[s][1], flags);
            struct problem some = s_problem(ROWS, shapes[s][0], shapes[s][1], flags);
            float *before = s_random(ROWS * N, 4);
            s_run(multiplier, &all.g);
            static const int parts[][2] = {{0, 1},   {149, 1}, {3, 5},   {10, 8},  {1, 16}, {20, 23},
                                           {31, 32}, {5, 40},  {40, 64}, {11, 71}, {2, 129}};
            for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
                size_t first = (size_t)parts[i][0], rows = (size_t)parts[i][1];
                struct gemm g = some.g;
                g.M = (int)rows;
                g.a += first * K;
                g.c += first * N;
                memcpy(g.c, before + first * N, rows * N * sizeof *g.c);
                s_run(multiplier, &g);
                if (memcmp(g.c, all.c + first * N, rows * N * sizeof *g.c) != 0)
                    fail_msg("%zux%zu flags %d: rows %zu..%zu differ alone", N, K, flags, first, first + rows - 1);
            }
            free(before);
            s_problem_free(&all);
            s_problem_free(&some);
        }
    multiplier_close(&multiplier);
}

struct halves {
    struct multiplier *multiplier;
    const struct packed *packed;
    const float *a;
    float *c;
    atomic_bool failed;
};

/* Rows 0 to 40 of 75, then the others. */
static void s_multiply_half(void *context, int thread, int part, int parts)
{
    struct halves *x = context;
    int first = part * 41, rows = part == 0 ? 41 : 75 - 41;
    (void)parts;
    if (!multiplier_rows(x->multiplier, x->packed, thread, rows, x->a + (ptrdiff_t)first * 36,
                         x->c + (ptrdiff_t)first * 100))
        x->failed = true;
}

static void a_packed_matrix_gives_the_bits_of_a_product(void **state)
{
    (void)state;
    struct err err;
    struct multiplier *multiplier = s_open(2);
    for (int flags = 0; flags <= 2; flags += 2) {
        struct problem x = s_problem(75, 100, 36, flags), y = s_problem(75, 100, 36, flags);
        s_run(multiplier, &x.g);
        const struct packed *packed = multiplier_pack(multiplier, y.b, 100, 36, y.g.transpose_b, &err);
        assert_non_null(packed);
        assert_true(multiplier_prepare(multiplier, packed, 75, &err));
        struct halves halves = {.multiplier = multiplier, .packed = packed, .a = y.a, .c = y.c};
        team_run(s_team[1], 2, 2, s_multiply_half, &halves);
        assert_false(halves.failed);
        assert_memory_equal(x.c, y.c, 75 * 100 * sizeof *x.c);
        s_problem_free(&x);
        s_problem_free(&y);
    }
    multiplier_close(&multiplier);
}

/* The matrix that was kept, for products of any number of rows, many of them between one use and the next. */
static void a_kept_matrix_serves_many_products(void **state)
{
    (void)state;
    static const int wide[] = {40, 2100};
    struct err err;
    struct multiplier *multiplier = s_open(2);
    for (int i = 0; i < 2; i++)
        for (int flags = 0; flags <= 2; flags += 2) {
            struct problem first = s_problem(1, wide[i], 36, flags);
            struct packed *packed = multiplier_keep(multiplier, first.b, wide[i], 36, flags != 0, &err);
            assert_non_null(packed);
            for (int M = 1; M < 150; M += 37) {
                struct problem x = s_problem(M, wide[i], 36, flags | 4), y = s_problem(M, wide[i], 36, flags | 4);
                s_run(multiplier, &x.g);
                y.g.b = NULL;
                y.g.packed = packed;
                s_run(multiplier, &y.g);
                assert_memory_equal(x.c, y.c, (size_t)M * (size_t)wide[i] * sizeof *x.c);
                s_problem_free(&x);
                s_problem_free(&y);
            }
            packed_destroy(&packed);
            s_problem_free(&first);
        }
    multiplier_close(&multiplier);
}

/* x rounded to bf16: 8 significant bits, ties to even. */
static double s_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

static void bf16_rounds_the_factors_and_nothing_else(void **state)
{
    (void)state;
    struct err err;
    if (!panels_have_bf16())
        skip();
    struct multiplier *multiplier = multiplier_open(s_team[1], PRECISION_BF16, vector_best(&err), &err);
    assert_non_null(multiplier);
    for (int s = 0; s < SHAPES; s++)
        for (int flags = 0; flags < 16; flags += 5) {
            struct problem p = s_problem(s_shapes[s][0], s_shapes[s][1], s_shapes[s][2], flags), rounded = p;
            size_t size = (size_t)p.g.M * (size_t)p.g.N, K = (size_t)p.g.K;
            float *before = s_random(size, 4);
            s_run(multiplier, &p.g);
            for (size_t i = 0; i < (size_t)p.g.M * K; i++)
                rounded.a[i] = (float)s_bf16(p.a[i]);
            for (size_t i = 0; i < (size_t)p.g.N * K; i++)
                rounded.b[i] = (float)s_bf16(p.b[i]);
            for (size_t i = 0; i < size; i++) {
                double want = s_twin(&rounded.g, before, i / (size_t)p.g.N, i % (size_t)p.g.N);
                if (!(fabs(want - (double)p.c[i]) <= 2e-6 * sqrt((double)K + 1.0) + 1e-6 * fabs(want)))
                    fail_msg("shape %d flags %d at %zu: %.9g, not %.9g", s, flags, i, (double)p.c[i], want);
            }
            free(before);
            s_problem_free(&p);
        }
    multiplier_close(&multiplier);
}

static void a_row_that_is_not_finite_stays_alone(void **state)
{
    (void)state;
    struct multiplier *multiplier = s_open(1);
    struct problem p = s_problem(21, 40, 30, 2);
    for (size_t k = 0; k < 30; k++)
        p.a[19 * 30 + k] = NAN;
    s_run(multiplier, &p.g);
    p.g.M = 18;
    s_run(multiplier, &p.g);
    for (size_t i = 0; i < 21 * 40; i++)
        assert_true(isfinite(p.c[i]) == (i / 40 != 19));
    s_problem_free(&p);
    multiplier_close(&multiplier);
}

static void a_sum_over_nothing_is_the_bias(void **state)
{
    (void)state;
    float c[2] = {1, 2}, bias[2] = {10, 20};
    struct multiplier *multiplier = s_open(1);
    s_run(multiplier, &(struct gemm){.M = 1, .N = 2, .K = 0, .c = c, .bias = bias, .accumulate = true});
    assert_true(c[0] == 11.0f && c[1] == 22.0f);
    s_run(multiplier, &(struct gemm){.M = 0, .N = 2, .K = 5, .c = c});
    s_run(multiplier, &(struct gemm){.M = 1, .N = 2, .K = 0, .c = c});
    assert_true(c[0] == 0.0f && c[1] == 0.0f);
    multiplier_close(&multiplier);
}

/* More shapes than are kept: the oldest make room and come back. */
static void shapes_that_were_forgotten_are_compiled_again(void **state)
{
    (void)state;
    struct multiplier *multiplier = s_open(1);
    for (int N = 1; N <= 300; N++)
        s_compare(multiplier, 3, N, 2, 0);
    for (int N = 1; N <= 3; N++)
        s_compare(multiplier, 3, N, 2, 0);
    multiplier_close(&multiplier);
}

/* Run this program again with the row kernels and products of `isa`, and with oneDNN held to `most` unless NULL. */
static void s_again(const char *isa, const char *most)
{
    char *argv[] = {(char *)(uintptr_t) "test_gemm", NULL};
    pid_t child;
    int status = 0;
    setenv("LSTMQ_ISA", isa, 1);
    if (most != NULL)
        setenv("ONEDNN_MAX_CPU_ISA", most, 1);
    int failed = posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ);
    unsetenv("LSTMQ_ISA");
    unsetenv("ONEDNN_MAX_CPU_ISA");
    assert_int_equal(failed, 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("with %s and %s: status %d", isa, most != NULL ? most : "all of oneDNN", status);
}

/* Both variables are read once, so that each combination is a process of its own. The first table has been tested here.
 */
static void all_of_it_holds_on_lesser_instruction_sets(void **state)
{
    (void)state;
    static const char *const sets[] = {NULL, "AVX512_CORE", "AVX2", "SSE41"};
    if (getenv("LSTMQ_ISA") != NULL)
        skip();
    size_t count;
    const struct vector_table *const *tables = vector_tables(&count);
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < sizeof sets / sizeof sets[0]; j++)
            if (j == 0 || fma_table(tables[i]->isa) == NULL)
                s_again(tables[i]->isa, sets[j]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_threads_run_but_the_team),
        cmocka_unit_test(every_kind_of_product_is_the_sum_it_should_be),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_row_does_not_depend_on_the_other_rows),
        cmocka_unit_test(a_packed_matrix_gives_the_bits_of_a_product),
        cmocka_unit_test(a_kept_matrix_serves_many_products),
        cmocka_unit_test(bf16_rounds_the_factors_and_nothing_else),
        cmocka_unit_test(a_row_that_is_not_finite_stays_alone),
        cmocka_unit_test(a_sum_over_nothing_is_the_bias),
        cmocka_unit_test(shapes_that_were_forgotten_are_compiled_again),
        cmocka_unit_test(all_of_it_holds_on_lesser_instruction_sets),
    };
    return cmocka_run_group_tests(tests, s_open_teams, s_close_teams);
}
