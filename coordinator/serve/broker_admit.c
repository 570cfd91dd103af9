/* broker_admit.c - a request is accepted or refused, and is over at last; see broker.h. */
#include "coordinator/serve/broker_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    WORKER_MISSED_MS = 2000, /* without a worker for so long, requests are refused at once */
    RETRY_LEAST_MS = 50,
    RETRY_MOST_MS = 60000,
    RETRY_NO_WORKER_MS = 1000,
    RETRY_ENDING_MS = 1000,
};

double broker_rate(const struct broker *broker)
{
    const struct pool *pool = &broker->pool;
    uint32_t able = 0;
    for (size_t i = 0; i < pool->count; i++)
        able += pool->workers[i]->batches > 0;
    return pool->busy_us > 0 ? 1e6 * able * pool->busy_sentences / pool->busy_us : 0;
}

double broker_throughput(const struct broker *broker)
{
    const struct rate *rate = &broker->rate;
    double done = 0;
    for (int64_t second = broker->now_us / 1000000 - RATE_SECONDS + 1; second <= rate->second; second++)
        if (second > rate->second - RATE_SECONDS)
            done += rate->done[second % RATE_SECONDS];
    return done / RATE_SECONDS;
}

static void rate_add(struct rate *rate, int64_t now_us)
{
    int64_t second = now_us / 1000000;
    if (rate->second == 0 || second - rate->second >= RATE_SECONDS)
        memset(rate->done, 0, sizeof rate->done);
    else
        for (int64_t at = rate->second + 1; at <= second; at++)
            rate->done[at % RATE_SECONDS] = 0;
    rate->second = second;
    rate->done[second % RATE_SECONDS]++;
}

uint32_t broker_waiting(const struct broker *broker)
{
    uint32_t waiting = 0;
    for (size_t i = 0; i < broker->catalog.count; i++)
        waiting += broker->catalog.models[i].schedule.waiting;
    return waiting;
}

/* No part waits for it. */
static void admit_drop(struct broker *broker, struct sentence *sentence)
{
    switch (sentence->state) {
    case SENTENCE_LENT: /* the lease frees it */
        sentence->state = SENTENCE_DROPPED;
        sentences_forget(&broker->sentences, sentence);
        break;
    case SENTENCE_DROPPED:
        break;
    case SENTENCE_WAITS:
        flow_remove(sentence);
        sentences_free(&broker->sentences, sentence);
        break;
    default:
        sentences_free(&broker->sentences, sentence);
    }
}

static void admit_count(struct broker *broker, const struct request *request)
{
    broker->counts.requests[request->from][request->outcome]++;
    if (request->outcome == REQUEST_DONE)
        histogram_add(&broker->counts.duration[request->from], (double)(broker->now_us - request->arrived_us) * 1e-6,
                      NULL);
}

void broker_finish(struct broker *broker, struct request *request, enum request_outcome outcome)
{
    struct peer *peer = request->peer;
    for (uint32_t i = 0; i < request->part_count; i++) {
        struct sentence *sentence = request->parts[i].sentence;
        if (sentence != NULL && part_leave(&request->parts[i]))
            admit_drop(broker, sentence);
    }
    deadlines_remove(&broker->deadlines, request);
    if (request->flow != NULL) {
        request->flow->requests--;
        request->flow->used_ms = broker_ms(broker);
        request->version->requests--;
        request->flow = NULL;
        request->version = NULL;
    }
    request->outcome = outcome;
    admit_count(broker, request);
    if (request->from == REQUEST_HTTP) {
        request_move(request, &broker->finished);
        loop_wake(broker->loop, 0);
    } else if (outcome == REQUEST_CANCELLED || (peer == NULL && outcome != REQUEST_DONE)) {
        requests_free(&broker->requests, request);
    } else if (peer == NULL) {
        requests_keep(&broker->requests, request, broker->now_us);
    } else {
        request_move(request, &peer->due);
        peers_list(&broker->peers, peer);
    }
}

void broker_reject(struct broker *broker, struct request *request, enum request_outcome outcome, uint32_t retry_ms,
                   const char *why)
{
    snprintf(request->why, sizeof request->why, "%s", why);
    request->retry_ms = retry_ms;
    broker_finish(broker, request, outcome);
}

