/* test_ring_page.c - PROTOCOL.md is enough to take part in a ring: of three ranks the middle one is written here from
 * that page, with bare sockets and bytes, and all three get the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/collective.h"
#include "proto/base/random.h"
#include "worker/collective/ring.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { RANKS = 3, PLAYED = 1, GENERATION = 5, LINE = 32, LIMIT_MS = 120000 };

enum kind { SUM_F32, SUM_BF16, SUM_I64, SUM_FOLDED, BROADCAST };

static const float ring_page_unit = 0x1p-40f;

/* What the generation does: the meeting first; segments that are empty, short, and of several chunks. */
static const struct operation {
    enum kind kind;
    size_t count;
    uint32_t root;
} ring_page_operations[] = {
    {SUM_I64, 1, 0},     {SUM_I64, 1, 0}, {BROADCAST, 2500000, 0}, {BROADCAST, 1, 1},      {BROADCAST, 1 << 20, 2},
    {SUM_F32, 300, 0},   {SUM_F32, 0, 0}, {SUM_F32, 900000, 0},    {SUM_BF16, 1700000, 0}, {SUM_BF16, 65, 0},
    {SUM_FOLDED, 63, 0}, {SUM_I64, 9, 0}, {SUM_FOLDED, 500000, 0}, {SUM_I64, 400000, 0},
};

enum { OPERATIONS = sizeof ring_page_operations / sizeof *ring_page_operations };

/* What a rank adds, and its result. */
struct rank {
    uint32_t number;
    uint8_t *data[OPERATIONS]; /* [count] float, int64 or byte; of a scaled sum int64, and then float */
    struct collective *ring;   /* of a rank that is not played */
    pthread_t thread;
    bool ok;
    struct err err;
    /* of the one that is */
    void *from, *to;
    uint32_t operation;
    enum kind kind;
    uint64_t count;
    uint8_t buffer[1 << 20];
};

static size_t ring_page_item(enum kind kind)
{
    return kind == BROADCAST ? 1 : kind == SUM_I64 || kind == SUM_FOLDED ? 8 : 4;
}

static void ring_page_fill(struct rank *rank)
{
    uint64_t drawn = rank->number;
    for (int o = 0; o < OPERATIONS; o++) {
        const struct operation *operation = &ring_page_operations[o];
        uint8_t *data = rank->data[o] = malloc(operation->count * 8 + 8);
        assert_non_null(data);
        for (size_t i = 0; i < operation->count; i++) {
            drawn = splitmix(drawn);
            float value = (float)(int64_t)drawn * 0x1p-64f;
            if (ring_page_item(operation->kind) == 8)
                memcpy(data + 8 * i, &drawn, 8);
            else if (operation->kind == BROADCAST)
                data[i] = (uint8_t)drawn;
            else
                memcpy(data + 4 * i, &value, 4);
        }
    }
    const int64_t one = 1; /* the meeting's */
    memcpy(rank->data[0], &one, sizeof one);
    memcpy(rank->data[1], &one, sizeof one);
}

/* ---- ranks as they are ---- */

static bool ring_page_do(struct rank *rank, int number, struct err *err)
{
    const struct operation *operation = &ring_page_operations[number];
    const struct collective_table *op = rank->ring->op;
    void *data = rank->data[number];
    uint64_t handle;
    bool ok;
    if (operation->kind == BROADCAST)
        return op->broadcast(rank->ring, data, operation->count, operation->root, &handle, err) &&
               op->wait(rank->ring, handle, err);
    if (operation->kind != SUM_FOLDED)
        return collective_sum(rank->ring, (enum collective_element)operation->kind, data, operation->count, err);
    float *result = malloc(operation->count * sizeof *result);
    ok = result != NULL &&
         op->all_reduce_scaled(rank->ring, data, operation->count, ring_page_unit, result, &handle, err) &&
         op->wait(rank->ring, handle, err);
    if (ok)
        memcpy(data, result, operation->count * sizeof *result);
    free(result);
    return ok;
}

