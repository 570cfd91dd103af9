/* test_worker.c - a worker as a member of a cluster: its generations, what it keeps when they end, and what it says
 * when a connection does. A coordinator that the test leads stands on the other side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include "tests/support/capture.h"
#include "tests/support/fake_coordinator.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const enum generation_source worker_seeds[MEMBERS] = {SOURCE_SEED, SOURCE_SEED, SOURCE_SEED, SOURCE_SEED,
                                                             SOURCE_SEED};
static const enum generation_source worker_held[MEMBERS] = {SOURCE_HELD, SOURCE_HELD, SOURCE_HELD, SOURCE_HELD,
                                                            SOURCE_HELD};
static const enum generation_source worker_peers_of_0[MEMBERS] = {SOURCE_HELD, SOURCE_PEER, SOURCE_PEER, SOURCE_PEER,
                                                                  SOURCE_PEER};

enum { STEPS = 4 };

/* The two files after STEPS steps of one worker. */
static struct buffer worker_alone[FILES];

static void worker_take_state(struct member *member, struct buffer *to)
{
    for (int file = 0; file < FILES; file++) {
        buffer_clear(&to[file]);
        buffer_append(&to[file], member->state[file].data, member->state[file].size);
    }
}

static void worker_assert_state(const struct member *member, const struct buffer *expected)
{
    for (int file = 0; file < FILES; file++) {
        assert_int_equal(member->state[file].size, expected[file].size);
        assert_memory_equal(member->state[file].data, expected[file].data, expected[file].size);
    }
}

static int compute_alone(void **state)
{
    struct fake fake;
    (void)state;
    log_open("test", LOG_OFF);
    fake_open(&fake, true, REDUCE_EXACT);
    fake_start(&fake, 0, 1);
    fake_generation(&fake, 1, 0, worker_seeds);
    fake_steps(&fake, 0, STEPS);
    fake_coordinator_save(&fake, 0, STEPS);
    worker_take_state(&fake.members[0], worker_alone);
    fake_dismiss(&fake, 0);
    fake_close(&fake);
    return 0;
}

static int forget_alone(void **state)
{
    (void)state;
    buffer_free(&worker_alone[0]);
    buffer_free(&worker_alone[1]);
    return 0;
}

static void exact_weights_are_the_same_for_any_number_of_workers(void **state)
{
    (void)state;
    for (int local = 0; local < 2; local++) {
        for (uint32_t size = 2; size <= MEMBERS; size++) {
            struct fake fake;
            fake_open(&fake, local != 0, REDUCE_EXACT);
            fake_start(&fake, 0, (int)size);
            fake_generation(&fake, size, 0, worker_seeds);
            fake_steps(&fake, 0, STEPS);
            assert_int_not_equal(fake.members[0].report.hash, 0);
            fake_coordinator_save(&fake, (int)size - 1, STEPS);
            worker_assert_state(&fake.members[size - 1], worker_alone);
            for (uint32_t r = 0; r < size; r++)
                fake_dismiss(&fake, (int)r);
            fake_close(&fake);
        }
    }
}

/* fake_steps compares the results of all ranks; that the sums are the batch's is seen by the losses. */
static void sums_of_floats_are_the_same_on_every_rank(void **state)
{
    (void)state;
    const enum reduce how[] = {REDUCE_FP32, REDUCE_BF16};
    for (int h = 0; h < 2; h++) {
        struct step_result alone = {0};
        for (uint32_t size = 1; size <= 3; size += 2) {
            struct fake fake;
            struct buffer first[FILES] = {{0}, {0}};
            fake_open(&fake, false, how[h]);
            fake_start(&fake, 0, (int)size);
            fake_generation(&fake, size, 0, worker_seeds);
            fake_steps(&fake, 0, STEPS);
            if (size == 1)
                alone = fake.members[0].results[0];
            const struct step_result *found = &fake.members[0].results[0];
            assert_int_equal(found->tokens, alone.tokens);
            assert_true(fabs(found->loss_sum / alone.loss_sum - 1) < 1e-3);
            assert_true(fabs(found->grad_norm / alone.grad_norm - 1) < 2e-2);
            fake_coordinator_save(&fake, 0, STEPS);
            worker_take_state(&fake.members[0], first);
            fake_coordinator_save(&fake, (int)size - 1, STEPS);
            worker_assert_state(&fake.members[size - 1], first);
            for (int file = 0; file < FILES; file++)
                buffer_free(&first[file]);
            for (uint32_t r = 0; r < size; r++)
                fake_dismiss(&fake, (int)r);
            fake_close(&fake);
        }
    }
}

