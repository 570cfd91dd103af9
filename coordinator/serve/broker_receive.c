/* broker_receive.c - messages, recorded: nothing is sent or decided here; see broker.h. */
#include "coordinator/serve/broker_inside.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGES_A_TURN = 256, COMPLAIN_MS = 1000 };

/* ---- clients ---- */

/* A request that is there already: its answer goes to the connection on which it was repeated. */
static void receive_repeated(struct broker *broker, struct request *request, struct peer *peer)
{
    if (request->list == &broker->requests.kept) {
        requests_unkeep(&broker->requests, request);
        request->peer = peer;
        request_move(request, &peer->due);
        peers_list(&broker->peers, peer);
        return;
    }
    bool waits = request->outcome == REQUEST_WAITS;
    request->peer = peer;
    request->until_us = 0;
    request_move(request, waits ? &peer->open : &peer->due);
    if (!waits)
        peers_list(&broker->peers, peer);
}

static bool receive_translate(struct broker *broker, struct peer *peer, const struct translate *translate,
                              struct err *err)
{
    struct request *request = requests_find(&broker->requests, peer->key, translate->client, translate->request);
    if (request != NULL) {
        receive_repeated(broker, request, peer);
        return true;
    }
    const struct request_terms terms = {.source = translate->source,
                                        .target = translate->target,
                                        .texts = translate->texts,
                                        .deadline_ms = translate->deadline_ms,
                                        .alternatives = translate->alternatives,
                                        .details = translate->details != 0,
                                        .flow = peer->flow,
                                        .client = translate->client,
                                        .request = translate->request};
    return broker_admit(broker, &terms, peer) != NULL || err_set(err, ERR_MEMORY, "no memory for a request");
}

static void receive_cancel(struct broker *broker, const struct peer *peer, const struct cancel *cancel)
{
    struct request *request = requests_find(&broker->requests, peer->key, cancel->client, cancel->request);
    if (request == NULL)
        return;
    if (request->outcome == REQUEST_WAITS)
        broker_finish(broker, request, REQUEST_CANCELLED);
    else if (request->list != &broker->requests.kept)
        requests_free(&broker->requests, request);
}

static bool receive_client(struct broker *broker, struct peer *peer, const struct message *message, struct err *err)
{
    const char *role = peer->route.role;
    if (message->type == MESSAGE_ASK) {
        peer->status_due = true;
        peers_list(&broker->peers, peer);
        return true;
    }
    if (strcmp(role, "serve") == 0 || strcmp(role, "admin") == 0)
        return err_set(err, ERR_USAGE,
                       "this key has the role %s and may not request translations: make the client's with lstmq keygen "
                       "NAME --role client",
                       role);
    if (message->type == MESSAGE_TRANSLATE)
        return receive_translate(broker, peer, &message->translate, err);
    receive_cancel(broker, peer, &message->cancel);
    return true;
}

/* ---- workers ---- */

