/* test_gemm.c - GEMMs against sums in double, and the promise about bits, also on lesser instruction sets. */
#include "kernels/cpu/gemm/fma.h"
#include "kernels/cpu/gemm/gemm.h"
#include "kernels/cpu/gemm/panel.h"

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

static float *gemm_floats(size_t count)
{
    float *x = aligned_alloc(64, (count * sizeof *x + 63) / 64 * 64 + 64);
    assert_non_null(x);
    return x;
}

/* In -1..1, in all 24 bits; simple enough to be vectorised, because there are many. */
static float *gemm_random(size_t count, uint32_t seed)
{
    float *x = gemm_floats(count);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = ((uint32_t)i + seed * 1000003u) * 2654435761u;
        bits = (bits ^ bits >> 15) * 0x2c1b3c6du;
        bits = (bits ^ bits >> 12) * 0x297a2d39u;
        x[i] = (float)(int32_t)(bits ^ bits >> 15) * 0x1p-31f;
    }
    return x;
}

/* Free a matrix stored by rows, and return the same one stored by columns. */
static float *gemm_turned(float *x, size_t rows, size_t columns)
{
    float *turned = gemm_floats(rows * columns);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            turned[j * rows + i] = x[i * columns + j];
    free(x);
    return turned;
}

struct problem {
    struct gemm g;
    float *a, *b, *bias, *c; /* owned */
};

/* The same A and B for all flags, stored one way or the other. */
static struct problem gemm_problem(int M, int N, int K, int flags)
{
    size_t m = (size_t)M, n = (size_t)N, k = (size_t)K;
    struct problem p = {
        .a = gemm_random(m * k, 1), .b = gemm_random(n * k, 2), .bias = gemm_random(n, 3), .c = gemm_random(m * n, 4)};
    if ((flags & 1) != 0)
        p.a = gemm_turned(p.a, m, k);
    if ((flags & 2) != 0)
        p.b = gemm_turned(p.b, k, n);
    p.g = (struct gemm){.M = M, .N = N, .K = K, .a = p.a, .b = p.b, .c = p.c};
    p.g.transpose_a = (flags & 1) != 0;
    p.g.transpose_b = (flags & 2) != 0;
    p.g.bias = (flags & 4) != 0 ? p.bias : NULL;
    p.g.accumulate = (flags & 8) != 0;
    return p;
}

static void gemm_problem_free(struct problem *p)
{
    free(p->a);
    free(p->b);
    free(p->bias);
    free(p->c);
}

/* Teams of 1, 2 and 3 threads, for all tests. */
enum { TEAMS = 3 };
static struct team *gemm_team[TEAMS];

static int gemm_open_teams(void **state)
{
    (void)state;
    struct err err;
    for (int i = 0; i < TEAMS; i++)
        if ((gemm_team[i] = team_open(i + 1, panels_single_thread, &err)) == NULL)
            return -1;
    return 0;
}

static int gemm_close_teams(void **state)
{
    (void)state;
    for (int i = 0; i < TEAMS; i++)
        team_close(&gemm_team[i]);
    return 0;
}

static struct multiplier *gemm_open(int threads)
{
    struct err err;
    struct multiplier *multiplier = multiplier_open(gemm_team[threads - 1], PRECISION_FP32, vector_best(&err), &err);
    assert_non_null(multiplier);
    return multiplier;
}

static void gemm_run(struct multiplier *multiplier, const struct gemm *g)
{
    struct err err = {.text = ""};
    if (!multiplier_run(multiplier, g, &err))
        fail_msg("%s", err.text);
}

/* Whether the bits are those of the chain of fused multiply-adds that backend.h defines. */
static bool gemm_exact(void)
{
    struct err err;
    return fma_table(vector_best(&err)->isa) != NULL;
}

/* What the GEMMs of a shape must give, computed once for all ways to store the factors and all numbers of threads. */
struct truth {
    struct problem plain; /* A and B as they are multiplied; c is what was there before */
    double *product;      /* [M, N] A B in double                                       */
    float *chain[4];      /* [M, N] as backend.h defines it, by flags / 4; NULL: not computed yet */
};

/* Sanitizers skip these two loops, which would take them a minute. */
#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))

/* Rows of A B in double, and of C as backend.h defines it: compiled twice, since fmaf is a call where the processor is
 * not known to have the instruction, and there are hundreds of millions. */
