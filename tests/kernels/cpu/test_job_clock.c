/* What a team counts of its jobs: how many, in how many parts, and the time of the thread that ends last. */
#include "kernels/cpu/job_clock.h"
#include "kernels/cpu/team.h"

#include "proto/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sharing job_clock_dealt(int threads, const int64_t *ns, int parts)
{
    struct err err = {0};
    struct sharing sharing = {0};
    struct job_clock *clock = job_clock_open(&sharing, threads, &err);
    assert_non_null(clock);
    job_clock_begin(clock, parts);
    for (int part = 0; part < parts; part++)
        job_clock_part(clock, part, ns[part]);
    job_clock_end(clock, threads, parts);
    job_clock_close(&clock);
    assert_null(clock);
    return sharing;
}

static void parts_go_to_the_thread_that_is_free_first(void **state)
{
    (void)state;
    const int64_t ns[] = {50, 10, 10, 10, 40};
    struct sharing two = job_clock_dealt(2, ns, 5), one = job_clock_dealt(1, ns, 5), eight = job_clock_dealt(8, ns, 5);
    assert_int_equal(two.work_ns, 120);
    assert_int_equal(two.longest_ns, 70);
    assert_int_equal(two.jobs, 1);
    assert_int_equal(two.parts, 5);
    assert_int_equal(eight.longest_ns, 50);
    assert_int_equal(one.longest_ns, 120);
    assert_int_equal(one.jobs, 0);
}

static void more_parts_than_are_told_apart_lose_no_time(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static int64_t ns[MANY];
    for (int i = 0; i < MANY; i++)
        ns[i] = 3;
    assert_int_equal(job_clock_dealt(4, ns, MANY).work_ns, 3 * MANY);
}

/* Keep the processor busy, the longer the higher the part. */
static void job_clock_busy(void *context, int thread, int part, int parts)
{
    (void)context, (void)thread, (void)parts;
    for (int64_t end = job_clock_now() + (part + 1) * 200000; job_clock_now() < end;)
        ;
}

static void a_counting_team_counts_its_jobs(void **state)
{
    (void)state;
    struct err err = {0};
    struct sharing sharing = {0};
    struct team *team = team_open(3, NULL, &err);
    assert_non_null(team);
    team_run(team, 3, 3, job_clock_busy, NULL);
    assert_int_equal(sharing.work_ns, 0);
    assert_true(team_count_sharing(team, &sharing, &err));
    team_run(team, 3, 4, job_clock_busy, NULL);
    team_run(team, 1, 2, job_clock_busy, NULL);
    assert_true(team_count_sharing(team, NULL, &err));
    team_run(team, 3, 3, job_clock_busy, NULL);
    team_close(&team);
    assert_int_equal(sharing.jobs, 1);
    assert_int_equal(sharing.parts, 4);
    assert_true(sharing.work_ns >= 13 * 200000);
    /* Threads take 1 and 4, 2, 3 of the first job: 5; and all 3 of the second. */
    assert_true(sharing.longest_ns >= 8 * 200000);
    assert_true(sharing.longest_ns < sharing.work_ns);
    assert_true(sharing.inside_ns > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_go_to_the_thread_that_is_free_first),
        cmocka_unit_test(more_parts_than_are_told_apart_lose_no_time),
        cmocka_unit_test(a_counting_team_counts_its_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