static bool receive_join(struct broker *broker, struct peer *peer, const struct join *join, struct err *err)
{
    const char *role = peer->route.role;
    if (role[0] != '\0' && strcmp(role, "serve") != 0)
        return err_set(err, ERR_USAGE,
                       "this key has the role %s and may not translate: make the worker's with lstmq keygen NAME "
                       "--role serve",
                       role);
    if (peer->worker != NULL)
        pool_lose(peer->worker, COUNTS_LEFT, ERR_FAILED, "came again");
    struct pool_worker *worker = pool_add(&broker->pool, join, peer, broker_ms(broker));
    if (worker == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a worker");
    if (peer->worker != NULL)
        peer->worker->peer = NULL;
    peer->worker = worker;
    log_event(LOG_INFO, "translator_joined",
              LOG_FIELDS(LOG_COUNT("worker", worker->id), LOG_TEXT("host", worker->host),
                         LOG_COUNT("process", worker->pid), LOG_TEXT("build", worker->build),
                         LOG_TEXT("backend", worker->backend), LOG_COUNT("threads", worker->threads)),
              "worker %" PRIu64 " joined: %s, process %u, %s, %s, threads: %u", worker->id, worker->host, worker->pid,
              worker->build, worker->backend, worker->threads);
    return true;
}

static bool receive_loaded(struct broker *broker, struct pool_worker *worker, const struct loaded *loaded,
                           struct err *err)
{
    struct version *version = catalog_version(&broker->catalog, loaded->version);
    struct holding *holding = version != NULL ? pool_holding(worker, version) : NULL;
    if (holding == NULL || (holding->state != HOLDING_OFFERED && holding->state != HOLDING_RETIRE_DUE))
        return err_set(err, ERR_PROTOCOL, "LOADED of version %" PRIu64 " is not due", loaded->version);
    if (holding->state == HOLDING_RETIRE_DUE)
        return true;
    holding->state = loaded->ok != 0 ? HOLDING_LOADED : HOLDING_REFUSED;
    version->loaded += loaded->ok != 0;
    if (loaded->ok != 0 && version->loaded_ms == 0)
        version->loaded_ms = broker_ms(broker);
    char why[MESSAGE_LINE + 1];
    snprintf(why, sizeof why, "%.*s", (int)loaded->text.size, loaded->text.data);
    if (loaded->ok != 0)
        log_event(LOG_INFO, "translator_loaded",
                  LOG_FIELDS(LOG_COUNT("worker", worker->id), LOG_TEXT("model", version->label),
                             LOG_REAL("seconds", (double)loaded->load_us * 1e-6)),
                  "worker %" PRIu64 " loaded %s in %.3f s", worker->id, version->label, (double)loaded->load_us * 1e-6);
    else
        log_event(
            LOG_WARN, "translator_refused",
            LOG_FIELDS(LOG_COUNT("worker", worker->id), LOG_TEXT("model", version->label), LOG_TEXT("reason", why)),
            "worker %" PRIu64 " cannot load %s: %s", worker->id, version->label, why);
    return true;
}

/* The sentence's answer: number `at` of the result. Without memory for it the sentence has failed. */
static void receive_answer(struct sentence *sentence, const struct answers *answers, uint32_t at, size_t *hypothesis,
                           size_t *byte, size_t *note)
{
    const struct answer *answer = &answers->of[at];
    size_t bytes = 0;
    for (uint32_t i = 0; i < answer->hypotheses; i++)
        bytes += answers->hypotheses[*hypothesis + i].size;
    buffer_clear(&sentence->result);
    buffer_append(&sentence->result, answers->hypotheses + *hypothesis, answer->hypotheses * sizeof(struct hypothesis));
    buffer_append(&sentence->result, answers->bytes + *byte, bytes);
    buffer_append(&sentence->result, answers->notes + *note, answer->notes);
    sentence->answer = *answer;
    *hypothesis += answer->hypotheses;
    *byte += bytes;
    *note += answer->notes;
    if (buffer_ok(&sentence->result, NULL))
        return;
    buffer_clear(&sentence->result);
    sentence->answer = (struct answer){.status = ANSWER_FAILED};
}

static void receive_count(struct broker *broker, const struct lease *lease, const struct batch_result *result)
{
    struct model_counts *counts = &lease->version->model->counts;
    struct pool *pool = &broker->pool;
    double us = (double)(broker->now_us - lease->begun_us);
    pool->busy_us = 0.9 * pool->busy_us + (us > 1 ? us : 1);
    pool->busy_sentences = 0.9 * pool->busy_sentences + lease->count;
    pool->batch_us = pool->batch_us > 0 ? 0.9 * pool->batch_us + 0.1 * us : us;
    counts->batches++;
    counts->sentences += lease->count;
    histogram_add(&counts->computed, (double)result->computed_us * 1e-6, NULL);
    histogram_add(&counts->batch_sentences, lease->count, NULL);
    for (uint32_t i = 0; i < result->answers.count; i++) {
        counts->src_tokens += result->answers.of[i].src_tokens;
        counts->tgt_tokens += result->answers.of[i].tgt_tokens;
        counts->unknown += result->answers.of[i].unknown;
    }
}

static bool receive_result(struct broker *broker, struct pool_worker *worker, const struct batch_result *result,
                           struct err *err)
{
    struct lease *lease = pool_lease(worker, result->batch);
    const struct answers *answers = &result->answers;
    size_t hypothesis = 0, byte = 0, note = 0;
    if (lease == NULL || !lease->sent)
        return err_set(err, ERR_PROTOCOL, "RESULT of batch %" PRIu64 ", which this worker was not lent", result->batch);
    if (answers->count != lease->count)
        return err_set(err, ERR_PROTOCOL, "RESULT of %u texts for a batch of %u", answers->count, lease->count);
    for (uint32_t i = 0; i < answers->count; i++)
        if (answers->of[i].status == ANSWER_OK && answers->of[i].hypotheses == 0)
            return err_set(err, ERR_PROTOCOL, "RESULT has no translation of text %u", i);
    receive_count(broker, lease, result);
    worker->batches++;
    worker->sentences += lease->count;
    worker->computed_us += result->computed_us;
    for (uint32_t i = 0; i < lease->count; i++) {
        struct sentence *sentence = lease->sentences[i];
        receive_answer(sentence, answers, i, &hypothesis, &byte, &note);
        if (sentence->state == SENTENCE_DROPPED)
            sentences_free(&broker->sentences, sentence);
        else
            broker_settle(broker, sentence, result->computed_us);
    }
    lease->version->holders--;
    lease_end(worker, lease, broker->now_us);
    return true;
}

static bool receive_worker(struct broker *broker, struct pool_worker *worker, const struct message *message,
                           struct err *err)
{
    switch (message->type) {
    case MESSAGE_PONG:
        return true;
    case MESSAGE_CREDIT:
        worker->credit += message->credit.units;
        return worker->credit <= POOL_CREDIT_MOST ||
               err_set(err, ERR_PROTOCOL, "CREDIT for %u batches is too much", worker->credit);
    case MESSAGE_LOADED:
        return receive_loaded(broker, worker, &message->loaded, err);
    case MESSAGE_RESULT:
        return receive_result(broker, worker, &message->result, err);
    case MESSAGE_FETCH:
        if (worker->fetch_count == POOL_FETCHES)
            return err_set(err, ERR_PROTOCOL, "more than %d pieces are requested at a time", POOL_FETCHES);
        worker->fetches[worker->fetch_count++] = message->fetch;
        return true;
    case MESSAGE_GOODBYE:
        worker->state = worker->state == POOL_JOINED ? POOL_LEFT : worker->state;
        return true;
    case MESSAGE_ERROR:
        return err_set(err, (enum err_code)message->error.code, "%.*s", (int)message->error.text.size,
                       message->error.text.data);
    default:
        return err_set(err, ERR_PROTOCOL, "%s is not for a queue", message_name(message->type));
    }
}

/* ---- peers ---- */

static bool receive_is_clients(enum message_type type)
{
    return type == MESSAGE_TRANSLATE || type == MESSAGE_CANCEL || type == MESSAGE_ASK;
}

/* A peer that is neither a client nor a worker: it gets ERROR, and the log a line now and then. */
static void receive_stranger(struct broker *broker, const struct door *door, const struct route *from,
                             const struct err *why)
{
    broker_say_error(door, from, why->code, why->text);
    if (door->watch != NULL)
        watch_reject(door->watch, from);
    broker->strangers++;
    if (broker_ms(broker) - broker->complained_ms < COMPLAIN_MS)
        return;
    broker->complained_ms = broker_ms(broker);
    log_event(LOG_WARN, "stranger_refused",
              LOG_FIELDS(LOG_TEXT("reason", why->text), LOG_COUNT("count", broker->strangers)),
              "refused a peer: %s (%" PRIu64 " so far)", why->text, broker->strangers);
}

/* The flow of a key has the key's name. */
static void receive_name_flow(const struct broker *broker, struct peer *peer)
{
    const struct curve_public *key =
        broker->allow != NULL && peer->route.key[0] != '\0' ? allow_find(broker->allow, peer->route.key) : NULL;
    if (key != NULL)
        snprintf(peer->flow, sizeof peer->flow, "key:%s", key->name);
}

/* The first message of a connection. */
static struct peer *receive_new(struct broker *broker, const struct door *door, const struct route *from,
                                const struct message *message, struct err *err)
{
    bool worker = message->type == MESSAGE_JOIN;
    if (!worker && (door->workers_only || !receive_is_clients(message->type))) {
        broker->counts.late += message->type == MESSAGE_RESULT;
        err_set(err, ERR_PROTOCOL, "%s came from a peer that is not known here: send %s first",
                message_name(message->type), door->workers_only ? "JOIN" : "JOIN or TRANSLATE");
        return NULL;
    }
    struct peer *peer = peers_add(&broker->peers, door, from, worker ? PEER_WORKER : PEER_CLIENT);
    if (peer == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a peer");
        return NULL;
    }
    receive_name_flow(broker, peer);
    return peer;
}

/* A message of a worker that has left or was declared dead. */
static void receive_late(struct broker *broker, const struct peer *peer, const struct message *message)
{
    if (message->type == MESSAGE_RESULT) {
        broker->counts.late++;
        log_event(LOG_INFO, "late_result", LOG_FIELDS(LOG_COUNT("batch", message->result.batch)),
                  "dropped a late result of batch %" PRIu64, message->result.batch);
    }
    if (message->type != MESSAGE_GOODBYE && message->type != MESSAGE_ERROR)
        broker_say_error(peer->door, &peer->route, ERR_PROTOCOL, "this worker was declared dead: send JOIN");
}

static bool receive_known(struct broker *broker, struct peer *peer, const struct message *message, struct err *err)
{
    if (peer->state == PEER_CLIENT)
        return receive_is_clients(message->type)
                   ? receive_client(broker, peer, message, err)
                   : err_set(err, ERR_PROTOCOL, "%s came from a client", message_name(message->type));
    if (message->type == MESSAGE_JOIN)
        return receive_join(broker, peer, &message->join, err);
    if (peer->worker == NULL || peer->worker->state != POOL_JOINED) {
        receive_late(broker, peer, message);
        return true;
    }
    peer->worker->heard_ms = broker_ms(broker);
    return receive_worker(broker, peer->worker, message, err);
}

static void receive_message(struct broker *broker, const struct door *door, const struct route *from,
                            const struct message *message, struct err *failure)
{
    struct peer *peer = peers_find(&broker->peers, door, from);
    bool fresh = peer == NULL;
    bool good = failure->code == ERR_NONE;
    if (door->watch != NULL && fresh)
        watch_received(door->watch, from);
    else if (door->watch != NULL)
        watch_received_again(door->watch, from);
    if (good && door->watch != NULL && !watch_knows(door->watch, from))
        return; /* its key was removed: the watch disconnects it */
    if (peer != NULL && peer_is_gone(peer) && peer->worker == NULL)
        return;
    if (good && fresh)
        peer = receive_new(broker, door, from, message, failure);
    good = good && peer != NULL && receive_known(broker, peer, message, failure);
    if (good && fresh && door->watch != NULL)
        watch_trust(door->watch, from);
    if (good)
        return;
    if (peer != NULL && peer->worker != NULL)
        pool_lose(peer->worker, COUNTS_LEFT, failure->code, failure->text);
    if (peer != NULL && peer->state != PEER_WORKER)
        peers_lose(&broker->peers, peer); /* no message follows ERROR: its requests are withdrawn */
    receive_stranger(broker, door, from, failure);
}

bool broker_receive(struct broker *broker, struct door *door, struct err *err)
{
    broker->now_us = clock_ns() / 1000;
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        struct message message;
        struct route from = {.size = 0};
        struct err failure = {0};
        bool got = false, good = message_receive(door->socket, &from, false, &message, &got, &failure);
        if (good && !got)
            return true;
        if (!good && (failure.code != ERR_PROTOCOL || from.size == 0)) {
            *err = failure;
            return false;
        }
        receive_message(broker, door, &from, &message, &failure);
        message_close(&message);
    }
    broker->caught_up = false;
    return true;
}
