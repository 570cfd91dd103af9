/* test_loop.c - the event loop with real sockets, pipes, timers and signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "proto/base/clock.h"
#include "proto/wire/loop.h"

/* What the handlers of a test know. `trace` gets a letter for each call. */
struct scene {
    struct loop *loop;
    char trace[64];
    size_t calls;
    uint64_t ids[4];
    int pipes[2][2];
    void *sockets[2];
    int64_t times[8];
};

/* A handler's context: its letter, and the scene. */
struct actor {
    struct scene *scene;
    char letter;
    unsigned stop_after; /* stop the loop when the scene has seen so many calls; 0 = never */
};

static void loop_trace(struct actor *actor)
{
    struct scene *scene = actor->scene;
    if (scene->calls < sizeof scene->times / sizeof scene->times[0])
        scene->times[scene->calls] = clock_ms();
    if (scene->calls < sizeof scene->trace - 1)
        scene->trace[scene->calls] = actor->letter;
    scene->calls++;
    if (actor->stop_after != 0 && scene->calls >= actor->stop_after)
        loop_stop(scene->loop);
}

static bool loop_count(void *context, struct err *err)
{
    (void)err;
    loop_trace(context);
    return true;
}

static void loop_open(struct scene *scene)
{
    struct err err = {0};
    *scene = (struct scene){0};
    scene->loop = loop_new(&err);
    assert_non_null(scene->loop);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pipe(scene->pipes[i]), 0);
}

static void loop_close(struct scene *scene)
{
    loop_destroy(&scene->loop);
    assert_null(scene->loop);
    for (int i = 0; i < 2; i++) {
        close(scene->pipes[i][0]);
        close(scene->pipes[i][1]);
    }
}

static uint64_t loop_timer(struct scene *scene, int64_t delay, int64_t every, loop_handler *handler,
                           struct actor *actor)
{
    struct err err = {0};
    uint64_t id = loop_add_timer(scene->loop, delay, every, handler, actor, &err);
    assert_int_not_equal(id, 0);
    return id;
}

static uint64_t loop_readable(struct scene *scene, int pipe, loop_handler *handler, struct actor *actor)
{
    struct err err = {0};
    assert_int_equal(write(scene->pipes[pipe][1], "x", 1), 1);
    uint64_t id = loop_add_fd(scene->loop, scene->pipes[pipe][0], handler, actor, &err);
    assert_int_not_equal(id, 0);
    return id;
}

static void test_loop_run(struct scene *scene)
{
    struct err err = {0};
    if (!loop_run(scene->loop, &err))
        fail_msg("%s", err.text);
}

static void timers_fire_in_order_and_not_early(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor a = {&scene, 'a', 0}, b = {&scene, 'b', 0}, c = {&scene, 'c', 3};
    int64_t start = clock_ms();
    loop_timer(&scene, 40, 0, loop_count, &c);
    loop_timer(&scene, 0, 0, loop_count, &a);
    loop_timer(&scene, 20, 0, loop_count, &b);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "abc");
    assert_true(scene.times[1] - start >= 20);
    assert_true(scene.times[2] - start >= 40);
    loop_close(&scene);
}

/* Turns have no event of their own: they follow whatever the round brought. */
static void a_turn_ends_each_round_the_last_one_too(void **state)
{
    (void)state;
    struct scene scene;
    struct err err = {0};
    loop_open(&scene);
    struct actor a = {&scene, 'a', 0}, b = {&scene, 'b', 4}, t = {&scene, 't', 0}, u = {&scene, 'u', 0};
    assert_int_not_equal(loop_add_turn(scene.loop, loop_count, &t, &err), 0);
    assert_int_not_equal(loop_add_turn(scene.loop, loop_count, &u, &err), 0);
    loop_timer(&scene, 0, 0, loop_count, &a);
    loop_timer(&scene, 20, 0, loop_count, &b);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "atubtu");
    loop_close(&scene);
}

static bool loop_wake_twice(void *context, struct err *err)
{
    struct actor *actor = context;
    (void)err;
    loop_trace(actor);
    if (actor->scene->calls < 3) {
        loop_wake(actor->scene->loop, 20);
        loop_wake(actor->scene->loop, 60000);
    }
    return true;
}

static void a_turn_that_asks_for_it_comes_in_time(void **state)
{
    (void)state;
    struct scene scene;
    struct err err = {0};
    loop_open(&scene);
    struct actor t = {&scene, 't', 3};
    assert_int_not_equal(loop_add_turn(scene.loop, loop_wake_twice, &t, &err), 0);
    assert_false(loop_run(scene.loop, &err)); /* nothing would ever happen */
    loop_wake(scene.loop, 0);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "ttt");
    assert_true(scene.times[1] - scene.times[0] >= 20);
    assert_true(scene.times[2] - scene.times[1] >= 20);
    loop_close(&scene);
}

