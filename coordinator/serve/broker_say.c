/* broker_say.c - once a turn, what is due is sent where there is space for it; see broker.h. */
#include "coordinator/serve/broker_inside.h"

#include "proto/base/clock.h"

#include <string.h>
#include <unistd.h>

enum { RETRY_MS = 2, FULL_MS = 10000 };

void broker_say_error(const struct door *door, const struct route *to, enum err_code code, const char *text)
{
    struct err ignored;
    const struct message message = {.type = MESSAGE_ERROR,
                                    .error = {.code = (uint32_t)code, .text = {text, strlen(text)}}};
    message_send(door->socket, to, &message, &ignored);
}

/* Send to a peer. *sent = false: its queue is full, or its connection has ended. */
static bool say_send(struct broker *broker, struct peer *peer, const struct message *message, bool *sent,
                     struct err *err)
{
    struct err failure = {0};
    *sent = message_send(peer->door->socket, &peer->route, message, &failure);
    if (*sent) {
        peer->full_ms = 0;
        return true;
    }
    if (failure.code == ERR_FULL) {
        int64_t now_ms = broker_ms(broker);
        peer->full_ms = peer->full_ms != 0 ? peer->full_ms : now_ms;
        if (now_ms - peer->full_ms > FULL_MS)
            peers_lose(&broker->peers, peer);
        else
            loop_wake(broker->loop, RETRY_MS);
        return true;
    }
    if (failure.code == ERR_FAILED) {
        peers_lose(&broker->peers, peer);
        loop_wake(broker->loop, 0);
        return true;
    }
    *err = failure;
    return false;
}

/* ---- workers ---- */

static bool say_joined(struct broker *broker, struct pool_worker *worker, bool *sent, struct err *err)
{
    const struct config *config = broker->config;
    const struct message message = {.type = MESSAGE_JOINED,
                                    .joined = {.worker = worker->id,
                                               .heartbeat_ms = (uint32_t)config->serve_heartbeat,
                                               .timeout_ms = (uint32_t)config->serve_heartbeat_timeout,
                                               .lease_ms = (uint32_t)(config->serve_lease * 1000),
                                               .batch = (uint32_t)config->serve_max_batch}};
    return say_send(broker, worker->peer, &message, sent, err);
}

static struct text say_text(const char *text)
{
    return (struct text){text, strlen(text)};
}

/* MODEL or RETIRE, where one is due. */
static bool say_holdings(struct broker *broker, struct pool_worker *worker, bool *sent, struct err *err)
{
    for (uint32_t i = 0; i < worker->holding_count && *sent;) {
        struct holding *holding = &worker->holdings[i];
        const struct version *version = holding->version;
        struct message message = {.type = MESSAGE_RETIRE, .retire = {.version = version->number}};
        if (holding->state == HOLDING_OFFER_DUE) {
            message = (struct message){.type = MESSAGE_MODEL,
                                       .model = {.version = version->number,
                                                 .manifest = version->manifest,
                                                 .step = version->step,
                                                 .echo = version->model->path == NULL,
                                                 .source = say_text(version->source),
                                                 .target = say_text(version->target),
                                                 .path = say_text(version->path)}};
        } else if (holding->state != HOLDING_RETIRE_DUE) {
            i++;
            continue;
        }
        if (!say_send(broker, worker->peer, &message, sent, err))
            return false;
        if (!*sent)
            return true;
        if (holding->state == HOLDING_OFFER_DUE) {
            holding->state = HOLDING_OFFERED;
            i++;
        } else {
            holding->version->holders--;
            pool_forget(worker, holding);
        }
    }
    return true;
}

static bool say_piece(struct broker *broker, struct pool_worker *worker, bool *sent, struct err *err)
{
    const struct fetch *fetch = &worker->fetches[0];
    const struct version_file *file = catalog_file(&broker->catalog, fetch->hash);
    struct message message = {.type = MESSAGE_PIECE, .piece = {.hash = fetch->hash, .bytes = ""}};
    buffer_clear(&broker->scratch);
    if (file != NULL && fetch->offset <= file->size) {
        uint64_t left = file->size - fetch->offset;
        size_t size = left < STATE_PIECE ? (size_t)left : STATE_PIECE;
        void *bytes = buffer_reserve(&broker->scratch, size);
        ssize_t got = bytes != NULL ? pread(file->fd, bytes, size, (off_t)fetch->offset) : -1;
        if (got == (ssize_t)size)
            message.piece = (struct file_piece){fetch->hash, fetch->offset, file->size, bytes, size};
    }
    if (!say_send(broker, worker->peer, &message, sent, err))
        return false;
    if (*sent)
        memmove(worker->fetches, worker->fetches + 1, --worker->fetch_count * sizeof *worker->fetches);
    return true;
}

static bool say_batch(struct broker *broker, struct pool_worker *worker, struct lease *lease, bool *sent,
                      struct err *err)
{
    struct buffer *scratch = &broker->scratch;
    uint32_t lengths[TEXTS_MOST];
    const struct sentence_kind *kind = &lease->sentences[0]->kind;
    buffer_clear(scratch);
    for (uint32_t i = 0; i < lease->count; i++) {
        const struct buffer *text = &lease->sentences[i]->text;
        lengths[i] = (uint32_t)text->size;
        buffer_append(scratch, text->data, text->size);
    }
    if (!buffer_ok(scratch, err))
        return false;
    const struct message message = {
        .type = MESSAGE_BATCH,
        .batch = {.batch = lease->id,
                  .version = lease->version->number,
                  .alternatives = kind->alternatives,
                  .details = kind->details,
                  .texts = {.count = lease->count, .lengths = lengths, .bytes = scratch->data, .size = scratch->size}}};
    if (!say_send(broker, worker->peer, &message, sent, err))
        return false;
    lease->sent = *sent;
    return true;
}

