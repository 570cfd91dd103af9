/* test_vector_tables.c - the tables of AVX2 and AVX-512 give the same bits on random data, so a model does not depend
 * on the processor's vector length. Sums of squares are the same in the scalar table too. */
#include "tests/support/vector_check.h"

static table *tables_named(const char *isa)
{
    size_t count;
    const struct vector_table *const *tables = vector_tables(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(tables[i]->isa, isa) == 0)
            return tables[i];
    return NULL;
}

/* Both tables, or the test is skipped. */
static void tables_both(table *both[2])
{
    both[0] = tables_named("avx2");
    both[1] = tables_named("avx512");
    if (both[0] == NULL || both[1] == NULL) {
        print_message("this machine lacks AVX-512: the two tables were not compared\n");
        skip();
    }
}

static void tables_check_softmax(table *both[2], int V, double size)
{
    enum { ROWS = 20 };
    const size_t count = ROWS * (size_t)V;
    float *logits[2], loss[2][ROWS];
    int32_t target[ROWS], predicted[2][ROWS];
    for (int r = 0; r < ROWS; r++)
        target[r] = r * 7 % V;
    for (int i = 0; i < 2; i++) {
        logits[i] = check_random(count, (uint64_t)V, size);
        both[i]->cross_entropy(ROWS, V, logits[i], target, true, loss[i], predicted[i]);
    }
    check_same_bits("gradient", logits[0], logits[1], count * sizeof(float));
    check_same_bits("loss", loss[0], loss[1], sizeof loss[0]);
    check_same_bits("predicted", predicted[0], predicted[1], sizeof predicted[0]);
    check_free(logits[0], count);
    check_free(logits[1], count);
}

static void softmax_has_the_same_bits_in_both(void **state)
{
    table *both[2];
    (void)state;
    tables_both(both);
    for (int V = 1; V <= 200; V++)
        tables_check_softmax(both, V, 4.0);
    tables_check_softmax(both, 7844, 0.01);
    tables_check_softmax(both, 7844, 4.0);
    tables_check_softmax(both, 7844, 40.0);
}

static void sums_of_squares_have_the_same_bits_in_all(void **state)
{
    size_t tables;
    const struct vector_table *const *all = vector_tables(&tables);
    (void)state;
    for (size_t count = 0; count <= 65536; count += count < 300 ? 1 : 4659) {
        float *x = check_random(count, count, 1e3);
        const double first = all[0]->sum_squares(count, x);
        for (size_t i = 1; i < tables; i++) {
            const double other = all[i]->sum_squares(count, x);
            check_same_bits("sum_squares", &first, &other, sizeof first);
        }
        check_free(x, count);
    }
}

/* One step forward and backward of either cell. */
static void recurrent_steps_have_the_same_bits_in_both(void **state)
{
    enum { ROWS = 3, H = 203, G = 4 * H };
    const int32_t slot[ROWS] = {2, 0, 1};
    float *array[2][7];
    static const size_t width[7] = {G, G, H, H, H, H, H};
    table *both[2];
    (void)state;
    tables_both(both);
    for (int i = 0; i < 2; i++) {
        float **a = array[i];
        for (uint64_t k = 0; k < 7; k++)
            a[k] = check_random(ROWS * width[k], k, 4.0);
        both[i]->lstm_forward(ROWS, H, a[0], a[1], slot, a[2], a[3], a[4]);
        both[i]->lstm_backward(ROWS, H, a[0], a[2], a[3], a[5], a[6]);
        both[i]->rnn_forward(ROWS, H, a[2], a[1], slot);
        both[i]->rnn_backward(ROWS, H, a[2], a[5]);
    }
    for (int k = 0; k < 7; k++) {
        check_same_bits("a recurrent step", array[0][k], array[1][k], ROWS * width[k] * sizeof(float));
        check_free(array[0][k], ROWS * width[k]);
        check_free(array[1][k], ROWS * width[k]);
    }
}

static void updates_have_the_same_bits_in_both(void **state)
{
    enum { COUNT = 10007 };
    const struct adam adam = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01};
    float *array[2][5];
    static int64_t sum[2][COUNT];
    table *both[2];
    (void)state;
    tables_both(both);
    for (int i = 0; i < 2; i++) {
        float **a = array[i];
        for (uint64_t k = 0; k < 5; k++)
            a[k] = check_random(COUNT, k, 2.0);
        for (size_t j = 0; j < COUNT; j++)
            a[3][j] = fabsf(a[3][j]);
        both[i]->adam(COUNT, a[0], a[1], a[2], a[3], 0.7f, &adam, 0.01f, 31.6f);
        both[i]->sgd(COUNT, a[4], a[1], 0.7f, 0.1f, 0.01f);
        both[i]->add(COUNT, a[1], a[0]);
        assert_int_equal(both[i]->quantise(COUNT, a[4], 0x1p22f, sum[i]), COUNT);
        both[i]->dequantise(COUNT, sum[i], a[4]);
    }
    for (int k = 0; k < 5; k++) {
        check_same_bits("an update", array[0][k], array[1][k], COUNT * sizeof(float));
        check_free(array[0][k], COUNT);
        check_free(array[1][k], COUNT);
    }
    check_same_bits("quantise", sum[0], sum[1], sizeof sum[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_has_the_same_bits_in_both),
        cmocka_unit_test(sums_of_squares_have_the_same_bits_in_all),
        cmocka_unit_test(recurrent_steps_have_the_same_bits_in_both),
        cmocka_unit_test(updates_have_the_same_bits_in_both),
    };
    return cmocka_run_group_tests_name("vector_tables", tests, NULL, NULL);
}
