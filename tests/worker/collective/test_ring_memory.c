/* Neighbours on one machine exchange chunks in shared memory: the neighbour, and no other process, finds what was put
 * in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/collective/ring.h"
#include "worker/collective/ring_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

/* A flag of memfd_create that older C libraries do not define. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

enum { GENERATION = 5, CHUNK = RING_CHUNK / (int)sizeof(int64_t), COUNT = 2 * CHUNK };

static struct ring_memory *test_ring_memory_new(char place[COLLECTIVE_ENDPOINT], const char *text)
{
    snprintf(place, COLLECTIVE_ENDPOINT, "%s-%ld-77", text, (long)getpid());
    struct ring_memory *memory = ring_memory_new(place, COLLECTIVE_ENDPOINT);
    assert_non_null(memory);
    return memory;
}

static void another_process_finds_memory_by_its_place_and_fills_it(void **state)
{
    (void)state;
    char place[COLLECTIVE_ENDPOINT];
    struct ring_memory *memory = test_ring_memory_new(place, "ipc://@of-a-test");
    uint8_t *chunk = malloc(RING_CHUNK);
    int status;
    memset(chunk, 7, RING_CHUNK);
    pid_t child = fork();
    if (child == 0) {
        uint32_t tray = 0;
        struct ring_memory *found = ring_memory_find(place);
        bool ok = found != NULL && ring_memory_put(found, chunk, RING_CHUNK, &tray) && tray == 0;
        ring_memory_destroy(&found);
        free(chunk);
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    const void *tray = ring_memory_at(memory, 0);
    assert_non_null(tray);
    assert_memory_equal(tray, chunk, RING_CHUNK);
    free(chunk);
    ring_memory_destroy(&memory);
}

static void a_full_tray_is_not_given_again_before_it_is_empty(void **state)
{
    (void)state;
    char place[COLLECTIVE_ENDPOINT];
    struct ring_memory *memory = test_ring_memory_new(place, "ipc://@of-a-test"), *found = ring_memory_find(place);
    assert_non_null(found);
    uint32_t tray, last;
    for (uint32_t i = 0; i < RING_TRAYS; i++) {
        assert_null(ring_memory_at(memory, i));
        assert_true(ring_memory_put(found, &i, sizeof i, &tray));
        assert_int_equal(tray, i);
    }
    assert_false(ring_memory_put(found, &tray, sizeof tray, &last));
    ring_memory_empty(memory, 3);
    assert_null(ring_memory_at(memory, 3));
    assert_true(ring_memory_put(found, &tray, sizeof tray, &last));
    assert_int_equal(last, 3);
    assert_null(ring_memory_at(memory, RING_TRAYS));
    assert_null(ring_memory_at(memory, UINT32_MAX));
    ring_memory_destroy(&found);
    ring_memory_destroy(&memory);
}

/* An endpoint names a process and a descriptor, and both may belong to another process by now. */
static void only_the_memory_of_that_place_is_found(void **state)
{
    (void)state;
    char place[COLLECTIVE_ENDPOINT], other[COLLECTIVE_ENDPOINT];
    struct ring_memory *memory = test_ring_memory_new(place, "ipc://@of-a-test");
    snprintf(other, sizeof other, "%.10s!%s", place, place + 11);
    assert_null(ring_memory_find(other));

    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    const char *const ends[] = {"1-77-0",
                                "x-77-3",
                                "77",
                                "",
                                "-",
                                "--",
                                "---",
                                "-1-77-3",
                                "99999999-77-3",
                                "99999999999999999999-77-3",
                                "1-77-99999999999999999999"};
    snprintf(other, sizeof other, "ipc://@of-a-test-%ld-77-%d", (long)getpid(), file);
    assert_null(ring_memory_find(other));
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(other, sizeof other, "ipc://@of-a-test-%s", ends[i]);
        assert_null(ring_memory_find(other));
    }
    close(file);
    assert_null(ring_memory_find("tcp://127.0.0.1:5"));

    ring_memory_destroy(&memory);
    assert_null(ring_memory_find(place));
}

static void a_rank_that_finds_memory_cannot_shrink_it(void **state)
{
    (void)state;
    char place[COLLECTIVE_ENDPOINT], path[64];
    struct ring_memory *memory = test_ring_memory_new(place, "ipc://@of-a-test");
    snprintf(path, sizeof path, "/proc/self/fd/%s", strrchr(place, '-') + 1);
    int file = open(path, O_RDWR | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, 4096), -1);
    assert_int_equal(errno, EPERM);
    close(file);
    ring_memory_destroy(&memory);
}

