/* test_json_print.c - JSON as text: reals, those that JSON has not, and where commas stand. */
#include "proto/store/json_print.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void a_value_that_is_not_a_number_is_null(void **state)
{
    (void)state;
    const double list[] = {INFINITY, (double)NAN, -INFINITY, -1.5e300};
    struct buffer text = {0};
    buffer_text(&text, "{");
    json_print_number(&text, "inf", INFINITY);
    json_print_numbers(&text, "list", list, 4);
    buffer_text(&text, ", \"inner\": {");
    json_print_number(&text, "nan", -(double)NAN);
    json_print_number(&text, "last", 3);
    buffer_text(&text, "}}");
    assert_true(buffer_ok(&text, NULL));
    assert_string_equal(text.data, "{\"inf\": null, \"list\": [null, null, null, -1.5000000000000001e+300], "
                                   "\"inner\": {\"nan\": null, \"last\": 3}}");
    buffer_free(&text);
}

static void a_number_comes_back_to_the_bit(void **state)
{
    (void)state;
    const double values[] = {0.1, 1.0 / 3, -2.5e-310, 4503599627370497.5, 123456789};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct buffer text = {0};
        json_print_real(&text, values[i]);
        assert_true(buffer_ok(&text, NULL));
        assert_true(strtod(text.data, NULL) == values[i]);
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_that_is_not_a_number_is_null),
        cmocka_unit_test(a_number_comes_back_to_the_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
