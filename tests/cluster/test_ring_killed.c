/* Real processes: a rank is killed in the middle of a sum, the others are told, and a new generation works without
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/collective.h"
#include "proto/base/clock.h"
#include "worker/collective/ring.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

enum { RANKS = 3, COUNT = 1 << 20, SUMS = 5 };

/* From the abort until the last rank has stopped: ten times what the ring takes alone, because the machine does other
 * work. */
enum { STOP_MS = 100 };

/* What the test, as a coordinator, tells a process. */
struct order {
    enum { LISTEN, CONNECT, ABORT } what;
    uint64_t generation;
    uint32_t rank, size;
    uint32_t sums; /* UINT32_MAX = until aborted */
    char endpoints[RANKS][COLLECTIVE_ENDPOINT];
};

/* What it is told. */
struct answer {
    char endpoint[COLLECTIVE_ENDPOINT]; /* to LISTEN */
    uint32_t sums;                      /* done right since CONNECT */
    enum err_code code;                 /* what ended them */
};

static bool ring_killed_read(int fd, void *to, size_t size)
{
    for (ssize_t got; size > 0; to = (char *)to + got, size -= (size_t)got)
        if ((got = read(fd, to, size)) <= 0)
            return false;
    return true;
}

static bool ring_killed_write(int fd, const void *from, size_t size)
{
    return send(fd, from, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* ---- a process: its first thread computes, another one reads orders ---- */

struct process {
    int line, inner[2];
    struct collective *ring;
};

static void *ring_killed_loop(void *argument)
{
    struct process *process = argument;
    struct order order;
    while (ring_killed_read(process->line, &order, sizeof order)) {
        if (order.what == ABORT)
            process->ring->op->abort(process->ring, order.generation);
        else if (!ring_killed_write(process->inner[1], &order, sizeof order))
            break;
    }
    _exit(0);
}

static uint32_t ring_killed_sums(struct process *process, const struct order *order, int64_t *data, struct err *err)
{
    const char *endpoints[RANKS];
    for (int i = 0; i < RANKS; i++)
        endpoints[i] = order->endpoints[i];
    struct collective_group group = {
        .generation = order->generation, .rank = order->rank, .size = order->size, .endpoints = endpoints};
    if (!process->ring->op->connect(process->ring, &group, err))
        return 0;
    for (uint32_t sum = 0; sum < order->sums; sum++) {
        for (int64_t i = 0; i < COUNT; i++)
            data[i] = (i + sum) * (order->rank + 1);
        if (!collective_sum(process->ring, ELEMENT_I64, data, COUNT, err))
            return sum;
        for (int64_t i = 0; i < COUNT; i++)
            if (data[i] != (i + sum) * (order->size * (order->size + 1) / 2)) {
                err_set(err, ERR_DATA, "wrong");
                return sum;
            }
    }
    return order->sums;
}

static void ring_killed_process(int line)
{
    struct err err = {0};
    struct process process = {.line = line};
    struct ring_options options = {.zmq_context = zmq_ctx_new(), .bind = "tcp://127.0.0.1"};
    struct order order;
    int64_t *data = calloc(COUNT, sizeof *data);
    pthread_t loop;
    process.ring = ring_open(&options, &err);
    if (data == NULL || process.ring == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, process.inner) != 0 ||
        pthread_create(&loop, NULL, ring_killed_loop, &process) != 0)
        _exit(1);
    while (ring_killed_read(process.inner[0], &order, sizeof order)) {
        struct answer answer = {0};
        err = (struct err){0};
        if (order.what == LISTEN)
            process.ring->op->listen(process.ring, order.generation, answer.endpoint, &err);
        else
            answer.sums = ring_killed_sums(&process, &order, data, &err);
        answer.code = err.code;
        if (!ring_killed_write(line, &answer, sizeof answer))
            break;
    }
    _exit(0);
}

/* ---- the coordinator ---- */

struct cluster {
    int line[RANKS];
    pid_t pid[RANKS];
    bool alive[RANKS];
};

static void ring_killed_open(struct cluster *cluster)
{
    for (int i = 0; i < RANKS; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        cluster->pid[i] = fork();
        if (cluster->pid[i] == 0) {
            for (int other = 0; other < i; other++)
                close(cluster->line[other]);
            close(pair[0]);
            ring_killed_process(pair[1]);
        }
        close(pair[1]);
        cluster->line[i] = pair[0];
        cluster->alive[i] = true;
    }
}

static void ring_killed_close(struct cluster *cluster)
{
    for (int i = 0; i < RANKS; i++) {
        close(cluster->line[i]);
        waitpid(cluster->pid[i], NULL, 0);
    }
}

static void ring_killed_tell(struct cluster *cluster, const struct order *order)
{
    struct order each = *order;
    each.rank = 0;
    for (int i = 0; i < RANKS; i++)
        if (cluster->alive[i]) {
            assert_true(ring_killed_write(cluster->line[i], &each, sizeof each));
            each.rank++;
        }
}

static struct answer ring_killed_hear(struct cluster *cluster, int process)
{
    struct answer answer;
    struct pollfd readable = {.fd = cluster->line[process], .events = POLLIN};
    assert_int_equal(poll(&readable, 1, 300000), 1);
    assert_true(ring_killed_read(cluster->line[process], &answer, sizeof answer));
    return answer;
}

/* Both phases of the rendezvous; then the ranks sum. */
static void ring_killed_begin(struct cluster *cluster, uint64_t generation, uint32_t sums)
{
    struct order order = {.what = LISTEN, .generation = generation, .sums = sums};
    ring_killed_tell(cluster, &order);
    for (int i = 0; i < RANKS; i++)
        if (cluster->alive[i])
            memcpy(order.endpoints[order.size++], ring_killed_hear(cluster, i).endpoint, COLLECTIVE_ENDPOINT);
    order.what = CONNECT;
    ring_killed_tell(cluster, &order);
}

static void ring_killed_all_sum(struct cluster *cluster, uint64_t generation)
{
    ring_killed_begin(cluster, generation, SUMS);
    for (int i = 0; i < RANKS; i++)
        if (cluster->alive[i])
            assert_int_equal(ring_killed_hear(cluster, i).sums, SUMS);
}

/* Returns how long the last of the others took to stop, ms. */
static int64_t ring_killed_lose_one(struct cluster *cluster, int victim, uint64_t generation, int after_ms)
{
    ring_killed_begin(cluster, generation, UINT32_MAX);
    struct timespec moment = {.tv_nsec = after_ms * 1000000L};
    nanosleep(&moment, NULL);
    kill(cluster->pid[victim], SIGKILL);
    cluster->alive[victim] = false;
    int64_t begin = clock_ms();
    struct order abort = {.what = ABORT, .generation = generation};
    ring_killed_tell(cluster, &abort);
    for (int i = 0; i < RANKS; i++)
        if (cluster->alive[i])
            assert_int_equal(ring_killed_hear(cluster, i).code, ERR_ABORTED);
    return clock_ms() - begin;
}

static void the_ranks_that_are_left_go_on_after_one_was_killed(void **state)
{
    (void)state;
    int64_t longest = 0;
    for (int victim = 0; victim < RANKS; victim++)
        for (int after_ms = 0; after_ms < 40; after_ms += 13) {
            struct cluster cluster;
            ring_killed_open(&cluster);
            ring_killed_all_sum(&cluster, 1);
            int64_t ms = ring_killed_lose_one(&cluster, victim, 2, after_ms);
            longest = ms > longest ? ms : longest;
            ring_killed_all_sum(&cluster, 3);
            ring_killed_close(&cluster);
        }
    print_message("the others stopped within %d ms\n", (int)longest);
    if (getenv("LSTMQ_FULL") != NULL)
        assert_true(longest < STOP_MS);
}

/* Frozen, it can neither send nor receive; awake again it finds its generation over and comes back into a later one. */
static void a_frozen_rank_comes_back_into_a_later_generation(void **state)
{
    (void)state;
    struct cluster cluster;
    ring_killed_open(&cluster);
    ring_killed_begin(&cluster, 1, UINT32_MAX);
    kill(cluster.pid[1], SIGSTOP);
    struct order abort = {.what = ABORT, .generation = 1};
    ring_killed_tell(&cluster, &abort);
    assert_int_equal(ring_killed_hear(&cluster, 0).code, ERR_ABORTED);
    assert_int_equal(ring_killed_hear(&cluster, 2).code, ERR_ABORTED);
    cluster.alive[1] = false;
    ring_killed_all_sum(&cluster, 2);
    kill(cluster.pid[1], SIGCONT);
    assert_int_equal(ring_killed_hear(&cluster, 1).code, ERR_ABORTED);
    cluster.alive[1] = true;
    ring_killed_all_sum(&cluster, 3);
    ring_killed_close(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ranks_that_are_left_go_on_after_one_was_killed),
        cmocka_unit_test(a_frozen_rank_comes_back_into_a_later_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
