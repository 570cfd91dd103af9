/* How members are told to stop or to go: also those whose queue is full, and those who said something just before. */
#include "coordinator/cluster/generation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

static const char test_generation_endpoint[] = "inproc://test-generation";

/* A coordinator's socket, and one worker that reads when it is asked to. */
struct scene {
    void *context, *router, *worker;
    struct config config;
    struct fleet fleet;
    struct member member;
};

static int generation_open(void **state)
{
    static struct scene scene;
    int one = 1, none = 0;
    scene = (struct scene){.context = zmq_ctx_new()};
    scene.router = zmq_socket(scene.context, ZMQ_ROUTER);
    scene.worker = zmq_socket(scene.context, ZMQ_DEALER);
    config_defaults(&scene.config);
    scene.fleet = (struct fleet){.config = &scene.config, .socket = scene.router, .generation = 7};
    scene.member = (struct member){.id = 1, .phase = MEMBER_SYNCING, .route = {.id = "worker", .size = 6}};
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
    assert_true(generation_ask(&scene->fleet, &scene->member, MEMBER_STOPPING, NULL, NULL));
    assert_int_equal(scene->member.phase, MEMBER_STOPPING);
    assert_true(scene->member.unasked);
    for (; pings > 0; pings--)
        assert_int_equal(generation_hear(scene), MESSAGE_PING);
    while (scene->member.unasked) /* the queue's room shows a moment later */
        assert_true(generation_ask_again(&scene->fleet, &scene->member, NULL));
    assert_true(generation_ask_again(&scene->fleet, &scene->member, NULL));
    assert_int_equal(generation_hear(scene), MESSAGE_STOP);
    assert_true(generation_ask(&scene->fleet, &scene->member, MEMBER_LEAVING, "the end", NULL));
    assert_int_equal(generation_hear(scene), MESSAGE_DISMISS);
}

/* Dismissed in the middle of a rendezvous: what was on its way is nobody's fault. */
static void what_was_said_before_a_dismissal_was_heard_is_passed_over(void **state)
{
    struct scene *scene = *state;
    const struct endpoint endpoint = {.generation = 7, .address = {"tcp://x:1", 9}};
    const struct ready ready = {.generation = 7};
    const struct stopped stopped = {.generation = 7};
    scene->fleet.phase = FLEET_DISMISSED;
    scene->member.phase = MEMBER_LEAVING;
    assert_true(generation_endpoint(&scene->fleet, &scene->member, &endpoint, NULL));
    assert_true(generation_ready(&scene->fleet, &scene->member, &ready, NULL));
    assert_true(generation_stopped(&scene->fleet, &scene->member, &stopped, NULL));
    assert_int_equal(scene->member.phase, MEMBER_LEAVING);
}

static void an_endpoint_that_was_not_asked_for_breaks_the_protocol(void **state)
{
    struct scene *scene = *state;
    struct err err = {0};
    const struct endpoint endpoint = {.generation = 7, .address = {"tcp://x:1", 9}};
    scene->member.phase = MEMBER_WAITING;
    assert_false(generation_endpoint(&scene->fleet, &scene->member, &endpoint, &err));
    assert_int_equal(err.code, ERR_PROTOCOL);
}

static bool generation_count_answers(void *context, struct member *member, const struct message *message,
                                     struct err *err)
{
    (void)member, (void)err;
    *(int *)context += message->type == MESSAGE_PONG;
    return true;
}

static void who_had_no_room_is_offered_work_again_once_it_reads(void **state)
{
    struct scene *scene = *state;
    struct member *members[] = {&scene->member};
    struct err err = {0};
    int answers = 0;
    bool got;
    scene->member.phase = MEMBER_WORKING;
    scene->fleet.phase = FLEET_WORK;
    scene->fleet.owner = (struct fleet_owner){.context = &answers, .answer = generation_count_answers};
    scene->fleet.members = members;
    scene->fleet.count = 1;
    int pings = generation_fill(scene);
    assert_true(scene->member.full);
    for (; pings > 0; pings--)
        assert_int_equal(generation_hear(scene), MESSAGE_PING);
    const struct message pong = {.type = MESSAGE_PONG};
    for (int i = 0; i < 2; i++) {
        assert_true(message_send(scene->worker, NULL, &pong, &err));
        assert_true(fleet_receive(&scene->fleet, &got, &err));
        assert_true(got);
    }
    assert_int_equal(answers, 1);
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
        RUN(what_was_said_before_a_dismissal_was_heard_is_passed_over),
        RUN(who_had_no_room_is_offered_work_again_once_it_reads),
        RUN(an_upload_waits_for_its_receiver_and_goes_as_fast_as_it_can),
        RUN(an_endpoint_that_was_not_asked_for_breaks_the_protocol),
    };
    return cmocka_run_group_tests_name("generation", tests, NULL, NULL);
}
