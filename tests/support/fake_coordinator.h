/* fake_coordinator.h - a coordinator that a test leads by the hand, for tests of the worker.
 *
 * It has no dataset, no plan and no clock: a made-up batch for each step, cut into shards as a real one would, and a
 * ROUTER that says what the test wants said. Workers are threads of the test that run worker_run, over TCP with a ring
 * between them or over inproc with a hub. Whatever does not come within PATIENCE_MS fails the test. */
#ifndef LSTMQ_TESTS_SUPPORT_FAKE_COORDINATOR_H
#define LSTMQ_TESTS_SUPPORT_FAKE_COORDINATOR_H

#include "kernels/collective.h"
#include "proto/base/buffer.h"
#include "proto/base/clock.h"
#include "proto/base/random.h"
#include "worker/cluster/worker.h"
#include "worker/collective/local.h"
#include "worker/link/parcel.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum { MEMBERS = 5, PATIENCE_MS = 120000, SRC_WORDS = 30, TGT_WORDS = 40, STEP_ROWS = 10, FILES = 2, RUN = 77 };

struct member {
    struct worker_options options;
    void *context; /* its own where it connects over TCP */
    pthread_t thread;
    struct err err; /* what ended worker_run; its thread's until fake_member_join */
    bool running, done;
    struct route route;
    struct hello hello;                 /* numbers only          */
    struct step_result results[1024];   /* of its last HELLO, REPORT or STOPPED */
    struct report report;               /* numbers only          */
    struct stopped stopped;             /* numbers only          */
    struct err said;                    /* its ERROR             */
    char endpoint[COLLECTIVE_ENDPOINT]; /* its ENDPOINT          */
    struct buffer state[FILES];
};

struct fake {
    struct config config;
    void *context, *socket;
    char endpoint[256];
    struct local_hub *hub; /* inproc only */
    struct member members[MEMBERS];
    uint32_t size; /* of the generation: members 0..size-1 are its ranks */
    uint64_t generation, span;
};

/* ---- workers ---- */

static void *fake_member_run(void *context)
{
    struct member *member = context;
    member->done = worker_run(&member->options, &member->err);
    return NULL;
}

static void fake_member_start(struct fake *fake, int i)
{
    struct member *member = &fake->members[i];
    bool local = fake->hub != NULL;
    member->context = local ? NULL : zmq_ctx_new();
    member->options = (struct worker_options){.zmq_context = local ? fake->context : member->context,
                                              .endpoint = fake->endpoint,
                                              .config = &fake->config,
                                              .hub = fake->hub};
    member->running = true;
    assert_int_equal(pthread_create(&member->thread, NULL, fake_member_run, member), 0);
}

/* Returns what worker_run returned. */
static bool fake_member_join(struct member *member)
{
    pthread_join(member->thread, NULL);
    if (member->context != NULL)
        zmq_ctx_term(member->context);
    member->running = false;
    for (int file = 0; file < FILES; file++)
        buffer_free(&member->state[file]);
    return member->done;
}

/* ---- the socket ---- */

