/* test_conversation.c - what coordinator and worker really say to each other during a run, held against PROTOCOL.md.
 *
 * A relay stands between the trainer and worker_run: the worker connects to it, it connects to the trainer, and it
 * writes down each message on its way. Whatever one side answers has passed the relay after what it answers, so the
 * order here is the order of cause and effect. */
#include "proto/wire/message.h"
#include "tests/support/scene_place.h"
#include "tests/support/trainer_scene.h"
#include "worker/cluster/worker.h"
#include "worker/train/state.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

static const char conversation_trainers_end[] = "inproc://test-trainers-end";
static const char conversation_workers_end[] = "inproc://test-workers-end";

enum { MESSAGES = 4096, SIDES = 2, FILES = 2, UNITS = 16 };

enum side { COORDINATOR, WORKER };

/* A message as it passed; its pointers lead nowhere any more. */
struct said {
    enum side by;
    struct message message;
};

struct relay {
    void *context;
    pthread_t thread;
    struct said said[MESSAGES];
    size_t count;
    struct buffer config;              /* of WELCOME                                  */
    struct buffer state[SIDES][FILES]; /* the last state that each side sent, whole   */
    _Atomic uint64_t reports;          /* so far; for the test's thread               */
};

/* A run, or a part of one, and all messages in it. */
struct part {
    struct scene scene;
    uint64_t interrupt_at_report; /* 0 = never */
    struct relay relay;
    pthread_t worker;
    bool worker_done;
    struct err worker_err;
    enum trainer_outcome outcome;
};

static void write_down(struct relay *relay, enum side by, const struct message *message)
{
    if (relay->count == MESSAGES)
        abort();
    relay->said[relay->count++] = (struct said){by, *message};
    if (message->type == MESSAGE_WELCOME)
        buffer_append(&relay->config, message->welcome.config.data, message->welcome.config.size);
    if (message->type == MESSAGE_REPORT)
        atomic_fetch_add(&relay->reports, 1);
    if (message->type != MESSAGE_STATE)
        return;
    struct buffer *file = &relay->state[by][message->state.file];
    if (message->state.offset == 0)
        buffer_clear(file);
    buffer_append(file, message->state.bytes, message->state.size);
}

/* Take one message from a socket, write it down and hand it on. False when the context is being shut down. */
static bool pass_on(struct relay *relay, enum side by, void *from, void *to)
{
    zmq_msg_t parts[MESSAGE_FRAMES];
    struct frame frames[MESSAGE_FRAMES];
    size_t count = 0;
    bool more = true, whole = true;
    while (more && count < MESSAGE_FRAMES) {
        zmq_msg_init(&parts[count]);
        whole = zmq_msg_recv(&parts[count], from, 0) >= 0;
        if (!whole)
            break;
        frames[count] = (struct frame){zmq_msg_data(&parts[count]), zmq_msg_size(&parts[count])};
        more = zmq_msg_more(&parts[count++]);
    }
    struct message message;
    struct err err;
    if (whole && !message_decode(frames, count, &message, &err))
        abort();
    if (whole) {
        write_down(relay, by, &message);
        message_close(&message);
    }
    for (size_t i = 0; whole && i < count; i++)
        whole = zmq_msg_send(&parts[i], to, i + 1 < count ? ZMQ_SNDMORE : 0) >= 0;
    return whole;
}

static void *run_relay(void *context)
{
    struct relay *relay = context;
    void *trainer = zmq_socket(relay->context, ZMQ_DEALER), *worker = zmq_socket(relay->context, ZMQ_DEALER);
    zmq_connect(trainer, conversation_trainers_end);
    zmq_bind(worker, conversation_workers_end);
    zmq_pollitem_t items[] = {{.socket = trainer, .events = ZMQ_POLLIN}, {.socket = worker, .events = ZMQ_POLLIN}};
    bool open = true;
    while (open && zmq_poll(items, 2, -1) > 0) {
        if ((items[0].revents & ZMQ_POLLIN) != 0)
            open = pass_on(relay, COORDINATOR, trainer, worker);
        if (open && (items[1].revents & ZMQ_POLLIN) != 0)
            open = pass_on(relay, WORKER, worker, trainer);
    }
    zmq_close(trainer);
    zmq_close(worker);
    return NULL;
}

