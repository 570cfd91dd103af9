/* test_backend.c - each operation of the backend against plain code in double, at odd shapes, on 1, 2 and 3 threads. */
#include "kernels/backend.h"
#include "kernels/cpu/vector.h"
#include "proto/base/random.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- help ---- */

static struct backend *test_backend_open(int threads)
{
    struct err err = {.text = ""};
    struct backend *backend = backend_open("cpu", threads, PRECISION_FP32, &err);
    if (backend == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(backend->op->threads(backend), threads);
    return backend;
}

static void test_backend_close(struct backend *backend)
{
    struct err err = {.text = ""};
    if (!backend->op->check(backend, &err))
        fail_msg("%s", err.text);
    backend_close(&backend);
    assert_null(backend);
}

/* Uniform in ±1. */
static void backend_fill(float *x, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (float)((double)(splitmix(seed * 1000003 + i) >> 11) * 0x1p-52 - 1.0);
}

static void *backend_zeroed(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

static float *backend_random(size_t count, uint64_t seed)
{
    float *x = backend_zeroed(count, sizeof *x);
    backend_fill(x, count, seed);
    return x;
}

static int32_t *backend_below(size_t count, int limit, uint64_t seed)
{
    int32_t *x = backend_zeroed(count, sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = (int32_t)(splitmix(seed * 7919 + i) % (uint64_t)limit);
    return x;
}

static void backend_near(double got, double want, double slack)
{
    if (!(fabs(got - want) <= slack))
        fail_msg("%.9g, not %.9g", got, want);
}

/* ---- life and memory ---- */

static void unknown_devices_and_precisions_are_usage_errors(void **state)
{
    (void)state;
    struct err err;
    assert_null(backend_open("abacus", 1, PRECISION_FP32, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.text, "abacus"));
    struct backend *backend = backend_open("cpu", 1, PRECISION_BF16, &err);
    if (backend == NULL) {
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, "bf16"));
    } else {
        assert_true(strstr(backend->op->isa(backend), "bf16") != NULL ||
                    strstr(backend->op->isa(backend), "amx") != NULL ||
                    strstr(backend->op->isa(backend), "fp16") != NULL);
        test_backend_close(backend);
    }
}

static void a_backend_says_what_it_is(void **state)
{
    (void)state;
    struct backend *backend = test_backend_open(1);
    assert_string_equal(backend->op->name, "cpu");
    assert_non_null(strstr(backend_describe(), backend->op->version(backend)));
    assert_non_null(strstr(backend_describe(), backend->op->isa(backend)));
    test_backend_close(backend);
    struct err err;
    size_t count;
    const struct vector_table *const *tables = vector_tables(&count);
    for (size_t i = 0; i < count; i++) {
        setenv("LSTMQ_ISA", tables[i]->isa, 1);
        backend = test_backend_open(1);
        const char *bits = i + 1 < count ? "fp32-fma" : "fp32-plain-onednn-";
        assert_int_equal(strncmp(backend->op->arithmetic(backend), bits, strlen(bits)), 0);
        test_backend_close(backend);
    }
    unsetenv("LSTMQ_ISA");
    backend = backend_open("cpu", 0, PRECISION_FP32, &err);
    assert_true(backend->op->threads(backend) >= 1);
    test_backend_close(backend);
}

static void memory_is_aligned_zeroed_and_refused_when_absurd(void **state)
{
    (void)state;
    struct backend *backend = test_backend_open(1);
    const struct backend_table *op = backend->op;
    struct err err;
    for (size_t bytes = 0; bytes < 300; bytes += 37) {
        char *memory = op->alloc(backend, bytes, &err), copy[300];
        assert_int_equal((uintptr_t)memory % 64, 0);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(memory[i], 0);
        memset(copy, 7, sizeof copy);
        op->upload(backend, memory, copy, bytes);
        op->zero(backend, memory, bytes / 2);
        op->download(backend, copy, memory, bytes);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(copy[i], i < bytes / 2 ? 0 : 7);
        op->free(backend, memory);
    }
    assert_null(op->alloc(backend, SIZE_MAX - 5, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    test_backend_close(backend);
}

/* An update of `count` elements. */
static void backend_sgd(struct backend *backend, float *p, const float *g, size_t count, float scale, float lr,
                        float decay)
{
    const struct update_part part = {.rows = 1, .width = count, .decays = true};
    const struct outcome outcome = {.scale = scale};
    const struct update update = {.p = p, .g = g, .parts = &part, .count = 1, .outcome = &outcome};
    backend->op->sgd(backend, &update, lr, decay);
}

/* The norm of `count` elements. */
static double backend_norm(struct backend *backend, const float *x, size_t count, enum norm rule)
{
    const struct clip_part part = {x, count};
    const struct clip clip = {.tokens = 1, .rule = rule, .parts = &part, .part_count = 1};
    struct outcome outcome = {.norm = -1};
    backend->op->clip(backend, &clip, &outcome);
    return outcome.norm;
}

static void the_first_failure_is_kept_until_it_is_read(void **state)
{
    (void)state;
    struct backend *backend = test_backend_open(2);
    struct err err = {.text = ""};
    float y[1] = {1};
    backend_norm(backend, y, SIZE_MAX / 8, NORM_DOUBLE); /* of so many blocks that their sums fit no memory */
    backend_sgd(backend, y, y, 1, 1.0f, 0.5f, 0.0f);
    assert_true(y[0] == 1.0f);
    assert_true(backend->op->failing(backend));
    assert_false(backend->op->check(backend, &err));
    assert_false(backend->op->failing(backend));
    assert_int_equal(err.code, ERR_MEMORY);
    assert_true(backend->op->check(backend, &err));
    backend_sgd(backend, y, y, 1, 1.0f, 0.5f, 0.0f);
    assert_true(y[0] == 0.5f);
    test_backend_close(backend);
}

/* ---- rows ---- */

static void rows_are_gathered_and_scattered(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        struct backend *backend = test_backend_open(threads);
        const struct backend_table *op = backend->op;
        enum { ROWS = 900, WIDTH = 37, COUNT = 700 };
        float *table = backend_random(ROWS * WIDTH, 1), *before = backend_random(ROWS * WIDTH, 1),
              *out = backend_random(COUNT * WIDTH, 2);
        int32_t *index = backend_zeroed(COUNT, sizeof *index);
        for (int i = 0; i < COUNT; i++)
            index[i] = i * 7 % ROWS;
        op->scatter_add(backend, out, index, COUNT, WIDTH, table);
        for (size_t r = 0; r < COUNT; r++)
            for (size_t j = 0; j < WIDTH; j++)
                before[(size_t)index[r] * WIDTH + j] += out[r * WIDTH + j];
        assert_memory_equal(table, before, ROWS * WIDTH * sizeof *table);
        op->zero_rows(backend, index, 10, WIDTH, table);
        for (size_t r = 0; r < 10; r++)
            memset(before + (size_t)index[r] * WIDTH, 0, WIDTH * sizeof *before);
        assert_memory_equal(table, before, ROWS * WIDTH * sizeof *table);
        op->gather(backend, table, index, COUNT, WIDTH, out);
        for (size_t r = 0; r < COUNT; r++)
            assert_memory_equal(out + r * WIDTH, table + (size_t)index[r] * WIDTH, WIDTH * sizeof *out);
        op->gather(backend, table, index, 0, WIDTH, out);
        free(table);
        free(before);
        free(out);
        free(index);
        test_backend_close(backend);
    }
}

static void folding_adds_rows_of_a_slot_in_order(void **state)
{
    (void)state;
    enum { N = 400, U = 33, W = 301 };
    float *rows = backend_random(N * W, 1), *want = backend_zeroed((U + 1) * W, sizeof *want),
          *out = backend_random((U + 1) * W, 3);
    int32_t *slot = backend_below(N, U, 5), first[U + 2], index[N];
    const struct segments segments = {.N = N, .U = U + 1, .first = first, .index = index};
    for (size_t n = 0; n < N; n++)
        for (size_t j = 0; j < W; j++)
            want[(size_t)slot[n] * W + j] += rows[n * W + j];
    first[0] = 0;
    for (int u = 0; u <= U; u++) {
        first[u + 1] = first[u];
        for (int n = 0; n < N; n++)
            if (slot[n] == u)
                index[first[u + 1]++] = n;
    }
    for (int threads = 1; threads <= 3; threads++) {
        struct backend *backend = test_backend_open(threads);
        backend->op->segment_sum(backend, rows, &segments, W, out);
        assert_memory_equal(out, want, (U + 1) * W * sizeof *out);
        test_backend_close(backend);
    }
    free(rows);
    free(want);
    free(out);
    free(slot);
}

static void columns_are_summed(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {4, 3}, {63, 128}, {64, 129}, {65, 1000}, {700, 77}, {0, 5}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        size_t count = (size_t)shapes[s][0], W = (size_t)shapes[s][1];
        float *rows = backend_random(count * W, 1), *first = backend_random(W, 2),
              *out = backend_zeroed(W, sizeof *out);
        for (int threads = 1; threads <= 3; threads++) {
            struct backend *backend = test_backend_open(threads);
            backend_fill(out, W, 2);
            backend->op->column_sum(backend, rows, (int)count, (int)W, false, out);
            backend->op->column_sum(backend, rows, (int)count, (int)W, true, out);
            for (size_t j = 0; j < W; j++) {
                double sum = 0.0;
                for (size_t r = 0; r < count; r++)
                    sum += (double)rows[r * W + j];
                backend_near((double)out[j], 2.0 * sum, 1e-6 * (double)(count + 1));
            }
            if (threads == 1)
                memcpy(first, out, W * sizeof *out);
            assert_memory_equal(first, out, W * sizeof *out);
            test_backend_close(backend);
        }
        free(rows);
        free(first);
        free(out);
    }
}

/* ---- logits ---- */

static void backend_softmax(const float *logits, size_t V, double *p, double *log_sum)
{
    double most = -DBL_MAX, sum = 0.0;
    for (size_t v = 0; v < V; v++)
        most = fmax(most, (double)logits[v]);
    for (size_t v = 0; v < V; v++)
        sum += p[v] = exp((double)logits[v] - most);
    for (size_t v = 0; v < V; v++)
        p[v] /= sum;
    *log_sum = most + log(sum);
}

static int32_t backend_largest(const float *logits, size_t V)
{
    size_t at = 0;
    for (size_t v = 1; v < V; v++)
        if (logits[v] > logits[at])
            at = v;
    return (int32_t)at;
}

static void cross_entropy_is_the_loss_its_gradient_and_the_guess(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {3, 2}, {5, 17}, {70, 301}, {9, 7844}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        size_t N = (size_t)shapes[s][0], V = (size_t)shapes[s][1];
        float *logits = backend_random(N * V, 1), *work = backend_zeroed(N * V, sizeof *work),
              *first = backend_zeroed(N * V, sizeof *first);
        float *loss = backend_zeroed(N, sizeof *loss);
        int32_t *target = backend_below(N, (int)V, 2), *predicted = backend_zeroed(N, sizeof *predicted);
        double *p = backend_zeroed(V, sizeof *p), log_sum;
        for (size_t i = 0; i < N * V; i++)
            logits[i] *= 8.0f;
        for (int threads = 1; threads <= 3; threads++) {
            struct backend *backend = test_backend_open(threads);
            memcpy(work, logits, N * V * sizeof *work);
            backend->op->cross_entropy(backend, work, target, (int)N, (int)V, false, NULL, NULL);
            assert_memory_equal(work, logits, N * V * sizeof *work);
            backend->op->cross_entropy(backend, work, target, (int)N, (int)V, true, loss, predicted);
            for (size_t n = 0; n < N; n++) {
                backend_softmax(logits + n * V, V, p, &log_sum);
                backend_near((double)loss[n], log_sum - (double)logits[n * V + (size_t)target[n]], 3e-6);
                assert_int_equal(predicted[n], backend_largest(logits + n * V, V));
                for (size_t v = 0; v < V; v++)
                    backend_near((double)work[n * V + v], p[v] - (v == (size_t)target[n] ? 1.0 : 0.0), 1e-6);
            }
            if (threads == 1)
                memcpy(first, work, N * V * sizeof *work);
            assert_memory_equal(first, work, N * V * sizeof *work);
            /* One row alone. */
            memcpy(work, logits + (N - 1) * V, V * sizeof *work);
            backend->op->cross_entropy(backend, work, target + N - 1, 1, (int)V, true, loss, NULL);
            assert_memory_equal(first + (N - 1) * V, work, V * sizeof *work);
            test_backend_close(backend);
        }
        free(logits);
        free(work);
        free(first);
        free(loss);
        free(target);
        free(predicted);
        free(p);
    }
}