/* Memory as in PROTOCOL.md, with these seals; `place` gets its endpoint. -1: the kernel does not know the flag. */
static int ring_memory_make(char place[COLLECTIVE_ENDPOINT], unsigned flag, int seals)
{
    int file = memfd_create("lstmq-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING | flag);
    if (file < 0 && flag != 0)
        return -1;
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, 4096 + 16 * (1 << 20)), 0);
    snprintf(place, COLLECTIVE_ENDPOINT, "ipc://@of-a-test-%ld-77-%d", (long)getpid(), file);
    assert_int_equal(pwrite(file, place, strlen(place) + 1, 0), strlen(place) + 1);
    assert_int_equal(fcntl(file, F_ADD_SEALS, seals), 0);
    return file;
}

/* With vm.memfd_noexec the kernel adds the seal to each anonymous file. */
static void memory_that_can_never_be_a_program_is_found(void **state)
{
    (void)state;
    char place[COLLECTIVE_ENDPOINT];
    int file = ring_memory_make(place, MFD_NOEXEC_SEAL, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    if (file < 0)
        skip();
    struct ring_memory *found = ring_memory_find(place);
    assert_non_null(found);
    ring_memory_destroy(&found);
    close(file);
}

static void memory_without_a_fixed_size_or_write_access_is_not_found(void **state)
{
    (void)state;
    static const int seals[] = {F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL, F_SEAL_SHRINK | F_SEAL_SEAL,
                                F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL};
    for (size_t i = 0; i < sizeof seals / sizeof *seals; i++) {
        char place[COLLECTIVE_ENDPOINT];
        int file = ring_memory_make(place, 0, seals[i]);
        assert_null(ring_memory_find(place));
        close(file);
    }
}

static void a_text_without_space_stays_as_it_was(void **state)
{
    (void)state;
    char place[8] = "seven77";
    assert_null(ring_memory_new(place, sizeof place));
    assert_string_equal(place, "seven77");
}

/* ---- the ring ---- */

/* Rank 1 of 2 is real; rank 0 is played. */
struct fixture {
    void *zmq_context, *to, *from;
    struct collective *ring;
    char endpoint[COLLECTIVE_ENDPOINT];
    int64_t *data;
    uint64_t handle;
    struct err err;
};

static void test_ring_memory_open(struct fixture *fixture)
{
    char mine[COLLECTIVE_ENDPOINT];
    size_t size = sizeof mine;
    int linger = 0;
    *fixture = (struct fixture){.zmq_context = zmq_ctx_new(), .data = calloc(COUNT, sizeof(int64_t))};
    const struct ring_options options = {.zmq_context = fixture->zmq_context, .bind = "ipc://@"};
    fixture->ring = ring_open(&options, &fixture->err);
    assert_non_null(fixture->ring);
    if (!fixture->ring->op->listen(fixture->ring, GENERATION, fixture->endpoint, &fixture->err))
        fail_msg("%s", fixture->err.text);
    fixture->from = zmq_socket(fixture->zmq_context, ZMQ_PULL);
    fixture->to = zmq_socket(fixture->zmq_context, ZMQ_PUSH);
    zmq_setsockopt(fixture->to, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_bind(fixture->from, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(fixture->from, ZMQ_LAST_ENDPOINT, mine, &size), 0);
    assert_int_equal(zmq_connect(fixture->to, fixture->endpoint), 0);
    const char *endpoints[2] = {mine, fixture->endpoint};
    const struct collective_group group = {
        .generation = GENERATION, .rank = 1, .size = 2, .endpoints = endpoints, .timeout_ms = 120000};
    assert_true(fixture->ring->op->connect(fixture->ring, &group, &fixture->err));
    fixture->data[0] = 40;
    assert_true(fixture->ring->op->all_reduce(fixture->ring, ELEMENT_I64, fixture->data, COUNT, &fixture->handle,
                                              &fixture->err));
}

static void ring_memory_close(struct fixture *fixture)
{
    collective_close(&fixture->ring);
    zmq_close(fixture->to);
    zmq_close(fixture->from);
    zmq_ctx_term(fixture->zmq_context);
    free(fixture->data);
}

/* Rank 0's message of `step`, which says that its elements are in `tray`. */
static void ring_memory_say(struct fixture *fixture, uint16_t step, uint32_t tray)
{
    const struct ring_frame frame = {
        .kind = ELEMENT_I64, .step = step, .generation = GENERATION, .count = COUNT, .operation = 1};
    uint8_t head[RING_FRAME], number[RING_TRAY_NUMBER];
    ring_frame_write(&frame, head);
    ring_tray_write(tray, number);
    assert_int_equal(zmq_send(fixture->to, head, sizeof head, ZMQ_SNDMORE), sizeof head);
    assert_int_equal(zmq_send(fixture->to, number, sizeof number, 0), sizeof number);
}

/* Rank 1 adds to the first half, and is given the second. */
static void a_ring_takes_its_elements_from_the_given_trays(void **state)
{
    (void)state;
    struct fixture fixture;
    test_ring_memory_open(&fixture);
    struct ring_memory *memory = ring_memory_find(fixture.endpoint);
    assert_non_null(memory);
    int64_t *chunk = calloc(CHUNK, sizeof *chunk);
    uint32_t first, second;
    chunk[0] = 2;
    assert_true(ring_memory_put(memory, chunk, RING_CHUNK, &first));
    chunk[0] = 3;
    assert_true(ring_memory_put(memory, chunk, RING_CHUNK, &second));
    ring_memory_say(&fixture, 0, first);
    ring_memory_say(&fixture, 1, second);
    if (!fixture.ring->op->wait(fixture.ring, fixture.handle, &fixture.err))
        fail_msg("%s", fixture.err.text);
    assert_int_equal(fixture.data[0], 42);
    assert_int_equal(fixture.data[CHUNK], 3);
    assert_true(ring_memory_put(memory, chunk, RING_CHUNK, &first) && first == 0);
    free(chunk);
    ring_memory_destroy(&memory);
    ring_memory_close(&fixture);
}

static void an_empty_or_unknown_tray_ends_the_generation(void **state)
{
    (void)state;
    static const uint32_t trays[] = {0, RING_TRAYS - 1, RING_TRAYS, UINT32_MAX};
    for (size_t i = 0; i < sizeof trays / sizeof *trays; i++) {
        struct fixture fixture;
        test_ring_memory_open(&fixture);
        ring_memory_say(&fixture, 0, trays[i]);
        assert_false(fixture.ring->op->wait(fixture.ring, fixture.handle, &fixture.err));
        assert_int_equal(fixture.err.code, ERR_PROTOCOL);
        ring_memory_close(&fixture);
    }
}

static void memory_ends_with_its_generation(void **state)
{
    (void)state;
    struct fixture fixture;
    test_ring_memory_open(&fixture);
    struct ring_memory *memory = ring_memory_find(fixture.endpoint);
    assert_non_null(memory);
    ring_memory_destroy(&memory);
    char again[COLLECTIVE_ENDPOINT];
    assert_true(fixture.ring->op->listen(fixture.ring, GENERATION + 1, again, &fixture.err));
    assert_null(ring_memory_find(fixture.endpoint));
    memory = ring_memory_find(again);
    assert_non_null(memory);
    ring_memory_destroy(&memory);
    ring_memory_close(&fixture);
}

/* With keys a neighbour proves its key; shared memory would accept any process of the same user. */
static void a_ring_with_keys_has_no_memory(void **state)
{
    (void)state;
    struct err err;
    struct curve_keys keys;
    void *zmq_context = zmq_ctx_new();
    struct loop *loop = loop_new(&err);
    struct zap *zap = zap_new(zmq_context, loop, NULL, &err);
    assert_non_null(zap);
    assert_true(curve_generate(&keys, "worker", ROLE_TRAIN, &err));
    const struct ring_options options = {.zmq_context = zmq_context, .bind = "ipc://@", .keys = &keys, .zap = zap};
    struct collective *ring = ring_open(&options, &err);
    char endpoint[COLLECTIVE_ENDPOINT];
    assert_non_null(ring);
    assert_true(ring->op->listen(ring, GENERATION, endpoint, &err));
    assert_null(ring_memory_find(endpoint));
    collective_close(&ring);
    zap_destroy(&zap);
    loop_destroy(&loop);
    zmq_ctx_term(zmq_context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_process_finds_memory_by_its_place_and_fills_it),
        cmocka_unit_test(a_full_tray_is_not_given_again_before_it_is_empty),
        cmocka_unit_test(only_the_memory_of_that_place_is_found),
        cmocka_unit_test(a_rank_that_finds_memory_cannot_shrink_it),
        cmocka_unit_test(memory_that_can_never_be_a_program_is_found),
        cmocka_unit_test(memory_without_a_fixed_size_or_write_access_is_not_found),
        cmocka_unit_test(a_text_without_space_stays_as_it_was),
        cmocka_unit_test(a_ring_takes_its_elements_from_the_given_trays),
        cmocka_unit_test(an_empty_or_unknown_tray_ends_the_generation),
        cmocka_unit_test(memory_ends_with_its_generation),
        cmocka_unit_test(a_ring_with_keys_has_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
