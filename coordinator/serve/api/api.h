/* api.h - the HTTP interface of a queue: LibreTranslate's API, health, metrics and what describes them.
 *
 * The owner of the loop opens it over an HTTP server and a broker, and calls api_turn once a turn. A turn withdraws
 * what clients left behind. Then it takes new requests, answers those that need no translation, and submits the others
 * to the broker. At last it answers what the broker has finished. One HTTP request is one broker request for each
 * source language. docs/serving.md describes the interface. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_API_H
#define LSTMQ_COORDINATOR_SERVE_API_API_H

#include "coordinator/http/http.h"
#include "coordinator/serve/broker.h"
#include "proto/base/config.h"

struct api;

/* All three outlive the API. ERR_USAGE: other machines can reach the server, although it requires no API key (http.keys
 * with http.require_key) and curve.insecure is off; or the file of keys or of the metrics' token is wrong. */
struct api *api_open(struct http *http, struct broker *broker, const struct config *config, struct err *err);

/* Requests that are not answered end without an answer. Call it before the server and the broker are closed. */
void api_close(struct api **api);

void api_turn(struct api *api);

#endif