static void worker_stop(struct fake *fake, int who)
{
    fake_coordinator_say(fake, who, &(struct message){.type = MESSAGE_STOP, .stop = {.generation = fake->generation}});
}

/* Rank 0 waits in an all-reduce for a rank that has no work; STOP ends it, and the step was not done. Afterwards the
 * two are one, then two again, of which the second has lost what it had. */
static void a_stopped_all_reduce_leaves_the_state_as_it_was(void **state)
{
    (void)state;
    for (int local = 0; local < 2; local++) {
        struct fake fake;
        fake_open(&fake, local != 0, REDUCE_EXACT);
        fake_start(&fake, 0, 2);
        fake_generation(&fake, 2, 0, worker_seeds);
        fake_steps(&fake, 0, 1);
        fake_send_span(&fake, 0, 1);
        /* In the meantime it is asked whether it is there. */
        fake_coordinator_say(&fake, 0, &(struct message){.type = MESSAGE_PING, .ping = {.time = 5}});
        assert_int_equal(fake_expect(&fake, MESSAGE_PONG), 0);
        worker_stop(&fake, 0);
        worker_stop(&fake, 1);
        fake_expect_all(&fake, MESSAGE_STOPPED, 2);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(fake.members[i].stopped.held, 1);
            assert_int_equal(fake.members[i].stopped.step, 1);
            assert_int_equal(fake.members[i].stopped.steps, 1);
            assert_int_not_equal(fake.members[i].results[0].tokens, 0);
        }
        fake_generation(&fake, 1, 1, worker_held);
        fake_steps(&fake, 1, 2);
        worker_stop(&fake, 0);
        fake_expect_all(&fake, MESSAGE_STOPPED, 1);
        fake_generation(&fake, 2, 2, worker_peers_of_0);
        fake_steps(&fake, 2, STEPS);
        fake_coordinator_save(&fake, 1, STEPS);
        worker_assert_state(&fake.members[1], worker_alone);
        fake_dismiss(&fake, 0);
        fake_dismiss(&fake, 1);
        fake_close(&fake);
    }
}

/* Work that waits when STOP comes is forgotten, not done first. */
static void stop_overtakes_the_work_that_waits(void **state)
{
    struct fake fake;
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake_start(&fake, 0, 2);
    fake_generation(&fake, 2, 0, worker_seeds);
    fake_send_span(&fake, 0, 0);
    fake.span++;
    fake_send_span(&fake, 0, 1);
    fake_coordinator_say(&fake, 0,
                         &(struct message){.type = MESSAGE_SAVE, .save = {.generation = fake.generation, .step = 2}});
    worker_stop(&fake, 0);
    assert_int_equal(fake_expect(&fake, MESSAGE_STOPPED), 0);
    assert_int_equal(fake.members[0].stopped.step, 0);
    fake_dismiss(&fake, 0);
    fake_dismiss(&fake, 1);
    fake_close(&fake);
}

enum { SCORED_ROWS = 60000, ROW_IDS = 6 };

/* Rows of three ids on either side. */
static void worker_send_validate(struct fake *fake, uint32_t what)
{
    static uint16_t lengths[SCORED_ROWS], ids[SCORED_ROWS * ROW_IDS];
    for (size_t r = 0; r < SCORED_ROWS; r++)
        lengths[r] = ROW_IDS / 2;
    for (size_t i = 0; i < SCORED_ROWS * ROW_IDS; i++)
        ids[i] = (uint16_t)(4 + i % (SRC_WORDS - 4));
    fake_coordinator_say(fake, 0,
                         &(struct message){.type = MESSAGE_VALIDATE,
                                           .validate = {.generation = fake->generation,
                                                        .what = what,
                                                        .rows = {.count = SCORED_ROWS,
                                                                 .src_lengths = lengths,
                                                                 .tgt_lengths = lengths,
                                                                 .ids = ids,
                                                                 .id_count = SCORED_ROWS * ROW_IDS}}});
}

/* STOP comes in the middle of the losses, as far as the clock can tell: no other message does. The translations would
 * follow. On a busy machine it sometimes comes too late, so the test tries again until it does not. */