/* The gradient against (loss(x + d) - loss(x - d)) / 2d of the operation itself. */
static void cross_entropy_agrees_with_finite_differences(void **state)
{
    (void)state;
    enum { V = 13 };
    struct backend *backend = test_backend_open(1);
    float logits[V], work[V], up, down;
    const int32_t target = 4;
    const float d = 1e-2f;
    backend_fill(logits, V, 1);
    memcpy(work, logits, sizeof work);
    backend->op->cross_entropy(backend, work, &target, 1, V, true, NULL, NULL);
    for (int v = 0; v < V; v++) {
        float kept = logits[v];
        logits[v] = kept + d;
        backend->op->cross_entropy(backend, logits, &target, 1, V, false, &up, NULL);
        logits[v] = kept - d;
        backend->op->cross_entropy(backend, logits, &target, 1, V, false, &down, NULL);
        logits[v] = kept;
        backend_near((double)work[v], ((double)up - (double)down) / (2.0 * (double)d), 1e-4);
    }
    test_backend_close(backend);
}

static void argmax_prefers_the_lower_index(void **state)
{
    (void)state;
    enum { N = 41, V = 777 };
    float *logits = backend_random(N * V, 1);
    int32_t best[N];
    for (size_t i = 0; i < N * V; i++)
        logits[i] = roundf(logits[i] * 20.0f);
    for (int threads = 1; threads <= 3; threads++) {
        struct backend *backend = test_backend_open(threads);
        backend->op->argmax(backend, logits, N, V, best);
        for (size_t n = 0; n < N; n++)
            assert_int_equal(best[n], backend_largest(logits + n * V, V));
        test_backend_close(backend);
    }
    free(logits);
}

