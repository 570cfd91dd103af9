/* A ring with a port of its own: the port is the same for each generation, the sockets are new. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/collective.h"
#include "proto/base/clock.h"
#include "worker/collective/ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

enum { GENERATIONS = 20 };

/* Rank 1 of 2, at a port that was free a moment ago; the test plays rank 0. */
struct fixture {
    void *zmq_context;
    struct collective *ring;
    int holder; /* listens at the port before the ring does; -1 = none */
    char place[COLLECTIVE_ENDPOINT];
};

static void ring_port_open(struct fixture *fixture, bool held)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct err err;
    *fixture = (struct fixture){.zmq_context = zmq_ctx_new(), .holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(fixture->holder, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fixture->holder, (struct sockaddr *)&address, &size), 0);
    snprintf(fixture->place, sizeof fixture->place, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
    if (held) {
        assert_int_equal(listen(fixture->holder, 1), 0);
    } else {
        close(fixture->holder);
        fixture->holder = -1;
    }
    const struct ring_options options = {.zmq_context = fixture->zmq_context, .bind = fixture->place};
    fixture->ring = ring_open(&options, &err);
    assert_non_null(fixture->ring);
}

static void ring_port_close(struct fixture *fixture)
{
    collective_close(&fixture->ring);
    zmq_ctx_term(fixture->zmq_context);
    if (fixture->holder >= 0)
        close(fixture->holder);
}

static bool ring_port_listen(struct fixture *fixture, uint64_t generation, struct err *err)
{
    char endpoint[COLLECTIVE_ENDPOINT];
    bool ok = fixture->ring->op->listen(fixture->ring, generation, endpoint, err);
    if (ok)
        assert_string_equal(endpoint, fixture->place);
    return ok;
}

static void one_generation_follows_another_at_the_same_port(void **state)
{
    (void)state;
    struct fixture fixture;
    struct err err;
    const int linger = 0;
    char byte;
    ring_port_open(&fixture, false);
    void *neighbour = zmq_socket(fixture.zmq_context, ZMQ_STREAM);
    zmq_setsockopt(neighbour, ZMQ_LINGER, &linger, sizeof linger);
    for (uint64_t generation = 1; generation <= GENERATIONS; generation++) {
        if (!ring_port_listen(&fixture, generation, &err))
            fail_msg("generation %u: %s", (unsigned)generation, err.text);
        if (generation > 1)
            continue;
        /* Connected, as neighbours are when a generation ends. */
        assert_int_equal(zmq_connect(neighbour, fixture.place), 0);
        assert_true(zmq_recv(neighbour, &byte, 1, 0) > 0);
    }
    zmq_close(neighbour);
    ring_port_close(&fixture);
}

static void a_taken_port_is_an_error_that_names_it(void **state)
{
    (void)state;
    struct fixture fixture;
    struct err err;
    ring_port_open(&fixture, true);
    assert_false(ring_port_listen(&fixture, 1, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.text, fixture.place));
    assert_non_null(strstr(err.text, "Address already in use"));
    ring_port_close(&fixture);
}

static void *ring_port_abort(void *argument)
{
    struct collective *ring = argument;
    ring->op->abort(ring, 1);
    return NULL;
}

static void a_wait_for_a_port_ends_with_its_generation(void **state)
{
    (void)state;
    struct fixture fixture;
    struct err err;
    pthread_t other;
    ring_port_open(&fixture, true);
    int64_t begin = clock_ms();
    assert_int_equal(pthread_create(&other, NULL, ring_port_abort, fixture.ring), 0);
    assert_false(ring_port_listen(&fixture, 1, &err));
    pthread_join(other, NULL);
    assert_int_equal(err.code, ERR_ABORTED);
    if (getenv("LSTMQ_FULL") != NULL)
        assert_in_range(clock_ms() - begin, 0, 1900); /* the ring waits two seconds for a port */
    close(fixture.holder);
    fixture.holder = -1;
    if (!ring_port_listen(&fixture, 2, &err))
        fail_msg("%s", err.text);
    ring_port_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_generation_follows_another_at_the_same_port),
        cmocka_unit_test(a_taken_port_is_an_error_that_names_it),
        cmocka_unit_test(a_wait_for_a_port_ends_with_its_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
