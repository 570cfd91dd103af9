/* stopped_clock.h - a clock that stands still until a fuzz target moves it on, and a loop that goes round when it does.
 *
 * The linker hands every clock_gettime of the program to __wrap_clock_gettime (CMakeLists.txt lists it). While
 * clock_hands points to milliseconds these are what CLOCK_MONOTONIC shows, so that an input does the same whenever it
 * is run; while it is NULL, and of any other clock, time is what it is. One thread. */
#ifndef LSTMQ_TESTS_FUZZ_STOPPED_CLOCK_H
#define LSTMQ_TESTS_FUZZ_STOPPED_CLOCK_H

#include "proto/wire/loop.h"
#include "tests/fuzz/fuzz.h"

#include <time.h>

enum { CLOCK_BEGINS_MS = 1000000 };

static int64_t *clock_hands;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
    if (clock_hands == NULL || id != CLOCK_MONOTONIC)
        return __real_clock_gettime(id, now);
    *now = (struct timespec){.tv_sec = *clock_hands / 1000, .tv_nsec = *clock_hands % 1000 * 1000000};
    return 0;
}

static bool clock_round_over;

static bool clock_on_round(void *loop, struct err *err)
{
    (void)err;
    clock_round_over = true;
    loop_stop(loop);
    return true;
}

typedef bool clock_run(struct loop *loop, struct err *err);

/* The clock goes on by `ms`, and `run`, which is loop_run, does what falls due. *over: the loop was stopped, or failed,
 * before it was round. Returns what `run` did. */
static bool clock_round(struct loop *loop, int64_t ms, clock_run *run, bool *over, struct err *err)
{
    *clock_hands += ms;
    clock_round_over = false;
    must(loop_add_timer(loop, 0, 0, clock_on_round, loop, err) != 0);
    bool good = run(loop, err);
    *over = !clock_round_over;
    return good;
}

#endif
