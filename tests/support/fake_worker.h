/* fake_worker.h - a worker without a model, for tests of the coordinator.
 *
 * It speaks the real messages over inproc from a thread of its own. Its whole state is one number, which each step
 * mixes with the ids of the step's rows in order; losses follow from it. So a coordinator that sends other rows, in
 * another order, or resumes from another state gets other figures and another model file. What it hears, but for PING,
 * is written down as one word a message. */
#ifndef LSTMQ_TESTS_SUPPORT_FAKE_WORKER_H
#define LSTMQ_TESTS_SUPPORT_FAKE_WORKER_H

#include "proto/base/random.h"
#include "tests/support/dummy_worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <zmq.h>

/* float32 elements of the two files; the model takes several pieces. The number that is the state stands at their end.
 */
enum { FAKE_MODEL = 600000, FAKE_OPTIMIZER = 2 };

struct fake_worker {
    void *context;
    const char *endpoint;
    uint32_t credit;                   /* granted at READY                                           */
    uint64_t fail_at;                  /* step at which it says ERROR; 0 = never                     */
    double (*val_loss)(uint64_t step); /* forced loss of each token in validation; NULL = 1  */
    bool diverges;                     /* says ERROR, code 9, in place of SCORED                     */
    bool diverges_at_save;             /* the same in place of STATE                                 */
    pthread_t thread;
    uint64_t value, step, generation;
    uint64_t units, granted; /* of work: received, allowed                                 */
    uint32_t owed;           /* units to grant                                             */
    bool overrun;            /* work came that was not allowed                             */
    struct buffer heard;     /* "WELCOME GENERATION SPAN(0+8) VALIDATE(1,3 rows) SAVE(9)"  */
    _Atomic uint64_t steps;  /* done; for the test's thread                                */
    _Atomic uint64_t scored; /* validation requests answered                               */
    bool done;
};

static void fake_say(void *socket, const struct message *message)
{
    struct err err;
    message_send_wait(socket, NULL, message, &err);
}

/* Units are granted a moment after they could be, and only when nothing came in between: so work that was sent without
 * credit arrives while it is not allowed. */
static void fake_grant(struct fake_worker *fake, void *socket)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    if (fake->owed == 0 || (fake->units == fake->granted && zmq_poll(&item, 1, 2) > 0))
        return;
    struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = fake->owed}};
    fake->granted += fake->owed;
    fake->owed = 0;
    fake_say(socket, &credit);
}

static void fake_ready(struct fake_worker *fake, void *socket)
{
    struct message ready = {.type = MESSAGE_READY, .ready = {.generation = fake->generation, .step = fake->step}};
    fake_say(socket, &ready);
    fake->owed = fake->credit;
}

static void fake_state(struct fake_worker *fake, void *socket, const struct state *state)
{
    if (state->offset + state->size < state->total)
        return;
    memcpy(&fake->value, (const char *)state->bytes + state->size - sizeof fake->value, sizeof fake->value);
    if (state->file == MESSAGE_STATE_OPTIMIZER)
        fake_ready(fake, socket);
}

/* False when this was its last step. */
static bool fake_span(struct fake_worker *fake, void *socket, const struct span *span)
{
    static struct step_result results[SPAN_STEPS];
    const struct rows *rows = &span->rows;
    uint32_t row = 0, shard = 0;
    size_t id = 0;
    for (uint32_t step = 0; step < span->steps; step++) {
        for (; shard < span->shard_count && span->shards[shard].step == step; shard++)
            for (uint32_t i = 0; i < span->shards[shard].rows; i++, row++)
                for (uint32_t k = 0; k < (uint32_t)rows->src_lengths[row] + rows->tgt_lengths[row]; k++)
                    fake->value = splitmix(fake->value ^ rows->ids[id++]);
        results[step] =
            (struct step_result){.loss_sum = span->of[step].tokens * (1 + (double)(fake->value % 1000) / 1000),
                                 .grad_norm = 0.5,
                                 .tokens = span->of[step].tokens,
                                 .correct = span->of[step].tokens / 2};
        fake->step++;
        if (fake->fail_at == fake->step)
            return false;
    }
    struct message report = {.type = MESSAGE_REPORT,
                             .report = {.generation = span->generation,
                                        .span = span->span,
                                        .rows = rows->count,
                                        .busy_ns = 1,
                                        .results = results,
                                        .steps = span->steps}};
    atomic_store(&fake->steps, fake->step);
    fake_say(socket, &report);
    fake->owed++;
    return true;
}

/* Translations repeat the target's first four ids. */
static void fake_validate(struct fake_worker *fake, void *socket, const struct validate *validate)
{
    uint16_t lengths[256], ids[1024];
    size_t used = 0, from = 0;
    uint64_t tokens = 0;
    double loss = fake->val_loss != NULL ? fake->val_loss(fake->step) : 1;
    for (uint32_t r = 0; r < validate->rows.count; r++) {
        from += validate->rows.src_lengths[r];
        lengths[r] = validate->rows.tgt_lengths[r] < 4 ? validate->rows.tgt_lengths[r] : 4;
        memcpy(ids + used, validate->rows.ids + from, lengths[r] * sizeof *ids);
        used += lengths[r];
        from += validate->rows.tgt_lengths[r];
        tokens += validate->rows.tgt_lengths[r];
    }
    bool translate = (validate->what & VALIDATE_TRANSLATE) != 0, free_run = (validate->what & VALIDATE_FREE) != 0;
    struct message scored = {.type = MESSAGE_SCORED,
                             .scored = {.request = validate->request,
                                        .tokens = tokens,
                                        .forced_loss_sum = loss * (double)tokens,
                                        .free_loss_sum = free_run ? 2 * loss * (double)tokens : 0,
                                        .forced_correct = tokens / 2,
                                        .free_correct = free_run ? tokens / 4 : 0,
                                        .lengths = lengths,
                                        .ids = ids,
                                        .rows = translate ? validate->rows.count : 0,
                                        .id_count = translate ? used : 0}};
    atomic_fetch_add(&fake->scored, 1);
    fake_say(socket, &scored);
    fake->owed++;
}

