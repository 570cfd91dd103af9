/* test_connections.c - how a watched socket identifies its peers while descriptors are reused. */
#include "proto/base/log.h"
#include "proto/wire/socket.h"
#include "proto/wire/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

enum { WAIT_MS = 120000, FILES = 1024, MIB = 1 << 20, UNREAD = 10 };

struct scene {
    void *context, *router, *dealer; /* the dealer is not connected: its descriptors are there from the beginning */
    struct loop *loop;
    struct watch *watch;
    char bound[ENDPOINT_SIZE];
    bool (*enough)(const struct watch_counts *counts, uint64_t wanted); /* what the loop runs for */
    uint64_t wanted;
    int looks; /* the loop runs for at most so many times WATCH_EVERY_MS */
};

/* ---- the loop ---- */

static bool connections_check(void *context, struct err *err)
{
    struct scene *scene = context;
    struct watch_counts counts = watch_counts(scene->watch);
    (void)err;
    if (scene->looks-- <= 0 || scene->enough(&counts, scene->wanted))
        loop_stop(scene->loop);
    return true;
}

static void connections_run(struct scene *scene, int looks, bool (*enough)(const struct watch_counts *, uint64_t),
                            uint64_t wanted)
{
    struct err err = {0};
    scene->looks = looks;
    scene->enough = enough;
    scene->wanted = wanted;
    uint64_t timer = loop_add_timer(scene->loop, 0, WATCH_EVERY_MS, connections_check, scene, &err);
    assert_true(loop_run(scene->loop, &err));
    loop_remove(scene->loop, timer);
}

static bool connections_never(const struct watch_counts *counts, uint64_t wanted)
{
    (void)counts, (void)wanted;
    return false;
}

static bool connections_has_accepted(const struct watch_counts *counts, uint64_t wanted)
{
    return counts->accepted >= wanted;
}

static bool connections_is_alone(const struct watch_counts *counts, uint64_t wanted)
{
    return counts->connections == wanted;
}

static bool connections_keeps(const struct watch_counts *counts, uint64_t wanted)
{
    return counts->kept >= wanted || counts->cut > 0;
}

static bool connections_has_cut(const struct watch_counts *counts, uint64_t wanted)
{
    return counts->cut >= wanted;
}

/* ---- sockets ---- */

static void connections_open(struct scene *scene, const char *endpoint)
{
    struct err err = {0};
    const int linger = 0, patience = WAIT_MS;
    size_t size = sizeof scene->bound;
    *scene = (struct scene){.context = zmq_ctx_new(), .loop = loop_new(&err)};
    scene->router = zmq_socket(scene->context, ZMQ_ROUTER);
    scene->dealer = zmq_socket(scene->context, ZMQ_DEALER);
    scene->watch = watch_new(scene->context, scene->loop, &err);
    assert_non_null(scene->watch);
    zmq_setsockopt(scene->router, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(scene->router, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(scene->dealer, ZMQ_LINGER, &linger, sizeof linger);
    assert_true(watch_socket(scene->watch, scene->router, &err));
    assert_int_equal(zmq_bind(scene->router, endpoint), 0);
    zmq_getsockopt(scene->router, ZMQ_LAST_ENDPOINT, scene->bound, &size);
}

static void connections_close(struct scene *scene)
{
    watch_destroy(&scene->watch);
    if (scene->dealer != NULL)
        zmq_close(scene->dealer);
    zmq_close(scene->router);
    zmq_ctx_term(scene->context);
    loop_destroy(&scene->loop);
}

static int connections_connect(const char *bound)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* The descriptor of this process at the other end of a connection, once it is there; -1 = it did not come. */
static int connections_other_end(int fd)
{
    struct sockaddr_in here = {0}, there = {0};
    socklen_t size = sizeof here;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &size), 0);
    for (int ms = 0; ms < WAIT_MS; ms++) {
        for (int other = 0; other < FILES; other++) {
            size = sizeof there;
            if (getpeername(other, (struct sockaddr *)&there, &size) == 0 && there.sin_family == AF_INET &&
                there.sin_port == here.sin_port)
                return other;
        }
        poll(NULL, 0, 1);
    }
    return -1;
}