/* ---- elements ---- */

enum { MANY = 200003 };

static void elements_are_computed_as_defined(void **state)
{
    (void)state;
    const struct adam adam = {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .decay = 0.02f, .t = 3};
    float *g = backend_random(MANY, 1), *p = backend_zeroed(MANY, sizeof *p), *m = backend_zeroed(MANY, sizeof *m),
          *v = backend_zeroed(MANY, sizeof *v);
    float *first = backend_zeroed(MANY, sizeof *first);
    double square = 0.0, whole = 0.0;
    const struct update_part part = {.rows = MANY, .width = 1, .decays = true};
    const struct outcome outcome = {.scale = 0.5f};
    const struct update update = {.p = p, .g = g, .m = m, .v = v, .parts = &part, .count = 1, .outcome = &outcome};
    for (size_t i = 0; i < MANY; i++)
        square += (double)g[i] * (double)g[i];
    for (int threads = 1; threads <= 3; threads++) {
        struct backend *backend = test_backend_open(threads);
        const struct backend_table *op = backend->op;
        double sum = backend_norm(backend, g, MANY, NORM_DOUBLE);
        backend_near(sum, sqrt(square), 1e-6 * sqrt(square));
        if (threads == 1)
            whole = sum;
        assert_memory_equal(&sum, &whole, sizeof sum);
        assert_true(backend_norm(backend, g, 0, NORM_DOUBLE) == 0.0);

        backend_fill(p, MANY, 2);
        backend_fill(m, MANY, 3);
        backend_fill(v, MANY, 4);
        for (size_t i = 0; i < MANY; i++)
            v[i] = fabsf(v[i]);
        op->adam(backend, &update, &adam);
        for (size_t i = 0; i < MANY; i += 101) {
            float before[3];
            for (int j = 0; j < 3; j++)
                before[j] = (float)((double)(splitmix((uint64_t)(j + 2) * 1000003 + i) >> 11) * 0x1p-52 - 1.0);
            double d = 0.5 * (double)g[i] + 0.02 * (double)before[0];
            double m1 = 0.9 * (double)before[1] + 0.1 * d, v1 = 0.999 * fabs((double)before[2]) + 0.001 * d * d;
            double want = (double)before[0] - 0.01 * (m1 / (1 - pow(0.9, 3))) / (sqrt(v1 / (1 - pow(0.999, 3))) + 1e-8);
            backend_near((double)m[i], m1, 1e-6);
            backend_near((double)v[i], v1, 1e-6);
            backend_near((double)p[i], want, 2e-6);
        }
        backend_sgd(backend, p, g, MANY, 0.5f, 0.1f, 0.01f);
        if (threads == 1)
            memcpy(first, p, MANY * sizeof *p);
        assert_memory_equal(first, p, MANY * sizeof *p);
        test_backend_close(backend);
    }
    free(g);
    free(p);
    free(m);
    free(v);
    free(first);
}