/* Whether every text failed. */
static bool request_is_failed(const struct request *request)
{
    for (uint32_t i = 0; i < request->answers.count; i++)
        if (request->answers.of[i].status == ANSWER_OK)
            return false;
    return true;
}

/* All its sentences are done. */
static void request_complete(struct broker *broker, struct request *request)
{
    snprintf(request->model, sizeof request->model, "%s", request->version->label);
    request->step = request->version->step;
    request->queued_us = (uint64_t)(request->lent_us > 0 ? request->lent_us - request->arrived_us : 0);
    if (!request_pack(request))
        broker_reject(broker, request, REQUEST_FAILED, RETRY_NO_WORKER_MS, "the queue has no memory for the answer");
    else if (request_is_failed(request))
        broker_reject(broker, request, REQUEST_FAILED, 0, "every worker that tried to translate this text died");
    else
        broker_finish(broker, request, REQUEST_DONE);
}

void broker_settle(struct broker *broker, struct sentence *sentence, uint64_t computed_us)
{
    rate_add(&broker->rate, broker->now_us);
    sentences_forget(&broker->sentences, sentence);
    sentence->state = SENTENCE_DONE;
    for (struct part *part = sentence->parts, *next; part != NULL; part = next) {
        struct request *request = part->request;
        next = part->next; /* a request that is complete leaves its sentences; only its own parts */
        while (next != NULL && next->request == request) {
            request->open--;
            next = next->next;
        }
        if (computed_us > request->computed_us)
            request->computed_us = computed_us;
        if (--request->open == 0)
            request_complete(broker, request);
    }
}

/* ---- admission ---- */

static uint32_t admit_retry_ms(const struct broker *broker, double sentences)
{
    double rate = broker_rate(broker), ms = rate > 0 ? 1000 * sentences / rate : RETRY_NO_WORKER_MS;
    return ms < RETRY_LEAST_MS ? RETRY_LEAST_MS : ms > RETRY_MOST_MS ? RETRY_MOST_MS : (uint32_t)ms;
}

/* Sentences that are likely computed before the flow's next one: at most all that wait, at most its own in each flow's
 * turn. */
static double admit_ahead(const struct flow *flow, uint32_t waiting)
{
    const struct schedule *schedule = flow->schedule;
    double own = (double)(flow->waiting + 1) * (schedule->flows + (flow->waiting == 0));
    return own < waiting ? own : waiting;
}

/* Sentences that workers have. */
static uint32_t admit_lent(const struct pool *pool)
{
    uint32_t lent = 0;
    for (size_t i = 0; i < pool->count; i++)
        for (uint32_t at = 0; at < pool->workers[i]->lease_count; at++)
            lent += pool->workers[i]->leases[at].count;
    return lent;
}

/* Refuse where the queue is full. A flow with less than its share of it is still accepted. */
static bool admit_fits(struct broker *broker, struct request *request, const struct flow *flow)
{
    uint32_t waiting = broker_waiting(broker), most = (uint32_t)broker->config->serve_queue;
    uint32_t flows = flow->schedule->flows + (flow->waiting == 0);
    char why[128];
    if (request->part_count > most) {
        snprintf(why, sizeof why, "%u texts are above the %u that this queue holds: send fewer at a time",
                 request->part_count, most);
        broker_reject(broker, request, REQUEST_INVALID, 0, why);
        return false;
    }
    if (waiting + request->part_count > most && flow->waiting + request->part_count > most / flows) {
        snprintf(why, sizeof why, "the queue is full: %u sentences wait", waiting);
        broker_reject(broker, request, REQUEST_BUSY, admit_retry_ms(broker, waiting), why);
        return false;
    }
    double rate = broker_rate(broker), ahead = admit_ahead(flow, waiting);
    double left = (double)(request->deadline_us - broker->now_us) * 1e-6, batch = broker->pool.batch_us * 1e-6;
    bool queues = waiting >= (uint32_t)broker->config->serve_max_batch;
    if (rate > 0 && queues && (ahead + admit_lent(&broker->pool)) / rate + batch > left) {
        snprintf(why, sizeof why, "the queue is too long to answer within %.3g s: %u sentences wait", left, waiting);
        broker_reject(broker, request, REQUEST_BUSY, admit_retry_ms(broker, ahead), why);
        return false;
    }
    return true;
}

