/* test_vector.c - the kernels over rows, of every table this machine can run, against plain arithmetic in double:
 * recurrent cells with their nonlinearities, and logits. */
#include "tests/support/vector_check.h"

static double test_vector_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* The distance of x from the right answer, in units of the last place of a float of that size. */
static double vector_ulps(float x, double right)
{
    int exponent;
    frexp(right, &exponent);
    return fabs((double)x - right) / ldexp(1.0, (exponent > -125 ? exponent : -125) - 24);
}

enum { SWEEP = 200000 };

/* The gates i of an LSTM step on an input of zeros are the sigmoids of x. */
static void vector_sigmoid_all(table *t, float *x, int count)
{
    const size_t H = (size_t)count;
    float *gates = check_random(4 * H, 1, 0.0), *zeros = check_random(4 * H, 1, 0.0), *c = check_array(H),
          *h = check_array(H);
    memcpy(gates, x, H * sizeof *x);
    t->lstm_forward(1, count, gates, zeros, &(int32_t){0}, NULL, c, h);
    memcpy(x, gates, H * sizeof *x);
    check_free(gates, 4 * H);
    check_free(zeros, 4 * H);
    check_free(c, H);
    check_free(h, H);
}

/* Where exp(-x) is large the sigmoid is its reciprocal, so this tests exp too. */
FOR_TABLES(a_sigmoid_is_within_3_ulp)
{
    float *x = check_array(SWEEP), *y;
    for (size_t i = 0; i < SWEEP; i++)
        x[i] = (float)(-87.0 + 175.0 * (double)i / SWEEP);
    y = check_copy(x, SWEEP);
    vector_sigmoid_all(t, y, SWEEP);
    for (size_t i = 0; i < SWEEP; i++)
        if (!(vector_ulps(y[i], test_vector_sigmoid((double)x[i])) <= 3.0))
            fail_msg("%s: sigmoid(%.9g) = %.9g", t->isa, (double)x[i], (double)y[i]);
    check_free(x, SWEEP);
    check_free(y, SWEEP);
}

/* rnn_forward on an input of zeros is tanh. */
static void vector_tanh_all(table *t, float *x, int count)
{
    float *zeros = check_random((size_t)count, 1, 0.0);
    t->rnn_forward(1, count, x, zeros, &(int32_t){0});
    check_free(zeros, (size_t)count);
}

FOR_TABLES(a_tanh_is_within_3_ulp_at_all_sizes)
{
    float *x = check_array(SWEEP), *y;
    for (size_t i = 0; i < SWEEP; i++)
        x[i] = (float)((i % 2 == 0 ? 1.0 : -1.0) * exp(-40.0 + 43.0 * (double)i / SWEEP));
    y = check_copy(x, SWEEP);
    vector_tanh_all(t, y, SWEEP);
    for (size_t i = 0; i < SWEEP; i++)
        if (!(vector_ulps(y[i], tanh((double)x[i])) <= 3.0))
            fail_msg("%s: tanh(%.9g) = %.9g", t->isa, (double)x[i], (double)y[i]);
    check_free(x, SWEEP);
    check_free(y, SWEEP);
}

FOR_TABLES(nonlinearities_saturate_and_keep_nan)
{
    float x[] = {-INFINITY, -1000.0f, -89.0f, 0.0f, 89.0f, 1000.0f, INFINITY, NAN, -3e38f, 3e38f, -92.0f, 92.0f};
    const float sigmoid[] = {0, 0, 0, 0.5f, 1, 1, 1, 0, 0, 1, 0, 1},
                hyperbolic[] = {-1, -1, -1, 0, 1, 1, 1, 0, -1, 1, -1, 1};
    enum { COUNT = sizeof x / sizeof x[0], NOT_A_NUMBER = 7 };
    float y[COUNT];
    memcpy(y, x, sizeof x);
    vector_sigmoid_all(t, y, COUNT);
    vector_tanh_all(t, x, COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (i == NOT_A_NUMBER) {
            assert_true(isnan(x[i]) && isnan(y[i]));
            continue;
        }
        assert_true(y[i] == sigmoid[i]);
        assert_true(x[i] == hyperbolic[i]);
    }
}

/* A step of a recurrence over `rows` rows with all its inputs and outputs; the slots are out of order. */
struct step {
    size_t rows, H, G;
    float *gates, *input, *c_before, *c, *h, *dh, *dc;
    int32_t slot[8];
};