static bool connections_is_closed(int fd)
{
    for (int ms = 0; ms < WAIT_MS; ms++) {
        if (fcntl(fd, F_GETFD) < 0)
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

static void connections_say(struct scene *scene)
{
    struct err err = {0};
    const struct message ask = {.type = MESSAGE_ASK};
    assert_true(message_send(scene->dealer, NULL, &ask, &err));
}

/* Wait for a message. A connection that came after a look is read only once another look has noted it. */
static struct route connections_hear(struct scene *scene)
{
    struct err err = {0};
    zmq_pollitem_t item = {.socket = scene->router, .events = ZMQ_POLLIN};
    for (int ms = 0; ms < WAIT_MS && zmq_poll(&item, 1, 100) == 0; ms += 100)
        connections_run(scene, 1, connections_never, 0);
    struct route from = {.fd = -1};
    struct message message;
    bool got;
    assert_true(message_receive(scene->router, &from, true, &message, &got, &err));
    assert_true(got);
    message_close(&message);
    watch_received(scene->watch, &from);
    return from;
}

/* ---- the tests ---- */

/* `looked`: the loop has seen the one before come, but not go. */
static void connections_take_over(bool looked)
{
    struct scene scene;
    connections_open(&scene, "tcp://127.0.0.1:*");
    int before = connections_connect(scene.bound), fd = connections_other_end(before);
    assert_true(fd >= 0);
    if (looked)
        connections_run(&scene, WAIT_MS / WATCH_EVERY_MS, connections_has_accepted, 1);
    close(before);
    assert_true(connections_is_closed(fd));
    assert_int_equal(zmq_connect(scene.dealer, scene.bound), 0);
    connections_say(&scene);
    struct route from = connections_hear(&scene);
    assert_int_equal(from.fd, fd);
    watch_trust(scene.watch, &from);
    char *large = calloc(1, MIB);
    for (int i = 0; i < UNREAD; i++)
        assert_int_equal(zmq_send(scene.dealer, large, MIB, 0), MIB);
    connections_run(&scene, WAIT_MS / WATCH_EVERY_MS, connections_keeps, (uint64_t)UNREAD * MIB);
    struct watch_counts counts = watch_counts(scene.watch);
    assert_int_equal(counts.cut, 0);
    assert_int_equal(counts.accepted, 2);
    assert_int_equal(counts.connections, 1);
    assert_true(counts.kept >= (uint64_t)UNREAD * MIB);
    free(large);
    connections_close(&scene);
}

static void trust_holds_for_a_descriptor_of_an_unknown_earlier_peer(void **state)
{
    (void)state;
    connections_take_over(false);
}

static void trust_holds_for_a_descriptor_of_a_peer_that_seems_alive(void **state)
{
    (void)state;
    connections_take_over(true);
}

/* By then the descriptor belongs to a connection that is not watched. */
static void a_message_of_a_closed_connection_has_no_owner(void **state)
{
    (void)state;
    struct scene scene;
    int filler[FILES], fillers = 0, taken;
    char byte = 0;
    connections_open(&scene, "tcp://127.0.0.1:*");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(listener, 1), 0);
    struct sockaddr_in place;
    socklen_t size = sizeof place;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&place, &size), 0);
    assert_int_equal(zmq_connect(scene.dealer, scene.bound), 0);
    connections_say(&scene);
    int fd = connections_hear(&scene).fd;
    connections_say(&scene);
    zmq_pollitem_t item = {.socket = scene.router, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
    zmq_close(scene.dealer);
    scene.dealer = NULL;
    assert_true(connections_is_closed(fd));
    connections_run(&scene, WAIT_MS / WATCH_EVERY_MS, connections_is_alone, 0);

    while ((taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < fd)
        filler[fillers++] = taken;
    assert_int_equal(taken, fd);
    assert_int_equal(connect(taken, (struct sockaddr *)&place, size), 0);
    int end = accept(listener, NULL, NULL);
    struct route from = connections_hear(&scene);
    assert_int_equal(from.fd, taken);
    watch_reject(scene.watch, &from);
    connections_run(&scene, 4, connections_never, 0);
    struct watch_counts counts = watch_counts(scene.watch);
    assert_int_equal(counts.connections, 0);
    assert_int_equal(counts.cut, 0);
    assert_int_equal(send(taken, &byte, 1, MSG_NOSIGNAL), 1);
    assert_int_equal(recv(end, &byte, 1, 0), 1);
    while (fillers > 0)
        close(filler[--fillers]);
    close(taken), close(end), close(listener);
    connections_close(&scene);
}

static void an_ipc_peer_that_sends_junk_is_disconnected(void **state)
{
    (void)state;
    struct scene scene;
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "ipc://@lstmq-test-connections-%ld", (long)getpid());
    connections_open(&scene, endpoint);
    assert_int_equal(zmq_connect(scene.dealer, scene.bound), 0);
    connections_say(&scene);
    struct route from = connections_hear(&scene);
    assert_int_equal(watch_counts(scene.watch).connections, 1);
    watch_reject(scene.watch, &from);
    connections_run(&scene, WAIT_MS / WATCH_EVERY_MS, connections_has_cut, 1);
    assert_int_equal(watch_counts(scene.watch).cut, 1);
    connections_close(&scene);
}