static void *run_worker(void *context)
{
    struct part *part = context;
    const struct worker_options options = {
        .zmq_context = part->relay.context, .endpoint = conversation_workers_end, .config = &part->scene.config};
    part->worker_done = worker_run(&options, &part->worker_err);
    return NULL;
}

/* So large that a model file takes three pieces, and the optimizer's five. */
static struct part *begin(void)
{
    struct part *part = calloc(1, sizeof *part);
    assert_non_null(part);
    struct config *config = &part->scene.config;
    scene_configure(config, scene_place_place.pairs, scene_place_place.run);
    config->model_embed = 16;
    config->model_hidden = 256;
    config->train_checkpoint_every = 5;
    return part;
}

static bool receive_and_watch(void *context, struct err *err)
{
    struct part *part = context;
    if (!trainer_receive(part->scene.trainer, err))
        return false;
    bool enough = part->interrupt_at_report > 0 && atomic_load(&part->relay.reports) >= part->interrupt_at_report;
    if (enough)
        trainer_interrupt(part->scene.trainer);
    return true;
}

static void converse(struct part *part)
{
    struct scene *scene = &part->scene;
    struct err err = {0};
    if (!scene_open_data(scene, &err) || !scene_open_run(scene, &err))
        fail_msg("%s", err.text);
    void *context = zmq_ctx_new(), *socket = scene_router(context, conversation_trainers_end);
    part->relay.context = context;
    assert_non_null(socket);
    if (!scene_open_trainer(scene, socket, NULL, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_not_equal(loop_add_socket(scene->loop, socket, receive_and_watch, part, &err), 0);
    assert_int_equal(pthread_create(&part->relay.thread, NULL, run_relay, &part->relay), 0);
    assert_int_equal(pthread_create(&part->worker, NULL, run_worker, part), 0);
    bool done = loop_run(scene->loop, &err);
    part->outcome = trainer_outcome(scene->trainer);
    if (!done)
        zmq_ctx_shutdown(context);
    pthread_join(part->worker, NULL); /* it was dismissed, and has its own sockets to close */
    zmq_ctx_shutdown(context);
    pthread_join(part->relay.thread, NULL);
    scene_close_trainer(scene);
    zmq_close(socket);
    zmq_ctx_term(context);
    if (!done)
        fail_msg("%s", err.text);
    if (!part->worker_done)
        fail_msg("worker: %s", part->worker_err.text);
}

static void end(struct part *part)
{
    for (int side = 0; side < SIDES; side++)
        for (int file = 0; file < FILES; file++)
            buffer_free(&part->relay.state[side][file]);
    buffer_free(&part->relay.config);
    scene_close_run(&part->scene);
    scene_close_data(&part->scene);
    free(part);
}

/* The protocol as a reader of PROTOCOL.md would check it, message after message. */
struct check {
    const struct relay *relay;
    size_t at;
    uint64_t generation, step, spans, requests;
    uint64_t credit;
    size_t units[UNITS]; /* commands that are not answered yet, by their place in `said`: a ring */
    size_t asked, answered;
    uint64_t offset[FILES], total[FILES]; /* of the state on its way */
    uint64_t count[MESSAGE_TYPES];
};

static const struct message *next(struct check *check, enum side by, enum message_type type)
{
    assert_true(check->at < check->relay->count);
    const struct said *said = &check->relay->said[check->at++];
    if (said->by != by || said->message.type != type)
        fail_msg("message %zu is %s of the %s, not %s", check->at - 1, message_name(said->message.type),
                 said->by == WORKER ? "worker" : "coordinator", message_name(type));
    return &said->message;
}

/* A piece continues its file, the model's before the optimizer's; true when both are whole. */
static bool piece(struct check *check, const struct state *state)
{
    assert_int_equal(state->step, check->step);
    assert_true(state->file < FILES);
    if (state->file == MESSAGE_STATE_OPTIMIZER) {
        assert_int_not_equal(check->total[MESSAGE_STATE_MODEL], 0);
        assert_int_equal(check->offset[MESSAGE_STATE_MODEL], check->total[MESSAGE_STATE_MODEL]);
    }
    if (state->offset == 0)
        check->total[state->file] = state->total;
    assert_int_equal(state->offset, check->offset[state->file]);
    assert_int_equal(state->total, check->total[state->file]);
    check->offset[state->file] += state->size;
    assert_true(check->offset[state->file] <= state->total);
    return state->file == MESSAGE_STATE_OPTIMIZER && check->offset[state->file] == state->total;
}

static void forget_pieces(struct check *check)
{
    memset(check->offset, 0, sizeof check->offset);
    memset(check->total, 0, sizeof check->total);
}

static void asks(struct check *check, size_t said)
{
    assert_true(check->asked - check->answered < UNITS);
    check->units[check->asked++ % UNITS] = said;
}

/* The oldest command without an answer, which must be of that type. */
static const struct message *asked(const struct check *check, enum message_type type)
{
    assert_true(check->answered < check->asked);
    size_t said = check->units[check->answered % UNITS];
    const struct message *message = &check->relay->said[said].message;
    assert_int_equal(message->type, type);
    return message;
}

static void check_work(struct check *check, const struct message *message, size_t said)
{
    if (message->type == MESSAGE_SPAN || message->type == MESSAGE_VALIDATE) {
        assert_true(check->credit > 0);
        check->credit--;
    }
    if (message->type == MESSAGE_SPAN) {
        assert_int_equal(message->span.generation, check->generation);
        assert_int_equal(message->span.span, check->spans++);
        assert_int_equal(message->span.first_step, check->step);
        check->step += message->span.steps;
    } else if (message->type == MESSAGE_VALIDATE) {
        assert_int_equal(message->validate.generation, check->generation);
    } else if (message->type == MESSAGE_SAVE) {
        assert_int_equal(message->save.generation, check->generation);
        assert_int_equal(message->save.step, check->step);
    } else {
        assert_int_equal(message->type, MESSAGE_DISMISS);
    }
    asks(check, said);
}

static void check_answer(struct check *check, const struct message *message)
{
    if (message->type == MESSAGE_REPORT) {
        const struct span *span = &asked(check, MESSAGE_SPAN)->span;
        assert_int_equal(message->report.generation, check->generation);
        assert_int_equal(message->report.span, span->span);
        assert_int_equal(message->report.steps, span->steps);
        assert_int_equal(message->report.rows, span->rows.count);
        check->answered++;
    } else if (message->type == MESSAGE_SCORED) {
        const struct validate *validate = &asked(check, MESSAGE_VALIDATE)->validate;
        assert_int_equal(message->scored.request, validate->request);
        assert_int_equal(message->scored.rows, (validate->what & VALIDATE_TRANSLATE) != 0 ? validate->rows.count : 0);
        check->answered++;
    } else if (message->type == MESSAGE_STATE) {
        asked(check, MESSAGE_SAVE);
        assert_true(message->state.size <= STATE_SAVED);
        if (piece(check, &message->state)) {
            forget_pieces(check);
            check->answered++;
        }
    } else if (message->type == MESSAGE_LEAVE) {
        asked(check, MESSAGE_DISMISS);
        assert_int_equal(message->leave.step, check->step);
        check->answered++;
    } else {
        assert_int_equal(message->type, MESSAGE_CREDIT);
        assert_true(message->credit.units > 0);
        check->credit += message->credit.units;
    }
}

/* From HELLO to READY. */
static void check_beginning(struct check *check, const struct part *part, enum generation_source source, uint64_t step)
{
    struct buffer config = {0};
    assert_true(next(check, WORKER, MESSAGE_HELLO)->hello.threads == 1);
    const struct welcome *welcome = &next(check, COORDINATOR, MESSAGE_WELCOME)->welcome;
    assert_int_equal(welcome->src_vocab, vocab_size(part->scene.dataset.src));
    assert_int_equal(welcome->tgt_vocab, vocab_size(part->scene.dataset.tgt));
    config_dump(&part->scene.config, &config);
    assert_int_equal(config.size, part->relay.config.size);
    assert_memory_equal(config.data, part->relay.config.data, config.size);
    buffer_free(&config);
    const struct generation *generation = &next(check, COORDINATOR, MESSAGE_GENERATION)->generation;
    assert_int_equal(generation->rank, 0);
    assert_int_equal(generation->size, 1);
    assert_int_equal(generation->source, source);
    assert_int_equal(generation->step, step);
    check->generation = generation->generation;
    check->step = step;
    while (source == SOURCE_STATE && !piece(check, &next(check, COORDINATOR, MESSAGE_STATE)->state))
        continue;
    check->count[MESSAGE_STATE] = 0;
    forget_pieces(check);
    const struct ready *ready = &next(check, WORKER, MESSAGE_READY)->ready;
    assert_int_equal(ready->generation, check->generation);
    assert_int_equal(ready->step, step);
}

/* All messages to the end; count says how often each type came after READY. */
static void check_conversation(struct check *check, const struct part *part, enum generation_source source,
                               uint64_t step)
{
    *check = (struct check){.relay = &part->relay};
    check_beginning(check, part, source, step);
    enum message_type last = MESSAGE_READY;
    for (; check->at < check->relay->count; check->at++) {
        const struct said *said = &check->relay->said[check->at];
        assert_int_not_equal(last, MESSAGE_LEAVE);
        last = said->message.type;
        check->count[last]++;
        if (said->by == COORDINATOR)
            check_work(check, &said->message, check->at);
        else
            check_answer(check, &said->message);
    }
    assert_int_equal(last, MESSAGE_LEAVE);
    assert_int_equal(check->answered, check->asked);
    assert_int_equal(check->count[MESSAGE_DISMISS], 1);
}

static void a_conversation_follows_the_protocol(void **state)
{
    struct part *part = begin();
    struct check check;
    (void)state;
    converse(part);
    assert_int_equal(part->outcome, TRAINER_FINISHED);
    check_conversation(&check, part, SOURCE_SEED, 0);
    assert_int_equal(check.step, 14);
    /* Spans of at most 2 steps end at steps 5 and 10, where a checkpoint is due, and at the epochs' ends. */
    assert_int_equal(check.count[MESSAGE_SPAN], 3 + 1 + 2 + 2);
    assert_int_equal(check.count[MESSAGE_SAVE], 4);
    assert_int_equal(check.count[MESSAGE_VALIDATE], 2 * 3);
    /* The files' sizes in whole pieces, and what is left of them; headers are pieces of their own. */
    assert_true(part->relay.state[WORKER][MESSAGE_STATE_MODEL].size > 2 * STATE_PIECE);
    assert_true(check.count[MESSAGE_STATE] >= 4 * (2 + 4) * STATE_PIECE / STATE_SAVED);
    end(part);
}

static void a_resumed_run_hands_the_state_over_before_any_work(void **state)
{
    struct part *first = begin(), *second = begin();
    struct check check;
    (void)state;
    first->interrupt_at_report = 3;
    converse(first);
    assert_int_equal(first->outcome, TRAINER_INTERRUPTED);
    check_conversation(&check, first, SOURCE_SEED, 0);
    uint64_t step = check.step;
    assert_true(step >= 5 && step < 14);
    scene_close_run(&first->scene);

    second->scene.config.run_resume = true;
    converse(second);
    assert_int_equal(second->outcome, TRAINER_FINISHED);
    check_conversation(&check, second, SOURCE_STATE, step);
    assert_int_equal(check.step, 14);
    for (int file = 0; file < FILES; file++) {
        const struct buffer *saved = &first->relay.state[WORKER][file];
        const struct buffer *loaded = &second->relay.state[COORDINATOR][file];
        assert_int_equal(loaded->size, saved->size);
        assert_memory_equal(loaded->data, saved->data, saved->size);
    }
    end(first);
    end(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_conversation_follows_the_protocol, place_clear),
        cmocka_unit_test_teardown(a_resumed_run_hands_the_state_over_before_any_work, place_clear),
    };
    return cmocka_run_group_tests(tests, place_make, place_remove);
}