static struct step vector_step(size_t rows, size_t H, size_t G, uint64_t seed)
{
    struct step s = {.rows = rows, .H = H, .G = G};
    s.gates = check_random(rows * G, seed, 3.0);
    s.input = check_random(rows * G, seed + 1, 3.0);
    s.c_before = check_random(rows * H, seed + 2, 2.0);
    s.c = check_array(rows * H);
    s.h = check_array(rows * H);
    s.dh = check_random(rows * H, seed + 3, 1.0);
    s.dc = check_random(rows * H, seed + 4, 1.0);
    for (size_t r = 0; r < rows; r++)
        s.slot[r] = (int32_t)(rows - 1 - r);
    return s;
}

static void vector_step_free(struct step *s)
{
    check_free(s->gates, s->rows * s->G);
    check_free(s->input, s->rows * s->G);
    check_free(s->c_before, s->rows * s->H);
    check_free(s->c, s->rows * s->H);
    check_free(s->h, s->rows * s->H);
    check_free(s->dh, s->rows * s->H);
    check_free(s->dc, s->rows * s->H);
}

static void vector_check_lstm_forward(table *t, int H, bool zeros)
{
    enum { ROWS = 3 };
    const size_t width = (size_t)H, count = ROWS * width;
    struct step s = vector_step(ROWS, width, 4 * width, (uint64_t)H);
    double *gates = check_doubles(4 * count), *c = check_doubles(count), *h = check_doubles(count);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t j = 0; j < width; j++) {
            double z[4];
            for (size_t k = 0; k < 4; k++) {
                const size_t at = k * width + j;
                z[k] = (double)(s.gates[r * 4 * width + at] + s.input[(size_t)s.slot[r] * 4 * width + at]);
                z[k] = gates[r * 4 * width + at] = k == 2 ? tanh(z[k]) : test_vector_sigmoid(z[k]);
            }
            c[r * width + j] = z[1] * (zeros ? 0.0 : (double)s.c_before[r * width + j]) + z[0] * z[2];
            h[r * width + j] = z[3] * tanh(c[r * width + j]);
        }
    t->lstm_forward(ROWS, H, s.gates, s.input, s.slot, zeros ? NULL : s.c_before, s.c, s.h);
    vector_check_near("gates", s.gates, gates, 4 * count, 4e-7, 0);
    vector_check_near("c", s.c, c, count, 4e-7, 3e-7);
    vector_check_near("h", s.h, h, count, 8e-7, 3e-7);
    free(gates);
    free(c);
    free(h);
    vector_step_free(&s);
}

FOR_TABLES(lstm_forward_is_right_at_odd_widths)
{
    for (size_t i = 0; i < SIZES; i++) {
        vector_check_lstm_forward(t, check_sizes[i], false);
        vector_check_lstm_forward(t, check_sizes[i], true);
    }
}

FOR_TABLES(lstm_forward_may_overwrite_the_cell_it_reads)
{
    struct step apart = vector_step(3, 17, 68, 5), same = vector_step(3, 17, 68, 5);
    t->lstm_forward(3, 17, apart.gates, apart.input, apart.slot, apart.c_before, apart.c, apart.h);
    t->lstm_forward(3, 17, same.gates, same.input, same.slot, same.c_before, same.c_before, same.h);
    check_same_bits("c", apart.c, same.c_before, 51 * sizeof(float));
    check_same_bits("h", apart.h, same.h, 51 * sizeof(float));
    vector_step_free(&apart);
    vector_step_free(&same);
}

/* The forward step in double from the gates before their nonlinearity, for finite differences: dh . h + dc . c of one
 * unit. */
static double vector_lstm_value(const double *z, double before, double dh, double dc)
{
    const double c = test_vector_sigmoid(z[1]) * before + test_vector_sigmoid(z[0]) * tanh(z[2]);
    return dh * test_vector_sigmoid(z[3]) * tanh(c) + dc * c;
}