static void a_timer_with_an_interval_goes_on(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor a = {&scene, 'a', 4};
    int64_t start = clock_ms();
    loop_timer(&scene, 5, 10, loop_count, &a);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "aaaa");
    assert_true(scene.times[3] - start >= 35);
    loop_close(&scene);
}

static bool loop_dawdle(void *context, struct err *err)
{
    (void)err;
    loop_trace(context);
    int64_t until = clock_ms() + 30;
    while (clock_ms() < until)
        usleep(1000);
    return true;
}

/* A tick every millisecond with a handler of 30: missed ticks are not made up for, and a pipe is served between
 * them. */
static void a_busy_timer_starves_nobody(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor t = {&scene, 't', 0}, p = {&scene, 'p', 8};
    loop_timer(&scene, 0, 1, loop_dawdle, &t);
    loop_readable(&scene, 0, loop_count, &p);
    test_loop_run(&scene);
    assert_non_null(strstr(scene.trace, "tp"));
    assert_null(strstr(scene.trace, "tt"));
    loop_close(&scene);
}

static void each_ready_source_is_called_once_a_round(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor a = {&scene, 'a', 6}, b = {&scene, 'b', 6};
    loop_readable(&scene, 0, loop_count, &a);
    loop_readable(&scene, 1, loop_count, &b);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "ababab");
    loop_close(&scene);
}

static bool loop_remove_all(void *context, struct err *err)
{
    (void)err;
    struct actor *actor = context;
    loop_trace(actor);
    for (int i = 0; i < 4; i++)
        loop_remove(actor->scene->loop, actor->scene->ids[i]);
    return true;
}

static void a_handler_may_remove_itself_and_others(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor a = {&scene, 'a', 0}, b = {&scene, 'b', 0}, t = {&scene, 't', 0}, end = {&scene, 'e', 1};
    scene.ids[0] = loop_readable(&scene, 0, loop_remove_all, &a);
    scene.ids[1] = loop_readable(&scene, 1, loop_count, &b);
    scene.ids[2] = loop_timer(&scene, 0, 1, loop_count, &t);
    scene.ids[3] = 99999;
    loop_timer(&scene, 20, 0, loop_count, &end);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "ae");
    loop_close(&scene);
}

static bool loop_add_many(void *context, struct err *err)
{
    struct actor *actor = context;
    loop_trace(actor);
    for (int i = 0; i < 100; i++)
        if (loop_add_timer(actor->scene->loop, 60000, 0, loop_count, actor, err) == 0)
            return false;
    return loop_add_timer(actor->scene->loop, 0, 0, loop_add_many, actor, err) != 0;
}

/* The array of sources moves under the handler, and a timer that sets itself again for now leaves the others their
 * turn. */
static void a_handler_may_add_sources(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor a = {&scene, 'a', 0}, p = {&scene, 'p', 5};
    loop_timer(&scene, 0, 0, loop_add_many, &a);
    loop_readable(&scene, 0, loop_count, &p);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "papap");
    loop_close(&scene);
}

static bool loop_fail(void *context, struct err *err)
{
    loop_trace(context);
    return err_set(err, ERR_DATA, "the handler's own words");
}

static void a_failing_handler_ends_the_loop(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor a = {&scene, 'a', 0}, b = {&scene, 'b', 0};
    struct err err = {0};
    loop_readable(&scene, 0, loop_fail, &a);
    loop_readable(&scene, 1, loop_count, &b);
    assert_false(loop_run(scene.loop, &err));
    assert_int_equal(err.code, ERR_DATA);
    assert_string_equal(err.text, "the handler's own words");
    assert_string_equal(scene.trace, "a");
    loop_close(&scene);
}

static void a_stopped_loop_can_run_again(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct actor a = {&scene, 'a', 1}, b = {&scene, 'b', 0};
    loop_readable(&scene, 0, loop_count, &a);
    loop_readable(&scene, 1, loop_count, &b);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "a");
    loop_stop(scene.loop);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "a");
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "aa");
    loop_close(&scene);
}

static void a_loop_without_sources_says_so(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct err err = {0};
    assert_false(loop_run(scene.loop, &err));
    assert_string_equal(err.text, "the event loop has nothing to wait for");
    loop_close(&scene);
}

static bool loop_take_one(void *context, struct err *err)
{
    char byte;
    struct actor *actor = context;
    if (zmq_recv(actor->scene->sockets[0], &byte, 1, ZMQ_DONTWAIT) != 1)
        return err_set(err, ERR_FAILED, "called for a socket with nothing to read");
    loop_trace(actor);
    return true;
}

/* A handler that takes one message of three is called again, although the socket's descriptor does not become readable
 * again. */
