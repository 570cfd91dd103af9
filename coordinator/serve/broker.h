/* broker.h - the translation queue: requests of clients in, batches to workers out, answers back.
 *
 * Messages, timers and submitted requests only record. Once a turn of the loop the broker looks at all of it. It
 * decides about dead workers, ended leases, passed deadlines, batches to form, and complete requests. Then it sends
 * what is due.
 *
 *   request   one or many texts of a client, with one deadline and one flow (request.h, queue/requests.h)
 *   sentence  one distinct text of a model that waits, is lent to a worker, or is done; requests share it
 *             (queue/sentence.h)
 *   flow      whose request it is: a key, a connection, an HTTP client's key or address; flows share fairly
 *             (queue/flow.h)
 *   worker    a translation worker, what it has loaded and what it is lent (queue/pool.h)
 *   catalog   the models: languages, versions, files (catalog.h)
 *
 *   serving > draining (SIGTERM: trouble is reported, requests are still accepted) > ending (they are refused) > over
 *
 * The HTTP side of the same process submits requests with broker_submit and collects them with broker_finished. Both
 * make the loop begin another round at once, so the order of turn handlers does not matter. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_BROKER_H
#define LSTMQ_COORDINATOR_SERVE_BROKER_H

#include "coordinator/serve/catalog.h"
#include "coordinator/serve/counts.h"
#include "coordinator/serve/request.h"
#include "proto/wire/auth/allow.h"
#include "proto/wire/watch.h"

struct broker;

struct broker_options {
    const struct config *config; /* serve.*; outlives the broker, as all that follows does */
    struct loop *loop;
    void *front;               /* ROUTER, bound: clients, and workers on other machines; NULL = none */
    struct watch *front_watch; /* over it; NULL = none */
    void *back;                /* ROUTER, bound: embedded workers; NULL = none */
    struct watch *back_watch;
    struct allow *allow; /* names the keys of front's peers; NULL = there are no keys */
};

/* NULL and err: no model, or no memory. Adds its sources and its turn to the loop. */
struct broker *broker_open(const struct broker_options *options, struct err *err);
void broker_close(struct broker **broker);

/* What a request asks for. Everything is copied. */
struct request_terms {
    struct text source, target; /* codes; both empty = the first model */
    struct texts texts;
    int64_t deadline_ms; /* time that remains; 0 = the default */
    uint32_t alternatives;
    bool details;
    const char *flow;         /* whose it is: "key:NAME", "address:10.0.0.7" */
    uint64_t client, request; /* to recognise a repeated request; client 0 = never repeated */
    void *owner;              /* HTTP: the exchange */
};

/* Submit an HTTP request. It may be over at once (request->outcome); broker_finished returns it then too. NULL and err:
 * no memory. */
struct request *broker_submit(struct broker *broker, const struct request_terms *terms, struct err *err);

/* The next HTTP request that is over since the last call; NULL: none. The caller reads it and ends it with
 * broker_release. */
struct request *broker_finished(struct broker *broker);
void broker_release(struct broker *broker, struct request *request);

/* The client of a request has left: its work is withdrawn, and the request is freed. */
void broker_cancel(struct broker *broker, struct request *request);

const struct catalog *broker_catalog(const struct broker *broker);

/* Why the queue cannot serve now ("no worker has loaded a model", "draining"); NULL: it can. */
const char *broker_trouble(const struct broker *broker);

/* Counters since the beginning, and gauges of now. */
struct broker_counts broker_counts(const struct broker *broker);

/* The status as one JSON object, appended to `out`; with `detail` its workers too. */
void broker_status(const struct broker *broker, bool detail, struct buffer *out);

/* Begin to drain (SIGTERM): broker_trouble says so at once. Requests are still accepted for serve.drain_delay, at least
 * for `accept_ms`; broker_end ends that early. */
void broker_drain(struct broker *broker, int64_t accept_ms);
void broker_end(struct broker *broker);

/* New requests are refused: load balancers had time to notice (serve.drain_delay). */
bool broker_is_ending(const struct broker *broker);

/* The process id of an embedded worker that was declared dead since the last call; 0 = none. It may only be frozen. */
uint32_t broker_dead_process(struct broker *broker);

/* It was drained: every request that it accepted is answered, or the time for that is over. */
bool broker_is_over(const struct broker *broker);

#endif