static void fake_bind(struct fake *fake, const char *endpoint)
{
    const int patience = PATIENCE_MS, linger = 0, mandatory = 1;
    size_t size = sizeof fake->endpoint;
    fake->socket = zmq_socket(fake->context, ZMQ_ROUTER);
    zmq_setsockopt(fake->socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(fake->socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(fake->socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
    /* A port is free again some time after the socket that had it was closed. */
    const int64_t end = clock_ms() + PATIENCE_MS;
    bool bound;
    do
        bound = zmq_bind(fake->socket, endpoint) == 0;
    while (!bound && zmq_errno() == EADDRINUSE && clock_ms() < end);
    assert_true(bound);
    zmq_getsockopt(fake->socket, ZMQ_LAST_ENDPOINT, fake->endpoint, &size);
}

static void fake_open(struct fake *fake, bool local, enum reduce reduce)
{
    struct err err;
    memset(fake, 0, sizeof *fake);
    config_defaults(&fake->config);
    fake->config.model_embed = 8;
    fake->config.model_hidden = 16;
    fake->config.train_threads = 1;
    fake->config.train_shards = 4;
    fake->config.train_reduce = (int)reduce;
    fake->config.worker_reconnect_timeout = PATIENCE_MS / 1000;
    fake->config.worker_heartbeat_timeout = PATIENCE_MS; /* it has no clock, so it does not say that it is there */
    fake->context = zmq_ctx_new();
    fake->hub = local ? local_hub_new(&err) : NULL;
    fake_bind(fake, local ? "inproc://fake-coordinator" : "tcp://127.0.0.1:*");
}

static void fake_close(struct fake *fake)
{
    zmq_close(fake->socket);
    zmq_ctx_term(fake->context);
    if (fake->hub != NULL)
        local_hub_destroy(&fake->hub);
}

static void fake_coordinator_say(struct fake *fake, int to, const struct message *message)
{
    struct err err;
    if (!message_send_wait(fake->socket, &fake->members[to].route, message, &err))
        fail_msg("to member %d: %s", to, err.text);
}

static int fake_who(const struct fake *fake, const struct route *route)
{
    for (int i = 0; i < MEMBERS; i++)
        if (fake->members[i].running && fake->members[i].route.size == route->size &&
            memcmp(fake->members[i].route.id, route->id, route->size) == 0)
            return i;
    return -1;
}

/* Take in the next message but CREDIT. Returns its type; *who is the member, or -1 on a new connection. */
static enum message_type fake_hear(struct fake *fake, int *who)
{
    for (;;) {
        struct message message;
        struct route route;
        struct err err;
        bool got;
        if (!message_receive(fake->socket, &route, true, &message, &got, &err) || !got)
            fail_msg("nothing was heard: %s", err.text);
        enum message_type type = message.type;
        *who = fake_who(fake, &route);
        struct member *member = *who >= 0 ? &fake->members[*who] : NULL;
        if (type == MESSAGE_HELLO && member == NULL) {
            /* The first that has none, or has lost its connection. */
            for (int i = 0; i < MEMBERS && member == NULL; i++)
                if (fake->members[i].running && fake->members[i].route.size == 0)
                    member = &fake->members[ *who = i];
            assert_non_null(member);
            member->route = route;
        }
        if (type == MESSAGE_HELLO) {
            member->hello = message.hello;
            memcpy(member->results, message.hello.results, message.hello.steps * sizeof *member->results);
        } else if (type == MESSAGE_REPORT) {
            member->report = message.report;
            memcpy(member->results, message.report.results, message.report.steps * sizeof *member->results);
        } else if (type == MESSAGE_STOPPED) {
            member->stopped = message.stopped;
            memcpy(member->results, message.stopped.results, message.stopped.steps * sizeof *member->results);
        } else if (type == MESSAGE_ENDPOINT) {
            snprintf(member->endpoint, sizeof member->endpoint, "%.*s", (int)message.endpoint.address.size,
                     message.endpoint.address.data);
        } else if (type == MESSAGE_STATE) {
            struct buffer *file = &member->state[message.state.file];
            if (message.state.offset == 0)
                buffer_clear(file);
            buffer_append(file, message.state.bytes, message.state.size);
        } else if (type == MESSAGE_ERROR) {
            err_set(&member->said, (enum err_code)message.error.code, "%.*s", (int)message.error.text.size,
                    message.error.text.data);
        }
        message_close(&message);
        if (type != MESSAGE_CREDIT)
            return type;
    }
}

/* The next message is of this type. Returns whose. */
static int fake_expect(struct fake *fake, enum message_type type)
{
    int who;
    enum message_type found = fake_hear(fake, &who);
    if (found != type)
        fail_msg("%s instead of %s: %s", message_name(found), message_name(type),
                 found == MESSAGE_ERROR && who >= 0 ? fake->members[who].said.text : "");
    return who;
}

/* One such message from each of `count` members. */
static void fake_expect_all(struct fake *fake, enum message_type type, uint32_t count)
{
    bool heard[MEMBERS] = {false};
    for (uint32_t i = 0; i < count; i++) {
        int who = fake_expect(fake, type);
        assert_in_range(who, 0, MEMBERS - 1);
        assert_false(heard[who]);
        heard[who] = true;
    }
}

/* ---- beginnings ---- */

static void fake_welcome(struct fake *fake, int to)
{
    struct buffer config = {0};
    config_dump(&fake->config, &config);
    fake_coordinator_say(fake, to,
                         &(struct message){.type = MESSAGE_WELCOME,
                                           .welcome = {.run = RUN,
                                                       .worker = (uint64_t)to + 1,
                                                       .config = {config.data, config.size},
                                                       .src_vocab = SRC_WORDS,
                                                       .tgt_vocab = TGT_WORDS}});
    buffer_free(&config);
}

static void fake_start(struct fake *fake, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        fake_member_start(fake, i);
        assert_int_equal(fake_expect(fake, MESSAGE_HELLO), i);
        fake_welcome(fake, i);
    }
}

/* GENERATION to all of `size` ranks; rank r gets source[r]. */
static void fake_announce(struct fake *fake, uint32_t size, uint64_t step, const enum generation_source *source)
{
    fake->generation++;
    fake->span = 0;
    fake->size = size;
    bool broadcast = false;
    for (uint32_t r = 0; r < size; r++)
        broadcast = broadcast || source[r] == SOURCE_PEER;
    for (uint32_t r = 0; r < size; r++)
        fake_coordinator_say(fake, (int)r,
                             &(struct message){.type = MESSAGE_GENERATION,
                                               .generation = {.generation = fake->generation,
                                                              .rank = r,
                                                              .size = size,
                                                              .step = step,
                                                              .source = source[r],
                                                              .broadcast = broadcast}});
}

static void fake_peers(struct fake *fake)
{
    struct buffer lines = {0};
    for (uint32_t r = 0; r < fake->size; r++)
        buffer_format(&lines, "%s\n", fake->members[r].endpoint);
    for (uint32_t r = 0; r < fake->size; r++)
        fake_coordinator_say(
            fake, (int)r,
            &(struct message){.type = MESSAGE_PEERS,
                              .peers = {.generation = fake->generation, .lines = lines.data, .size = lines.size}});
    buffer_free(&lines);
}

static void fake_generation(struct fake *fake, uint32_t size, uint64_t step, const enum generation_source *source)
{
    fake_announce(fake, size, step, source);
    if (size > 1) {
        fake_expect_all(fake, MESSAGE_ENDPOINT, size);
        fake_peers(fake);
    }
    fake_expect_all(fake, MESSAGE_READY, size);
}

/* ---- work ---- */

/* The made-up batch of a step. */
struct made {
    uint16_t src_lengths[STEP_ROWS], tgt_lengths[STEP_ROWS], ids[STEP_ROWS * 16];
    size_t at[STEP_ROWS + 1]; /* place of each row's ids */
    uint16_t distinct[SRC_WORDS + TGT_WORDS];
    struct span_step of;
};

static void fake_make(struct made *made, uint64_t step)
{
    struct mt19937 random;
    bool src[SRC_WORDS] = {false}, tgt[TGT_WORDS] = {false};
    size_t used = 0;
    memset(made, 0, sizeof *made);
    mt19937_seed(&random, step + 1);
    tgt[1] = true; /* <sos> */
    for (int r = 0; r < STEP_ROWS; r++) {
        made->at[r] = used;
        made->src_lengths[r] = (uint16_t)(1 + mt19937_below(&random, 7));
        made->tgt_lengths[r] = (uint16_t)(1 + mt19937_below(&random, 7));
        for (int i = 0; i < made->src_lengths[r]; i++)
            src[made->ids[used++] = (uint16_t)(3 + mt19937_below(&random, SRC_WORDS - 3))] = true;
        for (int i = 0; i < made->tgt_lengths[r]; i++) {
            uint16_t id = made->ids[used++] = (uint16_t)(2 + mt19937_below(&random, TGT_WORDS - 2));
            if (i + 1 < made->tgt_lengths[r])
                tgt[id] = true;
        }
        made->of.tokens += made->tgt_lengths[r];
    }
    made->at[STEP_ROWS] = used;
    for (uint16_t id = 0; id < SRC_WORDS; id++)
        if (src[id])
            made->distinct[made->of.src_distinct++] = id;
    for (uint16_t id = 0; id < TGT_WORDS; id++)
        if (tgt[id])
            made->distinct[made->of.src_distinct + made->of.tgt_distinct++] = id;
}

/* The span of one step to one rank: its shards, each ceil(STEP_ROWS / V) rows or what is left of them. */
static void fake_send_span(struct fake *fake, uint32_t rank, uint64_t step)
{
    struct made made;
    struct span_shard shards[64];
    fake_make(&made, step);
    uint32_t V = (uint32_t)fake->config.train_shards, W = fake->size, length = (STEP_ROWS + V - 1) / V;
    uint32_t each = (V + W - 1) / W, first = rank * each < V ? rank * each : V;
    uint32_t end = first + each < V ? first + each : V, count = 0, row = first * length, rows = 0;
    row = row < STEP_ROWS ? row : STEP_ROWS;
    for (uint32_t shard = first; shard < end; shard++) {
        uint32_t left = STEP_ROWS - row - rows, here = left < length ? left : length;
        shards[count++] = (struct span_shard){.shard = shard, .rows = here};
        rows += here;
    }
    fake_coordinator_say(fake, (int)rank,
                         &(struct message){.type = MESSAGE_SPAN,
                                           .span = {.generation = fake->generation,
                                                    .span = fake->span,
                                                    .first_step = step,
                                                    .steps = 1,
                                                    .of = &made.of,
                                                    .shards = shards,
                                                    .shard_count = count,
                                                    .distinct = made.distinct,
                                                    .distinct_count = made.of.src_distinct + made.of.tgt_distinct,
                                                    .rows = {.count = rows,
                                                             .src_lengths = made.src_lengths + row,
                                                             .tgt_lengths = made.tgt_lengths + row,
                                                             .ids = made.ids + made.at[row],
                                                             .id_count = made.at[row + rows] - made.at[row]}}});
}

/* Steps first..end-1, one a span, each reported by all ranks, and alike. */
static inline void fake_steps(struct fake *fake, uint64_t first, uint64_t end)
{
    for (uint64_t step = first; step < end; step++) {
        for (uint32_t r = 0; r < fake->size; r++)
            fake_send_span(fake, r, step);
        fake->span++;
        fake_expect_all(fake, MESSAGE_REPORT, fake->size);
        for (uint32_t r = 1; r < fake->size; r++) {
            assert_memory_equal(fake->members[r].results, fake->members[0].results, sizeof(struct step_result));
            assert_int_equal(fake->members[r].report.hash, fake->members[0].report.hash);
        }
    }
}

/* SAVE: the member's two files, in its `state`. */
static inline void fake_coordinator_save(struct fake *fake, int who, uint64_t step)
{
    struct buffer *state = fake->members[who].state;
    buffer_clear(&state[0]);
    buffer_clear(&state[1]);
    fake_coordinator_say(
        fake, who, &(struct message){.type = MESSAGE_SAVE, .save = {.generation = fake->generation, .step = step}});
    /* A header and three arenas; each smaller than a piece. */
    for (int piece = 0; piece < 5; piece++)
        assert_int_equal(fake_expect(fake, MESSAGE_STATE), who);
}

static inline void fake_dismiss(struct fake *fake, int who)
{
    fake_coordinator_say(fake, who, &(struct message){.type = MESSAGE_DISMISS, .dismiss = {.reason = {"done", 4}}});
    assert_int_equal(fake_expect(fake, MESSAGE_LEAVE), who);
    if (!fake_member_join(&fake->members[who]))
        fail_msg("member %d: %s", who, fake->members[who].err.text);
}

#endif
