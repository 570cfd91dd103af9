/* The earliest deadline is always on top, whatever was added and removed. */
#include "coordinator/serve/queue/deadlines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { REQUESTS = 500 };

static const struct request *earliest(const struct request *requests)
{
    const struct request *found = NULL;
    for (int i = 0; i < REQUESTS; i++)
        if (requests[i].place != 0 && (found == NULL || requests[i].deadline_us < found->deadline_us))
            found = &requests[i];
    return found;
}

static void the_earliest_is_on_top(void **state)
{
    static struct request requests[REQUESTS];
    struct deadlines deadlines = {0};
    (void)state;
    srand(1);
    for (int move = 0; move < 20000; move++) {
        struct request *request = &requests[rand() % REQUESTS];
        if (request->place == 0) {
            request->deadline_us = rand() % 1000;
            assert_true(deadlines_add(&deadlines, request));
        } else {
            deadlines_remove(&deadlines, request);
            deadlines_remove(&deadlines, request); /* it is not there any more */
        }
        const struct request *first = deadlines_first(&deadlines), *wanted = earliest(requests);
        assert_true((first == NULL) == (wanted == NULL));
        if (first != NULL)
            assert_int_equal(first->deadline_us, wanted->deadline_us);
    }
    free(deadlines.heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_earliest_is_on_top)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