static void small_steps_are_computed_as_defined(void **state)
{
    (void)state;
    struct backend *backend = test_backend_open(2);
    float p[5] = {1, -2, 3, 0.5f, 0}, g[5] = {4, 2, -1, 0, 8};
    backend_sgd(backend, p, g, 5, 0.25f, 0.5f, 0.1f);
    for (size_t i = 0; i < 5; i++) {
        static const double was[5] = {1, -2, 3, 0.5, 0};
        backend_near((double)p[i], was[i] - 0.5 * (0.25 * (double)g[i] + 0.1 * was[i]), 1e-6);
    }
    test_backend_close(backend);
}

static struct outcome backend_quantise(struct backend *backend, const float *x, const float *y, size_t count,
                                       bool accumulate, int64_t *sum)
{
    const struct quantise quantise = {
        .x = x, .y = y, .count = count, .below = 0x1p22f, .accumulate = accumulate, .sum = sum, .first = 7};
    struct outcome outcome = {0};
    struct figures figures = {0};
    backend->op->quantise(backend, &quantise, &outcome, &figures);
    assert_int_equal(isnan(figures.loss_sum), outcome.bad != 0);
    return outcome;
}

static void exact_sums_round_to_even_and_come_back(void **state)
{
    (void)state;
    float *x = backend_random(MANY, 1), *y = backend_random(MANY, 2), *back = backend_zeroed(MANY, sizeof *back);
    int64_t *sum = backend_zeroed(MANY, sizeof *sum), *pairs = backend_zeroed(MANY, sizeof *pairs);
    x[1] = 0x1p-41f;
    x[2] = 3 * 0x1p-41f;
    x[3] = -4194303.5f;
    y[1] = y[2] = 0;
    struct backend *backend = test_backend_open(3);
    for (size_t i = 0; i < MANY; i++)
        sum[i] = -7;
    backend_quantise(backend, x, NULL, MANY, false, sum);
    backend_quantise(backend, x, y, MANY, true, sum);
    backend_quantise(backend, y, y, MANY, false, pairs);
    for (size_t i = 0; i < MANY; i++) {
        int64_t of_x = (int64_t)nearbyint((double)x[i] * 0x1p40), of_y = (int64_t)nearbyint((double)y[i] * 0x1p40);
        assert_int_equal(sum[i], 2 * of_x + of_y);
        assert_int_equal(pairs[i], 2 * of_y);
    }
    assert_int_equal(sum[1], 0);
    assert_int_equal(sum[2], 4);
    backend->op->dequantise(backend, sum, MANY, back);
    for (size_t i = 0; i < MANY; i++)
        assert_true(back[i] == (float)((double)sum[i] * 0x1p-40));
    test_backend_close(backend);
    free(x);
    free(y);
    free(back);
    free(sum);
    free(pairs);
}

