/* paced_worker.c - a translation worker with a fixed speed; see paced_worker.h. */
#include "worker/bench/serve/paced_worker.h"

#include "proto/base/clock.h"
#include "proto/wire/message.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum paced_state { PACED_JOINS, PACED_WORKS, PACED_LEAVES, PACED_FAILED };
enum { PACED_BATCHES = 8, PACED_WAIT_MS = 20, PACED_START_MS = 10000 };

/* What the thread holds. The first batch is computed until `done_ns`. */
struct paced {
    struct paced_worker *worker;
    void *context, *socket;
    struct message batches[PACED_BATCHES];
    unsigned count;
    int64_t begun_ns, done_ns;
    struct answer *answers; /* [TEXTS_MOST] */
    struct hypothesis *hypotheses;
};

static bool paced_send(struct paced *paced, const struct message *message, struct err *err)
{
    return message_send_wait(paced->socket, NULL, message, err);
}

static struct text paced_text(const char *text)
{
    return (struct text){text, strlen(text)};
}

/* Texts of a batch whose deadline, its first word, has passed. */
static uint64_t paced_expired(const struct texts *texts)
{
    int64_t now_ns = clock_ns();
    uint64_t expired = 0;
    const char *text = texts->bytes;
    for (uint32_t i = 0; i < texts->count; text += texts->lengths[i++]) {
        char copy[32];
        size_t size = texts->lengths[i] < sizeof copy ? texts->lengths[i] : sizeof copy - 1;
        memcpy(copy, text, size);
        copy[size] = '\0';
        int64_t deadline_ns = strtoll(copy, NULL, 10);
        expired += deadline_ns > 0 && deadline_ns < now_ns;
    }
    return expired;
}

/* The next batch's turn. */
static void paced_begin(struct paced *paced)
{
    const struct texts *texts = &paced->batches[0].batch.texts;
    paced->worker->expired_begun += paced_expired(texts);
    paced->begun_ns = clock_ns();
    paced->done_ns = paced->begun_ns + (int64_t)texts->count * paced->worker->text_us * 1000;
}

static bool paced_finish(struct paced *paced, struct err *err)
{
    struct message *batch = &paced->batches[0];
    const struct texts *texts = &batch->batch.texts;
    for (uint32_t i = 0; i < texts->count; i++) {
        paced->answers[i] = (struct answer){.hypotheses = 1, .src_tokens = 1, .tgt_tokens = 1};
        paced->hypotheses[i] = (struct hypothesis){.size = texts->lengths[i]};
    }
    const struct message result = {.type = MESSAGE_RESULT,
                                   .result = {.batch = batch->batch.batch,
                                              .computed_us = (uint64_t)(clock_ns() - paced->begun_ns) / 1000,
                                              .answers = {.count = texts->count,
                                                          .of = paced->answers,
                                                          .hypothesis_count = texts->count,
                                                          .hypotheses = paced->hypotheses,
                                                          .size = texts->size,
                                                          .bytes = texts->bytes}}};
    const struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = 1}};
    bool ok = paced_send(paced, &result, err) && paced_send(paced, &credit, err);
    message_close(batch);
    memmove(batch, batch + 1, --paced->count * sizeof *batch);
    if (paced->count > 0)
        paced_begin(paced);
    return ok;
}

/* Takes over a BATCH. */
static bool paced_receive(struct paced *paced, struct message *message, struct err *err)
{
    struct message answer = {.type = MESSAGE_LOADED, .loaded = {.version = message->model.version, .ok = 1}};
    const struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = 2}};
    switch (message->type) {
    case MESSAGE_PING:
        answer = (struct message){.type = MESSAGE_PONG, .pong = message->ping};
        return paced_send(paced, &answer, err);
    case MESSAGE_JOINED:
        atomic_store(&paced->worker->state, PACED_WORKS);
        return paced_send(paced, &credit, err);
    case MESSAGE_MODEL:
        return paced_send(paced, &answer, err);
    case MESSAGE_BATCH:
        if (paced->count == PACED_BATCHES)
            return err_set(err, ERR_PROTOCOL, "the queue sends above the credit");
        paced->worker->expired_received += paced_expired(&message->batch.texts);
        paced->batches[paced->count++] = *message;
        message->frames = NULL;
        if (paced->count == 1)
            paced_begin(paced);
        return true;
    case MESSAGE_ERROR:
        return err_set(err, ERR_FAILED, "the queue: %.*s", (int)message->error.text.size, message->error.text.data);
    default:
        return true;
    }
}