#define ROWS(suffix, attributes)                                                                                       \
    attributes static void gemm_product##suffix(const struct gemm *g, double *restrict sum)                            \
    {                                                                                                                  \
        size_t M = (size_t)g->M, N = (size_t)g->N, K = (size_t)g->K;                                                   \
        for (size_t i = 0; i < M; i++, sum += N) {                                                                     \
            for (size_t j = 0; j < N; j++)                                                                             \
                sum[j] = 0;                                                                                            \
            for (size_t k = 0; k < K; k++)                                                                             \
                for (size_t j = 0; j < N; j++)                                                                         \
                    sum[j] += (double)g->a[i * K + k] * (double)g->b[k * N + j];                                       \
        }                                                                                                              \
    }                                                                                                                  \
    attributes static void gemm_chain##suffix(const struct gemm *g, float *restrict sum)                               \
    {                                                                                                                  \
        size_t M = (size_t)g->M, N = (size_t)g->N, K = (size_t)g->K;                                                   \
        for (size_t i = 0; i < M; i++, sum += N) {                                                                     \
            for (size_t j = 0; j < N; j++)                                                                             \
                sum[j] = (g->accumulate ? g->c[i * N + j] : 0.0f) + (g->bias != NULL ? g->bias[j] : 0.0f);             \
            for (size_t k = 0; k < K; k++)                                                                             \
                for (size_t j = 0; j < N; j++)                                                                         \
                    sum[j] = fmaf(g->a[i * K + k], g->b[k * N + j], sum[j]);                                           \
        }                                                                                                              \
    }

ROWS(_plain, UNCHECKED)
#ifdef __x86_64__
ROWS(_fma, UNCHECKED __attribute__((target("avx2,fma"))))
#endif

struct rows {
    void (*product)(const struct gemm *g, double *restrict sum);
    void (*chain)(const struct gemm *g, float *restrict sum);
};

static struct rows gemm_rows(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2"))
        return (struct rows){gemm_product_fma, gemm_chain_fma};
#endif
    return (struct rows){gemm_product_plain, gemm_chain_plain};
}

static struct truth gemm_truth(int M, int N, int K)
{
    struct truth truth = {.plain = gemm_problem(M, N, K, 0)};
    truth.product = malloc((size_t)M * (size_t)N * sizeof *truth.product);
    assert_non_null(truth.product);
    gemm_rows().product(&truth.plain.g, truth.product);
    return truth;
}

static void gemm_truth_free(struct truth *truth)
{
    gemm_problem_free(&truth->plain);
    free(truth->product);
    for (int i = 0; i < 4; i++)
        free(truth->chain[i]);
}

/* C under these flags. */
static const float *gemm_chain_of(struct truth *truth, int flags)
{
    struct gemm g = truth->plain.g;
    float **chain = &truth->chain[flags / 4];
    if (*chain == NULL) {
        *chain = gemm_floats((size_t)g.M * (size_t)g.N);
        g.bias = (flags & 4) != 0 ? truth->plain.bias : NULL;
        g.accumulate = (flags & 8) != 0;
        gemm_rows().chain(&g, *chain);
    }
    return *chain;
}

/* C against the sum in double. */
static void gemm_compare_double(const struct problem *p, const struct truth *truth)
{
    size_t N = (size_t)p->g.N, size = (size_t)p->g.M * N;
    const double most = 2e-6 * sqrt((double)p->g.K + 1.0);
    for (size_t i = 0; i < size; i++) {
        double want = truth->product[i] + (p->g.bias != NULL ? (double)p->bias[i % N] : 0.0) +
                      (p->g.accumulate ? (double)truth->plain.c[i] : 0.0);
        if (!(fabs(want - (double)p->c[i]) <= most + 1e-6 * fabs(want)))
            fail_msg("%dx%dx%d at %zu,%zu: %.9g, not %.9g", p->g.M, p->g.N, p->g.K, i / N, i % N, (double)p->c[i],
                     want);
    }
}

static void gemm_compare(struct multiplier *multiplier, struct truth *truth, int flags)
{
    const struct gemm *g = &truth->plain.g;
    struct problem p = gemm_problem(g->M, g->N, g->K, flags);
    size_t N = (size_t)g->N, size = (size_t)g->M * N;
    gemm_run(multiplier, &p.g);
    gemm_compare_double(&p, truth);
    const float *chain = gemm_exact() ? gemm_chain_of(truth, flags) : p.c;
    for (size_t i = 0; i < size; i++)
        if (p.c[i] != chain[i])
            fail_msg("%dx%dx%d at %zu,%zu: %.9g is not the chain's bits, %.9g", g->M, g->N, g->K, i / N, i % N,
                     (double)p.c[i], (double)chain[i]);
    gemm_problem_free(&p);
}