static void a_sum_of_two_names_the_first_element_that_either_has(void **state)
{
    (void)state;
    struct backend *backend = test_backend_open(2);
    static float x[70000], y[70000];
    static int64_t sum[70000];
    x[100] = INFINITY;
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = backend_quantise(backend, x, y, 70000, false, sum);
        assert_int_equal(outcome.bad, OUTCOME_ELEMENT);
        assert_int_equal(outcome.element, 7 + (i == 0 ? 100 : 99));
        assert_true(outcome.value == (i == 0 ? INFINITY : 5e6f));
        y[99] = y[101] = 5e6f;
    }
    test_backend_close(backend);
}

/* A row is updated where its bit is set, and then as if all were. */
static void marked_rows_alone_are_updated(void **state)
{
    (void)state;
    enum { ROWS = 300, WIDTH = 7, AT = 3 };
    struct backend *backend = test_backend_open(2);
    uint64_t marks[ROWS / 64 + 1] = {0};
    static float p[2][AT + ROWS * WIDTH], g[AT + ROWS * WIDTH], m[2][AT + ROWS * WIDTH], v[2][AT + ROWS * WIDTH];
    const struct outcome outcome = {.scale = 0.5f};
    const struct adam adam = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .t = 1};
    backend_fill(g, AT + ROWS * WIDTH, 1);
    for (int r = 0; r < ROWS; r++)
        if (r % 5 < 2 || r > 290)
            marks[r / 64] |= UINT64_C(1) << (r % 64);
    for (int i = 0; i < 2; i++) {
        const struct update_part part = {.offset = AT, .rows = ROWS, .width = WIDTH, .marks = i == 0 ? NULL : marks};
        const struct update update = {
            .p = p[i], .g = g, .m = m[i], .v = v[i], .parts = &part, .count = 1, .outcome = &outcome};
        backend->op->adam(backend, &update, &adam);
    }
    for (int k = 0; k < AT + ROWS * WIDTH; k++) {
        int r = (k - AT) / WIDTH;
        bool updated = k >= AT && (r % 5 < 2 || r > 290);
        assert_true(k < AT || p[0][k] != 0);
        assert_true(p[1][k] == (updated ? p[0][k] : 0) && m[1][k] == (updated ? m[0][k] : 0));
    }
    test_backend_close(backend);
}

