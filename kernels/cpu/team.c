/* team.c - a team's threads, woken through one word each.
 *
 * Each thread but the caller has a bell. The caller writes what is to be done into the team, rings the bells of the
 * threads it wants, does its own part, and waits until `left` has fallen to zero. A bell also says whether its thread
 * has gone to sleep, and `left` whether the caller has; both change by read-modify-write only, so that either the one
 * who goes to sleep sees that it need not, or the one who wakes sees that it must. */
#include "kernels/cpu/team.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a thread waits awake: about what going to sleep and being woken cost together; or, on a core that nobody
 * else has wanted for CALM_NS, as long as the parts of a run may differ, since being woken then costs the whole team.
 * The clock is read once in PAUSES. */
enum { SPIN_NS = 40 * 1000, CALM_SPIN_NS = 2 * 1000 * 1000, CALM_NS = 30 * 1000 * 1000, PAUSES = 16 };

/* What a bell says. IDLE becomes ASLEEP by its thread, either becomes RUNG by the caller, and RUNG IDLE by the thread.
 */
enum { IDLE, RUNG, ASLEEP };

/* In `left`, beside the number of threads: the caller sleeps until it is the only thing left. */
enum { CALLER_ASLEEP = 1 << 30 };

enum { CACHE_LINE = 64 };

/* When a thread last lost its core to another; the thread's own. */
struct watch {
    long lost; /* how often, so far                             */
    int64_t lost_ns;
};

struct mate {
    _Alignas(CACHE_LINE) _Atomic int32_t bell;
    int number;
    struct team *team;
    pthread_t thread;
    struct watch watch;
};

struct team {
    /* Of the run in progress, written by the caller before it rings. */
    void (*work)(void *context, int thread, int threads); /* NULL = go home */
    void *context;
    int wanted;
    int threads, started; /* the caller among both                           */
    bool spins;
    struct watch watch;                        /* of the caller */
    struct mate *mates;                        /* [threads - 1], those of thread 1, 2, ...           */
    _Alignas(CACHE_LINE) _Atomic int32_t left; /* threads of the run that have not come to its end */
};

/* ---- waiting ---- */

static void s_sleep(_Atomic int32_t *word, int32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void s_wake(_Atomic int32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void s_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* Wait awake, for `ns`, until `word` is `value`; acquires, so that what was written before that can be read. */
static bool s_spin(_Atomic int32_t *word, int32_t value, int64_t ns)
{
    int64_t end = clock_ns() + ns;
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) == value)
                return true;
            s_pause();
        }
    } while (clock_ns() < end);
    return false;
}

static bool s_calm(struct watch *watch)
{
    struct rusage usage;
    int64_t now = clock_ns();
    if (getrusage(RUSAGE_THREAD, &usage) == 0 && usage.ru_nivcsw != watch->lost)
        *watch = (struct watch){.lost = usage.ru_nivcsw, .lost_ns = now};
    return now - watch->lost_ns >= CALM_NS;
}

/* As s_spin, for as long as is right; false: sleep. */
static bool s_wait_awake(const struct team *team, struct watch *watch, _Atomic int32_t *word, int32_t value)
{
    return team->spins && (s_spin(word, value, SPIN_NS) || (s_calm(watch) && s_spin(word, value, CALM_SPIN_NS)));
}

/* ---- a mate ---- */

/* Return when the bell was rung, with what the caller wrote before. All ways out read RUNG with acquire, which pairs
 * with s_ring. Nobody rings again before this thread has lowered `left`, so that the plain store at the end loses
 * nothing. */
static void s_await_bell(struct mate *mate)
{
    if (!s_wait_awake(mate->team, &mate->watch, &mate->bell, RUNG)) {
        int32_t idle = IDLE;
        /* Relaxed: going to sleep hands nothing over; the loop acquires. */
        atomic_compare_exchange_strong_explicit(&mate->bell, &idle, ASLEEP, memory_order_relaxed, memory_order_relaxed);
        while (atomic_load_explicit(&mate->bell, memory_order_acquire) != RUNG)
            s_sleep(&mate->bell, ASLEEP);
    }
    /* Relaxed: the caller learns that this thread is done from `left`, which is lowered after it. */
    atomic_store_explicit(&mate->bell, IDLE, memory_order_relaxed);
}

