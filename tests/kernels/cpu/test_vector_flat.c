/* test_vector_flat.c - the kernels over flat arrays, of every table this machine can run, against plain arithmetic in
 * double: optimizers, sums, and the exact int64 sums; and the choice of a table. */
#include "tests/support/vector_check.h"

FOR_TABLES(add_is_right)
{
    for (size_t i = 0; i < SIZES; i++) {
        const size_t count = (size_t)check_sizes[i];
        float *x = check_random(count, 1, 5.0), *to = check_random(count, 2, 5.0);
        double *sum = check_doubles(count);
        for (size_t j = 0; j < count; j++)
            sum[j] = (double)to[j] + (double)x[j];
        t->add(count, to, x);
        vector_check_near("add", to, sum, count, 6e-8, 0);
        check_free(x, count);
        check_free(to, count);
        free(sum);
    }
}

FOR_TABLES(sgd_is_right)
{
    for (size_t i = 0; i < SIZES; i++) {
        const size_t count = (size_t)check_sizes[i];
        float *p = check_random(count, 1, 1.0), *g = check_random(count, 2, 9.0);
        double *right = check_doubles(count);
        for (size_t j = 0; j < count; j++)
            right[j] = (double)p[j] - 0.1 * (0.5 * (double)g[j] + 0.01 * (double)p[j]);
        t->sgd(count, p, g, 0.5f, 0.1f, 0.01f);
        vector_check_near("sgd", p, right, count, 1e-6, 1e-7);
        check_free(p, count);
        check_free(g, count);
        free(right);
    }
}

/* torch.optim.Adam in double, from its documentation, beside the kernel for a few steps. */
FOR_TABLES(adam_follows_its_definition)
{
    const struct adam adam = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01};
    for (size_t i = 0; i < SIZES; i++) {
        const size_t count = (size_t)check_sizes[i];
        float *p = check_random(count, 1, 1.0), *m = check_random(count, 2, 0.0), *v = check_random(count, 2, 0.0);
        double *rp = check_doubles(count), *rm = check_doubles(count), *rv = check_doubles(count);
        for (size_t j = 0; j < count; j++)
            rp[j] = (double)p[j];
        for (int step = 1; step <= 5; step++) {
            float *g = check_random(count, 10 + (uint64_t)step, 1.0);
            const double left1 = 1.0 - pow(adam.beta1, step), left2 = 1.0 - pow(adam.beta2, step);
            for (size_t j = 0; j < count; j++) {
                const double slope = 0.25 * (double)g[j] + adam.decay * rp[j];
                rm[j] = adam.beta1 * rm[j] + (1.0 - adam.beta1) * slope;
                rv[j] = adam.beta2 * rv[j] + (1.0 - adam.beta2) * slope * slope;
                rp[j] -= adam.lr * (rm[j] / left1) / (sqrt(rv[j] / left2) + adam.eps);
            }
            t->adam(count, p, g, m, v, 0.25f, &adam, (float)(adam.lr / left1), (float)(1.0 / sqrt(left2)));
            check_free(g, count);
        }
        vector_check_near("m", m, rm, count, 1e-6, 2e-8);
        vector_check_near("v", v, rv, count, 1e-6, 0);
        vector_check_near("p", p, rp, count, 1e-6, 3e-8);
        check_free(p, count);
        check_free(m, count);
        check_free(v, count);
        free(rp);
        free(rm);
        free(rv);
    }
}

/* The arrays that the element-wise kernels have worked on, all `count` elements of them. */
struct flat {
    float *add, *sgd, *p, *m, *v, *whole;
    int64_t *sum;
};

enum { FLAT = 203 };

static struct flat vector_flat_flat(void)
{
    struct flat f = {check_random(FLAT, 1, 3),     check_random(FLAT, 4, 3), check_random(FLAT, 5, 3),
                     check_random(FLAT, 6, 3),     check_random(FLAT, 7, 0), check_array(FLAT),
                     calloc(FLAT, sizeof(int64_t))};
    assert_non_null(f.sum);
    return f;
}

