/* broker.c - the broker's life, its turn, and the requests of HTTP; see broker.h. */
#include "coordinator/serve/broker_inside.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdlib.h>

static bool broker_front(void *context, struct err *err)
{
    struct broker *broker = context;
    return broker_receive(broker, &broker->doors[0], err);
}

static bool broker_back(void *context, struct err *err)
{
    struct broker *broker = context;
    return broker_receive(broker, &broker->doors[1], err);
}

static bool broker_turn(void *context, struct err *err)
{
    struct broker *broker = context;
    broker->now_us = clock_ns() / 1000;
    broker_advance(broker);
    if (!broker_say(broker, err))
        return false;
    if (!broker->caught_up)
        loop_wake(broker->loop, 0);
    broker->caught_up = true;
    return true;
}

static bool broker_open_doors(struct broker *broker, const struct broker_options *options, struct err *err)
{
    broker->doors[0] = (struct door){options->front, options->front_watch, false};
    broker->doors[1] = (struct door){options->back, options->back_watch, true};
    for (size_t i = 0; i < BROKER_DOORS; i++) {
        if (broker->doors[i].socket == NULL)
            continue;
        broker->sources[i] =
            loop_add_socket(broker->loop, broker->doors[i].socket, i == 0 ? broker_front : broker_back, broker, err);
        if (broker->sources[i] == 0)
            return false;
    }
    broker->sources[BROKER_DOORS] = loop_add_turn(broker->loop, broker_turn, broker, err);
    return broker->sources[BROKER_DOORS] != 0;
}

struct broker *broker_open(const struct broker_options *options, struct err *err)
{
    struct broker *broker = calloc(1, sizeof *broker);
    if (broker == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a queue");
        return NULL;
    }
    broker->config = options->config;
    for (int from = 0; from < REQUEST_FROM; from++)
        broker->counts.duration[from].bounds = &histogram_request_seconds;
    broker->loop = options->loop;
    broker->allow = options->allow;
    broker->now_us = clock_ns() / 1000;
    broker->ready_ms = broker->look_ms = broker_ms(broker);
    broker->caught_up = true;
    if (!sentences_open(&broker->sentences, err) || !requests_open(&broker->requests, err) ||
        !catalog_open(&broker->catalog, options->config, err) || !broker_open_doors(broker, options, err))
        broker_close(&broker);
    return broker;
}

/* Every request is over and freed, whatever its owner. */
static void broker_forget(struct broker *broker, struct request *request)
{
    request->from = REQUEST_ZMQ;
    request->peer = NULL;
    if (request->outcome == REQUEST_WAITS)
        broker_finish(broker, request, REQUEST_CANCELLED);
    else
        requests_free(&broker->requests, request);
}

static void broker_forget_all(struct broker *broker)
{
    while (deadlines_first(&broker->deadlines) != NULL)
        broker_forget(broker, deadlines_first(&broker->deadlines));
    while (broker->finished.first != NULL)
        broker_forget(broker, broker->finished.first);
    for (size_t i = 0; i < PEER_CHAINS; i++)
        for (struct peer *peer = broker->peers.by_id[i]; peer != NULL; peer = peer->same_id)
            while (peer->due.first != NULL)
                broker_forget(broker, peer->due.first);
    for (size_t i = 0; i < broker->pool.count; i++) {
        struct pool_worker *worker = broker->pool.workers[i];
        for (uint32_t k = 0; k < worker->lease_count; k++)
            for (uint32_t s = 0; s < worker->leases[k].count; s++)
                sentences_free(&broker->sentences, worker->leases[k].sentences[s]);
    }
}

void broker_close(struct broker **handle)
{
    struct broker *broker = *handle;
    if (broker == NULL)
        return;
    for (size_t i = 0; i <= BROKER_DOORS; i++)
        loop_remove(broker->loop, broker->sources[i]);
    broker_forget_all(broker);
    pool_close(&broker->pool);
    peers_close(&broker->peers);
    catalog_close(&broker->catalog);
    flows_close(&broker->flows);
    requests_close(&broker->requests);
    sentences_close(&broker->sentences);
    free(broker->deadlines.heap);
    buffer_free(&broker->scratch);
    free(broker);
    *handle = NULL;
}

/* ---- HTTP ---- */

struct request *broker_submit(struct broker *broker, const struct request_terms *terms, struct err *err)
{
    broker->now_us = clock_ns() / 1000;
    struct request *request = broker_admit(broker, terms, NULL);
    if (request == NULL)
        err_set(err, ERR_MEMORY, "no memory for a request");
    loop_wake(broker->loop, 0);
    return request;
}

struct request *broker_finished(struct broker *broker)
{
    struct request *request = broker->finished.first;
    if (request != NULL)
        request_move(request, NULL);
    return request;
}

void broker_release(struct broker *broker, struct request *request)
{
    requests_free(&broker->requests, request);
}

void broker_cancel(struct broker *broker, struct request *request)
{
    if (request->outcome == REQUEST_WAITS)
        broker_finish(broker, request, REQUEST_CANCELLED);
    requests_free(&broker->requests, request);
}

const struct catalog *broker_catalog(const struct broker *broker)
{
    return &broker->catalog;
}

const char *broker_trouble(const struct broker *broker)
{
    if (broker->state != BROKER_SERVES)
        return "the queue is draining";
    return broker_can_serve(broker) ? NULL : "no worker has loaded a model";
}

/* ---- drain ---- */

void broker_drain(struct broker *broker, int64_t accept_ms)
{
    if (broker->state != BROKER_SERVES)
        return;
    int64_t now_ms = clock_ms(), delay_ms = (int64_t)(broker->config->serve_drain_delay * 1000);
    broker->state = BROKER_DRAINS;
    broker->drain_ms = now_ms + (delay_ms > accept_ms ? delay_ms : accept_ms);
    broker->over_ms = broker->drain_ms + (int64_t)(broker->config->serve_drain_timeout * 1000);
    log_event(LOG_INFO, "draining", LOG_FIELDS(LOG_COUNT("waiting", broker_waiting(broker))),
              "draining: %u sentences wait", broker_waiting(broker));
    loop_wake(broker->loop, 0);
}

void broker_end(struct broker *broker)
{
    if (broker->state == BROKER_DRAINS)
        broker->state = BROKER_ENDS;
    loop_wake(broker->loop, 0);
}

bool broker_is_ending(const struct broker *broker)
{
    return broker->state >= BROKER_ENDS;
}

uint32_t broker_dead_process(struct broker *broker)
{
    return broker->dead_count > 0 ? broker->dead[--broker->dead_count] : 0;
}

bool broker_is_over(const struct broker *broker)
{
    return broker->state == BROKER_OVER;
}
