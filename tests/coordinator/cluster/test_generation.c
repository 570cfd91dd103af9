/* What is sent to members that are to stop or to leave, also where a queue is full, and what they may have sent just
 * before. */
#include "tests/support/legal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

static const char test_generation_endpoint[] = "inproc://test-generation";

/* A coordinator's socket, and one worker that reads when the test does. */
struct scene {
    void *context, *router, *worker;
    struct config config;
    struct loop *loop;
    struct fleet fleet;
    struct member member, *members[1];
};

static int generation_open(void **state)
{
    static struct scene scene;
    int one = 1, none = 0;
    scene = (struct scene){.context = zmq_ctx_new()};
    scene.router = zmq_socket(scene.context, ZMQ_ROUTER);
    scene.worker = zmq_socket(scene.context, ZMQ_DEALER);
    config_defaults(&scene.config);
    scene.loop = loop_new(NULL);
    scene.member = (struct member){.id = 1, .state = MEMBER_SYNCING, .route = {.id = "worker", .size = 6}};
    scene.members[0] = &scene.member;
    scene.fleet = (struct fleet){.config = &scene.config,
                                 .socket = scene.router,
                                 .loop = scene.loop,
                                 .generation = 7,
                                 .members = scene.members,
                                 .count = 1};
    *state = &scene;
    return zmq_setsockopt(scene.router, ZMQ_ROUTER_MANDATORY, &one, sizeof one) |
           zmq_setsockopt(scene.router, ZMQ_SNDHWM, &one, sizeof one) |
           zmq_setsockopt(scene.router, ZMQ_LINGER, &none, sizeof none) |
           zmq_setsockopt(scene.worker, ZMQ_RCVHWM, &one, sizeof one) |
           zmq_setsockopt(scene.worker, ZMQ_ROUTING_ID, "worker", 6) |
           zmq_bind(scene.router, test_generation_endpoint) | zmq_connect(scene.worker, test_generation_endpoint);
}

static int generation_close(void **state)
{
    struct scene *scene = *state;
    loop_destroy(&scene->loop);
    return zmq_close(scene->worker) | zmq_close(scene->router) | zmq_ctx_term(scene->context);
}

/* Pings until no more fit. */
static int generation_fill(struct scene *scene)
{
    const struct message ping = {.type = MESSAGE_PING};
    bool sent = true;
    int count = -1;
    for (; sent; count++)
        assert_true(fleet_send(&scene->fleet, &scene->member, &ping, &sent, NULL));
    return count;
}

static enum message_type generation_hear(struct scene *scene)
{
    struct message message;
    bool got;
    assert_true(message_receive(scene->worker, NULL, true, &message, &got, NULL));
    enum message_type type = message.type;
    message_close(&message);
    return type;
}

static void a_full_queue_delays_a_stop_and_loses_none(void **state)
{
    struct scene *scene = *state;
    int pings = generation_fill(scene);
    assert_true(pings > 0);
    member_stop(&scene->member);
    assert_true(fleet_say(&scene->fleet, NULL));
    assert_int_equal(scene->member.state, MEMBER_STOPPING);
    assert_int_equal(scene->member.due, DUE_STOP);
    for (; pings > 0; pings--)
        assert_int_equal(generation_hear(scene), MESSAGE_PING);
    while (scene->member.due != 0) /* the queue's space shows a moment later */
        assert_true(fleet_say(&scene->fleet, NULL));
    assert_true(fleet_say(&scene->fleet, NULL));
    assert_int_equal(generation_hear(scene), MESSAGE_STOP);
    member_dismiss(&scene->member, "the end", false);
    assert_true(fleet_say(&scene->fleet, NULL));
    assert_int_equal(generation_hear(scene), MESSAGE_DISMISS);
}

/* The worker sends it, and the fleet records it. Returns whether the worker is not declared dead. */
static bool generation_record(struct scene *scene, const struct message *message)
{
    assert_true(message_send(scene->worker, NULL, message, NULL));
    assert_true(fleet_receive(&scene->fleet, NULL));
    assert_int_equal(scene->fleet.heard.message.type, message->type);
    message_close(&scene->fleet.heard.message);
    return scene->member.state != MEMBER_DEAD;
}

