/* team.c - a team's threads, woken through one word each, and admitted to a job through a gate.
 *
 * Each thread but the caller has a bell. The caller writes a job into the team, opens the gate, rings the bells, takes
 * parts itself until none is left, closes the gate, and waits until the threads inside have left. A late thread finds
 * the gate closed, or open for a later job, which it then joins. A bell also says whether its thread is asleep, and the
 * gate whether the caller is. Both words change by read-modify-write only. So either the thread that goes to sleep sees
 * that it need not, or the thread that wakes it sees that it must. */
#include "kernels/cpu/team.h"

#include "kernels/cpu/job_clock.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a thread spins: a few times the cost of sleeping and waking, because parts differ in length. It reads the
 * clock once in PAUSES. */
enum { SPIN_NS = 200 * 1000, PAUSES = 16 };

/* A bell's values. The thread changes IDLE to ASLEEP, the caller changes either to RUNG, and the thread RUNG to IDLE.
 */
enum { IDLE, RUNG, ASLEEP };

/* Flags in the gate, beside the number of threads inside. */
enum { CLOSED = 1 << 29, CALLER_ASLEEP = 1 << 30 };

enum { CACHE_LINE = 64 };

struct mate {
    _Alignas(CACHE_LINE) _Atomic int32_t bell;
    int number;
    struct team *team;
    pthread_t thread;
};

struct team {
    /* The job; the caller writes it while the gate is closed and no thread is inside. */
    team_work *work;
    void *context;
    int parts;
    int core;             /* the caller's */
    int threads, started; /* the caller included */
    bool spins;
    void (*begin)(void);
    struct job_clock *clock;                   /* NULL = no counting */
    atomic_bool over;                          /* the threads must end */
    struct mate *mates;                        /* [threads - 1], those of thread 1, 2, ... */
    _Alignas(CACHE_LINE) _Atomic int32_t next; /* the next part to take */
    _Alignas(CACHE_LINE) _Atomic int32_t gate;
};

/* ---- waiting ---- */

static void team_sleep(_Atomic int32_t *word, int32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void team_wake(_Atomic int32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void team_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* Spin for a while until `word` is `value`. It acquires, so that earlier writes of the other thread can be read. */
static bool team_spin(_Atomic int32_t *word, int32_t value)
{
    int64_t end = clock_ns() + SPIN_NS;
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) == value)
                return true;
            team_pause();
        }
    } while (clock_ns() < end);
    return false;
}

/* ---- a job ---- */

static void team_part(struct team *team, int thread, int part)
{
    struct job_clock *clock = team->clock;
    int64_t begin = clock != NULL ? job_clock_now() : 0;
    team->work(team->context, thread, part, team->parts);
    if (clock != NULL)
        job_clock_part(clock, part, job_clock_now() - begin);
}

static void team_take_parts(struct team *team, int thread)
{
    /* Relaxed: a part is taken once in any order; the gate publishes what the work reads and writes. */
    for (int part; (part = atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed)) < team->parts;)
        team_part(team, thread, part);
}

/* ---- a mate ---- */

/* Return when the bell has rung. */
static void team_await_bell(struct mate *mate)
{
    if (!mate->team->spins || !team_spin(&mate->bell, RUNG)) {
        int32_t idle = IDLE;
        /* Relaxed: going to sleep publishes nothing. */
        atomic_compare_exchange_strong_explicit(&mate->bell, &idle, ASLEEP, memory_order_relaxed, memory_order_relaxed);
        while (atomic_load_explicit(&mate->bell, memory_order_relaxed) != RUNG)
            team_sleep(&mate->bell, ASLEEP);
    }
    /* Acquires from the last ring. If the caller rang again before this, that ring is answered too, because `over`
     * and the gate are read afterwards. */
    atomic_exchange_explicit(&mate->bell, IDLE, memory_order_acquire);
}

/* Release: see team_await_bell. The mate's answer, ASLEEP or not, is in the same word, so no stronger order is
 * needed.
 */
static void team_ring(struct mate *mate)
{
    if (atomic_exchange_explicit(&mate->bell, RUNG, memory_order_release) == ASLEEP)
        team_wake(&mate->bell);
}

/* Some kernels leave two threads on one core for seconds while another core idles, because neither thread sleeps for
 * long. So exclude the caller's core from the affinity for a moment: the mate moves, and then stays. */