/* 1 to a few, around 8, 16, 64 and 256 where tiles and chunks end, and beyond. */
static const int gemm_shapes[][3] = {{1, 1, 1},     {4, 3, 2},     {3, 5, 7},       {1, 17, 256},
                                     {7, 9, 16},    {8, 8, 8},     {9, 31, 33},     {16, 64, 15},
                                     {17, 65, 129}, {63, 5, 255},  {64, 16, 256},   {65, 33, 257},
                                     {130, 7, 515}, {71, 77, 300}, {70, 2100, 280}, {20, 70, 1300}};
enum { SHAPES = sizeof gemm_shapes / sizeof gemm_shapes[0] };

/* Of this process. */
static int gemm_count_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* The first test: later ones leave threads. */
static void no_threads_run_but_the_team(void **state)
{
    (void)state;
    int before = gemm_count_threads();
    struct multiplier *multiplier = gemm_open(2);
    struct truth truth = gemm_truth(130, 1100, 600);
    for (int flags = 0; flags < 4; flags++)
        gemm_compare(multiplier, &truth, flags);
    assert_int_equal(gemm_count_threads(), before);
    gemm_truth_free(&truth);
    multiplier_close(&multiplier);
}

static void every_kind_of_product_is_the_sum_it_should_be(void **state)
{
    (void)state;
    struct multiplier *multipliers[] = {gemm_open(1), gemm_open(2)};
    for (int s = 0; s < SHAPES; s++) {
        struct truth truth = gemm_truth(gemm_shapes[s][0], gemm_shapes[s][1], gemm_shapes[s][2]);
        for (int flags = 0; flags < 16; flags++)
            for (int i = 0; i < 2; i++)
                gemm_compare(multipliers[i], &truth, flags);
        gemm_truth_free(&truth);
    }
    for (int i = 0; i < 2; i++)
        multiplier_close(&multipliers[i]);
}

/* One thread's C against that of two and of three. */
static void gemm_compare_threads(struct multiplier *multipliers[TEAMS], int M, int N, int K, int flags)
{
    size_t size = (size_t)M * (size_t)N;
    struct problem p = gemm_problem(M, N, K, flags);
    float *before = gemm_floats(size), *one = gemm_floats(size);
    memcpy(before, p.c, size * sizeof *before);
    gemm_run(multipliers[0], &p.g);
    memcpy(one, p.c, size * sizeof *one);
    for (int i = 1; i < TEAMS; i++) {
        memcpy(p.c, before, size * sizeof *before);
        gemm_run(multipliers[i], &p.g);
        assert_memory_equal(one, p.c, size * sizeof *one);
    }
    free(before);
    free(one);
    gemm_problem_free(&p);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    static const int shapes[][3] = {{130, 300, 515}, {70, 2100, 300}, {515, 257, 64}, {300, 1024, 256},
                                    {64, 256, 1024}, {77, 128, 900},  {41, 2100, 100}};
    struct multiplier *multipliers[TEAMS];
    for (int i = 0; i < TEAMS; i++)
        multipliers[i] = gemm_open(i + 1);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int flags = 0; flags < 16; flags++)
            gemm_compare_threads(multipliers, shapes[s][0], shapes[s][1], shapes[s][2], flags);
    for (int i = 0; i < TEAMS; i++)
        multiplier_close(&multipliers[i]);
}

/* Row r of a product of M rows against the same row in a product of any other rows. */
static void a_row_does_not_depend_on_the_other_rows(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1024, 256}, {256, 1024}, {300, 77},   {77, 300},
                                    {33, 2100},  {2000, 128}, {7844, 256}, {256, 7844}};
    enum { ROWS = 150 };
    struct multiplier *multiplier = gemm_open(2);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int flags = 0; flags < 16; flags += 14) {
            size_t N = (size_t)shapes[s][0], K = (size_t)shapes[s][1];
            struct problem all = gemm_problem(ROWS, shapes[s][0], shapes[s][1], flags);
            struct problem some = gemm_problem(ROWS, shapes[s][0], shapes[s][1], flags);
            float *before = gemm_random(ROWS * N, 4);
            gemm_run(multiplier, &all.g);
            static const int parts[][2] = {{0, 1},   {149, 1}, {3, 5},   {10, 8},  {1, 16}, {20, 23},
                                           {31, 32}, {5, 40},  {40, 64}, {11, 71}, {2, 129}};
            for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
                size_t first = (size_t)parts[i][0], rows = (size_t)parts[i][1];
                struct gemm g = some.g;
                g.M = (int)rows;
                g.a += first * K;
                g.c += first * N;
                memcpy(g.c, before + first * N, rows * N * sizeof *g.c);
                gemm_run(multiplier, &g);
                if (memcmp(g.c, all.c + first * N, rows * N * sizeof *g.c) != 0)
                    fail_msg("%zux%zu flags %d: rows %zu..%zu differ alone", N, K, flags, first, first + rows - 1);
            }
            free(before);
            gemm_problem_free(&all);
            gemm_problem_free(&some);
        }
    multiplier_close(&multiplier);
}

