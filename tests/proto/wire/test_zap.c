/* test_zap.c - which peers the ZAP handler accepts, on sockets of every kind; from a DEALER's connection to the
 * ROUTER's log. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/wire/socket.h"
#include "proto/wire/watch.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

enum { PATIENCE_MS = 120000 };

struct scene {
    void *context, *router;
    struct loop *loop;
    struct allow *allow;
    struct zap *zap;
    struct watch *watch;
    struct curve_keys server, keys[ROLES];
    char bound[ENDPOINT_SIZE];
    uint64_t got;
    char from[CURVE_KEY]; /* of the last message */
};

static bool zap_received(void *context, struct err *err)
{
    struct scene *scene = context;
    struct message message;
    struct route from;
    bool got;
    if (!message_receive(scene->router, &from, false, &message, &got, err))
        return false;
    if (!got)
        return true;
    watch_received(scene->watch, &from);
    message_close(&message);
    scene->got++;
    strcpy(scene->from, from.key);
    loop_stop(scene->loop);
    return true;
}

static bool zap_stop(void *context, struct err *err)
{
    (void)err;
    loop_stop(((struct scene *)context)->loop);
    return true;
}

static void test_zap_open(struct scene *scene, enum zap_domain domain)
{
    struct err err = {0};
    void *made;
    *scene = (struct scene){.context = zmq_ctx_new(), .loop = loop_new(&err)};
    assert_int_equal(scratch_make(&made), 0);
    for (int role = 0; role < ROLES; role++) {
        const char *name = curve_role_name((enum curve_role)role);
        assert_true(curve_generate(&scene->keys[role], name, (enum curve_role)role, &err));
        assert_true(curve_write(&scene->keys[role], scratch_folder, false, &err));
    }
    assert_true(curve_generate(&scene->server, "server", ROLE_ADMIN, &err));
    scene->allow = allow_open(scratch_folder, &err);
    assert_non_null(scene->allow);
    assert_int_equal(allow_count(scene->allow), ROLES);
    scene->zap = zap_new(scene->context, scene->loop, scene->allow, &err);
    assert_non_null(scene->zap);
    scene->watch = watch_new(scene->context, scene->loop, &err);
    assert_non_null(scene->watch);
    const struct socket_options options = {
        .context = scene->context, .keys = &scene->server, .zap = scene->zap, .domain = domain, .watch = scene->watch};
    scene->router = socket_bind(&options, "tcp://127.0.0.1:0", scene->bound, &err);
    if (scene->router == NULL)
        fail_msg("%s", err.text);
    assert_int_not_equal(loop_add_socket(scene->loop, scene->router, zap_received, scene, &err), 0);
}

static void zap_close(struct scene *scene)
{
    watch_destroy(&scene->watch);
    socket_close(&scene->router);
    zap_destroy(&scene->zap);
    allow_close(&scene->allow);
    zmq_ctx_term(scene->context);
    loop_destroy(&scene->loop);
    assert_int_equal(scratch_remove(NULL), 0);
}

/* Whether a message of the owner of `keys` gets through. */
static bool zap_is_let_in(struct scene *scene, const struct curve_keys *keys, bool expected)
{
    struct err err = {0};
    const struct socket_options options = {
        .context = scene->context, .keys = keys, .server_key = scene->server.public.key};
    void *dealer = socket_connect(&options, scene->bound, &err);
    assert_non_null(dealer);
    int linger = 0;
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof linger);
    const struct message ask = {.type = MESSAGE_ASK};
    uint64_t before = scene->got, refused = zap_counts(scene->zap).refused;
    /* IMMEDIATE: there is room once the connection stands. */
    uint64_t timer = loop_add_timer(scene->loop, PATIENCE_MS, 0, zap_stop, scene, &err);
    zmq_pollitem_t item = {.socket = dealer, .events = ZMQ_POLLOUT};
    for (int64_t waited = 0; waited < PATIENCE_MS && zmq_poll(&item, 1, 0) == 0; waited += 5) {
        if (!expected && zap_counts(scene->zap).refused > refused)
            break;
        uint64_t tick = loop_add_timer(scene->loop, 5, 0, zap_stop, scene, &err);
        assert_true(loop_run(scene->loop, &err));
        loop_remove(scene->loop, tick);
    }
    if (message_send(dealer, NULL, &ask, &err) && scene->got == before)
        assert_true(loop_run(scene->loop, &err));
    loop_remove(scene->loop, timer);
    socket_close(&dealer);
    return scene->got > before;
}