static void a_stopped_validation_is_left_between_its_parts(void **state)
{
    struct fake fake;
    bool left = false;
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake_start(&fake, 0, 1);
    fake_generation(&fake, 1, 0, worker_seeds);
    for (int i = 0; i < 50 && !left; i++) { /* the first one finds its memory */
        int who;
        int64_t began = clock_ms();
        worker_send_validate(&fake, VALIDATE_FORCED);
        assert_int_equal(fake_expect(&fake, MESSAGE_SCORED), 0);
        int64_t took_ms = clock_ms() - began; /* as busy as the machine is now */
        worker_send_validate(&fake, VALIDATE_FORCED | VALIDATE_FREE);
        usleep((useconds_t)(took_ms * 1000 / 2));
        worker_stop(&fake, 0);
        left = fake_hear(&fake, &who) == MESSAGE_STOPPED;
        if (!left)
            assert_int_equal(fake_expect(&fake, MESSAGE_STOPPED), 0);
        fake_generation(&fake, 1, 0, worker_held);
    }
    assert_true(left);
    fake_dismiss(&fake, 0);
    fake_close(&fake);
}

/* Rank 1's own state is broken by a broadcast that does not come to its end, the root's is not. */
static void an_unfinished_broadcast_leaves_a_state_at_the_root_only(void **state)
{
    struct fake fake;
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake_start(&fake, 0, 3);
    fake_generation(&fake, 3, 0, worker_seeds);
    fake_steps(&fake, 0, 1);
    for (int i = 0; i < 3; i++)
        worker_stop(&fake, i);
    fake_expect_all(&fake, MESSAGE_STOPPED, 3);
    fake_announce(&fake, 3, 1, worker_peers_of_0);
    fake_expect_all(&fake, MESSAGE_ENDPOINT, 3);
    /* Rank 2 is told nothing, so the ring has a gap. */
    struct buffer lines = {0};
    for (int r = 0; r < 3; r++)
        buffer_format(&lines, "%s\n", fake.members[r].endpoint);
    for (int r = 0; r < 2; r++)
        fake_coordinator_say(
            &fake, r,
            &(struct message){.type = MESSAGE_PEERS,
                              .peers = {.generation = fake.generation, .lines = lines.data, .size = lines.size}});
    buffer_free(&lines);
    for (int i = 0; i < 3; i++)
        worker_stop(&fake, i);
    for (int i = 0; i < 3; i++) {
        int who;
        enum message_type type = fake_hear(&fake, &who);
        i -= type == MESSAGE_READY; /* the root may have been through */
    }
    assert_int_equal(fake.members[0].stopped.held, 1);
    assert_int_equal(fake.members[0].stopped.step, 1);
    assert_int_equal(fake.members[2].stopped.held, 1);
    for (int i = 0; i < 3; i++)
        fake_dismiss(&fake, i);
    fake_close(&fake);
}

static void a_new_connection_hears_what_the_worker_holds(void **state)
{
    struct fake fake;
    char endpoint[sizeof fake.endpoint];
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake_start(&fake, 0, 1);
    assert_int_equal(fake.members[0].hello.run, 0);
    assert_int_equal(fake.members[0].hello.held, 0);
    fake_generation(&fake, 1, 0, worker_seeds);
    fake_steps(&fake, 0, 3);
    struct step_result last = fake.members[0].results[0];
    memcpy(endpoint, fake.endpoint, sizeof endpoint);
    zmq_close(fake.socket);
    fake.members[0].route.size = 0;
    fake_bind(&fake, endpoint);
    assert_int_equal(fake_expect(&fake, MESSAGE_HELLO), 0);
    assert_int_equal(fake.members[0].hello.run, RUN);
    assert_int_equal(fake.members[0].hello.worker, 1);
    assert_int_equal(fake.members[0].hello.held, 1);
    assert_int_equal(fake.members[0].hello.step, 3);
    assert_int_equal(fake.members[0].hello.steps, 3);
    assert_memory_equal(&fake.members[0].results[2], &last, sizeof last);
    fake_welcome(&fake, 0);
    fake_generation(&fake, 1, 3, worker_held);
    fake_steps(&fake, 3, STEPS);
    fake_coordinator_save(&fake, 0, STEPS);
    worker_assert_state(&fake.members[0], worker_alone);
    fake_dismiss(&fake, 0);
    fake_close(&fake);
}

static void a_silent_coordinator_gets_a_second_hello(void **state)
{
    struct fake fake;
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake.config.worker_heartbeat_timeout = 300;
    fake_start(&fake, 0, 1);
    fake.members[0].route.size = 0;
    assert_int_equal(fake_expect(&fake, MESSAGE_HELLO), 0);
    fake_welcome(&fake, 0);
    fake_dismiss(&fake, 0);
    fake_close(&fake);
}

static void test_worker_say_error(struct fake *fake, int who, enum err_code code, const char *text)
{
    fake_coordinator_say(
        fake, who,
        &(struct message){.type = MESSAGE_ERROR, .error = {.code = (uint32_t)code, .text = {text, strlen(text)}}});
}

