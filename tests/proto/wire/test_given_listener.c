/* test_given_listener.c - a ROUTER on a socket that the process was given: restarts refuse no connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/wire/socket.h"
#include "proto/wire/watch.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

struct scene {
    void *context;
    struct loop *loop;
    struct zap *zap;
    struct watch *watch;
};

static void given_open(struct scene *scene)
{
    struct err err = {0};
    scene->context = zmq_ctx_new();
    scene->loop = loop_new(&err);
    scene->zap = zap_new(scene->context, scene->loop, NULL, &err);
    scene->watch = watch_new(scene->context, scene->loop, &err);
    assert_non_null(scene->zap);
    assert_non_null(scene->watch);
}

static void given_close(struct scene *scene)
{
    watch_destroy(&scene->watch);
    zap_destroy(&scene->zap);
    loop_destroy(&scene->loop);
    zmq_ctx_term(scene->context);
}

/* A listening socket, as systemd makes it: it blocks. `address` is 127.0.0.1, or 0.0.0.0. */
static int given_listen(uint32_t address)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static void *given_bind(struct scene *scene, int fd, char bound[ENDPOINT_SIZE], struct err *err)
{
    const struct socket_options options = {
        .context = scene->context, .zap = scene->zap, .watch = scene->watch, .listener = fd, .front = true};
    return socket_bind(&options, "tcp://127.0.0.1:1", bound, err);
}

static void given_unbind(struct scene *scene, void **router)
{
    watch_leave(scene->watch);
    socket_close(router);
}

/* What the loop runs for: one message from the dealer to the router. */
struct hearing {
    void *dealer, *router;
    struct loop *loop;
    bool sent;
};

static bool given_look(void *context, struct err *err)
{
    struct hearing *hearing = context;
    char frame[64];
    hearing->sent = hearing->sent || zmq_send(hearing->dealer, "hello", 5, ZMQ_DONTWAIT) == 5;
    if (zmq_recv(hearing->router, frame, sizeof frame, ZMQ_DONTWAIT) < 0)
        return true;
    loop_stop(hearing->loop);
    return zmq_recv(hearing->router, frame, sizeof frame, 0) == 5 || err_set(err, ERR_FAILED, "another message came");
}

/* Run the loop, whose ZAP handler accepts the dealer, until its message is there. */
static void given_hear(struct scene *scene, void *dealer, void *router)
{
    struct hearing hearing = {dealer, router, scene->loop, false};
    struct err err = {0};
    uint64_t timer = loop_add_timer(scene->loop, 0, 5, given_look, &hearing, &err);
    if (!loop_run(scene->loop, &err))
        fail_msg("%s", err.text);
    loop_remove(scene->loop, timer);
}

static void a_given_listener_serves_one_process_after_another(void **state)
{
    struct scene scene;
    struct err err = {0};
    char bound[ENDPOINT_SIZE];
    (void)state;
    given_open(&scene);
    int kept = given_listen(INADDR_LOOPBACK);
    void *dealer = NULL;
    for (int i = 0; i < 3; i++) {
        void *router = given_bind(&scene, dup(kept), bound, &err);
        if (router == NULL)
            fail_msg("%s", err.text);
        assert_int_equal(strncmp(bound, "tcp://127.0.0.1:", 16), 0);
        const struct socket_options options = {.context = scene.context};
        if (dealer == NULL)
            dealer = socket_connect(&options, bound, &err);
        assert_non_null(dealer);
        given_hear(&scene, dealer, router);
        given_unbind(&scene, &router);
        socket_close(&dealer); /* the next one connects while no process listens */
        dealer = socket_connect(&options, bound, &err);
    }
    socket_close(&dealer);
    close(kept);
    given_close(&scene);
}

static void what_does_not_listen_is_refused(void **state)
{
    struct scene scene;
    struct err err = {0};
    char bound[ENDPOINT_SIZE];
    (void)state;
    given_open(&scene);
    int idle = socket(AF_INET, SOCK_STREAM, 0), file = dup(STDERR_FILENO), open = given_listen(INADDR_ANY);
    assert_null(given_bind(&scene, idle, bound, &err));
    assert_non_null(strstr(err.text, "is no socket that listens"));
    assert_null(given_bind(&scene, file, bound, &err));
    assert_non_null(strstr(err.text, "cannot use descriptor"));
    assert_null(given_bind(&scene, open, bound, &err));
    assert_non_null(strstr(err.text, "can be reached from other machines"));
    close(idle);
    close(file);
    close(open);
    given_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_given_listener_serves_one_process_after_another),
        cmocka_unit_test(what_does_not_listen_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