static void fake_save_file(struct fake_worker *fake, void *socket, uint32_t file, uint64_t elements)
{
    struct buffer bytes = {0};
    if (!dummy_state(&bytes, elements, NULL))
        abort();
    memcpy(bytes.data + bytes.size - sizeof fake->value, &fake->value, sizeof fake->value);
    for (size_t offset = 0; offset < bytes.size; offset += STATE_PIECE) {
        struct message piece = {
            .type = MESSAGE_STATE,
            .state = {.step = fake->step,
                      .file = file,
                      .offset = offset,
                      .total = bytes.size,
                      .bytes = bytes.data + offset,
                      .size = bytes.size - offset < STATE_PIECE ? bytes.size - offset : STATE_PIECE}};
        fake_say(socket, &piece);
    }
    buffer_free(&bytes);
}

static void fake_save(struct fake_worker *fake, void *socket)
{
    fake_save_file(fake, socket, MESSAGE_STATE_MODEL, FAKE_MODEL);
    fake_save_file(fake, socket, MESSAGE_STATE_OPTIMIZER, FAKE_OPTIMIZER);
}

static bool fake_diverge(void *socket)
{
    fake_say(socket, &(struct message){.type = MESSAGE_ERROR,
                                       .error = {.code = ERR_DIVERGED, .text = {"loss is not finite", 18}}});
    return false;
}

/* False at the end of the conversation. */
static bool fake_answer(struct fake_worker *fake, void *socket, const struct message *message)
{
    struct buffer *heard = &fake->heard;
    if (message->type == MESSAGE_PING) { /* comes by the clock: not written down */
        fake_say(socket, &(struct message){.type = MESSAGE_PONG, .pong = {.time = message->ping.time}});
        return true;
    }
    bool work = message->type == MESSAGE_SPAN || message->type == MESSAGE_VALIDATE;
    if (work && ++fake->units > fake->granted)
        fake->overrun = true;
    if (message->type == MESSAGE_SPAN)
        buffer_format(heard, "SPAN(%d+%u) ", (int)message->span.first_step, message->span.steps);
    else if (message->type == MESSAGE_VALIDATE)
        buffer_format(heard, "VALIDATE(%u,%u) ", message->validate.what, message->validate.rows.count);
    else if (message->type == MESSAGE_SAVE)
        buffer_format(heard, "SAVE(%d) ", (int)message->save.step);
    else if (message->type == MESSAGE_GENERATION)
        buffer_format(heard, "GENERATION(%d,%s) ", (int)message->generation.step,
                      message->generation.source == SOURCE_SEED ? "seed" : "state");
    else if (message->type != MESSAGE_STATE)
        buffer_format(heard, "%s ", message_name(message->type));
    switch (message->type) {
    case MESSAGE_GENERATION:
        fake->generation = message->generation.generation;
        fake->step = message->generation.step;
        if (message->generation.source == SOURCE_SEED)
            fake_ready(fake, socket);
        return true;
    case MESSAGE_STATE:
        fake_state(fake, socket, &message->state);
        return true;
    case MESSAGE_SPAN:
        if (fake_span(fake, socket, &message->span))
            return true;
        fake_say(socket,
                 &(struct message){.type = MESSAGE_ERROR, .error = {.code = ERR_MEMORY, .text = {"no room left", 12}}});
        return false;
    case MESSAGE_VALIDATE:
        if (fake->diverges)
            return fake_diverge(socket);
        fake_validate(fake, socket, &message->validate);
        return true;
    case MESSAGE_SAVE:
        if (fake->diverges_at_save)
            return fake_diverge(socket);
        fake_save(fake, socket);
        return true;
    case MESSAGE_DISMISS:
        fake_say(socket, &(struct message){.type = MESSAGE_LEAVE, .leave = {.step = fake->step}});
        return false;
    default:
        return message->type != MESSAGE_ERROR;
    }
}

static void *fake_run(void *argument)
{
    struct fake_worker *fake = argument;
    struct err err;
    int linger = 1000;
    void *socket = zmq_socket(fake->context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_connect(socket, fake->endpoint);
    fake_say(socket, &(struct message){.type = MESSAGE_HELLO, .hello = dummy_hello()});
    for (bool more = true; more;) {
        struct message message;
        bool got;
        if (!message_receive(socket, NULL, true, &message, &got, &err))
            break;
        more = fake_answer(fake, socket, &message);
        message_close(&message);
        if (more)
            fake_grant(fake, socket);
    }
    zmq_close(socket);
    return NULL;
}

static void fake_free(struct fake_worker *fake)
{
    buffer_free(&fake->heard);
}

#endif