static void *ring_page_run(void *argument)
{
    struct rank *rank = argument;
    rank->ok = true;
    for (int o = 0; o < OPERATIONS && rank->ok; o++)
        rank->ok = ring_page_do(rank, o, &rank->err);
    return NULL;
}

/* ---- the rank that is played, by the page ---- */

static void ring_page_put(uint8_t *at, int bytes, uint64_t value)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void ring_page_line(const struct rank *rank, uint32_t of, uint32_t step, uint32_t chunk, uint8_t line[LINE])
{
    memcpy(line, "LQR", 3);
    ring_page_put(line + 3, 1, rank->kind);
    ring_page_put(line + 4, 2, step);
    ring_page_put(line + 6, 2, of);
    ring_page_put(line + 8, 8, GENERATION);
    ring_page_put(line + 16, 8, rank->count);
    ring_page_put(line + 24, 4, rank->operation);
    ring_page_put(line + 28, 4, chunk);
}

static void ring_page_say(struct rank *rank, uint32_t step, uint32_t chunk, const void *elements, size_t bytes)
{
    uint8_t line[LINE];
    ring_page_line(rank, PLAYED, step, chunk, line);
    assert_int_equal(zmq_send(rank->to, line, LINE, ZMQ_SNDMORE), LINE);
    assert_int_equal(zmq_send(rank->to, elements, bytes, 0), bytes);
}

static void ring_page_hear(struct rank *rank, uint32_t step, uint32_t chunk, void *elements, size_t bytes)
{
    uint8_t line[LINE], due[LINE];
    int more;
    size_t size = sizeof more;
    ring_page_line(rank, PLAYED - 1, step, chunk, due);
    assert_int_equal(zmq_recv(rank->from, line, LINE, 0), LINE);
    assert_memory_equal(line, due, LINE);
    assert_int_equal(zmq_recv(rank->from, elements, bytes, 0), bytes);
    assert_int_equal(zmq_getsockopt(rank->from, ZMQ_RCVMORE, &more, &size), 0);
    assert_int_equal(more, 0);
}

static float ring_page_widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To nearest, ties to even, of what is finite. */
static uint16_t ring_page_round(float value)
{
    uint32_t bits, rest, half;
    memcpy(&bits, &value, sizeof bits);
    rest = bits & 0xFFFF;
    half = bits >> 16;
    return (uint16_t)(half + (rest > 0x8000 || (rest == 0x8000 && half % 2 == 1)));
}

static size_t ring_page_sent(enum kind kind, bool complete)
{
    return kind == SUM_BF16 ? 2 : kind == SUM_FOLDED && complete ? 4 : ring_page_item(kind);
}

/* Element `i` of the memory as it is sent. A complete scaled sum is a float in place of its int64. */
static void ring_page_encode(enum kind kind, bool complete, const uint8_t *data, size_t i, uint8_t *sent)
{
    float value;
    memcpy(&value, data + i * ring_page_item(kind), sizeof value);
    if (kind == SUM_BF16)
        ring_page_put(sent, 2, ring_page_round(value));
    else
        memcpy(sent, data + i * ring_page_item(kind), ring_page_sent(kind, complete));
}

static void ring_page_add_float(enum kind kind, bool last, uint8_t *at, const uint8_t *sent)
{
    float own, came;
    memcpy(&own, at, sizeof own);
    if (kind == SUM_BF16)
        came = ring_page_widen((uint16_t)(sent[0] | sent[1] << 8));
    else
        memcpy(&came, sent, sizeof came);
    own += came;
    if (kind == SUM_BF16 && last)
        own = ring_page_widen(ring_page_round(own));
    memcpy(at, &own, sizeof own);
}