static void vector_flat_run(table *t, struct flat *f, const float *g, size_t first, size_t count)
{
    const struct adam adam = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    t->add(count, f->add + first, g + first);
    t->sgd(count, f->sgd + first, g + first, 1.0f, 0.1f, 0.01f);
    t->adam(count, f->p + first, g + first, f->m + first, f->v + first, 0.5f, &adam, 0.01f, 31.6f);
    assert_int_equal(t->quantise(count, g + first, 0x1p22f, f->sum + first), count);
    t->dequantise(count, f->sum + first, f->whole + first);
}

static void vector_flat_free(struct flat *f)
{
    float *all[] = {f->add, f->sgd, f->p, f->m, f->v, f->whole};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check_free(all[i], FLAT);
    free(f->sum);
}

FOR_TABLES(slices_give_the_bits_of_the_whole)
{
    float *g = check_random(FLAT, 8, 2.0);
    struct flat whole = vector_flat_flat();
    vector_flat_run(t, &whole, g, 0, FLAT);
    for (size_t cut = 0; cut <= FLAT; cut += 5) {
        struct flat parts = vector_flat_flat();
        vector_flat_run(t, &parts, g, 0, cut);
        vector_flat_run(t, &parts, g, cut, FLAT - cut);
        float *const *one = &whole.add, *const *other = &parts.add;
        for (size_t i = 0; i < 6; i++)
            check_same_bits("a slice", one[i], other[i], FLAT * sizeof(float));
        check_same_bits("a slice of quantise", whole.sum, parts.sum, FLAT * sizeof(int64_t));
        vector_flat_free(&parts);
    }
    vector_flat_free(&whole);
    check_free(g, FLAT);
}

FOR_TABLES(a_sum_of_squares_has_the_precision_of_double)
{
    for (size_t i = 0; i <= SIZES; i++) {
        const size_t count = i < SIZES ? (size_t)check_sizes[i] : 65536;
        float *x = check_random(count, 4, 1e3), *elsewhere = check_array(count + 1);
        memcpy(elsewhere + 1, x, count * sizeof *x);
        long double right = 0.0L;
        for (size_t j = 0; j < count; j++)
            right += (long double)x[j] * (long double)x[j];
        const double sum = t->sum_squares(count, x), again = t->sum_squares(count, elsewhere + 1);
        assert_true(fabsl((long double)sum - right) <= 1e-12L * right);
        check_same_bits("sum_squares at another address", &sum, &again, sizeof sum);
        x[count / 2] = NAN;
        assert_true(isnan(t->sum_squares(count, x)));
        check_free(x, count);
        check_free(elsewhere, count + 1);
    }
    assert_true(t->sum_squares(0, NULL) == 0.0);
}

/* volatile: no other rounding, whatever the compiler does with the loop. */
FOR_TABLES(a_sum_of_squares_in_floats_has_its_lanes_whatever_the_table)
{
    for (size_t i = 0; i <= SIZES; i++) {
        const size_t count = i < SIZES ? (size_t)check_sizes[i] : 65536, whole = count / 8 * 8;
        float *x = check_random(count, 5, 1e2);
        volatile float lane[8] = {0}, scaled, square;
        for (size_t j = 0; j < whole; j++) {
            scaled = 0.3f * x[j];
            square = scaled * scaled;
            lane[j % 8] += square;
        }
        for (size_t j = 1; j < 8; j++)
            lane[0] += lane[j];
        for (size_t j = whole; j < count; j++) {
            scaled = 0.3f * x[j];
            square = scaled * scaled;
            lane[0] += square;
        }
        assert_true(t->sum_squares_float(count, x, 0.3f) == lane[0]);
        check_free(x, count);
    }
    assert_true(t->sum_squares_float(0, NULL, 1.0f) == 0.0f);
}

