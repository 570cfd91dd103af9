/* A ring with keys: the right keys work, rank by rank, and no other peer gets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/wire/auth/zap.h"
#include "tests/support/ring_process.h"
#include "worker/collective/ring.h"

#include <string.h>

enum { RANKS = 3, COUNT = 100000 };

struct process {
    struct ring_process base;
    struct curve_keys keys;
    struct zap *zap;
    uint32_t rank;
    const char **endpoints, **public_keys;
    int64_t data[COUNT];
    int64_t timeout_ms;
    bool ok;
    struct err err;
    pthread_t thread;
};

static void *ring_keys_sum(void *argument)
{
    struct process *process = argument;
    struct collective_group group = {.generation = 1,
                                     .rank = process->rank,
                                     .size = RANKS,
                                     .endpoints = process->endpoints,
                                     .public_keys = process->public_keys,
                                     .timeout_ms = process->timeout_ms};
    struct collective *ring = process->base.ring;
    process->ok = ring->op->connect(ring, &group, &process->err) &&
                  collective_sum(ring, ELEMENT_I64, process->data, COUNT, &process->err);
    return NULL;
}

struct fixture {
    struct process process[RANKS];
    const char *endpoints[RANKS], *public_keys[RANKS];
};

static void ring_keys_open(struct fixture *fixture, int64_t timeout_ms)
{
    struct err err = {0};
    memset(fixture, 0, sizeof *fixture);
    for (uint32_t i = 0; i < RANKS; i++)
        assert_true(curve_generate(&fixture->process[i].keys, "worker", ROLE_TRAIN, &err));
    for (uint32_t i = 0; i < RANKS; i++) {
        struct process *process = &fixture->process[i];
        process->rank = i;
        process->timeout_ms = timeout_ms;
        process->endpoints = fixture->endpoints;
        process->public_keys = fixture->public_keys;
        ring_process_open(&process->base);
        process->zap = zap_new(process->base.zmq_context, process->base.loop, NULL, &err);
        assert_non_null(process->zap);
        ring_process_listen(&process->base, (struct ring_options){.keys = &process->keys, .zap = process->zap});
        fixture->endpoints[i] = process->base.endpoint;
        fixture->public_keys[i] = process->keys.public.key;
    }
}

static void ring_keys_run(struct fixture *fixture)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        struct process *process = &fixture->process[i];
        for (int64_t n = 0; n < COUNT; n++)
            process->data[n] = n * (i + 1);
        zap_set_ring(process->zap, fixture->public_keys[(i + RANKS - 1) % RANKS]);
        ring_process_start(&process->base);
        pthread_create(&process->thread, NULL, ring_keys_sum, process);
    }
    for (uint32_t i = 0; i < RANKS; i++)
        pthread_join(fixture->process[i].thread, NULL);
}

static void ring_keys_close(struct fixture *fixture)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        struct process *process = &fixture->process[i];
        ring_process_stop(&process->base);
        zap_destroy(&process->zap);
        ring_process_close(&process->base);
    }
}

static void ring_keys_all_right(const struct fixture *fixture)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        if (!fixture->process[i].ok)
            fail_msg("rank %u: %s", i, fixture->process[i].err.text);
        for (int64_t n = 0; n < COUNT; n++)
            assert_int_equal(fixture->process[i].data[n], n * (RANKS * (RANKS + 1) / 2));
    }
}

static struct fixture ring_keys_fixture;

static void ranks_with_listed_keys_sum(void **state)
{
    (void)state;
    ring_keys_open(&ring_keys_fixture, 0);
    ring_keys_run(&ring_keys_fixture);
    ring_keys_close(&ring_keys_fixture);
    ring_keys_all_right(&ring_keys_fixture);
}

/* Bytes that would end the generation if the ring read them. */
static void *ring_keys_intrude(void *zmq_context, const char *endpoint, const struct curve_keys *keys,
                               const char *server)
{
    struct err err;
    int linger = 0;
    void *socket = zmq_socket(zmq_context, ZMQ_PUSH);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    if (keys != NULL)
        assert_true(curve_set_client(socket, keys, server, &err));
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    for (int i = 0; i < 10; i++)
        zmq_send(socket, "junk", 4, ZMQ_DONTWAIT);
    return socket;
}

static void a_rank_with_a_wrong_key_or_none_is_not_heard(void **state)
{
    (void)state;
    struct err err;
    struct curve_keys other;
    void *zmq_context = zmq_ctx_new();
    assert_true(curve_generate(&other, "other", ROLE_TRAIN, &err));
    ring_keys_open(&ring_keys_fixture, 0);
    const struct process *victim = &ring_keys_fixture.process[1];
    void *keyed = ring_keys_intrude(zmq_context, victim->base.endpoint, &other, victim->keys.public.key);
    void *bare = ring_keys_intrude(zmq_context, victim->base.endpoint, NULL, NULL);
    /* Another worker of the run, but not the one before this. */
    void *wrong = ring_keys_intrude(zmq_context, victim->base.endpoint, &ring_keys_fixture.process[2].keys,
                                    victim->keys.public.key);
    ring_keys_run(&ring_keys_fixture);
    ring_keys_close(&ring_keys_fixture);
    zmq_close(keyed);
    zmq_close(bare);
    zmq_close(wrong);
    zmq_ctx_term(zmq_context);
    ring_keys_all_right(&ring_keys_fixture);
}

/* Rank 1 sits at its endpoint without the key that the coordinator named. */
static void a_rank_with_a_wrong_identity_gets_nothing(void **state)
{
    (void)state;
    struct err err;
    struct curve_keys other;
    assert_true(curve_generate(&other, "other", ROLE_TRAIN, &err));
    ring_keys_open(&ring_keys_fixture, 500);
    ring_keys_fixture.public_keys[1] = other.public.key;
    ring_keys_run(&ring_keys_fixture);
    ring_keys_close(&ring_keys_fixture);
    assert_int_equal(ring_keys_fixture.process[0].err.code, ERR_FAILED);
    for (int64_t n = 0; n < COUNT; n++)
        assert_true(ring_keys_fixture.process[1].data[n] != n * 6 || n == 0);
}

static void a_group_without_keys_is_refused(void **state)
{
    (void)state;
    ring_keys_open(&ring_keys_fixture, 500);
    ring_keys_fixture.public_keys[1] = "none";
    for (uint32_t i = 0; i < RANKS; i++)
        ring_process_start(&ring_keys_fixture.process[i].base);
    ring_keys_sum(&ring_keys_fixture.process[0]);
    assert_int_equal(ring_keys_fixture.process[0].err.code, ERR_PROTOCOL);
    ring_keys_close(&ring_keys_fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_with_listed_keys_sum),
        cmocka_unit_test(a_rank_with_a_wrong_key_or_none_is_not_heard),
        cmocka_unit_test(a_rank_with_a_wrong_identity_gets_nothing),
        cmocka_unit_test(a_group_without_keys_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