/* More at once than the next look has lines for. */
static void peers_that_leave_before_the_handshake_ends_are_all_counted(void **state)
{
    enum { MANY = 50 };
    struct scene scene;
    (void)state;
    connections_open(&scene, "tcp://127.0.0.1:*");
    for (int i = 0; i < MANY; i++) {
        int before = connections_connect(scene.bound), fd = connections_other_end(before);
        close(before);
        assert_true(connections_is_closed(fd));
    }
    const struct route unknown = {.fd = -1};
    watch_received(scene.watch, &unknown);
    struct watch_counts counts = watch_counts(scene.watch);
    assert_int_equal(counts.accepted, MANY);
    assert_int_equal(counts.refused, MANY);
    assert_int_equal(counts.connections, 0);
    connections_run(&scene, 2, connections_never, 0);
    connections_close(&scene);
}

static void a_socket_is_watched_before_it_can_be_reached(void **state)
{
    (void)state;
    struct scene scene;
    struct err err = {0};
    char bound[ENDPOINT_SIZE];
    connections_open(&scene, "tcp://127.0.0.1:*");
    watch_leave(scene.watch);
    struct zap *zap = zap_new(scene.context, scene.loop, NULL, &err);
    const struct socket_options options = {
        .context = scene.context, .zap = zap, .domain = ZAP_TRAIN, .watch = scene.watch};
    /* A place that is taken leaves the watch free. */
    assert_null(socket_bind(&options, scene.bound, bound, &err));
    void *socket = socket_bind(&options, "tcp://127.0.0.1:0", bound, &err);
    assert_non_null(socket);
    int fd = connections_connect(bound);
    connections_run(&scene, WAIT_MS / WATCH_EVERY_MS, connections_has_accepted, 1);
    assert_int_equal(watch_counts(scene.watch).accepted, 1);
    close(fd);
    watch_leave(scene.watch);
    socket_close(&socket);
    zap_destroy(&zap);
    connections_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trust_holds_for_a_descriptor_of_an_unknown_earlier_peer),
        cmocka_unit_test(trust_holds_for_a_descriptor_of_a_peer_that_seems_alive),
        cmocka_unit_test(a_message_of_a_closed_connection_has_no_owner),
        cmocka_unit_test(an_ipc_peer_that_sends_junk_is_disconnected),
        cmocka_unit_test(peers_that_leave_before_the_handshake_ends_are_all_counted),
        cmocka_unit_test(a_socket_is_watched_before_it_can_be_reached),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
