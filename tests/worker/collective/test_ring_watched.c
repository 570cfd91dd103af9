/* A ring's endpoint is watched: strangers fill no memory and are not heard, and the neighbour loses nothing by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/wire/watch.h"
#include "tests/support/ring_process.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { RANKS = 2, COUNT = 1 << 20, WAIT_MS = 120000 };

struct process {
    struct ring_process base;
    struct watch *watch;
    uint32_t rank;
    const char **endpoints;
    int64_t *data; /* [COUNT] */
    int sums;
    bool connects, ok;
    struct err err;
    pthread_t thread;
};

struct fixture {
    struct process process[RANKS];
    const char *endpoints[RANKS];
};

/* Small sums until all have met, then large ones. */
static void *ring_watched_sum(void *argument)
{
    struct process *process = argument;
    const struct collective_group group = {
        .generation = 1, .rank = process->rank, .size = RANKS, .endpoints = process->endpoints, .timeout_ms = WAIT_MS};
    struct collective *ring = process->base.ring;
    process->ok = !process->connects || ring->op->connect(ring, &group, &process->err);
    process->connects = false;
    for (int i = 0; process->ok && i < 2 + process->sums; i++) {
        for (int64_t n = 0; n < COUNT; n++)
            process->data[n] = n;
        process->ok = collective_sum(ring, ELEMENT_I64, process->data, i < 2 ? 1 : COUNT, &process->err);
    }
    return NULL;
}

static void ring_watched_open(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    for (uint32_t i = 0; i < RANKS; i++) {
        struct process *process = &fixture->process[i];
        process->rank = i;
        process->connects = true;
        process->endpoints = fixture->endpoints;
        process->data = malloc(COUNT * sizeof *process->data);
        process->watch = ring_process_watched(&process->base);
        fixture->endpoints[i] = process->base.endpoint;
    }
}

/* All ranks add that many times. */
static void ring_watched_run(struct fixture *fixture, int sums)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        fixture->process[i].sums = sums;
        pthread_create(&fixture->process[i].thread, NULL, ring_watched_sum, &fixture->process[i]);
    }
    for (uint32_t i = 0; i < RANKS; i++)
        pthread_join(fixture->process[i].thread, NULL);
    for (uint32_t i = 0; i < RANKS; i++) {
        const struct process *process = &fixture->process[i];
        if (!process->ok)
            fail_msg("rank %u: %s", i, process->err.text);
        for (int64_t n = 0; sums > 0 && n < COUNT; n++)
            assert_int_equal(process->data[n], RANKS * n);
    }
}

static void ring_watched_close(struct fixture *fixture)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        struct process *process = &fixture->process[i];
        ring_process_stop(&process->base);
        watch_destroy(&process->watch);
        ring_process_close(&process->base);
        free(process->data);
    }
}

/* A connection to rank 1 that has said ZMTP's greeting and READY, as a PUSH socket does. */
static int ring_watched_stranger(const struct fixture *fixture)
{
    static const char ready[] = "\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH";
    char greeting[64] = {0}, said[sizeof greeting + sizeof ready - 1];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)strtoul(strrchr(fixture->endpoints[1], ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    greeting[0] = '\xff';
    greeting[9] = '\x7f';
    greeting[10] = 3;
    memcpy(greeting + 12, "NULL", 4);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, greeting, sizeof greeting, 0), sizeof greeting);
    assert_int_equal(send(fd, ready, sizeof ready - 1, 0), sizeof ready - 1);
    /* Until the other side has said both too, it takes no message. */
    assert_int_equal(recv(fd, said, sizeof said, MSG_WAITALL), sizeof said);
    return fd;
}

/* Send the same bytes again and again until the other side has enough; how many went. */
static size_t ring_watched_pour(int fd, const void *bytes, size_t size, size_t most)
{
    size_t sent = 0;
    while (sent < most) {
        ssize_t went = send(fd, bytes, size, MSG_NOSIGNAL);
        if (went < 0)
            return sent;
        sent += (size_t)went;
    }
    return sent;
}

static bool ring_watched_is_cut(int fd)
{
    char bytes[256];
    for (;;) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        if (poll(&item, 1, WAIT_MS) != 1)
            return false;
        if (recv(fd, bytes, sizeof bytes, 0) <= 0)
            return true;
    }
}

static void a_message_without_an_end_is_cut_off(void **state)
{
    (void)state;
    struct fixture fixture;
    char many[4096];
    for (size_t i = 0; i < sizeof many; i += 2)
        many[i] = 1, many[i + 1] = 0; /* an empty frame, more to come */
    ring_watched_open(&fixture);
    ring_watched_run(&fixture, 1);
    int fd = ring_watched_stranger(&fixture);
    assert_true(ring_watched_pour(fd, many, sizeof many, (size_t)1 << 30) < (size_t)1 << 30);
    assert_int_equal(watch_counts(fixture.process[1].watch).cut, 1);
    ring_watched_run(&fixture, 1);
    close(fd);
    ring_watched_close(&fixture);
}

static void a_peer_that_sends_junk_is_disconnected_and_nothing_else(void **state)
{
    (void)state;
    struct fixture fixture;
    ring_watched_open(&fixture);
    int before = ring_watched_stranger(&fixture);
    assert_int_equal(send(before, "\0\4junk", 6, 0), 6);
    ring_watched_run(&fixture, 1);
    int fd = ring_watched_stranger(&fixture);
    assert_int_equal(send(fd, "\1\1a\0\4junk", 9, 0), 9);
    /* The ring reads it at its next call. */
    for (int i = 0; watch_counts(fixture.process[1].watch).cut < 2 && i < 1000; i++)
        ring_watched_run(&fixture, 1);
    assert_true(ring_watched_is_cut(before));
    assert_true(ring_watched_is_cut(fd));
    close(before);
    close(fd);
    ring_watched_close(&fixture);
}

/* What the ring received is subtracted from what it keeps, or a long run would reach the limit. */
static void a_neighbour_that_has_sent_much_keeps_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    ring_watched_open(&fixture);
    ring_watched_run(&fixture, 20);
    int64_t until = 0;
    uint64_t kept;
    do { /* the next look sees it */
        kept = watch_counts(fixture.process[1].watch).kept;
        poll(NULL, 0, WATCH_EVERY_MS);
    } while (kept > 1024 && ++until < WAIT_MS / WATCH_EVERY_MS);
    assert_true(kept <= 1024);
    assert_int_equal(watch_counts(fixture.process[1].watch).cut, 0);
    ring_watched_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_without_an_end_is_cut_off),
        cmocka_unit_test(a_peer_that_sends_junk_is_disconnected_and_nothing_else),
        cmocka_unit_test(a_neighbour_that_has_sent_much_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