static void each_socket_takes_its_roles_and_no_others(void **state)
{
    (void)state;
    static const bool wanted[ZAP_DOMAINS][ROLES] = {
        [ZAP_TRAIN] = {[ROLE_TRAIN] = true, [ROLE_ADMIN] = true},
        [ZAP_RING] = {false},
        [ZAP_SERVE] = {[ROLE_SERVE] = true, [ROLE_CLIENT] = true, [ROLE_ADMIN] = true},
        [ZAP_ADMIN] = {[ROLE_ADMIN] = true},
    };
    for (int domain = 0; domain < ZAP_DOMAINS; domain++) {
        struct scene scene;
        test_zap_open(&scene, (enum zap_domain)domain);
        for (int role = 0; role < ROLES; role++) {
            bool expected = wanted[domain][role];
            assert_int_equal(zap_is_let_in(&scene, &scene.keys[role], expected), expected);
            if (expected)
                assert_string_equal(scene.from, scene.keys[role].public.key);
        }
        assert_true(zap_counts(scene.zap).refused > 0);
        zap_close(&scene);
    }
}

static void the_ring_takes_one_key_at_a_time(void **state)
{
    (void)state;
    struct scene scene;
    struct curve_keys neighbour, next;
    test_zap_open(&scene, ZAP_RING);
    assert_true(curve_generate(&neighbour, "neighbour", ROLE_TRAIN, NULL));
    assert_true(curve_generate(&next, "next", ROLE_TRAIN, NULL));
    assert_false(zap_is_let_in(&scene, &neighbour, false));
    zap_set_ring(scene.zap, neighbour.public.key);
    assert_true(zap_is_let_in(&scene, &neighbour, true));
    assert_false(zap_is_let_in(&scene, &scene.keys[ROLE_TRAIN], false));
    zap_set_ring(scene.zap, next.public.key);
    assert_false(zap_is_let_in(&scene, &neighbour, false));
    assert_true(zap_is_let_in(&scene, &next, true));
    zap_set_ring(scene.zap, NULL);
    assert_false(zap_is_let_in(&scene, &next, false));
    zap_close(&scene);
}

static void zap_pass(struct scene *scene, int ms)
{
    struct err err = {0};
    uint64_t timer = loop_add_timer(scene->loop, ms, 0, zap_stop, scene, &err);
    assert_true(loop_run(scene->loop, &err));
    loop_remove(scene->loop, timer);
}

/* One look may come while the file is rewritten: only a key that two looks miss is gone. */
static void a_key_that_one_look_misses_keeps_its_connection(void **state)
{
    struct scene scene;
    struct err err = {0};
    const struct message ask = {.type = MESSAGE_ASK};
    const int linger = 0;
    (void)state;
    test_zap_open(&scene, ZAP_TRAIN);
    watch_keys(scene.watch, scene.allow);
    const char *path = scratch_path("train.pub"), *away = scratch_path("train.away");
    const struct socket_options options = {
        .context = scene.context, .keys = &scene.keys[ROLE_TRAIN], .server_key = scene.server.public.key};
    void *dealer = socket_connect(&options, scene.bound, &err);
    assert_non_null(dealer);
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof linger);
    int64_t end = clock_ms() + PATIENCE_MS;
    while (!message_send(dealer, NULL, &ask, &err) && clock_ms() < end)
        zap_pass(&scene, 5);
    while (scene.got == 0 && clock_ms() < end)
        zap_pass(&scene, 5);
    assert_int_equal(scene.got, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rename(path, away), 0);
        while (allow_count(scene.allow) == ROLES && clock_ms() < end)
            zap_pass(&scene, 1);
        assert_int_equal(allow_count(scene.allow), ROLES - 1);
        assert_int_equal(rename(away, path), 0);
        while (allow_count(scene.allow) < ROLES && clock_ms() < end)
            zap_pass(&scene, 1);
        assert_int_equal(watch_counts(scene.watch).cut, 0);
    }
    assert_int_equal(rename(path, away), 0);
    while (watch_counts(scene.watch).cut == 0 && clock_ms() < end)
        zap_pass(&scene, 5);
    assert_int_equal(watch_counts(scene.watch).cut, 1);
    socket_close(&dealer);
    zap_close(&scene);
}

/* What stands where a request should be is dropped, or answered by a refusal; the handler goes on. */
static void a_malformed_zap_request_is_dropped(void **state)
{
    (void)state;
    struct scene scene;
    test_zap_open(&scene, ZAP_TRAIN);
    void *asker = zmq_socket(scene.context, ZMQ_DEALER);
    int linger = 0;
    zmq_setsockopt(asker, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_connect(asker, "inproc://zeromq.zap.01"), 0);
    char large[1000];
    memset(large, '\x01', sizeof large);
    for (int frames = 1; frames < 20; frames++)
        for (int i = 1; i <= frames; i++)
            zmq_send(asker, large, sizeof large, i < frames ? ZMQ_SNDMORE : 0);
    assert_true(zap_is_let_in(&scene, &scene.keys[ROLE_TRAIN], true));
    assert_int_equal(zap_counts(scene.zap).accepted, 1);
    zmq_close(asker);
    zap_close(&scene);
}