static void what_is_left_in_a_socket_is_seen_again(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct err err = {0};
    void *context = zmq_ctx_new();
    scene.sockets[0] = zmq_socket(context, ZMQ_PAIR);
    scene.sockets[1] = zmq_socket(context, ZMQ_PAIR);
    zmq_bind(scene.sockets[0], "inproc://loop");
    zmq_connect(scene.sockets[1], "inproc://loop");
    for (int i = 0; i < 3; i++)
        assert_int_equal(zmq_send(scene.sockets[1], "m", 1, 0), 1);
    struct actor a = {&scene, 's', 3};
    assert_int_not_equal(loop_add_socket(scene.loop, scene.sockets[0], loop_take_one, &a, &err), 0);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "sss");
    loop_close(&scene);
    zmq_close(scene.sockets[0]);
    zmq_close(scene.sockets[1]);
    zmq_ctx_term(context);
}

static void a_closed_pipe_wakes_its_handler(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct err err = {0};
    struct actor a = {&scene, 'a', 1};
    assert_int_not_equal(loop_add_fd(scene.loop, scene.pipes[0][0], loop_count, &a, &err), 0);
    close(scene.pipes[0][1]);
    test_loop_run(&scene);
    assert_string_equal(scene.trace, "a");
    scene.pipes[0][1] = dup(scene.pipes[0][0]);
    loop_close(&scene);
}

static void a_signal_is_an_event_like_others(void **state)
{
    (void)state;
    struct scene scene;
    loop_open(&scene);
    struct err err = {0};
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    int fd = loop_signal_fd(&err);
    assert_true(fd >= 0);
    struct actor a = {&scene, 'a', 1};
    assert_int_not_equal(loop_add_fd(scene.loop, fd, loop_count, &a, &err), 0);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < 3; i++) {
        kill(getpid(), signals[i]);
        test_loop_run(&scene);
        assert_int_equal(loop_signal_take(fd), signals[i]);
        assert_int_equal(loop_signal_take(fd), 0);
    }
    close(fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    loop_close(&scene);
}

/* As under nohup. */
static void an_ignored_hangup_stays_ignored(void **state)
{
    (void)state;
    struct err err = {0};
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    void (*handler)(int) = signal(SIGHUP, SIG_IGN);
    int fd = loop_signal_fd(&err);
    assert_true(fd >= 0);
    kill(getpid(), SIGHUP);
    assert_int_equal(loop_signal_take(fd), 0);
    kill(getpid(), SIGTERM);
    assert_int_equal(loop_signal_take(fd), SIGTERM);
    close(fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signal(SIGHUP, handler);
}

/* Takes the signals that arrive in the descriptor. After the first it yields and sends another, as a supervisor that
 * tells the process and then its group. */
static bool loop_on_first_signals(void *context, struct err *err)
{
    struct actor *actor = context;
    bool again = actor->scene->calls++ > 0;
    return loop_signal_take(actor->scene->pipes[0][0]) == SIGTERM &&
           (again || (loop_signal_yield(actor->scene->loop, err) && kill(getpid(), SIGTERM) == 0));
}

/* Once SIGINT is let through, send it. */
static bool loop_insist(void *context, struct err *err)
{
    (void)err;
    struct actor *actor = context;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, SIGINT) == 1 || (actor->scene->calls == 2 && kill(getpid(), SIGINT) == 0);
}

/* Ends by a signal; by SIGALRM when none was ever let through. */
static void loop_be_told_twice(void)
{
    struct err err = {0};
    struct scene scene = {.loop = loop_new(&err)};
    struct actor actor = {&scene, 's', 0};
    scene.pipes[0][0] = loop_signal_fd(&err);
    loop_add_fd(scene.loop, scene.pipes[0][0], loop_on_first_signals, &actor, &err);
    loop_add_timer(scene.loop, 0, 10, loop_insist, &actor, &err);
    alarm(300);
    kill(getpid(), SIGTERM);
    loop_run(scene.loop, &err);
    _exit(1);
}

static void a_second_signal_ends_at_once_unless_it_follows_closely(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        loop_be_told_twice();
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_not_early),
        cmocka_unit_test(a_turn_ends_each_round_the_last_one_too),
        cmocka_unit_test(a_turn_that_asks_for_it_comes_in_time),
        cmocka_unit_test(a_timer_with_an_interval_goes_on),
        cmocka_unit_test(a_busy_timer_starves_nobody),
        cmocka_unit_test(each_ready_source_is_called_once_a_round),
        cmocka_unit_test(a_handler_may_remove_itself_and_others),
        cmocka_unit_test(a_handler_may_add_sources),
        cmocka_unit_test(a_failing_handler_ends_the_loop),
        cmocka_unit_test(a_stopped_loop_can_run_again),
        cmocka_unit_test(a_loop_without_sources_says_so),
        cmocka_unit_test(what_is_left_in_a_socket_is_seen_again),
        cmocka_unit_test(a_closed_pipe_wakes_its_handler),
        cmocka_unit_test(a_signal_is_an_event_like_others),
        cmocka_unit_test(an_ignored_hangup_stays_ignored),
        cmocka_unit_test(a_second_signal_ends_at_once_unless_it_follows_closely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