struct halves {
    struct multiplier *multiplier;
    const struct prepacked *prepacked;
    const float *a;
    float *c;
    atomic_bool failed;
};

/* Rows 0 to 40 of 75, then the others. */
static void gemm_multiply_half(void *context, int thread, int part, int parts)
{
    struct halves *x = context;
    int first = part * 41, rows = part == 0 ? 41 : 75 - 41;
    (void)parts;
    if (!multiplier_rows(x->multiplier, x->prepacked, thread, rows, x->a + (ptrdiff_t)first * 36,
                         x->c + (ptrdiff_t)first * 100))
        x->failed = true;
}

static void a_packed_matrix_gives_the_bits_of_a_product(void **state)
{
    (void)state;
    struct err err;
    struct multiplier *multiplier = gemm_open(2);
    for (int flags = 0; flags <= 2; flags += 2) {
        struct problem x = gemm_problem(75, 100, 36, flags), y = gemm_problem(75, 100, 36, flags);
        gemm_run(multiplier, &x.g);
        const struct prepacked *packed = multiplier_pack(multiplier, y.b, 100, 36, y.g.transpose_b, &err);
        assert_non_null(packed);
        assert_true(multiplier_prepare(multiplier, packed, 75, &err));
        struct halves halves = {.multiplier = multiplier, .prepacked = packed, .a = y.a, .c = y.c};
        team_run(gemm_team[1], 2, 2, gemm_multiply_half, &halves);
        assert_false(halves.failed);
        assert_memory_equal(x.c, y.c, 75 * 100 * sizeof *x.c);
        gemm_problem_free(&x);
        gemm_problem_free(&y);
    }
    multiplier_close(&multiplier);
}

/* A prepacked matrix serves GEMMs of any number of rows, with many others between its uses. */
static void a_kept_matrix_serves_many_products(void **state)
{
    (void)state;
    static const int wide[] = {40, 2100};
    struct err err;
    struct multiplier *multiplier = gemm_open(2);
    for (int i = 0; i < 2; i++)
        for (int flags = 0; flags <= 2; flags += 2) {
            struct problem first = gemm_problem(1, wide[i], 36, flags);
            struct prepacked *packed = multiplier_keep(multiplier, first.b, wide[i], 36, flags != 0, &err);
            assert_non_null(packed);
            for (int M = 1; M < 150; M += 37) {
                struct problem x = gemm_problem(M, wide[i], 36, flags | 4), y = gemm_problem(M, wide[i], 36, flags | 4);
                gemm_run(multiplier, &x.g);
                y.g.b = NULL;
                y.g.prepacked = packed;
                gemm_run(multiplier, &y.g);
                assert_memory_equal(x.c, y.c, (size_t)M * (size_t)wide[i] * sizeof *x.c);
                gemm_problem_free(&x);
                gemm_problem_free(&y);
            }
            prepacked_destroy(&packed);
            gemm_problem_free(&first);
        }
    multiplier_close(&multiplier);
}

/* x rounded to bf16: 8 significant bits, ties to even. */
static float gemm_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static struct truth gemm_rounded_truth(int M, int N, int K)
{
    struct truth truth = gemm_truth(M, N, K);
    for (size_t i = 0; i < (size_t)M * (size_t)K; i++)
        truth.plain.a[i] = gemm_bf16(truth.plain.a[i]);
    for (size_t i = 0; i < (size_t)N * (size_t)K; i++)
        truth.plain.b[i] = gemm_bf16(truth.plain.b[i]);
    gemm_rows().product(&truth.plain.g, truth.product);
    return truth;
}

static void bf16_rounds_the_factors_and_nothing_else(void **state)
{
    (void)state;
    struct err err;
    if (!panels_have_bf16())
        skip();
    struct multiplier *multiplier = multiplier_open(gemm_team[1], PRECISION_BF16, vector_best(&err), &err);
    assert_non_null(multiplier);
    for (int s = 0; s < SHAPES; s++) {
        struct truth truth = gemm_rounded_truth(gemm_shapes[s][0], gemm_shapes[s][1], gemm_shapes[s][2]);
        for (int flags = 0; flags < 16; flags += 5) {
            struct problem p = gemm_problem(gemm_shapes[s][0], gemm_shapes[s][1], gemm_shapes[s][2], flags);
            gemm_run(multiplier, &p.g);
            gemm_compare_double(&p, &truth);
            gemm_problem_free(&p);
        }
        gemm_truth_free(&truth);
    }
    multiplier_close(&multiplier);
}