FOR_TABLES(quantise_rounds_ties_to_even_and_adds)
{
    const double tiny = 0x1p-40;
    const struct {
        double x;
        int64_t sum;
    } known[] = {
        {0.0, 0},
        {0.5 * tiny, 0},
        {1.5 * tiny, 2},
        {2.5 * tiny, 2},
        {-0.5 * tiny, 0},
        {-1.5 * tiny, -2},
        {-2.5 * tiny, -2},
        {0.75 * tiny, 1},
        {1.0, 1ll << 40},
        {-1.0, -(1ll << 40)},
        {0x1p22, 1ll << 62},
        {-0x1p22, -(1ll << 62)},
        {2048.0, 1ll << 51},
        {-2048.0, -(1ll << 51)},
        {2047.9998779296875, (1ll << 51) - (1ll << 27)},
        {1e-30, 0},
        {3000000.0, 3000000ll << 40},
        {-2051.0, -(2051ll << 40)},
    };
    enum { KNOWN = sizeof known / sizeof known[0], COUNT = 53 };
    for (size_t i = 0; i < KNOWN; i++) {
        float *x = check_array(COUNT), *back = check_array(COUNT);
        int64_t sum[COUNT];
        for (size_t j = 0; j < COUNT; j++) {
            x[j] = (float)known[i].x;
            sum[j] = (int64_t)j - 20;
        }
        assert_int_equal(t->quantise(COUNT, x, 0x1p23f, sum), COUNT);
        t->dequantise(COUNT, sum, back);
        for (size_t j = 0; j < COUNT; j++) {
            assert_true(sum[j] == known[i].sum + (int64_t)j - 20);
            assert_true(back[j] == (float)sum[j] / 0x1p40f);
        }
        check_free(x, COUNT);
        check_free(back, COUNT);
    }
}

/* At every place in a vector, beside values that can be added. */
FOR_TABLES(quantise_stops_at_what_it_cannot_hold)
{
    enum { COUNT = 53 };
    const struct {
        float x, below;
    } odd[] = {{NAN, 0x1p22f},      {INFINITY, 0x1p22f}, {-INFINITY, 0x1p22f}, {0x1p22f, 0x1p22f},
               {-0x1p22f, 0x1p22f}, {3e38f, 0x1p23f},    {512.0f, 512.0f},     {-600.0f, 512.0f}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        for (size_t place = 0; place < COUNT; place++) {
            float *x = check_random(COUNT, 5, 100.0);
            int64_t sum[COUNT] = {0}, right[COUNT] = {0};
            for (size_t j = 0; j < place; j++)
                right[j] = (int64_t)llrint((double)x[j] * 0x1p40);
            x[place] = odd[i].x;
            assert_int_equal(t->quantise(COUNT, x, odd[i].below, sum), place);
            check_same_bits("sums up to the place", sum, right, sizeof sum);
            check_free(x, COUNT);
        }
}

FOR_TABLES(dequantise_rounds_once)
{
    const int64_t sum[] = {
        (1ll << 60) + (1ll << 36) + 1, (1ll << 60) + (1ll << 36), INT64_MAX, INT64_MIN, -1, 33554433};
    enum { COUNT = sizeof sum / sizeof sum[0] };
    for (size_t i = 0; i < COUNT; i++) {
        int64_t all[19];
        float x[19];
        for (size_t j = 0; j < 19; j++)
            all[j] = sum[i];
        t->dequantise(19, all, x);
        for (size_t j = 0; j < 19; j++)
            assert_true(x[j] == (float)((long double)sum[i] / 0x1p40L));
    }
}

FOR_TABLES(bf16_is_rounded_to_even_and_keeps_nan)
{
    /* bits, and the upper half they round to */
    static const uint32_t bits[][2] = {
        {0x00000000, 0x0000}, {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81},
        {0x3f807fff, 0x3f80}, {0xbf818000, 0xbf82}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
        {0x7f800001, 0x7fc0}, {0xffc12345, 0xffc1}, {0x00000001, 0x0000}, {0x00018000, 0x0002}, {0x80000000, 0x8000},
    };
    enum { CASES = sizeof bits / sizeof bits[0] };
    for (size_t count = 0; count <= 40; count++) {
        float *x = check_array(count);
        uint16_t half[41];
        for (size_t i = 0; i < count; i++)
            memcpy(&x[i], &bits[i % CASES][0], sizeof *x);
        half[count] = 0xabcd;
        t->to_bf16(count, x, half);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(half[i], bits[i % CASES][1]);
        assert_int_equal(half[count], 0xabcd);
        check_free(x, count);
    }
}

/* Against the scalar rounding of each element; whole blocks, and partial ones on each side. */
static void vector_flat_check_turned(table *t, size_t rows, size_t depth, size_t width)
{
    const size_t stride = rows + 3, count = rows * width;
    float *a = check_random(depth * stride, rows * 100 + depth, 7.0);
    uint16_t *half = malloc((count + 1) * sizeof *half), right;
    assert_non_null(half);
    memset(half, 0xab, (count + 1) * sizeof *half);
    t->turn_to_bf16(rows, depth, a, stride, width, half);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < width; k++) {
            vector_scalar.to_bf16(1, k < depth ? a + k * stride + r : &(float){0}, &right);
            if (half[r * width + k] != right)
                fail_msg("%zu x %zu in %zu: row %zu, column %zu", rows, depth, width, r, k);
        }
    assert_int_equal(half[count], 0xabab);
    free(half);
    check_free(a, depth * stride);
}

