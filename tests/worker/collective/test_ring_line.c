/* A connection breaks between two live ranks: if it lost a message, no rank waits without end; if it lost none, nothing
 * happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/clock.h"
#include "proto/wire/watch.h"
#include "tests/support/ring_process.h"
#include "worker/collective/ring.h"
#include "worker/collective/ring_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { RANKS = 2, MOMENT_MS = 20, PATIENCE_MS = 24 * RING_BROKEN_MS /* ends a hang */ };

/* What the relay does when the next bytes come from rank 0. */
enum deed {
    PASS,      /* forward them                                       */
    LOSE_NEAR, /* drop them, and end the connection to rank 0 alone  */
    LOSE_FAR,  /* drop them, and end the connection to rank 1 alone  */
    CUT        /* end both connections, before any come              */
};

/* A relay between rank 0 and the endpoint of rank 1: one connection at a time, of which it may keep one half. */
struct relay {
    int listener, near, far; /* to rank 0 and to rank 1; -1 = none */
    int left;                /* the half that stays; -1 = none     */
    struct sockaddr_in target;
    char endpoint[COLLECTIVE_ENDPOINT];
    _Atomic int deed;
    _Atomic uint64_t accepted; /* connections, so far */
    atomic_bool ends;
    pthread_t thread;
};

struct process {
    struct ring_process base;
    struct watch *watch;
    const char *endpoints[RANKS]; /* as PEERS would say */
    uint32_t rank;
    bool ok;
    int64_t sum, took_ms;
    struct err err;
    pthread_t thread;
};

struct fixture {
    struct process process[RANKS];
    struct relay relay;
};

/* ---- the relay ---- */

static void ring_line_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void ring_line_accept(struct relay *relay)
{
    ring_line_end(&relay->near);
    ring_line_end(&relay->far);
    relay->near = accept(relay->listener, NULL, NULL);
    relay->far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(relay->far, (struct sockaddr *)&relay->target, sizeof relay->target) != 0)
        ring_line_end(&relay->far);
    atomic_fetch_add(&relay->accepted, 1);
}

static void ring_line_lose(struct relay *relay, enum deed deed)
{
    int *ends = deed == LOSE_NEAR ? &relay->near : &relay->far, *stays = deed == LOSE_NEAR ? &relay->far : &relay->near;
    relay->left = *stays;
    *stays = -1;
    ring_line_end(ends);
    atomic_store(&relay->deed, PASS);
}

/* False when that side has ended. */
static bool ring_line_hand_on(struct relay *relay, int from, int to)
{
    char bytes[4096];
    ssize_t size = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    int deed = atomic_load(&relay->deed);
    if (size > 0 && from == relay->near && (deed == LOSE_NEAR || deed == LOSE_FAR))
        ring_line_lose(relay, (enum deed)deed);
    else if (size > 0)
        return send(to, bytes, (size_t)size, MSG_NOSIGNAL) == size;
    return size > 0 || (size < 0 && errno == EAGAIN);
}

static void *ring_line_relay(void *argument)
{
    struct relay *relay = argument;
    while (!atomic_load(&relay->ends)) {
        struct pollfd files[] = {{.fd = relay->listener, .events = POLLIN},
                                 {.fd = relay->near, .events = POLLIN},
                                 {.fd = relay->far, .events = POLLIN}};
        poll(files, 3, MOMENT_MS);
        bool stands = true;
        if (files[1].revents != 0)
            stands = ring_line_hand_on(relay, relay->near, relay->far);
        if (stands && relay->far >= 0 && files[2].revents != 0)
            stands = ring_line_hand_on(relay, relay->far, relay->near);
        int cut = CUT;
        if (!stands || atomic_compare_exchange_strong(&relay->deed, &cut, PASS)) {
            ring_line_end(&relay->near);
            ring_line_end(&relay->far);
        }
        if (files[0].revents != 0)
            ring_line_accept(relay);
    }
    return NULL;
}

static void ring_line_relay_open(struct relay *relay, const char *target)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *relay = (struct relay){.near = -1, .far = -1, .left = -1, .target = address};
    relay->target.sin_port = htons((uint16_t)atoi(strrchr(target, ':') + 1));
    relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(relay->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(relay->listener, 8), 0);
    assert_int_equal(getsockname(relay->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(relay->endpoint, sizeof relay->endpoint, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&relay->thread, NULL, ring_line_relay, relay), 0);
}

static void ring_line_relay_close(struct relay *relay)
{
    atomic_store(&relay->ends, true);
    pthread_join(relay->thread, NULL);
    ring_line_end(&relay->near);
    ring_line_end(&relay->far);
    ring_line_end(&relay->left);
    ring_line_end(&relay->listener);
}

/* ---- the ranks ---- */