static void a_hash_is_of_each_block_and_of_every_bit(void **state)
{
    (void)state;
    enum { COUNT = 2 * HASH_BLOCK + 3 };
    struct backend *backend = test_backend_open(2);
    float *x = backend_random(COUNT, 1);
    const uint32_t k = 0x85ebca77u, step = 0x9e3779b1u;
    uint64_t before[3], after[3], last = 0;
    uint32_t u[4] = {0};
    backend->op->hash(backend, x, COUNT, before);
    memcpy(u, x + 2 * HASH_BLOCK, 3 * sizeof *u);
    for (uint32_t i = 0; i < 4; i += 2)
        last += (uint64_t)(u[i] + k + i * step) * (u[i + 1] + k + (i + 1) * step);
    assert_true(before[2] == last);
    x[HASH_BLOCK + 17] = nextafterf(x[HASH_BLOCK + 17], 2);
    backend->op->hash(backend, x, COUNT, after);
    assert_true(after[0] == before[0] && after[1] != before[1] && after[2] == before[2]);
    free(x);
    test_backend_close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_devices_and_precisions_are_usage_errors),
        cmocka_unit_test(a_backend_says_what_it_is),
        cmocka_unit_test(memory_is_aligned_zeroed_and_refused_when_absurd),
        cmocka_unit_test(the_first_failure_is_kept_until_it_is_read),
        cmocka_unit_test(rows_are_gathered_and_scattered),
        cmocka_unit_test(folding_adds_rows_of_a_slot_in_order),
        cmocka_unit_test(columns_are_summed),
        cmocka_unit_test(cross_entropy_is_the_loss_its_gradient_and_the_guess),
        cmocka_unit_test(cross_entropy_agrees_with_finite_differences),
        cmocka_unit_test(argmax_prefers_the_lower_index),
        cmocka_unit_test(elements_are_computed_as_defined),
        cmocka_unit_test(small_steps_are_computed_as_defined),
        cmocka_unit_test(exact_sums_round_to_even_and_come_back),
        cmocka_unit_test(a_sum_of_two_names_the_first_element_that_either_has),
        cmocka_unit_test(marked_rows_alone_are_updated),
        cmocka_unit_test(a_hash_is_of_each_block_and_of_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
