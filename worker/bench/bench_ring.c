/* bench_ring.c - fork the ranks of a ring, pass their endpoints around, and collect their times.
 *
 * Parent and rank talk over a socket pair. The rank sends its endpoint, receives all endpoints, and answers each
 * requested number of sums with its times. A rank ends when the parent's end closes, even if the parent was killed. */
#include "worker/bench/bench_ring.h"

#include "proto/base/clock.h"
#include "proto/wire/auth/zap.h"
#include "worker/collective/ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { SUMS_MOST = 100000, PATIENCE_MS = 10000 };

struct bench_ring {
    struct bench_ring_options options;
    uint32_t opened;
    int line[BENCH_RING_RANKS]; /* to each rank */
    pid_t process[BENCH_RING_RANKS];
    struct curve_keys keys[BENCH_RING_RANKS];
};

/* A rank's answer. */
struct times {
    double ms, cpu_ms;
};

struct endpoints {
    char text[BENCH_RING_RANKS][COLLECTIVE_ENDPOINT];
};

static bool bench_ring_read(int fd, void *to, size_t size)
{
    for (ssize_t got; size > 0; to = (char *)to + got, size -= (size_t)got)
        if ((got = read(fd, to, size)) <= 0)
            return false;
    return true;
}

static bool bench_ring_write(int fd, const void *from, size_t size)
{
    for (ssize_t put; size > 0; from = (const char *)from + put, size -= (size_t)put)
        if ((put = send(fd, from, size, MSG_NOSIGNAL)) <= 0)
            return false;
    return true;
}

/* ---- a rank ---- */

struct bench_rank {
    const struct bench_ring_options *options;
    const struct curve_keys *keys; /* [ranks] or NULL */
    struct collective *ring;
    uint32_t rank;
    void *data;
    int line;
};

static double bench_ring_cpu_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int bench_ring_by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All ranks start a burst together, because it follows a sum of one element. */
static bool bench_ring_time_burst(struct bench_rank *member, uint32_t sums, struct times *times)
{
    struct err err;
    double *ms = calloc(sums, sizeof *ms);
    bool ok = ms != NULL && collective_sum(member->ring, member->options->element, member->data, 1, &err);
    double cpu = bench_ring_cpu_ms();
    for (uint32_t i = 0; ok && i < sums; i++) {
        int64_t begin = clock_ns();
        ok = collective_sum(member->ring, member->options->element, member->data, member->options->count, &err);
        ms[i] = (double)(clock_ns() - begin) / 1e6;
    }
    times->cpu_ms = (bench_ring_cpu_ms() - cpu) / sums;
    if (ok)
        qsort(ms, sums, sizeof *ms, bench_ring_by_size);
    times->ms = ok ? ms[sums / 2] : 0;
    free(ms);
    return ok;
}

static bool bench_ring_join(struct bench_rank *member)
{
    struct err err;
    struct endpoints all = {0};
    const char *texts[BENCH_RING_RANKS], *keys[BENCH_RING_RANKS];
    if (!member->ring->op->listen(member->ring, 1, all.text[member->rank], &err) ||
        !bench_ring_write(member->line, all.text[member->rank], COLLECTIVE_ENDPOINT) ||
        !bench_ring_read(member->line, &all, sizeof all))
        return false;
    for (uint32_t i = 0; i < member->options->ranks; i++) {
        texts[i] = all.text[i];
        keys[i] = member->keys == NULL ? NULL : member->keys[i].public.key;
    }
    struct collective_group group = {.generation = 1,
                                     .rank = member->rank,
                                     .size = member->options->ranks,
                                     .endpoints = texts,
                                     .public_keys = member->keys == NULL ? NULL : keys,
                                     .timeout_ms = PATIENCE_MS};
    return member->ring->op->connect(member->ring, &group, &err);
}

static void *bench_ring_loop(void *loop)
{
    struct err err;
    loop_run(loop, &err);
    return NULL;
}

/* A worker's loop, which accepts only the predecessor. */
static struct zap *bench_ring_check_keys(struct bench_rank *member, void *zmq_context)
{
    struct err err;
    pthread_t thread;
    uint32_t ranks = member->options->ranks, predecessor = (member->rank + ranks - 1) % ranks;
    struct loop *loop = loop_new(&err);
    struct zap *zap = loop == NULL ? NULL : zap_new(zmq_context, loop, NULL, &err);
    if (zap == NULL)
        return NULL;
    zap_set_ring(zap, member->keys[predecessor].public.key);
    return pthread_create(&thread, NULL, bench_ring_loop, loop) == 0 ? zap : NULL;
}