static void test_ring_line_open(struct fixture *fixture)
{
    struct err err = {0};
    memset(fixture, 0, sizeof *fixture);
    for (uint32_t i = 0; i < RANKS; i++) {
        struct process *process = &fixture->process[i];
        process->rank = i;
        process->watch = ring_process_watched(&process->base);
    }
    ring_line_relay_open(&fixture->relay, fixture->process[1].base.endpoint);
    for (uint32_t i = 0; i < RANKS; i++) {
        struct process *process = &fixture->process[i];
        process->endpoints[0] = fixture->process[0].base.endpoint;
        process->endpoints[1] = i == 0 ? fixture->relay.endpoint : process->base.endpoint;
        const struct collective_group group = {
            .generation = 1, .rank = i, .size = RANKS, .endpoints = process->endpoints, .timeout_ms = PATIENCE_MS};
        assert_true(process->base.ring->op->connect(process->base.ring, &group, &err));
    }
}

static void test_ring_line_close(struct fixture *fixture)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        ring_process_stop(&fixture->process[i].base);
        watch_destroy(&fixture->process[i].watch);
        ring_process_close(&fixture->process[i].base);
    }
    ring_line_relay_close(&fixture->relay);
}

static void *ring_line_sum(void *argument)
{
    struct process *process = argument;
    int64_t began = clock_ms();
    process->sum = process->rank + 1;
    process->ok = collective_sum(process->base.ring, ELEMENT_I64, &process->sum, 1, &process->err);
    process->took_ms = clock_ms() - began;
    return NULL;
}

/* A sum of one element on each rank, begun; `ring_line_sum_end` waits for it. */
static void ring_line_sum_begin(struct fixture *fixture)
{
    for (uint32_t i = 0; i < RANKS; i++)
        pthread_create(&fixture->process[i].thread, NULL, ring_line_sum, &fixture->process[i]);
}

static void ring_line_sum_end(struct fixture *fixture)
{
    for (uint32_t i = 0; i < RANKS; i++)
        pthread_join(fixture->process[i].thread, NULL);
}

static void ring_line_sum_well(struct fixture *fixture)
{
    ring_line_sum_begin(fixture);
    ring_line_sum_end(fixture);
    for (uint32_t i = 0; i < RANKS; i++) {
        if (!fixture->process[i].ok)
            fail_msg("rank %u: %s", i, fixture->process[i].err.text);
        assert_int_equal(fixture->process[i].sum, 3);
    }
}

/* What rank 0 sends is lost, and only `rank` learns that its connection broke. The coordinator would then end the
 * other's generation. */
static void ring_line_lost(enum deed deed, uint32_t rank)
{
    struct fixture fixture;
    test_ring_line_open(&fixture);
    ring_line_sum_well(&fixture);
    atomic_store(&fixture.relay.deed, deed);
    ring_line_sum_begin(&fixture);
    pthread_join(fixture.process[rank].thread, NULL);
    struct collective *other = fixture.process[1 - rank].base.ring;
    other->op->abort(other, 1);
    pthread_join(fixture.process[1 - rank].thread, NULL);
    assert_false(fixture.process[rank].ok);
    assert_int_equal(fixture.process[rank].err.code, ERR_FAILED);
    assert_non_null(strstr(fixture.process[rank].err.text, "broke"));
    assert_in_range(fixture.process[rank].took_ms, RING_BROKEN_MS, PATIENCE_MS - 1);
    assert_int_equal(fixture.process[1 - rank].err.code, ERR_ABORTED);
    test_ring_line_close(&fixture);
}

static void a_lost_message_ends_the_wait_for_its_answer(void **state)
{
    (void)state;
    ring_line_lost(LOSE_NEAR, 0);
}

static void a_broken_connection_ends_the_wait_for_its_message(void **state)
{
    (void)state;
    ring_line_lost(LOSE_FAR, 1);
}

static void an_idle_connection_that_breaks_ends_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    test_ring_line_open(&fixture);
    for (uint64_t breaks = 1; breaks <= 5; breaks++) {
        ring_line_sum_well(&fixture);
        atomic_store(&fixture.relay.deed, CUT);
        while (watch_counts(fixture.process[1].watch).lost < breaks || atomic_load(&fixture.relay.accepted) <= breaks)
            poll(NULL, 0, WATCH_EVERY_MS);
    }
    ring_line_sum_well(&fixture);
    test_ring_line_close(&fixture);
}

/* As after a neighbour's death, which the coordinator reports. */
static void a_generation_that_is_ended_after_a_break_is_over_at_once(void **state)
{
    (void)state;
    struct fixture fixture;
    test_ring_line_open(&fixture);
    ring_line_sum_well(&fixture);
    atomic_store(&fixture.relay.deed, LOSE_FAR);
    ring_line_sum_begin(&fixture);
    while (watch_counts(fixture.process[1].watch).lost == 0)
        poll(NULL, 0, WATCH_EVERY_MS);
    for (uint32_t i = 0; i < RANKS; i++)
        fixture.process[i].base.ring->op->abort(fixture.process[i].base.ring, 1);
    ring_line_sum_end(&fixture);
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(fixture.process[i].err.code, ERR_ABORTED);
        if (getenv("LSTMQ_FULL") != NULL)
            assert_in_range(fixture.process[i].took_ms, 0, RING_BROKEN_MS - 1);
    }
    test_ring_line_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_message_ends_the_wait_for_its_answer),
        cmocka_unit_test(a_broken_connection_ends_the_wait_for_its_message),
        cmocka_unit_test(an_idle_connection_that_breaks_ends_nothing),
        cmocka_unit_test(a_generation_that_is_ended_after_a_break_is_over_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