static bool paced_turn(struct paced *paced, struct err *err)
{
    int64_t left_ns = paced->count > 0 ? paced->done_ns - clock_ns() : (int64_t)PACED_WAIT_MS * 1000000;
    zmq_pollitem_t item = {.socket = paced->socket, .events = ZMQ_POLLIN};
    /* The last part of a millisecond is slept, because zmq_poll cannot wait for it. */
    if (left_ns > 0 && left_ns < 1000000)
        usleep((useconds_t)(left_ns / 1000));
    long wait_ms = left_ns < 1000000 ? 0 : (long)(left_ns / 1000000);
    zmq_poll(&item, 1, wait_ms < PACED_WAIT_MS ? wait_ms : PACED_WAIT_MS);
    for (bool got = true; got;) {
        struct message message;
        if (!message_receive(paced->socket, NULL, false, &message, &got, err))
            return false;
        bool ok = !got || paced_receive(paced, &message, err);
        message_close(&message);
        if (!ok)
            return false;
    }
    return paced->count == 0 || clock_ns() < paced->done_ns || paced_finish(paced, err);
}

static bool paced_open(struct paced *paced, struct err *err)
{
    int none = 0, linger = 1000;
    const struct message join = {.type = MESSAGE_JOIN,
                                 .join = {.build = paced_text("bench"),
                                          .backend = paced_text("none"),
                                          .isa = paced_text("none"),
                                          .host = paced_text("bench"),
                                          .threads = 1,
                                          .pid = (uint32_t)getpid()}};
    paced->answers = malloc(TEXTS_MOST * sizeof *paced->answers);
    paced->hypotheses = malloc(TEXTS_MOST * sizeof *paced->hypotheses);
    paced->context = zmq_ctx_new();
    paced->socket = zmq_socket(paced->context, ZMQ_DEALER);
    if (paced->answers == NULL || paced->hypotheses == NULL || paced->socket == NULL ||
        zmq_setsockopt(paced->socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_setsockopt(paced->socket, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
        zmq_connect(paced->socket, paced->worker->endpoint) != 0)
        return socket_error(err, "cannot open a worker's socket");
    return paced_send(paced, &join, err);
}

static void *paced_run(void *context)
{
    struct paced paced = {.worker = context};
    struct err *err = &paced.worker->err;
    bool ok = paced_open(&paced, err);
    while (ok && atomic_load(&paced.worker->state) != PACED_LEAVES)
        ok = paced_turn(&paced, err);
    const struct message goodbye = {.type = MESSAGE_GOODBYE};
    ok = ok && paced_send(&paced, &goodbye, err);
    for (unsigned i = 0; i < paced.count; i++)
        message_close(&paced.batches[i]);
    if (paced.socket != NULL)
        zmq_close(paced.socket);
    if (paced.context != NULL)
        zmq_ctx_term(paced.context);
    free(paced.answers);
    free(paced.hypotheses);
    if (!ok)
        atomic_store(&paced.worker->state, PACED_FAILED);
    return NULL;
}

bool paced_worker_start(struct paced_worker *worker, struct err *err)
{
    atomic_store(&worker->state, PACED_JOINS);
    if (pthread_create(&worker->thread, NULL, paced_run, worker) != 0)
        return err_set(err, ERR_FAILED, "cannot start a thread");
    int64_t last_ms = clock_ms() + PACED_START_MS;
    while (atomic_load(&worker->state) == PACED_JOINS && clock_ms() < last_ms)
        usleep(1000);
    if (atomic_load(&worker->state) == PACED_WORKS)
        return true;
    paced_worker_stop(worker, err);
    return err_set(err, ERR_FAILED, "the queue at %s accepts no worker", worker->endpoint);
}

bool paced_worker_stop(struct paced_worker *worker, struct err *err)
{
    int works = PACED_WORKS;
    if (!atomic_compare_exchange_strong(&worker->state, &works, PACED_LEAVES) && works == PACED_JOINS)
        atomic_store(&worker->state, PACED_LEAVES);
    pthread_join(worker->thread, NULL);
    if (atomic_load(&worker->state) != PACED_FAILED)
        return true;
    return err_set(err, worker->err.code, "worker: %s", worker->err.text);
}