FOR_TABLES(bf16_is_turned_as_it_is_rounded)
{
    const size_t rows[] = {1, 15, 16, 17, 48}, depths[] = {1, 2, 31, 32, 33, 64}, more[] = {0, 1, 16, 50};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
            for (size_t m = 0; m < sizeof more / sizeof *more; m++)
                vector_flat_check_turned(t, rows[r], depths[d], depths[d] + more[m]);
}

FOR_TABLES(nothing_happens_to_no_elements)
{
    const struct adam adam = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    float x = 3.0f;
    int64_t sum = 3;
    t->add(0, &x, &x);
    t->sgd(0, &x, &x, 1.0f, 1.0f, 1.0f);
    t->adam(0, &x, &x, &x, &x, 1.0f, &adam, 1.0f, 1.0f);
    assert_int_equal(t->quantise(0, &x, 1.0f, &sum), 0);
    t->dequantise(0, &sum, &x);
    t->lstm_forward(0, 4, &x, &x, NULL, NULL, &x, &x);
    t->cross_entropy(0, 4, &x, NULL, true, &x, NULL);
    assert_true(x == 3.0f && sum == 3);
}

static void the_environment_names_a_table(void **state)
{
    (void)state;
    struct err err = {0};
    size_t count;
    const struct vector_table *const *tables = vector_tables(&count);
    assert_ptr_equal(tables[count - 1], &vector_scalar);

    unsetenv("LSTMQ_ISA");
    assert_ptr_equal(vector_best(&err), tables[0]);
    for (size_t i = 0; i < count; i++) {
        setenv("LSTMQ_ISA", tables[i]->isa, 1);
        assert_ptr_equal(vector_best(&err), tables[i]);
    }
    setenv("LSTMQ_ISA", "sse9", 1);
    assert_null(vector_best(&err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.text, "sse9"));
    assert_non_null(strstr(err.text, "scalar"));
    unsetenv("LSTMQ_ISA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_is_right),
        cmocka_unit_test(sgd_is_right),
        cmocka_unit_test(adam_follows_its_definition),
        cmocka_unit_test(slices_give_the_bits_of_the_whole),
        cmocka_unit_test(a_sum_of_squares_has_the_precision_of_double),
        cmocka_unit_test(a_sum_of_squares_in_floats_has_its_lanes_whatever_the_table),
        cmocka_unit_test(quantise_rounds_ties_to_even_and_adds),
        cmocka_unit_test(quantise_stops_at_what_it_cannot_hold),
        cmocka_unit_test(dequantise_rounds_once),
        cmocka_unit_test(bf16_is_rounded_to_even_and_keeps_nan),
        cmocka_unit_test(bf16_is_turned_as_it_is_rounded),
        cmocka_unit_test(nothing_happens_to_no_elements),
        cmocka_unit_test(the_environment_names_a_table),
    };
    return cmocka_run_group_tests_name("vector_flat", tests, NULL, NULL);
}