static void a_forgotten_worker_joins_as_a_new_one(void **state)
{
    struct fake fake;
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake_start(&fake, 0, 1);
    fake_generation(&fake, 1, 0, worker_seeds);
    fake_steps(&fake, 0, 2);
    test_worker_say_error(&fake, 0, ERR_PROTOCOL, "REPORT: who are you?");
    fake.members[0].route.size = 0;
    assert_int_equal(fake_expect(&fake, MESSAGE_HELLO), 0);
    assert_int_equal(fake.members[0].hello.step, 2);
    fake_welcome(&fake, 0);
    /* Another error is for good. */
    test_worker_say_error(&fake, 0, ERR_USAGE, "precision bf16 instead of fp32");
    assert_false(fake_member_join(&fake.members[0]));
    assert_string_equal(fake.members[0].err.text, "the coordinator: precision bf16 instead of fp32");
    fake_close(&fake);
}

static void a_generation_before_a_second_welcome_ends_the_worker(void **state)
{
    struct fake fake;
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake_start(&fake, 0, 1);
    test_worker_say_error(&fake, 0, ERR_PROTOCOL, "REPORT: who are you?");
    fake.members[0].route.size = 0;
    assert_int_equal(fake_expect(&fake, MESSAGE_HELLO), 0);
    fake_coordinator_say(
        &fake, 0,
        &(struct message){.type = MESSAGE_GENERATION,
                          .generation = {.generation = 1, .rank = 0, .size = 2, .source = SOURCE_SEED}});
    assert_int_equal(fake_expect(&fake, MESSAGE_ERROR), 0);
    assert_false(fake_member_join(&fake.members[0]));
    assert_int_equal(fake.members[0].err.code, ERR_PROTOCOL);
    assert_non_null(strstr(fake.members[0].err.text, "GENERATION came before WELCOME"));
    fake_close(&fake);
}

static void junk_ends_the_worker_with_an_error_that_names_it(void **state)
{
    struct fake fake;
    (void)state;
    fake_open(&fake, false, REDUCE_EXACT);
    fake_start(&fake, 0, 1);
    const struct route *to = &fake.members[0].route;
    zmq_send(fake.socket, to->id, to->size, ZMQ_SNDMORE);
    zmq_send(fake.socket, "junk", 4, ZMQ_SNDMORE);
    zmq_send(fake.socket, "more junk", 9, 0);
    assert_int_equal(fake_expect(&fake, MESSAGE_ERROR), 0);
    assert_int_equal(fake.members[0].said.code, ERR_PROTOCOL);
    assert_false(fake_member_join(&fake.members[0]));
    assert_int_equal(fake.members[0].err.code, ERR_PROTOCOL);
    fake_close(&fake);
}

/* What the worker's threads say to each other in one byte, a coordinator cannot say. */
static void a_message_of_one_byte_is_junk_and_no_signal(void **state)
{
    (void)state;
    for (const char *byte = "head?"; *byte != '\0'; byte++) {
        struct fake fake;
        fake_open(&fake, false, REDUCE_EXACT);
        fake_start(&fake, 0, 1);
        const struct route *to = &fake.members[0].route;
        zmq_send(fake.socket, to->id, to->size, ZMQ_SNDMORE);
        zmq_send(fake.socket, byte, 1, 0);
        assert_int_equal(fake_expect(&fake, MESSAGE_ERROR), 0);
        assert_int_equal(fake.members[0].said.code, ERR_PROTOCOL);
        assert_false(fake_member_join(&fake.members[0]));
        assert_int_equal(fake.members[0].err.code, ERR_PROTOCOL);
        fake_close(&fake);
    }
}

/* More frames than a message has: the loop thread ends, and the compute thread must not go on waiting for rank 1. */
static void junk_ends_a_worker_that_waits_for_peers(void **state)
{
    (void)state;
    for (int local = 0; local < 2; local++) {
        struct fake fake;
        fake_open(&fake, local != 0, REDUCE_EXACT);
        fake_start(&fake, 0, 2);
        fake_generation(&fake, 2, 0, worker_seeds);
        fake_send_span(&fake, 0, 0);
        /* By the time that it has answered so often it most likely waits; not needed for what is asserted. */
        for (uint64_t i = 0; i < 50; i++) {
            fake_coordinator_say(&fake, 0, &(struct message){.type = MESSAGE_PING, .ping = {.time = i}});
            assert_int_equal(fake_expect(&fake, MESSAGE_PONG), 0);
        }
        const struct route *to = &fake.members[0].route;
        zmq_send(fake.socket, to->id, to->size, ZMQ_SNDMORE);
        for (int i = 0; i < MESSAGE_FRAMES; i++)
            zmq_send(fake.socket, "junk", 4, ZMQ_SNDMORE);
        zmq_send(fake.socket, "more junk", 9, 0);
        assert_int_equal(fake_expect(&fake, MESSAGE_ERROR), 0);
        assert_int_equal(fake.members[0].said.code, ERR_PROTOCOL);
        assert_false(fake_member_join(&fake.members[0]));
        assert_int_equal(fake.members[0].err.code, ERR_PROTOCOL);
        fake_dismiss(&fake, 1);
        fake_close(&fake);
    }
}