static void the_limit_of_open_files_is_raised_to_its_maximum(void **state)
{
    struct rlimit before, files;
    struct err err = {0};
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_true(socket_raise_files(65, &err));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    assert_true(files.rlim_cur == before.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void only_this_machine_is_local(void **state)
{
    (void)state;
    static const char *const local[] = {
        "tcp://127.0.0.1:1",          "tcp://127.9.9.9:*", "tcp://localhost:0", "tcp://[::1]:5",
        "tcp://[::ffff:127.0.0.1]:5", "ipc://x",           "inproc://x",        "tcp://lo:1"};
    static const char *const open[] = {"tcp://0.0.0.0:1",
                                       "tcp://*:1",
                                       "tcp://[::]:1",
                                       "tcp://128.0.0.1:1",
                                       "tcp://127.0.0.1.x.y:1",
                                       "tcp://localhost.x:1",
                                       "tcp://[::2]:1",
                                       "tcp://eth0:1",
                                       "tcp://:1",
                                       "tcp://127.0.0.1",
                                       "tcp://[127.0.0.1]:1",
                                       "udp://127.0.0.1:1",
                                       "tcp://127.0.0.1:1;tcp://*:1",
                                       "",
                                       "tcp://[::ffff:1.2.3.4]:5"};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        if (!endpoint_is_local(local[i]))
            fail_msg("%s", local[i]);
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        if (endpoint_is_local(open[i]))
            fail_msg("%s", open[i]);
}

/* Whether it is to be bound or connected to. */
static void zap_refused(const char *endpoint, bool binds, const char *text)
{
    struct err err = {0};
    assert_false(endpoint_check(endpoint, binds, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_string_equal(err.text, text);
}

static void an_invalid_endpoint_is_named(void **state)
{
    static const char *const wrong[] = {"127.0.0.1:5757",
                                        "tcp://127.0.0.1",
                                        ":80000",
                                        "http://127.0.0.1:5757",
                                        "5757",
                                        "",
                                        "localhost",
                                        "tcp://",
                                        "tcp://:5757",
                                        "tcp://h:",
                                        "tcp://h:x",
                                        "ipc:",
                                        "ipc://",
                                        "tcp:/h:5",
                                        "tcp://http://h:5",
                                        "tcp://h:5/",
                                        "tcp://h:-5",
                                        "tcp://a b:5",
                                        "TCP://h:5",
                                        "tcp://127.0.0.1:5:7",
                                        "tcp://u@h:5",
                                        "tcp://h;b:5"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        for (int binds = 0; binds < 2; binds++) {
            char text[256];
            snprintf(text, sizeof text, "\"%s\" is not an endpoint: use tcp://HOST:PORT", wrong[i]);
            zap_refused(wrong[i], binds, text);
        }
    zap_refused("tcp://127.0.0.1:80000", true,
                "\"tcp://127.0.0.1:80000\" is not an endpoint: use tcp://HOST:PORT, with a port of at most 65535");
    zap_refused("tcp://::1:5757", true,
                "\"tcp://::1:5757\" is not an endpoint: use tcp://HOST:PORT, with the address in brackets");
    zap_refused("inproc://x", true, "\"inproc://x\" is not an endpoint: use tcp://HOST:PORT or ipc://PATH");
    zap_refused("tcp://*:5757", false, "tcp://*:5757 can only be listened at: to connect, name the host and its port");
    static const char *const right[] = {"tcp://h:65535", "tcp://[::1]:5", "tcp://[fe80::1%eth0]:5", "ipc:///tmp/x"};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        if (!endpoint_check(right[i], true, NULL) || !endpoint_check(right[i], false, NULL))
            fail_msg("%s", right[i]);
}

/* A typing mistake is one, also where keys would be needed. */
static void the_form_of_an_endpoint_is_checked_before_its_keys(void **state)
{
    (void)state;
    struct scene scene;
    char bound[ENDPOINT_SIZE];
    struct err err = {0};
    test_zap_open(&scene, ZAP_TRAIN);
    const struct socket_options options = {.context = scene.context, .zap = scene.zap};
    assert_null(socket_bind(&options, "127.0.0.1:5757", bound, &err));
    assert_string_equal(err.text, "\"127.0.0.1:5757\" is not an endpoint: use tcp://HOST:PORT");
    assert_null(socket_connect(&options, "127.0.0.1:5757", &err));
    assert_string_equal(err.text, "\"127.0.0.1:5757\" is not an endpoint: use tcp://HOST:PORT");
    assert_null(socket_bind(&options, "tcp://0.0.0.0:5757", bound, &err));
    assert_non_null(strstr(err.text, "lstmq keygen"));
    zap_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_socket_takes_its_roles_and_no_others),
        cmocka_unit_test(the_ring_takes_one_key_at_a_time),
        cmocka_unit_test(a_key_that_one_look_misses_keeps_its_connection),
        cmocka_unit_test(a_malformed_zap_request_is_dropped),
        cmocka_unit_test(only_this_machine_is_local),
        cmocka_unit_test(the_limit_of_open_files_is_raised_to_its_maximum),
        cmocka_unit_test(an_invalid_endpoint_is_named),
        cmocka_unit_test(the_form_of_an_endpoint_is_checked_before_its_keys),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