static void ring_page_add_integer(enum kind kind, bool last, uint8_t *at, const uint8_t *sent)
{
    uint64_t own, came;
    memcpy(&own, at, sizeof own);
    memcpy(&came, sent, sizeof came);
    own += came;
    float folded = (float)(int64_t)own * ring_page_unit;
    memcpy(at, &own, sizeof own);
    if (kind == SUM_FOLDED && last)
        memcpy(at, &folded, sizeof folded);
}

/* What was received for element `i`: to add, or complete. */
static void ring_page_decode(enum kind kind, uint32_t step, uint8_t *data, size_t i, const uint8_t *sent)
{
    uint8_t *at = data + i * ring_page_item(kind);
    bool last = step == RANKS - 2; /* of those that add */
    float complete = ring_page_widen((uint16_t)(sent[0] | sent[1] << 8));
    if (step < RANKS - 1 && ring_page_item(kind) == 8)
        ring_page_add_integer(kind, last, at, sent);
    else if (step < RANKS - 1)
        ring_page_add_float(kind, last, at, sent);
    else if (kind == SUM_BF16)
        memcpy(at, &complete, sizeof complete);
    else
        memcpy(at, sent, ring_page_sent(kind, true));
}

/* Segment `j` is sent or received in `step`, chunk by chunk. */
static void ring_page_pass(struct rank *rank, uint8_t *data, uint32_t step, uint32_t j, bool send)
{
    size_t count = rank->count, L = 64 * (((count + RANKS - 1) / RANKS + 63) / 64);
    size_t at = j * L < count ? j * L : count, end = (j + 1) * L < count ? (j + 1) * L : count;
    size_t most = (1 << 20) / ring_page_sent(rank->kind, false), item = ring_page_sent(rank->kind, step >= RANKS - 1);
    for (uint32_t chunk = 0; at < end; chunk++) {
        size_t some = end - at < most ? end - at : most;
        for (size_t i = 0; send && i < some; i++)
            ring_page_encode(rank->kind, step >= RANKS - 1, data, at + i, rank->buffer + i * item);
        if (send)
            ring_page_say(rank, step, chunk, rank->buffer, some * item);
        else
            ring_page_hear(rank, step, chunk, rank->buffer, some * item);
        for (size_t i = 0; !send && i < some; i++)
            ring_page_decode(rank->kind, step, data, at + i, rank->buffer + i * item);
        at += some;
    }
}

static void ring_page_play_sum(struct rank *rank, uint8_t *data)
{
    for (uint32_t step = 0; step < 2 * (RANKS - 1); step++) {
        ring_page_pass(rank, data, step, (PLAYED + 2 * RANKS - step) % RANKS, true);
        ring_page_pass(rank, data, step, (PLAYED + 2 * RANKS - step - 1) % RANKS, false);
    }
    for (size_t i = 0; rank->kind == SUM_FOLDED && i < rank->count; i++) /* close up the floats */
        memmove(data + 4 * i, data + 8 * i, 4);
}

static void ring_page_play_broadcast(struct rank *rank, uint8_t *data, uint32_t root)
{
    uint32_t b = (PLAYED + RANKS - root) % RANKS;
    uint32_t chunk = 0;
    for (size_t at = 0; at < rank->count; at += 1 << 20, chunk++) {
        size_t some = rank->count - at < 1 << 20 ? rank->count - at : 1 << 20;
        if (b > 0)
            ring_page_hear(rank, b - 1, chunk, data + at, some);
        if (b < RANKS - 1)
            ring_page_say(rank, b, chunk, data + at, some);
    }
}

static void ring_page_play(struct rank *rank)
{
    for (int o = 0; o < OPERATIONS; o++) {
        rank->operation++;
        rank->kind = ring_page_operations[o].kind;
        rank->count = ring_page_operations[o].count;
        if (rank->kind == BROADCAST)
            ring_page_play_broadcast(rank, rank->data[o], ring_page_operations[o].root);
        else
            ring_page_play_sum(rank, rank->data[o]);
    }
}