static bool say_worker(struct broker *broker, struct pool_worker *worker, struct err *err)
{
    bool sent = true;
    if (!worker->greeted) {
        if (!say_joined(broker, worker, &sent, err))
            return false;
        worker->greeted = sent;
    }
    if (sent && !say_holdings(broker, worker, &sent, err))
        return false;
    if (sent && !worker->pinged) {
        const struct message ping = {.type = MESSAGE_PING, .ping = {.time = (uint64_t)clock_ns()}};
        if (!say_send(broker, worker->peer, &ping, &sent, err))
            return false;
        worker->pinged = sent;
    }
    for (uint32_t i = 0; sent && i < worker->lease_count; i++)
        if (!worker->leases[i].sent && !say_batch(broker, worker, &worker->leases[i], &sent, err))
            return false;
    while (sent && worker->fetch_count > 0)
        if (!say_piece(broker, worker, &sent, err))
            return false;
    return true;
}

static bool say_workers(struct broker *broker, struct err *err)
{
    bool tick = broker_ms(broker) >= broker->tick_ms;
    if (tick)
        broker->tick_ms = broker_ms(broker) + broker->config->serve_heartbeat;
    for (size_t i = 0; i < broker->pool.count; i++) {
        struct pool_worker *worker = broker->pool.workers[i];
        worker->pinged = worker->pinged && !tick;
        if (worker->peer != NULL && !peer_is_gone(worker->peer) && !say_worker(broker, worker, err))
            return false;
    }
    return true;
}

/* ---- clients ---- */

static uint32_t say_reason(enum request_outcome outcome)
{
    static const uint32_t reasons[REQUEST_OUTCOMES] = {
        [REQUEST_BUSY] = REJECT_BUSY,           [REQUEST_EXPIRED] = REJECT_EXPIRED, [REQUEST_INVALID] = REJECT_INVALID,
        [REQUEST_NO_WORKER] = REJECT_NO_WORKER, [REQUEST_ENDING] = REJECT_ENDING,   [REQUEST_FAILED] = REJECT_FAILED};
    return reasons[outcome];
}

static bool say_answer(struct broker *broker, struct peer *peer, const struct request *request, bool *sent,
                       struct err *err)
{
    struct message message = {.type = MESSAGE_TRANSLATED};
    if (request->outcome == REQUEST_DONE)
        message.translated = (struct translated){.request = request->number,
                                                 .model = say_text(request->model),
                                                 .step = request->step,
                                                 .queued_us = request->queued_us,
                                                 .computed_us = request->computed_us,
                                                 .answers = request->answers};
    else
        message = (struct message){.type = MESSAGE_REJECTED,
                                   .rejected = {.request = request->number,
                                                .reason = say_reason(request->outcome),
                                                .retry_ms = request->retry_ms,
                                                .text = say_text(request->why)}};
    return say_send(broker, peer, &message, sent, err);
}

/* Remember an answer for a client that repeats the request; a refusal is decided again. */
static void say_done(struct broker *broker, struct request *request)
{
    request->peer = NULL;
    if (request->client != 0 && request->outcome == REQUEST_DONE)
        requests_keep(&broker->requests, request, broker->now_us);
    else
        requests_free(&broker->requests, request);
}

static bool say_status(struct broker *broker, struct peer *peer, bool *sent, struct err *err)
{
    buffer_clear(&broker->scratch);
    broker_status(broker, true, &broker->scratch);
    if (!buffer_ok(&broker->scratch, err))
        return false;
    const struct message message = {.type = MESSAGE_STATUS,
                                    .status = {.json = {broker->scratch.data, broker->scratch.size}}};
    if (!say_send(broker, peer, &message, sent, err))
        return false;
    peer->status_due = !*sent;
    return true;
}

/* What is due to a client. True with *sent = false: it is not all sent. */
static bool say_client(struct broker *broker, struct peer *peer, bool *sent, struct err *err)
{
    *sent = true;
    if (peer->status_due && !say_status(broker, peer, sent, err))
        return false;
    while (*sent && peer->due.first != NULL) {
        struct request *request = peer->due.first;
        if (!say_answer(broker, peer, request, sent, err))
            return false;
        if (*sent)
            say_done(broker, request);
    }
    return true;
}

static bool say_clients(struct broker *broker, struct err *err)
{
    struct peer *due = broker->peers.due;
    broker->peers.due = NULL;
    while (due != NULL) {
        struct peer *peer = due;
        bool sent = true;
        due = peer->next_due;
        peer->listed = false;
        if (peer->state == PEER_OVER) {
            peers_remove(&broker->peers, peer);
            continue;
        }
        if (!peer_is_gone(peer) && !say_client(broker, peer, &sent, err))
            return false;
        if (!sent && !peer_is_gone(peer))
            peers_list(&broker->peers, peer);
    }
    return true;
}

bool broker_say(struct broker *broker, struct err *err)
{
    return say_workers(broker, err) && say_clients(broker, err);
}
