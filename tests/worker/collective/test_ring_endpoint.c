/* A ring's local sockets are for the processes of one user in one network namespace of one machine, and their names say
 * so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/collective.h"
#include "worker/collective/ring.h"
#include "worker/collective/ring_endpoint.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

enum { OTHER_USER = 65534, LIMIT_S = 60 };

static void ring_endpoint_own(char place[COLLECTIVE_ENDPOINT])
{
    ring_endpoint_fill("ipc://@", NULL, 1, place, COLLECTIVE_ENDPOINT);
}

static void ranks_of_the_same_kind_can_meet(void **state)
{
    (void)state;
    char one[COLLECTIVE_ENDPOINT], other[COLLECTIVE_ENDPOINT];
    struct err err;
    ring_endpoint_own(one);
    ring_endpoint_own(other);
    assert_string_not_equal(one, other);
    const char *const endpoints[] = {one, other, "tcp://127.0.0.1:5", "ipc:///tmp/of-another-make", "inproc://ring"};
    for (uint32_t rank = 0; rank < 5; rank++)
        if (!ring_endpoint_check(endpoints, rank, 5, &err))
            fail_msg("rank %u: %s", rank, err.text);
}

/* An endpoint like this process's, but with one part changed: 2, 3, 4 are boot, namespace, user. */
static void ring_endpoint_of_another(char place[COLLECTIVE_ENDPOINT], int part)
{
    ring_endpoint_own(place);
    char *at = place;
    for (int dashes = 0; dashes < part; dashes++)
        at = strchr(at, '-') + 1;
    *at = *at == '9' ? '8' : '9';
}

static void the_younger_rank_of_another_machine_or_user_is_refused(void **state)
{
    (void)state;
    for (int part = 2; part < 5; part++) {
        char own[COLLECTIVE_ENDPOINT], other[COLLECTIVE_ENDPOINT];
        struct err err = {0};
        ring_endpoint_own(own);
        ring_endpoint_of_another(other, part);
        const char *const older[] = {own, other}, *const younger[] = {other, own};
        assert_true(ring_endpoint_check(older, 0, 2, &err));
        assert_false(ring_endpoint_check(younger, 1, 2, &err));
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, "rank 0"));
        assert_non_null(strstr(err.text, "--worker.bind"));
    }
}

static void the_first_ranks_stay_whatever_joined_between_them(void **state)
{
    (void)state;
    char first[COLLECTIVE_ENDPOINT], second[COLLECTIVE_ENDPOINT], other[COLLECTIVE_ENDPOINT];
    struct err err = {0};
    ring_endpoint_own(first);
    ring_endpoint_own(second);
    ring_endpoint_of_another(other, 4);
    const char *const endpoints[] = {first, second, other};
    assert_true(ring_endpoint_check(endpoints, 0, 3, &err));
    assert_true(ring_endpoint_check(endpoints, 1, 3, &err));
}

/* 192.0.2.1 is no host's (RFC 5737). */
static void a_loopback_rank_among_hosts_is_refused_unless_it_is_first(void **state)
{
    (void)state;
    char own[COLLECTIVE_ENDPOINT], other[COLLECTIVE_ENDPOINT];
    struct err err = {0};
    ring_endpoint_own(own);
    ring_endpoint_of_another(other, 2);
    const char *const joined[] = {"tcp://192.0.2.1:5", own}, *const first[] = {own, "tcp://192.0.2.1:5"};
    assert_false(ring_endpoint_check(joined, 1, 2, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_true(ring_endpoint_check(first, 0, 2, &err));
    /* The same from the other host. */
    const char *const seen_joined[] = {"tcp://192.0.2.1:5", other}, *const seen_first[] = {other, "tcp://192.0.2.1:5"};
    assert_true(ring_endpoint_check(seen_joined, 0, 2, &err));
    assert_false(ring_endpoint_check(seen_first, 1, 2, &err));
    assert_int_equal(err.code, ERR_USAGE);
}

/* No rank waits for a neighbour to leave that does not know it must. */
static void a_rank_whose_peer_cannot_tell_does_not_wait(void **state)
{
    (void)state;
    char of_user[COLLECTIVE_ENDPOINT], of_space[COLLECTIVE_ENDPOINT];
    struct err err = {0};
    ring_endpoint_of_another(of_user, 4);
    ring_endpoint_of_another(of_space, 3);
    const char *const user[] = {"tcp://192.0.2.1:5", of_user}, *const space[] = {"tcp://127.0.0.1:5", of_space};
    assert_false(ring_endpoint_check(user, 0, 2, &err));
    assert_false(ring_endpoint_check(space, 0, 2, &err));
}

/* A rank that listens at a local socket. */
struct fixture {
    void *zmq_context;
    struct collective *ring;
    char endpoint[COLLECTIVE_ENDPOINT];
    struct err err;
};

static void ring_endpoint_open(struct fixture *fixture)
{
    *fixture = (struct fixture){.zmq_context = zmq_ctx_new()};
    const struct ring_options options = {.zmq_context = fixture->zmq_context, .bind = "ipc://@"};
    fixture->ring = ring_open(&options, &fixture->err);
    assert_non_null(fixture->ring);
    if (!fixture->ring->op->listen(fixture->ring, 1, fixture->endpoint, &fixture->err))
        fail_msg("%s", fixture->err.text);
}

static void ring_endpoint_close(struct fixture *fixture)
{
    collective_close(&fixture->ring);
    zmq_ctx_term(fixture->zmq_context);
}

static void a_neighbour_out_of_reach_is_not_waited_for(void **state)
{
    (void)state;
    struct fixture fixture;
    ring_endpoint_open(&fixture);
    const char *endpoints[] = {"ipc://@lstmq-ring-00000000-1-0-1-1", fixture.endpoint};
    const struct collective_group group = {.generation = 1, .rank = 1, .size = 2, .endpoints = endpoints};
    assert_false(fixture.ring->op->connect(fixture.ring, &group, &fixture.err));
    assert_int_equal(fixture.err.code, ERR_USAGE);
    ring_endpoint_close(&fixture);
}

/* How many bytes the rank sends to a process of user `user`; 0 = disconnected. Negative: no connection. */
static int ring_endpoint_greeting(const struct fixture *fixture, uid_t user)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = fixture->endpoint + strlen("ipc://@");
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    const struct timeval limit = {.tv_sec = LIMIT_S};
    char byte;
    memcpy(address.sun_path + 1, name, strlen(name));
    pid_t child = fork();
    if (child == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (setuid(user) != 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
            connect(fd, (struct sockaddr *)&address, size) != 0)
            _exit(2);
        _exit(recv(fd, &byte, 1, 0) > 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) < 2 ? WEXITSTATUS(status) : -1;
}

static void processes_of_another_user_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    if (geteuid() != 0)
        skip();
    ring_endpoint_open(&fixture);
    assert_int_equal(ring_endpoint_greeting(&fixture, geteuid()), 1);
    assert_int_equal(ring_endpoint_greeting(&fixture, OTHER_USER), 0);
    ring_endpoint_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_of_the_same_kind_can_meet),
        cmocka_unit_test(the_younger_rank_of_another_machine_or_user_is_refused),
        cmocka_unit_test(the_first_ranks_stay_whatever_joined_between_them),
        cmocka_unit_test(a_loopback_rank_among_hosts_is_refused_unless_it_is_first),
        cmocka_unit_test(a_rank_whose_peer_cannot_tell_does_not_wait),
        cmocka_unit_test(a_neighbour_out_of_reach_is_not_waited_for),
        cmocka_unit_test(processes_of_another_user_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