static void a_row_that_is_not_finite_stays_alone(void **state)
{
    (void)state;
    struct multiplier *multiplier = gemm_open(1);
    struct problem p = gemm_problem(21, 40, 30, 2);
    for (size_t k = 0; k < 30; k++)
        p.a[19 * 30 + k] = NAN;
    gemm_run(multiplier, &p.g);
    p.g.M = 18;
    gemm_run(multiplier, &p.g);
    for (size_t i = 0; i < 21 * 40; i++)
        assert_true(isfinite(p.c[i]) == (i / 40 != 19));
    gemm_problem_free(&p);
    multiplier_close(&multiplier);
}

static void a_sum_over_nothing_is_the_bias(void **state)
{
    (void)state;
    float c[2] = {1, 2}, bias[2] = {10, 20};
    struct multiplier *multiplier = gemm_open(1);
    gemm_run(multiplier, &(struct gemm){.M = 1, .N = 2, .K = 0, .c = c, .bias = bias, .accumulate = true});
    assert_true(c[0] == 11.0f && c[1] == 22.0f);
    gemm_run(multiplier, &(struct gemm){.M = 0, .N = 2, .K = 5, .c = c});
    gemm_run(multiplier, &(struct gemm){.M = 1, .N = 2, .K = 0, .c = c});
    assert_true(c[0] == 0.0f && c[1] == 0.0f);
    multiplier_close(&multiplier);
}

/* More shapes than are kept: the oldest are dropped and compiled again. */
static void shapes_that_were_forgotten_are_compiled_again(void **state)
{
    (void)state;
    struct multiplier *multiplier = gemm_open(1);
    for (int i = 0; i < 303; i++) {
        struct truth truth = gemm_truth(3, 1 + i % 300, 2);
        gemm_compare(multiplier, &truth, 0);
        gemm_truth_free(&truth);
    }
    multiplier_close(&multiplier);
}

/* This program again, with the row kernels and GEMMs of `isa`, and oneDNN limited to `most`, unless NULL. */
struct again {
    const char *isa, *most;
    pid_t child;
};

static void gemm_begin_again(struct again *again)
{
    char *argv[] = {(char *)(uintptr_t) "test_gemm", NULL};
    setenv("LSTMQ_ISA", again->isa, 1);
    if (again->most != NULL)
        setenv("ONEDNN_MAX_CPU_ISA", again->most, 1);
    int failed = posix_spawn(&again->child, "/proc/self/exe", NULL, NULL, argv, environ);
    unsetenv("LSTMQ_ISA");
    unsetenv("ONEDNN_MAX_CPU_ISA");
    assert_int_equal(failed, 0);
}

static void gemm_end_again(const struct again *again)
{
    int status = 0;
    assert_int_equal(waitpid(again->child, &status, 0), again->child);
    if (status != 0)
        fail_msg("with %s and %s: status %d", again->isa, again->most != NULL ? again->most : "all of oneDNN", status);
}

/* Under AddressSanitizer only our memory is checked, not oneDNN's lesser kernels. */
#ifdef __SANITIZE_ADDRESS__
enum { SETS = 1 };
#else
enum { SETS = 4 };
#endif

/* Both variables are read once, so each combination is a process of its own, two at a time. This process tests the
 * first table. */
static void all_of_it_holds_on_lesser_instruction_sets(void **state)
{
    (void)state;
    static const char *const sets[] = {NULL, "AVX512_CORE", "AVX2", "SSE41"}; /* the first SETS of them */
    enum { AT_A_TIME = 2, MOST = 16 };
    struct again runs[MOST];
    size_t count, begun = 0;
    if (getenv("LSTMQ_ISA") != NULL)
        skip();
    const struct vector_table *const *tables = vector_tables(&count);
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < SETS; j++) {
            if (j > 0 && fma_table(tables[i]->isa) != NULL)
                continue;
            assert_true(begun < MOST);
            if (begun >= AT_A_TIME)
                gemm_end_again(&runs[begun - AT_A_TIME]);
            runs[begun] = (struct again){.isa = tables[i]->isa, .most = sets[j]};
            gemm_begin_again(&runs[begun++]);
        }
    for (size_t i = begun < AT_A_TIME ? 0 : begun - AT_A_TIME; i < begun; i++)
        gemm_end_again(&runs[i]);
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
    return cmocka_run_group_tests(tests, gemm_open_teams, gemm_close_teams);
}
