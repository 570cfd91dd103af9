/* Data from other peers than the predecessor does no harm to a ring: the test plays rank 0 of 2 by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/collective.h"
#include "proto/base/clock.h"
#include "worker/collective/ring.h"
#include "worker/collective/ring_frame.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

enum { COUNT = 128, HALF = 64, GENERATION = 5 };

/* Rank 1 is real; rank 0 is two bare sockets. */
struct fixture {
    void *zmq_context, *to, *from;
    struct collective *ring;
    char endpoint[COLLECTIVE_ENDPOINT];
    int64_t memory[COUNT + 1]; /* the last must not change */
    struct err err;
    bool ok, joined;
    pthread_t thread;
};

static void *ring_hostile_sum(void *argument)
{
    struct fixture *fixture = argument;
    fixture->ok = collective_sum(fixture->ring, ELEMENT_I64, fixture->memory, COUNT, &fixture->err);
    return NULL;
}

static void ring_hostile_open(struct fixture *fixture, int64_t timeout_ms)
{
    char mine[COLLECTIVE_ENDPOINT];
    size_t size = sizeof mine;
    int linger = 0;
    *fixture = (struct fixture){.zmq_context = zmq_ctx_new()};
    struct ring_options options = {.zmq_context = fixture->zmq_context, .bind = "tcp://127.0.0.1"};
    fixture->ring = ring_open(&options, &fixture->err);
    assert_non_null(fixture->ring);
    assert_true(fixture->ring->op->listen(fixture->ring, GENERATION, fixture->endpoint, &fixture->err));
    fixture->from = zmq_socket(fixture->zmq_context, ZMQ_PULL);
    fixture->to = zmq_socket(fixture->zmq_context, ZMQ_PUSH);
    zmq_setsockopt(fixture->to, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_bind(fixture->from, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(fixture->from, ZMQ_LAST_ENDPOINT, mine, &size), 0);
    assert_int_equal(zmq_connect(fixture->to, fixture->endpoint), 0);
    const char *endpoints[2] = {mine, fixture->endpoint};
    struct collective_group group = {
        .generation = GENERATION, .rank = 1, .size = 2, .endpoints = endpoints, .timeout_ms = timeout_ms};
    assert_true(fixture->ring->op->connect(fixture->ring, &group, &fixture->err));
    for (int64_t i = 0; i <= COUNT; i++)
        fixture->memory[i] = i;
    pthread_create(&fixture->thread, NULL, ring_hostile_sum, fixture);
}

static void ring_hostile_close(struct fixture *fixture)
{
    if (!fixture->joined)
        pthread_join(fixture->thread, NULL);
    assert_int_equal(fixture->memory[COUNT], COUNT);
    collective_close(&fixture->ring);
    zmq_close(fixture->to);
    zmq_close(fixture->from);
    zmq_ctx_term(fixture->zmq_context);
}

/* What rank 0 must send first: its half 0, to be added. */
static const struct ring_frame ring_hostile_right = {
    .kind = ELEMENT_I64, .generation = GENERATION, .operation = 1, .count = COUNT};

static void ring_hostile_send(struct fixture *fixture, const struct ring_frame *frame, size_t bytes, bool more)
{
    static const int64_t body[4096];
    uint8_t head[RING_FRAME];
    ring_frame_write(frame, head);
    assert_int_equal(zmq_send(fixture->to, head, sizeof head, ZMQ_SNDMORE), sizeof head);
    assert_int_equal(zmq_send(fixture->to, body, bytes, more ? ZMQ_SNDMORE : 0), bytes);
    if (more)
        assert_int_equal(zmq_send(fixture->to, "more", 4, 0), 4);
}

/* The rest of rank 0's part: it sends both halves and reads none. */
static void ring_hostile_play_on(struct fixture *fixture)
{
    struct ring_frame second = ring_hostile_right;
    second.step = 1;
    ring_hostile_send(fixture, &ring_hostile_right, HALF * sizeof(int64_t), false);
    ring_hostile_send(fixture, &second, HALF * sizeof(int64_t), false);
}

static void frames_of_an_older_generation_are_dropped(void **state)
{
    (void)state;
    struct fixture fixture;
    ring_hostile_open(&fixture, 0);
    struct ring_frame old = ring_hostile_right;
    for (uint64_t age = 1; age <= GENERATION; age++) {
        old.generation = GENERATION - age;
        ring_hostile_send(&fixture, &old, 16, age == 2);
    }
    ring_hostile_play_on(&fixture);
    ring_hostile_close(&fixture);
    if (!fixture.ok)
        fail_msg("%s", fixture.err.text);
    for (int64_t i = 0; i < COUNT; i++)
        assert_int_equal(fixture.memory[i], i < HALF ? i : 0);
}

static void a_frame_that_does_not_fit_ends_the_generation(void **state)
{
    (void)state;
    struct wrong {
        struct ring_frame frame;
        size_t bytes;
        bool more;
    } wrong[14];
    for (int i = 0; i < 14; i++)
        wrong[i] = (struct wrong){.frame = ring_hostile_right, .bytes = HALF * sizeof(int64_t)};
    wrong[0].frame.kind = ELEMENT_F32;
    wrong[1].frame.kind = 0xFF;
    wrong[2].frame.step = 1;
    wrong[3].frame.step = 0xFFFF;
    wrong[4].frame.chunk = 1;
    wrong[5].frame.chunk = UINT32_MAX;
    wrong[6].frame.rank = 1;
    wrong[7].frame.generation = GENERATION + 1;
    wrong[8].frame.operation = 2;
    wrong[9].frame.count = UINT64_MAX;
    wrong[10].bytes = 0;
    wrong[11].bytes -= 1;
    wrong[12].bytes += 8;
    wrong[13].more = true;
    for (int i = 0; i < 14; i++) {
        struct fixture fixture;
        ring_hostile_open(&fixture, 120000);
        ring_hostile_send(&fixture, &wrong[i].frame, wrong[i].bytes, wrong[i].more);
        ring_hostile_close(&fixture);
        assert_false(fixture.ok);
        if (fixture.err.code != ERR_PROTOCOL)
            fail_msg("case %d: %s", i, fixture.err.text);
    }
}

static void junk_ends_the_generation(void **state)
{
    (void)state;
    static const char *const junk[] = {"", "x", "LQR1", "01234567890123456789012345678901",
                                       "LQR1 and more than a header has"};
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
        for (int parts = 1; parts <= 64; parts *= 8) {
            struct fixture fixture;
            ring_hostile_open(&fixture, 120000);
            for (int part = 1; part <= parts; part++)
                zmq_send(fixture.to, junk[i], strlen(junk[i]), part < parts ? ZMQ_SNDMORE : 0);
            ring_hostile_close(&fixture);
            assert_int_equal(fixture.err.code, ERR_PROTOCOL);
        }
}

/* Bytes that are no ZeroMQ, and a frame larger than a ring's, do not reach the ring. */
static void frames_that_are_not_of_a_ring_are_ignored(void **state)
{
    (void)state;
    struct fixture fixture;
    ring_hostile_open(&fixture, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((uint16_t)strtoul(strrchr(fixture.endpoint, ':') + 1, NULL, 10));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int raw = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(raw, (struct sockaddr *)&address, sizeof address), 0);
    for (int i = 0; i < 1000; i++)
        if (send(raw, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) < 0)
            break;
    void *giant = zmq_socket(fixture.zmq_context, ZMQ_PUSH);
    size_t bytes = (size_t)8 << 20;
    void *frame = calloc(1, bytes);
    int linger = 0;
    zmq_setsockopt(giant, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_connect(giant, fixture.endpoint), 0);
    assert_int_equal(zmq_send(giant, frame, bytes, 0), bytes);
    free(frame);
    ring_hostile_play_on(&fixture);
    pthread_join(fixture.thread, NULL);
    fixture.joined = true;
    zmq_close(giant);
    ring_hostile_close(&fixture);
    if (!fixture.ok)
        fail_msg("%s", fixture.err.text);
    close(raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_an_older_generation_are_dropped),
        cmocka_unit_test(a_frame_that_does_not_fit_ends_the_generation),
        cmocka_unit_test(junk_ends_the_generation),
        cmocka_unit_test(frames_that_are_not_of_a_ring_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