/* ---- the generation ---- */

static void ring_page_open_played(struct rank *rank, void *context, char endpoint[COLLECTIVE_ENDPOINT])
{
    int limit = LIMIT_MS, linger = 0;
    size_t size = COLLECTIVE_ENDPOINT;
    rank->from = zmq_socket(context, ZMQ_PULL);
    rank->to = zmq_socket(context, ZMQ_PUSH);
    assert_int_equal(zmq_setsockopt(rank->from, ZMQ_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(zmq_setsockopt(rank->to, ZMQ_SNDTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(zmq_setsockopt(rank->to, ZMQ_LINGER, &linger, sizeof linger), 0);
    assert_int_equal(zmq_bind(rank->from, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(rank->from, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
}

static void ring_page_open(struct rank *rank, void *context, char endpoint[COLLECTIVE_ENDPOINT])
{
    const struct ring_options options = {.zmq_context = context, .bind = "tcp://127.0.0.1"};
    rank->ring = ring_open(&options, &rank->err);
    assert_non_null(rank->ring);
    assert_true(rank->ring->op->listen(rank->ring, GENERATION, endpoint, &rank->err));
}

static void ring_page_connect(struct rank *rank, const char *const endpoints[RANKS])
{
    const struct collective_group group = {
        .generation = GENERATION, .rank = rank->number, .size = RANKS, .endpoints = endpoints, .timeout_ms = LIMIT_MS};
    if (rank->ring == NULL)
        assert_int_equal(zmq_connect(rank->to, endpoints[PLAYED + 1]), 0);
    else
        assert_true(rank->ring->op->connect(rank->ring, &group, &rank->err));
}

static void ring_page_compare(const struct rank *rank, const struct rank *played)
{
    for (int o = 0; o < OPERATIONS; o++) {
        const struct operation *operation = &ring_page_operations[o];
        size_t item = operation->kind == SUM_FOLDED ? sizeof(float) : ring_page_item(operation->kind);
        if (memcmp(rank->data[o], played->data[o], operation->count * item) != 0)
            fail_msg("operation %d: rank %u has other bits than the one by the page", o + 1, rank->number);
    }
}

static void ring_page_close(struct rank *rank)
{
    collective_close(&rank->ring);
    if (rank->from != NULL) {
        zmq_close(rank->from);
        zmq_close(rank->to);
    }
    for (int o = 0; o < OPERATIONS; o++)
        free(rank->data[o]);
}

static void a_rank_by_the_page_has_the_bits_of_the_others(void **state)
{
    static struct rank ranks[RANKS];
    char places[RANKS][COLLECTIVE_ENDPOINT];
    const char *endpoints[RANKS];
    void *context = zmq_ctx_new();
    (void)state;
    for (uint32_t r = 0; r < RANKS; r++) {
        ranks[r].number = r;
        ring_page_fill(&ranks[r]);
        (r == PLAYED ? ring_page_open_played : ring_page_open)(&ranks[r], context, places[r]);
        endpoints[r] = places[r];
    }
    for (uint32_t r = 0; r < RANKS; r++)
        ring_page_connect(&ranks[r], endpoints);
    for (uint32_t r = 0; r < RANKS; r++)
        if (r != PLAYED)
            assert_int_equal(pthread_create(&ranks[r].thread, NULL, ring_page_run, &ranks[r]), 0);
    ring_page_play(&ranks[PLAYED]);
    for (uint32_t r = 0; r < RANKS; r++)
        if (r != PLAYED) {
            pthread_join(ranks[r].thread, NULL);
            if (!ranks[r].ok)
                fail_msg("rank %u: %s", r, ranks[r].err.text);
            ring_page_compare(&ranks[r], &ranks[PLAYED]);
        }
    for (uint32_t r = 0; r < RANKS; r++)
        ring_page_close(&ranks[r]);
    zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_by_the_page_has_the_bits_of_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
