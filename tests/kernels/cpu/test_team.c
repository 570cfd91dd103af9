/* test_team.c - each part of a job runs once, and the caller sees what was written; threads sleep, wake, and come late.
 */
#include "kernels/cpu/team.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 9 };

/* Plain memory: the caller must see it right, and ThreadSanitizer must find no race. */
struct tally {
    int calls[4 * MOST], parts[4 * MOST];
    uint64_t input, sum[4 * MOST];
};

static void team_tally(void *context, int thread, int part, int parts)
{
    struct tally *tally = context;
    (void)thread;
    tally->calls[part]++;
    tally->parts[part] = parts;
    tally->sum[part] += tally->input * (uint64_t)(part + 1);
}

static struct team *test_team_open(int threads)
{
    struct err err = {.text = ""};
    struct team *team = team_open(threads, NULL, &err);
    if (team == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(team_threads(team), threads);
    return team;
}

/* The state of a thread of this process, as ps shows it: 'R' runs, 'S' sleeps. */
static char team_state(pid_t thread)
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

/* Until every thread of this process but this one sleeps. */
static void team_await_sleep(void)
{
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        pid_t thread = (pid_t)atoi(entry->d_name);
        while (thread > 0 && thread != gettid() && team_state(thread) != 'S')
            sched_yield();
    }
    closedir(tasks);
}

/* A part that ends only when all have begun, so that as many threads must have come. */
struct meeting {
    atomic_int here;
    int seen[MOST]; /* by thread */
    bool signals_blocked[MOST];
};

static void team_meet(void *context, int thread, int part, int parts)
{
    struct meeting *meeting = context;
    sigset_t mask;
    (void)part;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    meeting->seen[thread]++;
    meeting->signals_blocked[thread] = sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) &&
                                       sigismember(&mask, SIGCHLD) && sigismember(&mask, SIGHUP);
    for (atomic_fetch_add(&meeting->here, 1); atomic_load(&meeting->here) < parts;)
        sched_yield();
}

static void every_part_runs_once(void **state)
{
    (void)state;
    for (int size = 1; size <= MOST; size++) {
        struct team *team = test_team_open(size);
        for (int parts = 0; parts <= 4 * MOST; parts++) {
            struct tally tally = {.input = 3};
            team_run(team, 1 + parts % size, parts, team_tally, &tally);
            for (int i = 0; i < 4 * MOST; i++) {
                assert_int_equal(tally.calls[i], i < parts);
                assert_int_equal(tally.parts[i], i < parts ? parts : 0);
                assert_int_equal(tally.sum[i], i < parts ? 3 * (i + 1) : 0);
            }
        }
        team_close(&team);
        assert_null(team);
    }
}

static void thousands_of_jobs_in_a_row_lose_nothing(void **state)
{
    (void)state;
    static const int sizes[] = {2, 3, MOST};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct team *team = test_team_open(sizes[s]);
        struct tally tally = {.input = 0};
        int expected[4 * MOST] = {0};
        uint64_t sum[4 * MOST] = {0};
        for (int job = 0; job < 20000; job++) {
            int parts = 1 + job * 7 % (4 * sizes[s]);
            tally.input = (uint64_t)job;
            team_run(team, sizes[s], parts, team_tally, &tally);
            for (int i = 0; i < parts; i++) {
                expected[i]++;
                sum[i] += (uint64_t)job * (uint64_t)(i + 1);
            }
            if (memcmp(tally.calls, expected, sizeof expected) != 0 || memcmp(tally.sum, sum, sizeof sum) != 0)
                fail_msg("job %d of %d parts", job, parts);
        }
        team_close(&team);
    }
}

static void all_threads_come_when_there_is_work_for_all(void **state)
{
    (void)state;
    for (int size = 2; size <= MOST; size += 3) {
        struct team *team = test_team_open(size);
        for (int job = 0; job < 20; job++) {
            struct meeting meeting = {.here = 0};
            if (job % 2 != 0)
                team_await_sleep();
            team_run(team, size, size, team_meet, &meeting);
            for (int i = 0; i < size; i++) {
                assert_int_equal(meeting.seen[i], 1);
                assert_int_equal(meeting.signals_blocked[i], i > 0);
            }
        }
        team_close(&team);
    }
}

static sem_t team_gate;
static pid_t team_caller;

static void team_begin_late(void)
{
    if (gettid() != team_caller)
        sem_wait(&team_gate);
}

/* Threads that have not begun stand for threads that the system has suspended. */
static void a_job_does_not_wait_for_a_thread_that_is_away(void **state)
{
    (void)state;
    struct err err = {.text = ""};
    team_caller = gettid();
    assert_int_equal(sem_init(&team_gate, 0, 0), 0);
    struct team *team = team_open(3, team_begin_late, &err);
    assert_non_null(team);
    for (int job = 0; job < 100; job++) {
        struct tally tally = {.input = 1};
        team_run(team, 3, 8, team_tally, &tally);
        for (int i = 0; i < 8; i++)
            assert_int_equal(tally.calls[i], 1);
    }
    sem_post(&team_gate);
    sem_post(&team_gate);
    struct meeting meeting = {.here = 0};
    team_run(team, 3, 3, team_meet, &meeting);
    assert_true(meeting.seen[1] == 1 && meeting.seen[2] == 1);
    team_close(&team);
    sem_destroy(&team_gate);
}

struct patience {
    struct meeting meeting;
    pid_t caller;
};

static void team_wait_for_the_caller(void *context, int thread, int part, int parts)
{
    struct patience *patience = context;
    team_meet(&patience->meeting, thread, part, parts);
    while (thread > 0 && team_state(patience->caller) != 'S')
        sched_yield();
}

static void a_caller_that_waits_long_sleeps_and_wakes(void **state)
{
    (void)state;
    for (int size = 2; size <= 4; size++) {
        struct team *team = test_team_open(size);
        for (int job = 0; job < 20; job++) {
            struct patience patience = {.caller = gettid()};
            team_run(team, size, size, team_wait_for_the_caller, &patience);
        }
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
        team = test_team_open(1 + i % 4); /* just started */
        team_close(&team);
        team = test_team_open(1 + i % 4); /* just done */
        team_run(team, 1 + i % 4, 8, team_tally, &tally);
        team_close(&team);
    }
    team = test_team_open(3);
    team_await_sleep();
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
    struct team *team = team_open(3, NULL, &err);
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
        cmocka_unit_test(every_part_runs_once),
        cmocka_unit_test(thousands_of_jobs_in_a_row_lose_nothing),
        cmocka_unit_test(all_threads_come_when_there_is_work_for_all),
        cmocka_unit_test(a_job_does_not_wait_for_a_thread_that_is_away),
        cmocka_unit_test(a_caller_that_waits_long_sleeps_and_wakes),
        cmocka_unit_test(a_team_is_closed_whatever_it_does),
        cmocka_unit_test(threads_that_cannot_be_had_are_an_error),
        cmocka_unit_test(cores_are_those_this_process_may_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
