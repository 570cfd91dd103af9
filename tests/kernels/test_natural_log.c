/* test_natural_log.c - the logarithm of the loss, against the C library's in double and long double. */
#include "kernels/natural_log.h"
#include "proto/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Doubles between a and b, which have one sign. */
static int64_t natural_log_steps(double a, double b)
{
    int64_t first, second;
    memcpy(&first, &a, sizeof first);
    memcpy(&second, &b, sizeof second);
    return first > second ? first - second : second - first;
}

static void natural_log_check(double x)
{
    const double got = natural_log(x), libm = log(x);
    const long double right = logl((long double)x);
    int exponent;
    frexp((double)right, &exponent);
    if (natural_log_steps(got, libm) > 1)
        fail_msg("log(%a) is %a, libm says %a", x, got, libm);
    if (!(fabsl((long double)got - right) <= ldexpl(1.0L, exponent - 53)))
        fail_msg("log(%a) is %a, %Lg ulp from %La", x, got, ((long double)got - right) / ldexpl(1.0L, exponent - 53),
                 right);
}

static void a_log_is_within_1_ulp_at_all_sizes(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000000; i++) {
        const uint64_t bits = splitmix(i) >> 1;
        double x;
        memcpy(&x, &bits, sizeof x);
        if (isfinite(x) && x > 0.0)
            natural_log_check(x);
    }
}

/* Sums of exponentials lie between 1 and the vocabulary's size; near 1 the terms cancel. */
static void a_log_is_within_1_ulp_where_losses_lie(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000000; i++) {
        const double u = (double)(splitmix(i) >> 11) * 0x1p-53;
        natural_log_check(exp2(17.0 * u));
        natural_log_check(1.0 + ldexp(u, -(int)(i % 52)));
        natural_log_check(1.0 - ldexp(u, -1 - (int)(i % 52)));
    }
}

static void a_log_of_special_values_is_libms(void **state)
{
    (void)state;
    const double values[] = {0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp+1023, M_SQRT1_2, M_SQRT2, 2.0, 0.5, M_E};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        natural_log_check(values[i]);
    assert_true(natural_log(1.0) == 0.0 && !signbit(natural_log(1.0)));
    assert_true(natural_log(0.0) == -INFINITY && natural_log(-0.0) == -INFINITY);
    assert_true(natural_log(INFINITY) == INFINITY);
    assert_true(isnan(natural_log(NAN)) && isnan(natural_log(-1.0)) && isnan(natural_log(-INFINITY)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_is_within_1_ulp_at_all_sizes),
        cmocka_unit_test(a_log_is_within_1_ulp_where_losses_lie),
        cmocka_unit_test(a_log_of_special_values_is_libms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
