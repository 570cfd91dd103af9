/* broker.h - the translation queue: requests of clients in, batches to workers out, answers back.
 *
 * Messages, timers and submitted requests only record. Once a turn of the loop broker_advance looks at all of it and
 * decides: workers that are dead, leases and deadlines that ended, batches to form, requests that are complete.
 * broker_say then sends what is due.
 *
 *   request   what a client asked for: one or many texts, one deadline, one flow (request.h)
 *   sentence  one distinct text of a model that waits, is lent to a worker, or is done; requests share it (sentence.h)
 *   flow      whose request it is: a key, a connection, an HTTP client's key or address; flows share fairly (flow.h)
 *   lease     a batch of sentences lent to one worker until a time (lease.h)
 *   catalog   the models: languages, versions, which workers have loaded which (catalog.h)
 *
 * The HTTP side of the same process submits requests with broker_submit and collects them with broker_finished. Loop
 * thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_BROKER_H
#define LSTMQ_COORDINATOR_SERVE_BROKER_H

#include "coordinator/serve/catalog.h"
#include "coordinator/serve/request.h"

struct broker;

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

/* Submit an HTTP request. It may be over at once (request->outcome). NULL and err: no memory. */
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

#endif
