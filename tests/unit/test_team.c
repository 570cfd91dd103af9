/* test_team.c - a team runs every index once, again and again, and shows the caller what was written; it sleeps, and
 * wakes. */
#include "kernels/cpu/team.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 9 };

/* Plain memory throughout: that the caller sees it right, and that ThreadSanitizer is content, is the test. */
struct tally {
    int calls[MOST], threads[MOST];
    pid_t who[MOST];
    uint64_t input, sum[MOST];
    bool signals_blocked[MOST];
};

static void s_tally(void *context, int thread, int threads)
{
    struct tally *tally = context;
    tally->calls[thread]++;
    tally->threads[thread] = threads;
    tally->who[thread] = gettid();
    tally->sum[thread] += tally->input * (uint64_t)(thread + 1);
}

static struct team *s_open(int threads)
{
    struct err err = {.text = ""};
    struct team *team = team_open(threads, &err);
    if (team == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(team_threads(team), threads);
    return team;
}

/* The state of a thread of this process, as ps shows it: 'R' runs, 'S' sleeps. */
static char s_state(pid_t thread)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    const char *end = strrchr(line, ')');
    assert_non_null(end);
    return end[2];
}

static void s_await_sleep(const struct tally *tally, int threads)
{
    for (int i = 1; i < threads; i++)
        while (s_state(tally->who[i]) != 'S')
            sched_yield();
}

static void every_index_runs_once(void **state)
{
    (void)state;
    for (int size = 1; size <= MOST; size++) {
        struct team *team = s_open(size);
        for (int threads = 1; threads <= size; threads++) {
            struct tally tally = {.input = 3};
            team_run(team, threads, s_tally, &tally);
            for (int i = 0; i < MOST; i++) {
                assert_int_equal(tally.calls[i], i < threads);
                assert_int_equal(tally.threads[i], i < threads ? threads : 0);
                assert_int_equal(tally.sum[i], i < threads ? 3 * (i + 1) : 0);
            }
        }
        team_close(&team);
        assert_null(team);
    }
}

static void thousands_of_runs_in_a_row_lose_nothing(void **state)
{
    (void)state;
    static const int sizes[] = {2, 3, MOST};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct team *team = s_open(sizes[s]);
        struct tally tally = {.input = 0};
        int expected[MOST] = {0};
        uint64_t sum[MOST] = {0};
        for (int run = 0; run < 20000; run++) {
            int threads = 1 + run * 7 % sizes[s];
            tally.input = (uint64_t)run;
            team_run(team, threads, s_tally, &tally);
            for (int i = 0; i < threads; i++) {
                expected[i]++;
                sum[i] += (uint64_t)run * (uint64_t)(i + 1);
            }
            if (memcmp(tally.calls, expected, sizeof expected) != 0 || memcmp(tally.sum, sum, sizeof sum) != 0)
                fail_msg("run %d of %d threads", run, threads);
        }
        team_close(&team);
    }
}

static void a_number_is_the_same_thread_in_every_run(void **state)
{
    (void)state;
    struct team *team = s_open(4);
    struct tally first = {.input = 1};
    team_run(team, 4, s_tally, &first);
    assert_int_equal(first.who[0], gettid());
    for (int threads = 1; threads <= 4; threads++) {
        struct tally tally = {.input = 1};
        team_run(team, threads, s_tally, &tally);
        assert_memory_equal(tally.who, first.who, (size_t)threads * sizeof *first.who);
    }
    team_close(&team);
}

static void a_team_without_work_sleeps_and_wakes(void **state)
{
    (void)state;
    static const int sizes[] = {2, MOST};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct team *team = s_open(sizes[s]);
        struct tally tally = {.input = 1};
        for (int run = 1; run <= 20; run++) {
            team_run(team, sizes[s], s_tally, &tally);
            s_await_sleep(&tally, sizes[s]);
            for (int i = 0; i < sizes[s]; i++)
                assert_int_equal(tally.calls[i], run);
        }
        team_close(&team);
    }
}

static void s_wait_for_the_caller(void *context, int thread, int threads)
{
    const pid_t *caller = context;
    (void)threads;
    while (thread > 0 && s_state(*caller) != 'S')
        sched_yield();
}

static void a_caller_that_waits_long_sleeps_and_wakes(void **state)
{
    (void)state;
    pid_t caller = gettid();
    for (int size = 2; size <= 4; size++) {
        struct team *team = s_open(size);
        for (int run = 0; run < 20; run++)
            team_run(team, size, s_wait_for_the_caller, &caller);
        team_close(&team);
    }
}

static void a_team_is_closed_whatever_it_does(void **state)
{
    (void)state;
    struct tally tally = {.input = 1};
    struct team *team = NULL;
    team_close(&team);
    for (int i = 0; i < 200; i++) {
        team = s_open(1 + i % 4); /* just started */
        team_close(&team);
        team = s_open(1 + i % 4); /* just done */
        team_run(team, 1 + i % 4, s_tally, &tally);
        team_close(&team);
    }
    team = s_open(3);
    team_run(team, 3, s_tally, &tally);
    s_await_sleep(&tally, 3);
    team_close(&team);
}

static void s_look_at_signals(void *context, int thread, int threads)
{
    struct tally *tally = context;
    sigset_t mask;
    (void)threads;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    tally->signals_blocked[thread] = sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) &&
                                     sigismember(&mask, SIGCHLD) && sigismember(&mask, SIGHUP);
}

static void signals_are_left_to_the_caller(void **state)
{
    (void)state;
    struct tally tally = {.input = 0};
    struct team *team = s_open(3);
    team_run(team, 3, s_look_at_signals, &tally);
    assert_false(tally.signals_blocked[0]);
    assert_true(tally.signals_blocked[1] && tally.signals_blocked[2]);
    team_close(&team);
}

static void threads_that_cannot_be_had_are_an_error(void **state)
{
    (void)state;
    struct err err = {.text = ""};
    pthread_attr_t before, huge;
    assert_int_equal(pthread_getattr_default_np(&before), 0);
    pthread_attr_init(&huge);
    assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 50), 0);
    assert_int_equal(pthread_setattr_default_np(&huge), 0);
    struct team *team = team_open(3, &err);
    assert_int_equal(pthread_setattr_default_np(&before), 0);
    pthread_attr_destroy(&before);
    pthread_attr_destroy(&huge);
    assert_null(team);
    assert_int_equal(err.code, ERR_FAILED);
    assert_non_null(strstr(err.text, "thread 2 of 3"));
}

static void cores_are_those_this_process_may_use(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(team_cores(), CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    int cores = team_cores();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cores, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_runs_once),
        cmocka_unit_test(thousands_of_runs_in_a_row_lose_nothing),
        cmocka_unit_test(a_number_is_the_same_thread_in_every_run),
        cmocka_unit_test(a_team_without_work_sleeps_and_wakes),
        cmocka_unit_test(a_caller_that_waits_long_sleeps_and_wakes),
        cmocka_unit_test(a_team_is_closed_whatever_it_does),
        cmocka_unit_test(signals_are_left_to_the_caller),
        cmocka_unit_test(threads_that_cannot_be_had_are_an_error),
        cmocka_unit_test(cores_are_those_this_process_may_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