/* Release: the mate is to see the run. Its answer, ASLEEP or not, stands in the same word, so no stronger order is
 * needed. */
static void s_ring(struct mate *mate)
{
    if (atomic_exchange_explicit(&mate->bell, RUNG, memory_order_release) == ASLEEP)
        s_wake(&mate->bell);
}

static void *s_mate(void *argument)
{
    struct mate *mate = argument;
    struct team *team = mate->team;
    for (;;) {
        s_await_bell(mate);
        if (team->work == NULL)
            return NULL;
        team->work(team->context, mate->number, team->wanted);
        /* Release: the caller is to see what the work wrote. Lowering continues the release of the threads before, so
         * that reading the last value acquires from all of them. */
        if (atomic_fetch_sub_explicit(&team->left, 1, memory_order_release) == (CALLER_ASLEEP | 1))
            s_wake(&team->left);
    }
}

/* ---- the caller ---- */

static void s_await_end(struct team *team)
{
    int32_t left;
    if (s_wait_awake(team, &team->watch, &team->left, 0))
        return;
    /* Relaxed, as with a bell. Who lowers `left` to the mark alone wakes; if all have already, the loop does not sleep.
     */
    atomic_fetch_or_explicit(&team->left, CALLER_ASLEEP, memory_order_relaxed);
    while ((left = atomic_load_explicit(&team->left, memory_order_acquire)) != CALLER_ASLEEP)
        s_sleep(&team->left, left);
}

void team_run(struct team *team, int threads, void (*work)(void *context, int thread, int threads), void *context)
{
    if (threads <= 1) {
        work(context, 0, 1);
        return;
    }
    team->work = work;
    team->context = context;
    team->wanted = threads;
    /* Relaxed: the bells release it, and nobody else touches it between runs. A wake-up still under way from the run
     * before finds a loop around every sleep. */
    atomic_store_explicit(&team->left, threads - 1, memory_order_relaxed);
    for (int i = 0; i < threads - 1; i++)
        s_ring(&team->mates[i]);
    work(context, 0, threads);
    s_await_end(team);
}

/* ---- life ---- */

int team_threads(const struct team *team)
{
    return team->threads;
}

int team_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

/* Threads inherit what their maker blocks. */
static bool s_start(struct team *team, struct err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    while (team->started < team->threads && failed == 0) {
        struct mate *mate = &team->mates[team->started - 1];
        atomic_init(&mate->bell, IDLE);
        mate->team = team;
        mate->number = team->started;
        mate->watch = (struct watch){0};
        failed = pthread_create(&mate->thread, NULL, s_mate, mate);
        team->started += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    return failed == 0 ||
           err_errno(err, ERR_FAILED, "thread %d of %d could not be started", team->started + 1, team->threads);
}

struct team *team_open(int threads, struct err *err)
{
    struct team *team = aligned_alloc(CACHE_LINE, sizeof *team);
    struct mate *mates = aligned_alloc(CACHE_LINE, (size_t)threads * sizeof *mates);
    if (team == NULL || mates == NULL) {
        err_set(err, ERR_MEMORY, "no memory for %d threads", threads);
        free(team);
        free(mates);
        return NULL;
    }
    *team = (struct team){.threads = threads, .started = 1, .spins = threads <= team_cores(), .mates = mates};
    if (!s_start(team, err))
        team_close(&team);
    return team;
}

void team_close(struct team **team)
{
    struct team *gone = *team;
    *team = NULL;
    if (gone == NULL)
        return;
    gone->work = NULL;
    for (int i = 0; i < gone->started - 1; i++)
        s_ring(&gone->mates[i]);
    for (int i = 0; i < gone->started - 1; i++)
        pthread_join(gone->mates[i].thread, NULL);
    free(gone->mates);
    free(gone);
}