static const struct message generation_said[] = {
    {.type = MESSAGE_ENDPOINT, .endpoint = {.generation = 7, .address = {"tcp://x:1", 9}}},
    {.type = MESSAGE_READY, .ready = {.generation = 7}},
    {.type = MESSAGE_STOPPED, .stopped = {.generation = 7}},
};

/* Dismissed in the middle of a rendezvous: what was on its way is no fault. */
static void what_was_sent_before_a_dismissal_arrived_is_passed_over(void **state)
{
    struct scene *scene = *state;
    scene->fleet.state = FLEET_DISMISSED;
    scene->member.state = MEMBER_LEAVING;
    for (int i = 0; i < 3; i++)
        assert_true(generation_record(scene, &generation_said[i]));
    assert_int_equal(scene->member.state, MEMBER_LEAVING);
}

static void what_is_not_due_breaks_the_protocol(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 3; i++) {
        scene->member.state = MEMBER_STANDBY;
        assert_false(generation_record(scene, &generation_said[i]));
        assert_int_equal(scene->member.fault.code, ERR_PROTOCOL);
    }
}

/* GENERATION and STOP are still to be sent: the worker cannot have answered them. */
static void what_answers_nothing_that_was_sent_breaks_the_protocol(void **state)
{
    static const struct {
        enum member_state state;
        unsigned due;
    } cases[] = {{MEMBER_ENTERING, DUE_GENERATION}, {MEMBER_SYNCING, DUE_PEERS}, {MEMBER_STOPPING, DUE_STOP}};
    struct scene *scene = *state;
    for (int i = 0; i < 3; i++) {
        for (int sent = 0; sent < 2; sent++) {
            scene->member.state = cases[i].state;
            scene->member.due = sent ? 0 : cases[i].due;
            assert_int_equal(generation_record(scene, &generation_said[i]), sent);
        }
    }
}

static void a_full_queue_gets_work_again_once_its_worker_reads(void **state)
{
    struct scene *scene = *state;
    const struct message pong = {.type = MESSAGE_PONG};
    scene->member.state = MEMBER_ACTIVE;
    scene->member.credit = 1;
    assert_true(member_can_train(&scene->member) && member_can_validate(&scene->member));
    int pings = generation_fill(scene);
    assert_false(member_can_train(&scene->member) || member_can_validate(&scene->member));
    for (; pings > 0; pings--)
        assert_int_equal(generation_hear(scene), MESSAGE_PING);
    assert_true(generation_record(scene, &pong));
    assert_true(member_can_train(&scene->member) && member_can_validate(&scene->member));
}

static void an_upload_waits_for_its_receiver_and_goes_as_fast_as_it_can(void **state)
{
    (void)state;
    const uint64_t ms = 1000000;
    struct upload upload;
    upload_open(&upload, NULL);
    upload.way = UPLOAD_LEAST;
    assert_false(upload_may_send(&upload));
    for (int i = 0; i < 20; i++)
        upload_arrived(&upload, ms);
    assert_true(upload_may_send(&upload));
    assert_int_equal(upload.ahead, UPLOAD_MOST);
    upload_arrived(&upload, 200 * ms);
    assert_int_equal(upload.ahead, UPLOAD_MOST);
    for (int i = 0; i < 20; i++)
        upload_arrived(&upload, 1000 * ms);
    assert_int_equal(upload.ahead, UPLOAD_LEAST);
}

int main(void)
{
#define RUN(name) cmocka_unit_test_setup_teardown(name, generation_open, generation_close)
    const struct CMUnitTest tests[] = {
        RUN(a_full_queue_delays_a_stop_and_loses_none),
        RUN(what_was_sent_before_a_dismissal_arrived_is_passed_over),
        RUN(what_is_not_due_breaks_the_protocol),
        RUN(what_answers_nothing_that_was_sent_breaks_the_protocol),
        RUN(a_full_queue_gets_work_again_once_its_worker_reads),
        RUN(an_upload_waits_for_its_receiver_and_goes_as_fast_as_it_can),
    };
    return cmocka_run_group_tests_name("generation", tests, NULL, NULL);
}
