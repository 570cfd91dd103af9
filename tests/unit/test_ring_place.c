/* A ring's local sockets are for the processes of one user in one network namespace of one machine, and say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/collective.h"
#include "worker/ring_place.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

enum { NOBODY = 65534, LIMIT_S = 5 };

static void s_own(char place[COLLECTIVE_ENDPOINT])
{
    ring_place("ipc://@", NULL, 1, place, COLLECTIVE_ENDPOINT);
}

static void a_place_of_ones_own_kind_can_be_reached(void **state)
{
    (void)state;
    char one[COLLECTIVE_ENDPOINT], other[COLLECTIVE_ENDPOINT];
    struct err err;
    s_own(one);
    s_own(other);
    assert_true(ring_place_check(one, 1, &err));
    assert_string_not_equal(one, other);
    assert_true(ring_place_check("tcp://192.0.2.1:5", 1, &err));
    assert_true(ring_place_check("ipc:///tmp/of-another-make", 1, &err));
}

static void a_place_of_another_machine_namespace_or_user_cannot(void **state)
{
    (void)state;
    /* After "ipc://@lstmq-ring-": boot, namespace, user. */
    for (int part = 2; part < 5; part++) {
        char place[COLLECTIVE_ENDPOINT];
        struct err err = {0};
        s_own(place);
        char *at = place;
        for (int dashes = 0; dashes < part; dashes++)
            at = strchr(at, '-') + 1;
        *at = *at == '9' ? '8' : '9';
        assert_false(ring_place_check(place, 7, &err));
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, "rank 7"));
        assert_non_null(strstr(err.text, "--worker.bind"));
    }
}

/* A rank that listens at a local socket. */
struct fixture {
    void *zmq_context;
    struct collective *ring;
    char endpoint[COLLECTIVE_ENDPOINT];
    struct err err;
};

static void s_open(struct fixture *fixture)
{
    *fixture = (struct fixture){.zmq_context = zmq_ctx_new()};
    const struct ring_options options = {.zmq_context = fixture->zmq_context, .bind = "ipc://@"};
    fixture->ring = ring_open(&options, &fixture->err);
    assert_non_null(fixture->ring);
    if (!fixture->ring->op->listen(fixture->ring, 1, fixture->endpoint, &fixture->err))
        fail_msg("%s", fixture->err.text);
}

static void s_close(struct fixture *fixture)
{
    collective_close(&fixture->ring);
    zmq_ctx_term(fixture->zmq_context);
}

static void a_neighbour_out_of_reach_is_not_waited_for(void **state)
{
    (void)state;
    struct fixture fixture;
    s_open(&fixture);
    const char *endpoints[] = {fixture.endpoint, "ipc://@lstmq-ring-00000000-1-0-1-1"};
    const struct collective_group group = {.generation = 1, .rank = 0, .size = 2, .endpoints = endpoints};
    assert_false(fixture.ring->op->connect(fixture.ring, &group, &fixture.err));
    assert_int_equal(fixture.err.code, ERR_USAGE);
    s_close(&fixture);
}

/* The bytes with which the rank greets a process of user `user`, at most; 0 = it was sent away. Negative: no connection. */
static int s_greeting(const struct fixture *fixture, uid_t user)
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

static void another_users_processes_are_sent_away(void **state)
{
    (void)state;
    struct fixture fixture;
    if (geteuid() != 0)
        skip();
    s_open(&fixture);
    assert_int_equal(s_greeting(&fixture, geteuid()), 1);
    assert_int_equal(s_greeting(&fixture, NOBODY), 0);
    s_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_of_ones_own_kind_can_be_reached),
        cmocka_unit_test(a_place_of_another_machine_namespace_or_user_cannot),
        cmocka_unit_test(a_neighbour_out_of_reach_is_not_waited_for),
        cmocka_unit_test(another_users_processes_are_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