static bool admit_model(struct broker *broker, struct request *request, const struct request_terms *terms,
                        struct served_model **model)
{
    char why[128];
    *model = catalog_model(&broker->catalog, terms->source, terms->target);
    if (broker->state >= BROKER_ENDS) {
        broker_reject(broker, request, REQUEST_ENDING, RETRY_ENDING_MS, "the queue is draining");
        return false;
    }
    if (*model == NULL && (terms->source.size == 0) != (terms->target.size == 0)) {
        broker_reject(broker, request, REQUEST_INVALID, 0, "name both the source and the target language, or neither");
        return false;
    }
    if (*model == NULL) {
        snprintf(why, sizeof why, "no model translates from \"%.*s\" to \"%.*s\"", (int)terms->source.size,
                 terms->source.data, (int)terms->target.size, terms->target.data);
        broker_reject(broker, request, REQUEST_INVALID, 0, why);
        return false;
    }
    bool missed = broker_ms(broker) - broker->ready_ms > WORKER_MISSED_MS && !broker_can_serve(broker);
    if (missed || catalog_serving(*model) == NULL) {
        broker_reject(broker, request, REQUEST_NO_WORKER, RETRY_NO_WORKER_MS, "no worker has loaded the model");
        return false;
    }
    return true;
}

/* Each text becomes a part of a sentence. False: no memory. */
static bool admit_texts(struct broker *broker, struct request *request, const struct request_terms *terms)
{
    const struct sentence_kind kind = {request->version, terms->alternatives, terms->details};
    const char *bytes = terms->texts.bytes;
    for (uint32_t i = 0; i < terms->texts.count; i++) {
        bool made;
        struct text text = {bytes, terms->texts.lengths[i]};
        struct sentence *sentence = sentences_get(&broker->sentences, &kind, text, &request->parts[i], &made);
        if (sentence == NULL)
            return false;
        bytes += terms->texts.lengths[i];
        request->open++;
        if (made) {
            sentence->arrived_us = broker->now_us;
            flow_add(request->flow, sentence);
        } else {
            request->version->model->counts.deduplicated++;
            if (sentence->state == SENTENCE_LENT && request->lent_us == 0)
                request->lent_us = broker->now_us;
        }
    }
    return true;
}

static int64_t admit_deadline_us(const struct broker *broker, int64_t wanted_ms)
{
    double seconds = wanted_ms > 0 ? (double)wanted_ms * 1e-3 : broker->config->serve_deadline;
    if (seconds > broker->config->serve_deadline_most)
        seconds = broker->config->serve_deadline_most;
    return broker->now_us + (int64_t)(seconds * 1e6);
}

struct request *broker_admit(struct broker *broker, const struct request_terms *terms, struct peer *peer)
{
    struct request *request = requests_new(&broker->requests, terms->texts.count);
    struct served_model *model;
    if (request == NULL)
        return NULL;
    request->from = peer != NULL ? REQUEST_ZMQ : REQUEST_HTTP;
    request->peer = peer;
    request->owner = terms->owner;
    request->client = terms->client;
    request->number = terms->request;
    request->key = peer != NULL ? peer->key : 0;
    request->arrived_us = broker->now_us;
    request->deadline_us = admit_deadline_us(broker, terms->deadline_ms);
    requests_enter(&broker->requests, request);
    request_move(request, peer != NULL ? &peer->open : &broker->http);
    if (!admit_model(broker, request, terms, &model))
        return request;
    struct flow *flow = flows_get(&broker->flows, &model->schedule, terms->flow, broker_ms(broker));
    if (flow != NULL && !admit_fits(broker, request, flow))
        return request;
    if (flow != NULL) {
        request->flow = flow;
        request->version = catalog_serving(model);
        flow->requests++;
        request->version->requests++;
    }
    if (flow == NULL || !deadlines_add(&broker->deadlines, request) || !admit_texts(broker, request, terms))
        broker_reject(broker, request, REQUEST_BUSY, RETRY_NO_WORKER_MS, "the queue has no memory left");
    return request;
}