static void bench_ring_member(struct bench_rank *member)
{
    struct err err;
    uint32_t sums;
    void *context = zmq_ctx_new();
    struct ring_options options = {.zmq_context = context, .bind = member->options->bind};
    if (member->keys != NULL) {
        options.keys = &member->keys[member->rank];
        options.zap = bench_ring_check_keys(member, context);
    }
    size_t bytes = member->options->count * sizeof(int64_t);
    member->data = calloc(1, bytes + sizeof(int64_t));
    member->ring = ring_open(&options, &err);
    if (member->data != NULL && member->ring != NULL && bench_ring_join(member))
        while (bench_ring_read(member->line, &sums, sizeof sums)) {
            struct times times;
            if (!bench_ring_time_burst(member, sums, &times) || !bench_ring_write(member->line, &times, sizeof times))
                break;
        }
    /* The parent sees that the line is closed. Other ranks may have exited, so do not wait for anything. */
    _exit(0);
}

/* ---- the parent ---- */

static bool bench_ring_fork(struct bench_ring *bench, uint32_t rank, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return err_errno(err, ERR_FAILED, "cannot make a line to a rank");
    pid_t child = fork();
    if (child == 0) {
        for (uint32_t i = 0; i < rank; i++)
            close(bench->line[i]);
        close(pair[0]);
        struct bench_rank member = {.options = &bench->options, .rank = rank, .line = pair[1]};
        member.keys = bench->options.keys ? bench->keys : NULL;
        bench_ring_member(&member);
    }
    int failed = errno;
    close(pair[1]);
    errno = failed;
    if (child < 0) {
        err_errno(err, ERR_FAILED, "cannot make a process for a rank");
        close(pair[0]);
        return false;
    }
    bench->line[rank] = pair[0];
    bench->process[rank] = child;
    bench->opened++;
    return true;
}

/* Send all endpoints to all ranks. */
static bool bench_ring_introduce(struct bench_ring *bench, struct err *err)
{
    struct endpoints all = {0};
    for (uint32_t i = 0; i < bench->opened; i++)
        if (!bench_ring_read(bench->line[i], all.text[i], COLLECTIVE_ENDPOINT))
            return err_set(err, ERR_FAILED, "rank %u of the ring cannot listen at %s", i, bench->options.bind);
    for (uint32_t i = 0; i < bench->opened; i++)
        if (!bench_ring_write(bench->line[i], &all, sizeof all))
            return err_set(err, ERR_FAILED, "rank %u of the ring has ended", i);
    return true;
}

struct bench_ring *bench_ring_open(const struct bench_ring_options *options, struct err *err)
{
    if (options->ranks < 2 || options->ranks > BENCH_RING_RANKS) {
        err_set(err, ERR_USAGE, "a ring of %u ranks cannot be measured: 2 to %d", options->ranks, BENCH_RING_RANKS);
        return NULL;
    }
    struct bench_ring *bench = calloc(1, sizeof *bench);
    if (bench == NULL) {
        err_set(err, ERR_MEMORY, "no memory to measure a ring");
        return NULL;
    }
    bench->options = *options;
    bool ok = true;
    for (uint32_t rank = 0; ok && options->keys && rank < options->ranks; rank++)
        ok = curve_generate(&bench->keys[rank], "rank", ROLE_TRAIN, err);
    for (uint32_t rank = 0; ok && rank < options->ranks; rank++)
        ok = bench_ring_fork(bench, rank, err);
    if (!ok || !bench_ring_introduce(bench, err))
        bench_ring_close(&bench);
    return bench;
}

bool bench_ring_burst(struct bench_ring *bench, uint32_t sums, struct bench_ring_result *result, struct err *err)
{
    if (sums < 1 || sums > SUMS_MOST)
        return err_set(err, ERR_USAGE, "a burst has 1 to %d sums", SUMS_MOST);
    *result = (struct bench_ring_result){0};
    for (uint32_t i = 0; i < bench->opened; i++)
        if (!bench_ring_write(bench->line[i], &sums, sizeof sums))
            return err_set(err, ERR_FAILED, "rank %u of the ring has ended", i);
    for (uint32_t i = 0; i < bench->opened; i++) {
        struct times times;
        if (!bench_ring_read(bench->line[i], &times, sizeof times))
            return err_set(err, ERR_FAILED, "rank %u of the ring failed", i);
        result->cpu_ms += times.cpu_ms;
        if (i == 0)
            result->ms = times.ms;
    }
    return true;
}

void bench_ring_close(struct bench_ring **bench)
{
    struct bench_ring *gone = *bench;
    *bench = NULL;
    if (gone == NULL)
        return;
    for (uint32_t i = 0; i < gone->opened; i++)
        close(gone->line[i]);
    for (uint32_t i = 0; i < gone->opened; i++)
        waitpid(gone->process[i], NULL, 0);
    free(gone);
}
