/* test_or_gate.c - the command that trains the smallest network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void the_or_gate_is_learnt(void **state)
{
    (void)state;
    char line[256], all[4096] = "";
    FILE *output = popen(LSTMQ_BINARY " or-gate", "r");
    assert_non_null(output);
    while (fgets(line, sizeof line, output) != NULL)
        strncat(all, line, sizeof all - strlen(all) - 1);
    assert_int_equal(pclose(output), 0);
    assert_non_null(strstr(all, "epoch 1000  loss 0.000"));
    assert_non_null(strstr(all, "0 or 0 = 0"));
    assert_non_null(strstr(all, "0 or 1 = 1"));
    assert_non_null(strstr(all, "1 or 0 = 1"));
    assert_non_null(strstr(all, "1 or 1 = 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_or_gate_is_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