static void vector_check_lstm_backward(table *t, int H, bool zeros)
{
    enum { ROWS = 3 };
    const size_t width = (size_t)H, count = ROWS * width;
    struct step s = vector_step(ROWS, width, 4 * width, (uint64_t)H);
    double *dgates = check_doubles(4 * count), *dc = check_doubles(count);
    for (size_t at = 0; at < count; at++) {
        const size_t first = at / width * 4 * width + at % width;
        double z[4], before = zeros ? 0.0 : (double)s.c_before[at], step = 1e-5;
        const double dh = (double)s.dh[at], dc_after = (double)s.dc[at];
        for (size_t k = 0; k < 4; k++)
            z[k] = (double)s.gates[first + k * width];
        for (size_t k = 0; k < 4; k++) {
            double up[4], down[4];
            memcpy(up, z, sizeof z);
            memcpy(down, z, sizeof z);
            up[k] += step;
            down[k] -= step;
            dgates[first + k * width] =
                (vector_lstm_value(up, before, dh, dc_after) - vector_lstm_value(down, before, dh, dc_after)) /
                (2 * step);
        }
        dc[at] =
            (vector_lstm_value(z, before + step, dh, dc_after) - vector_lstm_value(z, before - step, dh, dc_after)) /
            (2 * step);
        s.c[at] = (float)(test_vector_sigmoid(z[1]) * before + test_vector_sigmoid(z[0]) * tanh(z[2]));
        for (size_t k = 0; k < 4; k++)
            s.gates[first + k * width] = (float)(k == 2 ? tanh(z[k]) : test_vector_sigmoid(z[k]));
    }
    t->lstm_backward(ROWS, H, s.gates, zeros ? NULL : s.c_before, s.c, s.dh, s.dc);
    vector_check_near("dgates", s.gates, dgates, 4 * count, 1e-6, 3e-7);
    vector_check_near("dc", s.dc, dc, count, 1e-6, 3e-7);
    free(dgates);
    free(dc);
    vector_step_free(&s);
}

FOR_TABLES(lstm_backward_is_the_slope_of_forward)
{
    for (size_t i = 0; i < SIZES; i++) {
        vector_check_lstm_backward(t, check_sizes[i], false);
        vector_check_lstm_backward(t, check_sizes[i], true);
    }
}

FOR_TABLES(rnn_steps_are_right_at_odd_widths)
{
    for (size_t i = 0; i < SIZES; i++) {
        const size_t H = (size_t)check_sizes[i];
        struct step s = vector_step(3, H, H, H);
        double *h = check_doubles(3 * H), *slope = check_doubles(3 * H);
        for (size_t at = 0; at < 3 * H; at++) {
            h[at] = tanh((double)(s.gates[at] + s.input[(2 - at / H) * H + at % H]));
            slope[at] = (double)s.dh[at] * (1.0 - h[at] * h[at]);
        }
        t->rnn_forward(3, (int)H, s.gates, s.input, s.slot);
        vector_check_near("h", s.gates, h, 3 * H, 4e-7, 0);
        t->rnn_backward(3, (int)H, s.gates, s.dh);
        vector_check_near("dh", s.gates, slope, 3 * H, 1e-6, 3e-7);
        free(h);
        free(slope);
        vector_step_free(&s);
    }
}

FOR_TABLES(a_recurrent_row_has_the_same_bits_in_any_company)
{
    enum { ROWS = 5, H = 37, G = 4 * H };
    struct step all = vector_step(ROWS, H, G, 9), one = vector_step(ROWS, H, G, 9);
    t->lstm_forward(ROWS, H, all.gates, all.input, all.slot, all.c_before, all.c, all.h);
    for (size_t r = 0; r < ROWS; r++)
        t->lstm_forward(1, H, one.gates + r * G, one.input, one.slot + r, one.c_before + r * H, one.c + r * H,
                        one.h + r * H);
    check_same_bits("forward", all.h, one.h, sizeof(float) * ROWS * H);
    t->lstm_backward(ROWS, H, all.gates, all.c_before, all.c, all.dh, all.dc);
    for (size_t r = 0; r < ROWS; r++)
        t->lstm_backward(1, H, one.gates + r * G, one.c_before + r * H, one.c + r * H, one.dh + r * H, one.dc + r * H);
    check_same_bits("backward", all.gates, one.gates, sizeof(float) * ROWS * G);
    check_same_bits("backward", all.dc, one.dc, sizeof(float) * ROWS * H);
    vector_step_free(&all);
    vector_step_free(&one);
}