static void an_id_that_was_not_announced_is_refused(void **state)
{
    struct fake fake;
    (void)state;
    fake_open(&fake, true, REDUCE_EXACT);
    fake_start(&fake, 0, 2);
    fake_generation(&fake, 2, 0, worker_seeds);
    const uint16_t one = 1, ids[] = {5, 6};
    const struct span_step of = {.tokens = 1};
    const struct span_shard shard = {.rows = 1};
    fake_coordinator_say(&fake, 0,
                         &(struct message){.type = MESSAGE_SPAN,
                                           .span = {.generation = fake.generation,
                                                    .steps = 1,
                                                    .of = &of,
                                                    .shards = &shard,
                                                    .shard_count = 1,
                                                    .rows = {1, &one, &one, ids, 2}}});
    assert_int_equal(fake_expect(&fake, MESSAGE_ERROR), 0);
    assert_non_null(strstr(fake.members[0].said.text, "distinct"));
    assert_false(fake_member_join(&fake.members[0]));
    fake_dismiss(&fake, 1);
    fake_close(&fake);
}

static void a_worker_without_a_coordinator_ends_at_its_timeout(void **state)
{
    struct config config;
    struct err err;
    (void)state;
    config_defaults(&config);
    config.worker_reconnect_timeout = 1;
    config.train_threads = 1;
    void *context = zmq_ctx_new();
    const struct worker_options options = {.zmq_context = context, .endpoint = "tcp://127.0.0.1:1", .config = &config};
    assert_false(worker_run(&options, &err));
    assert_non_null(strstr(err.text, "worker.reconnect_timeout"));
    zmq_ctx_term(context);
}

/* A coordinator ends when it has heard the last LEAVE, while the worker still gives its memory back: so much of it here
 * that the connection breaks first. */
static void a_worker_that_left_logs_no_broken_connection(void **state)
{
    (void)state;
    struct fake fake;
    fake_open(&fake, false, REDUCE_FP32);
    fake.config.model_hidden = 1024;
    fake_start(&fake, 0, 1);
    fake_generation(&fake, 1, 0, worker_seeds);
    fake_steps(&fake, 0, 1);
    capture_begin();
    log_open("test", LOG_WARN);
    fake_coordinator_say(&fake, 0, &(struct message){.type = MESSAGE_DISMISS, .dismiss = {.reason = {"done", 4}}});
    fake_expect(&fake, MESSAGE_LEAVE);
    fake_close(&fake);
    bool done = fake_member_join(&fake.members[0]);
    log_open("test", LOG_OFF);
    char *logged = capture_end();
    assert_true(done);
    assert_string_equal(logged, "");
    free(logged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_weights_are_the_same_for_any_number_of_workers),
        cmocka_unit_test(sums_of_floats_are_the_same_on_every_rank),
        cmocka_unit_test(a_stopped_all_reduce_leaves_the_state_as_it_was),
        cmocka_unit_test(stop_overtakes_the_work_that_waits),
        cmocka_unit_test(a_stopped_validation_is_left_between_its_parts),
        cmocka_unit_test(an_unfinished_broadcast_leaves_a_state_at_the_root_only),
        cmocka_unit_test(a_new_connection_hears_what_the_worker_holds),
        cmocka_unit_test(a_silent_coordinator_gets_a_second_hello),
        cmocka_unit_test(a_forgotten_worker_joins_as_a_new_one),
        cmocka_unit_test(a_generation_before_a_second_welcome_ends_the_worker),
        cmocka_unit_test(junk_ends_the_worker_with_an_error_that_names_it),
        cmocka_unit_test(a_message_of_one_byte_is_junk_and_no_signal),
        cmocka_unit_test(junk_ends_a_worker_that_waits_for_peers),
        cmocka_unit_test(an_id_that_was_not_announced_is_refused),
        cmocka_unit_test(a_worker_without_a_coordinator_ends_at_its_timeout),
        cmocka_unit_test(a_worker_that_left_logs_no_broken_connection),
    };
    return cmocka_run_group_tests(tests, compute_alone, forget_alone);
}
