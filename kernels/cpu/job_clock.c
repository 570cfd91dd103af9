/* job_clock.c - the time of a job with a core for each of its threads; see job_clock.h. */
#include "kernels/cpu/job_clock.h"

#include "proto/base/clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Parts with a time of their own; later parts share the last one. */
enum { PARTS_APART = 4096 };

struct job_clock {
    struct sharing *sharing;
    int64_t begin;
    int64_t *busy; /* [threads] used while a job is distributed */
    _Atomic int64_t part_ns[PARTS_APART];
};

struct job_clock *job_clock_open(struct sharing *sharing, int threads, struct err *err)
{
    struct job_clock *clock = calloc(1, sizeof *clock);
    int64_t *busy = calloc((size_t)threads, sizeof *busy);
    if (clock == NULL || busy == NULL) {
        err_set(err, ERR_MEMORY, "no memory to time %d threads", threads);
        free(clock);
        free(busy);
        return NULL;
    }
    clock->sharing = sharing;
    clock->busy = busy;
    return clock;
}

void job_clock_close(struct job_clock **clock)
{
    if (*clock != NULL)
        free((*clock)->busy);
    free(*clock);
    *clock = NULL;
}

static int job_clock_apart(int parts)
{
    return parts < PARTS_APART ? parts : PARTS_APART;
}

void job_clock_begin(struct job_clock *clock, int parts)
{
    for (int part = 0; part < job_clock_apart(parts); part++)
        atomic_store_explicit(&clock->part_ns[part], 0, memory_order_relaxed);
    clock->begin = clock_ns();
}

int64_t job_clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Relaxed: the team publishes what its threads wrote when the job ends. */
void job_clock_part(struct job_clock *clock, int part, int64_t ns)
{
    int place = part < PARTS_APART ? part : PARTS_APART - 1;
    atomic_fetch_add_explicit(&clock->part_ns[place], ns, memory_order_relaxed);
}

/* Distribute the parts in order, each to the thread that is free first; return the time at which the last thread
 * ends. */
static int64_t job_clock_distribute(struct job_clock *clock, int threads, int parts, int64_t *sum)
{
    int64_t longest = 0;
    memset(clock->busy, 0, (size_t)threads * sizeof *clock->busy);
    for (int part = 0; part < job_clock_apart(parts); part++) {
        int64_t ns = atomic_load_explicit(&clock->part_ns[part], memory_order_relaxed);
        int free_first = 0;
        for (int thread = 1; thread < threads; thread++)
            if (clock->busy[thread] < clock->busy[free_first])
                free_first = thread;
        clock->busy[free_first] += ns;
        if (clock->busy[free_first] > longest)
            longest = clock->busy[free_first];
        *sum += ns;
    }
    return longest;
}

void job_clock_end(struct job_clock *clock, int threads, int parts)
{
    struct sharing *sharing = clock->sharing;
    sharing->inside_ns += clock_ns() - clock->begin;
    sharing->longest_ns += job_clock_distribute(clock, threads, parts, &sharing->work_ns);
    if (threads > 1) {
        sharing->jobs++;
        sharing->parts += (uint64_t)parts;
    }
}
