/* watch.c - what a job would take with a core for each of its threads; see watch.h. */
#include "kernels/cpu/watch.h"

#include "proto/base/clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Parts that are told apart; those beyond are added to the last, as if they were one. */
enum { PARTS_APART = 4096 };

struct watch {
    struct sharing *sharing;
    int64_t begin;
    int64_t *busy; /* [threads] while a job is dealt out */
    _Atomic int64_t part_ns[PARTS_APART];
};

struct watch *watch_open(struct sharing *sharing, int threads, struct err *err)
{
    struct watch *watch = calloc(1, sizeof *watch);
    int64_t *busy = calloc((size_t)threads, sizeof *busy);
    if (watch == NULL || busy == NULL) {
        err_set(err, ERR_MEMORY, "no memory to watch %d threads", threads);
        free(watch);
        free(busy);
        return NULL;
    }
    watch->sharing = sharing;
    watch->busy = busy;
    return watch;
}

void watch_close(struct watch **watch)
{
    if (*watch != NULL)
        free((*watch)->busy);
    free(*watch);
    *watch = NULL;
}

static int watch_apart(int parts)
{
    return parts < PARTS_APART ? parts : PARTS_APART;
}

void watch_begin(struct watch *watch, int parts)
{
    for (int part = 0; part < watch_apart(parts); part++)
        atomic_store_explicit(&watch->part_ns[part], 0, memory_order_relaxed);
    watch->begin = clock_ns();
}

int64_t watch_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Relaxed: the team hands over what its threads wrote when the job ends. */
void watch_part(struct watch *watch, int part, int64_t ns)
{
    int place = part < PARTS_APART ? part : PARTS_APART - 1;
    atomic_fetch_add_explicit(&watch->part_ns[place], ns, memory_order_relaxed);
}

/* Deal the parts out in their order, each to the thread that is free first, and return when the last ends. */
static int64_t watch_deal(struct watch *watch, int threads, int parts, int64_t *sum)
{
    int64_t longest = 0;
    memset(watch->busy, 0, (size_t)threads * sizeof *watch->busy);
    for (int part = 0; part < watch_apart(parts); part++) {
        int64_t ns = atomic_load_explicit(&watch->part_ns[part], memory_order_relaxed);
        int free_first = 0;
        for (int thread = 1; thread < threads; thread++)
            if (watch->busy[thread] < watch->busy[free_first])
                free_first = thread;
        watch->busy[free_first] += ns;
        if (watch->busy[free_first] > longest)
            longest = watch->busy[free_first];
        *sum += ns;
    }
    return longest;
}

void watch_end(struct watch *watch, int threads, int parts)
{
    struct sharing *sharing = watch->sharing;
    sharing->inside_ns += clock_ns() - watch->begin;
    sharing->longest_ns += watch_deal(watch, threads, parts, &sharing->work_ns);
    if (threads > 1) {
        sharing->jobs++;
        sharing->parts += (uint64_t)parts;
    }
}