static void team_keep_apart(int core)
{
    cpu_set_t all, others;
    if (core < 0 || sched_getcpu() != core || sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    others = all;
    CPU_CLR((size_t)core, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof all, &all);
}

static void *team_mate(void *argument)
{
    struct mate *mate = argument;
    struct team *team = mate->team;
    if (team->begin != NULL)
        team->begin();
    for (;;) {
        team_await_bell(mate);
        if (atomic_load_explicit(&team->over, memory_order_relaxed))
            return NULL;
        /* Acquire: if the gate is open, the job must be visible. */
        if ((atomic_fetch_add_explicit(&team->gate, 1, memory_order_acquire) & CLOSED) == 0) {
            if (team->spins)
                team_keep_apart(team->core);
            team_take_parts(team, mate->number);
        }
        /* Release: the caller must see what the work wrote. Each change of the gate continues the releases before it,
         * so that reading the last value acquires from all of them. */
        if (atomic_fetch_sub_explicit(&team->gate, 1, memory_order_release) == (CLOSED | CALLER_ASLEEP | 1))
            team_wake(&team->gate);
    }
}

/* ---- the caller ---- */

static void team_await_end(struct team *team)
{
    int32_t gate;
    if (team->spins && team_spin(&team->gate, CLOSED))
        return;
    /* Relaxed, as with a bell. The last thread to leave wakes the caller; if no thread is inside, the loop does not
     * sleep. */
    atomic_fetch_or_explicit(&team->gate, CALLER_ASLEEP, memory_order_relaxed);
    while ((gate = atomic_load_explicit(&team->gate, memory_order_acquire)) != (CLOSED | CALLER_ASLEEP))
        team_sleep(&team->gate, gate);
    atomic_fetch_and_explicit(&team->gate, ~CALLER_ASLEEP, memory_order_relaxed);
}

/* Run the team's job on the caller and `mates` mates. */
static void team_run_mates(struct team *team, int mates)
{
    if (mates < 1) {
        for (int part = 0; part < team->parts; part++)
            team_part(team, 0, part);
        return;
    }
    /* Relaxed: opening the gate releases it. A late thread that found the gate closed may still be leaving, so the
     * gate is changed, never set. */
    atomic_store_explicit(&team->next, 0, memory_order_relaxed);
    atomic_fetch_and_explicit(&team->gate, ~CLOSED, memory_order_release);
    for (int i = 0; i < mates; i++)
        team_ring(&team->mates[i]);
    team_take_parts(team, 0);
    atomic_fetch_or_explicit(&team->gate, CLOSED, memory_order_relaxed);
    team_await_end(team);
}

void team_run(struct team *team, int threads, int parts, team_work *work, void *context)
{
    int mates = (threads < parts ? threads : parts) - 1;
    team->work = work;
    team->context = context;
    team->parts = parts;
    team->core = sched_getcpu();
    if (team->clock != NULL)
        job_clock_begin(team->clock, parts);
    team_run_mates(team, mates);
    if (team->clock != NULL)
        job_clock_end(team->clock, mates + 1, parts);
}

bool team_count_sharing(struct team *team, struct sharing *sharing, struct err *err)
{
    job_clock_close(&team->clock);
    if (sharing != NULL)
        team->clock = job_clock_open(sharing, team->threads, err);
    return sharing == NULL || team->clock != NULL;
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

/* Threads inherit the blocked signals of the thread that makes them. */
static bool team_start(struct team *team, struct err *err)
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
        failed = pthread_create(&mate->thread, NULL, team_mate, mate);
        team->started += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    return failed == 0 ||
           err_errno(err, ERR_FAILED, "thread %d of %d could not be started", team->started + 1, team->threads);
}

struct team *team_open(int threads, void (*begin)(void), struct err *err)
{
    struct team *team = aligned_alloc(CACHE_LINE, sizeof *team);
    struct mate *mates = aligned_alloc(CACHE_LINE, (size_t)threads * sizeof *mates);
    if (team == NULL || mates == NULL) {
        err_set(err, ERR_MEMORY, "no memory for %d threads", threads);
        free(team);
        free(mates);
        return NULL;
    }
    *team = (struct team){
        .threads = threads, .started = 1, .spins = threads <= team_cores(), .begin = begin, .mates = mates};
    atomic_init(&team->gate, CLOSED);
    if (begin != NULL)
        begin();
    if (!team_start(team, err))
        team_close(&team);
    return team;
}

void team_close(struct team **team)
{
    struct team *gone = *team;
    *team = NULL;
    if (gone == NULL)
        return;
    atomic_store_explicit(&gone->over, true, memory_order_relaxed);
    for (int i = 0; i < gone->started - 1; i++)
        team_ring(&gone->mates[i]);
    for (int i = 0; i < gone->started - 1; i++)
        pthread_join(gone->mates[i].thread, NULL);
    job_clock_close(&gone->clock);
    free(gone->mates);
    free(gone);
}