static void vector_check_cross_entropy(table *t, int V, double size)
{
    enum { ROWS = 3 };
    const size_t width = (size_t)V, count = ROWS * width;
    float *logits = check_random(count, (uint64_t)V, size), *kept = check_copy(logits, count), loss[ROWS], again[ROWS];
    double *right = check_doubles(count), right_loss[ROWS];
    int32_t target[ROWS] = {0, V / 2, V - 1}, predicted[ROWS], best[ROWS], found[ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        const float *x = logits + r * width;
        double sum = 0.0;
        best[r] = 0;
        for (int32_t j = 1; j < V; j++)
            best[r] = x[j] > x[best[r]] ? j : best[r];
        for (size_t j = 0; j < width; j++)
            sum += exp((double)x[j] - (double)x[best[r]]);
        for (size_t j = 0; j < width; j++)
            right[r * width + j] = exp((double)x[j] - (double)x[best[r]]) / sum - (j == (size_t)target[r]);
        right_loss[r] = log(sum) + (double)x[best[r]] - (double)x[target[r]];
    }
    t->cross_entropy(ROWS, V, logits, target, false, loss, predicted);
    check_same_bits("logits without gradient", logits, kept, count * sizeof *logits);
    vector_check_near("loss", loss, right_loss, ROWS, 1e-6, V == 1 ? 1e-12 : 0);
    check_same_bits("predicted", predicted, best, sizeof best);
    t->argmax(ROWS, V, logits, found);
    check_same_bits("argmax", found, best, sizeof best);
    t->cross_entropy(ROWS, V, logits, target, true, again, NULL);
    check_same_bits("loss with gradient", again, loss, sizeof loss);
    vector_check_near("gradient", logits, right, count, size < 10 ? 2e-6 : 6e-6, 1.2e-7);
    /* One row alone, at another address. */
    t->cross_entropy(1, V, kept + width, target + 1, true, NULL, NULL);
    check_same_bits("a row alone", kept + width, logits + width, width * sizeof *kept);
    check_free(logits, count);
    check_free(kept, count);
    free(right);
}

FOR_TABLES(cross_entropy_is_right_at_odd_widths)
{
    for (size_t i = 0; i < SIZES; i++) {
        vector_check_cross_entropy(t, check_sizes[i], 4.0);
        vector_check_cross_entropy(t, check_sizes[i], 40.0);
    }
    vector_check_cross_entropy(t, 7844, 4.0);
    vector_check_cross_entropy(t, 7844, 0.01);
}

FOR_TABLES(the_first_of_equal_logits_is_predicted)
{
    enum { V = 150 };
    float *x = check_array(V);
    for (int32_t first = 0; first < V; first++)
        for (int32_t second = first; second < V; second += 7) {
            for (int j = 0; j < V; j++)
                x[j] = -3.0f;
            x[first] = x[second] = -1.0f;
            int32_t index;
            t->argmax(1, V, x, &index);
            assert_int_equal(index, first);
        }
    check_free(x, V);
}

FOR_TABLES(broken_logits_give_nan_and_an_index_in_range)
{
    const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < SIZES; i++)
        for (size_t k = 0; k < 3; k++) {
            const int V = check_sizes[i];
            float *x = check_array((size_t)V), loss;
            for (int j = 0; j < V; j++)
                x[j] = odd[k];
            int32_t index = -1;
            t->argmax(1, V, x, &index);
            assert_int_equal(index, 0);
            t->cross_entropy(1, V, x, &(int32_t){V - 1}, true, &loss, &index);
            assert_int_equal(index, 0);
            assert_true(isnan(loss));
            check_free(x, (size_t)V);

            x = check_random((size_t)V, 3, 1.0);
            x[V / 2] = NAN;
            t->cross_entropy(1, V, x, &(int32_t){0}, true, &loss, &index);
            assert_true(index >= 0 && index < V);
            assert_true(isnan(loss));
            check_free(x, (size_t)V);
        }
}

/* A logit of -inf has no probability and does no harm. One far below the others has almost none. */
FOR_TABLES(a_masked_logit_has_no_probability)
{
    enum { V = 219 };
    float *x = check_random(V, 8, 1.0), loss;
    x[3] = -INFINITY;
    for (int j = 20; j < V; j++)
        x[j] = -60.0f - (float)j;
    t->cross_entropy(1, V, x, &(int32_t){5}, true, &loss, NULL);
    assert_true(isfinite(loss));
    assert_true(x[3] == 0.0f);
    for (int j = 20; j < V; j++)
        assert_true(x[j] >= 0.0f && x[j] < 1e-34f);
    check_free(x, V);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sigmoid_is_within_3_ulp),
        cmocka_unit_test(a_tanh_is_within_3_ulp_at_all_sizes),
        cmocka_unit_test(nonlinearities_saturate_and_keep_nan),
        cmocka_unit_test(lstm_forward_is_right_at_odd_widths),
        cmocka_unit_test(lstm_forward_may_overwrite_the_cell_it_reads),
        cmocka_unit_test(lstm_backward_is_the_slope_of_forward),
        cmocka_unit_test(rnn_steps_are_right_at_odd_widths),
        cmocka_unit_test(a_recurrent_row_has_the_same_bits_in_any_company),
        cmocka_unit_test(cross_entropy_is_right_at_odd_widths),
        cmocka_unit_test(the_first_of_equal_logits_is_predicted),
        cmocka_unit_test(broken_logits_give_nan_and_an_index_in_range),
        cmocka_unit_test(a_masked_logit_has_no_probability),
    };
    return cmocka_run_group_tests_name("vector", tests, NULL, NULL);
}
