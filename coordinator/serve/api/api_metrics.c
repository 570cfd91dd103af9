/* api_metrics.c - GET /metrics: what the queue and the HTTP side have done, for Prometheus.
 *
 * Every family and every set of labels is there from the beginning. Labels never hold an address, a key or a text. */
#include "coordinator/http/metrics_text.h"
#include "coordinator/serve/api/api_inside.h"
#include "proto/base/clock.h"
#include "proto/base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { METRICS_MODEL = 2 * MESSAGE_LANGUAGE + 2 };

struct metrics_page {
    struct metrics_text text;
    const struct api *api;
    const struct catalog *catalog;
    struct broker_counts broker;
    struct http_counts http;
};

static const char *const metrics_outcomes[API_OUTCOMES] = {
    [API_OK] = "ok",           [API_BUSY] = "busy",
    [API_EXPIRED] = "expired", [API_CANCELLED] = "cancelled",
    [API_INVALID] = "invalid", [API_UNAUTHORIZED] = "unauthorized",
    [API_LIMITED] = "limited", [API_NO_WORKER] = "no_worker",
    [API_FAILED] = "failed",
};

/* The name of a model, "en-fr"; false: its languages are not known yet. */
static bool metrics_model(const struct catalog_view *view, char name[METRICS_MODEL])
{
    snprintf(name, METRICS_MODEL, "%s-%s", view->source, view->target);
    return view->source[0] != '\0';
}

static void metrics_info(struct metrics_page *metrics)
{
    char name[METRICS_MODEL], step[24];
    metrics_family(&metrics->text, METRIC_GAUGE, "lstmq_build_info", "Version of the program.");
    metrics_value(&metrics->text, 1, METRIC_LABELS({"version", LSTMQ_VERSION}, {"commit", LSTMQ_COMMIT}));
    metrics_family(&metrics->text, METRIC_GAUGE, "lstmq_model_info", "Checkpoint that new requests get.");
    for (size_t i = 0; i < catalog_count(metrics->catalog); i++) {
        struct catalog_view view = catalog_at(metrics->catalog, i);
        if (!metrics_model(&view, name) || view.version == 0)
            continue;
        snprintf(step, sizeof step, "%" PRIu64, view.step);
        metrics_value(&metrics->text, 1,
                      METRIC_LABELS({"model", name}, {"source", view.source}, {"target", view.target}, {"step", step},
                                    {"hash", view.hash}));
    }
}

static void metrics_requests(struct metrics_page *metrics)
{
    static const enum request_outcome outcomes[API_OUTCOMES] = {
        [API_OK] = REQUEST_DONE,         [API_BUSY] = REQUEST_BUSY,
        [API_EXPIRED] = REQUEST_EXPIRED, [API_CANCELLED] = REQUEST_CANCELLED,
        [API_INVALID] = REQUEST_INVALID, [API_NO_WORKER] = REQUEST_NO_WORKER,
        [API_FAILED] = REQUEST_FAILED,
    };
    const uint64_t *zmq = metrics->broker.requests[REQUEST_ZMQ];
    metrics_family(&metrics->text, METRIC_COUNTER, "lstmq_requests_total", "Requests that are over, by their outcome.");
    for (int i = 0; i < API_OUTCOMES; i++) {
        metrics_value(&metrics->text, (double)metrics->api->outcomes[i],
                      METRIC_LABELS({"interface", "http"}, {"outcome", metrics_outcomes[i]}));
        uint64_t count = outcomes[i] != REQUEST_WAITS ? zmq[outcomes[i]] : 0;
        count += i == API_NO_WORKER ? zmq[REQUEST_ENDING] : 0;
        metrics_value(&metrics->text, (double)count,
                      METRIC_LABELS({"interface", "zmq"}, {"outcome", metrics_outcomes[i]}));
    }
    metrics_family(&metrics->text, METRIC_HISTOGRAM, "lstmq_request_duration_seconds",
                   "Time from a request to its translation.");
    metrics_histogram(&metrics->text, &metrics->api->duration, METRIC_LABELS({"interface", "http"}));
    metrics_histogram(&metrics->text, &metrics->broker.duration[REQUEST_ZMQ], METRIC_LABELS({"interface", "zmq"}));
}

/* The families that have one value for each model. */
enum metrics_figure {
    FIGURE_SENTENCES,
    FIGURE_BATCHES,
    FIGURE_SOURCE_TOKENS,
    FIGURE_TARGET_TOKENS,
    FIGURE_UNKNOWN,
    FIGURE_DEDUPLICATED,
    FIGURE_QUEUED,
    FIGURE_COMPUTED,
    FIGURE_BATCH,
    FIGURE_WAITING,
    FIGURE_LIMIT,
    FIGURE_OLDEST,
    FIGURES
};

static const struct {
    enum metric_type type;
    const char *name, *help;
} metrics_figures[FIGURES] = {
    [FIGURE_SENTENCES] = {METRIC_COUNTER, "lstmq_sentences_total", "Sentences that were translated."},
    [FIGURE_BATCHES] = {METRIC_COUNTER, "lstmq_batches_total", "Batches that were computed."},
    [FIGURE_SOURCE_TOKENS] = {METRIC_COUNTER, "lstmq_source_tokens_total", "Tokens that were read."},
    [FIGURE_TARGET_TOKENS] = {METRIC_COUNTER, "lstmq_target_tokens_total", "Tokens that were written."},
    [FIGURE_UNKNOWN] = {METRIC_COUNTER, "lstmq_unknown_words_total", "Source words that the model does not know."},
    [FIGURE_DEDUPLICATED] = {METRIC_COUNTER, "lstmq_deduplicated_sentences_total",
                             "Sentences that shared the computation of an equal one."},
    [FIGURE_QUEUED] = {METRIC_HISTOGRAM, "lstmq_queue_duration_seconds", "Time that sentences waited for a worker."},
    [FIGURE_COMPUTED] = {METRIC_HISTOGRAM, "lstmq_compute_duration_seconds",
                         "Time of batches on their worker, by the worker's clock."},
    [FIGURE_BATCH] = {METRIC_HISTOGRAM, "lstmq_batch_sentences", "Sentences of a batch."},
    [FIGURE_WAITING] = {METRIC_GAUGE, "lstmq_queue_sentences", "Sentences that wait."},
    [FIGURE_LIMIT] = {METRIC_GAUGE, "lstmq_queue_limit_sentences", "Sentences that may wait, of all models together."},
    [FIGURE_OLDEST] = {METRIC_GAUGE, "lstmq_queue_oldest_seconds", "Age of the oldest sentence that waits."},
};

static double metrics_figure(const struct metrics_page *metrics, const struct catalog_view *view,
                             enum metrics_figure figure)
{
    const struct model_counts *counts = view->counts;
    switch (figure) {
    case FIGURE_SENTENCES:
        return (double)counts->sentences;
    case FIGURE_BATCHES:
        return (double)counts->batches;
    case FIGURE_SOURCE_TOKENS:
        return (double)counts->src_tokens;
    case FIGURE_TARGET_TOKENS:
        return (double)counts->tgt_tokens;
    case FIGURE_UNKNOWN:
        return (double)counts->unknown;
    case FIGURE_DEDUPLICATED:
        return (double)counts->deduplicated;
    case FIGURE_WAITING:
        return view->waiting;
    case FIGURE_LIMIT:
        return (double)metrics->broker.queue_limit;
    default: /* FIGURE_OLDEST */
        return view->oldest_us > 0 ? (double)(clock_ns() / 1000 - view->oldest_us) * 1e-6 : 0;
    }
}

static void metrics_models(struct metrics_page *metrics)
{
    char name[METRICS_MODEL];
    for (int figure = 0; figure < FIGURES; figure++) {
        metrics_family(&metrics->text, metrics_figures[figure].type, metrics_figures[figure].name,
                       metrics_figures[figure].help);
        for (size_t i = 0; i < catalog_count(metrics->catalog); i++) {
            struct catalog_view view = catalog_at(metrics->catalog, i);
            const struct metric_label *labels = METRIC_LABELS({"model", name});
            if (!metrics_model(&view, name))
                continue;
            if (metrics_figures[figure].type == METRIC_HISTOGRAM)
                metrics_histogram(&metrics->text,
                                  figure == FIGURE_QUEUED     ? &view.counts->queued
                                  : figure == FIGURE_COMPUTED ? &view.counts->computed
                                                              : &view.counts->batch_sentences,
                                  labels);
            else
                metrics_value(&metrics->text, metrics_figure(metrics, &view, (enum metrics_figure)figure), labels);
        }
    }
}

/* A family with one label. */
static void metrics_by(struct metrics_page *metrics, enum metric_type type, const char *name, const char *help,
                       const char *label, size_t count, const char *const *values, const uint64_t *counts)
{
    metrics_family(&metrics->text, type, name, help);
    for (size_t i = 0; i < count; i++)
        metrics_value(&metrics->text, (double)counts[i], METRIC_LABELS({label, values[i]}));
}

static void metrics_one(struct metrics_page *metrics, enum metric_type type, const char *name, const char *help,
                        uint64_t count)
{
    metrics_family(&metrics->text, type, name, help);
    metrics_value(&metrics->text, (double)count, NULL);
}

static void metrics_workers(struct metrics_page *metrics)
{
    static const char *const states[] = {"idle", "busy", "loading"};
    static const char *const reasons[COUNTS_LOSSES] = {
        [COUNTS_HEARTBEAT] = "heartbeat", [COUNTS_LEASE] = "lease", [COUNTS_LEFT] = "left"};
    static const char *const outcomes[] = {"ok", "failed"};
    const struct broker_counts *counts = &metrics->broker;
    metrics_by(metrics, METRIC_GAUGE, "lstmq_workers", "Translation workers by what they do.", "state", 3, states,
               (const uint64_t[]){counts->workers_idle, counts->workers_busy, counts->workers_loading});
    metrics_by(metrics, METRIC_COUNTER, "lstmq_worker_losses_total", "Workers that were declared dead, by the reason.",
               "reason", COUNTS_LOSSES, reasons, counts->losses);
    metrics_by(metrics, METRIC_COUNTER, "lstmq_requeued_sentences_total",
               "Sentences that were given to another worker, by the reason.", "reason", COUNTS_LOSSES, reasons,
               counts->requeued);
    metrics_one(metrics, METRIC_COUNTER, "lstmq_late_results_total", "Results of batches that were no longer lent.",
                counts->late);
    metrics_one(metrics, METRIC_COUNTER, "lstmq_poison_sentences_total",
                "Sentences that were refused because workers died on them.", counts->poison);
    metrics_by(metrics, METRIC_COUNTER, "lstmq_reloads_total", "Newer checkpoints, by whether workers could load them.",
               "outcome", 2, outcomes, (const uint64_t[]){counts->reloads, counts->reloads_failed});
    metrics_one(metrics, METRIC_GAUGE, "lstmq_flows", "Keys, addresses and connections that have requests.",
                counts->flows);
}

static void metrics_connections(struct metrics_page *metrics)
{
    static const char *const interfaces[] = {"http", "zmq"};
    metrics_by(metrics, METRIC_GAUGE, "lstmq_connections", "Open connections.", "interface", 2, interfaces,
               (const uint64_t[]){metrics->http.connections, metrics->broker.connections});
    metrics_by(metrics, METRIC_COUNTER, "lstmq_handshake_failures_total",
               "Connections that were ended without a request: a refused key, or too slow.", "interface", 2, interfaces,
               (const uint64_t[]){metrics->http.cut, metrics->broker.handshake_failures});
}

/* The time of the comparison does not depend on the bytes. */
bool api_is_operator(const struct api *api, const struct exchange *exchange)
{
    const char *header = http_header(exchange, "Authorization");
    if (api->token.size == 0)
        return true;
    if (!header || strncmp(header, "Bearer ", 7) != 0 || strlen(header + 7) != api->token.size)
        return false;
    unsigned char differs = 0;
    for (size_t i = 0; i < api->token.size; i++)
        differs |= (unsigned char)(header[7 + i] ^ api->token.data[i]);
    return differs == 0;
}

void api_answer_metrics(struct api *api, struct exchange *exchange)
{
    if (!api_is_operator(api, exchange)) {
        http_set_header(exchange, "WWW-Authenticate", "Bearer");
        api_answer_error(api, exchange, 401, "The metrics need a token: Authorization: Bearer TOKEN");
        return;
    }
    struct metrics_page metrics = {
        .text = metrics_begin(&api->out, http_header(exchange, "Accept")),
        .api = api,
        .catalog = broker_catalog(api->broker),
        .broker = broker_counts(api->broker),
        .http = http_counts(api->http),
    };
    metrics_info(&metrics);
    metrics_requests(&metrics);
    metrics_models(&metrics);
    metrics_workers(&metrics);
    metrics_connections(&metrics);
    metrics_process(&metrics.text);
    metrics_end(&metrics.text);
    api_answer_as(api, exchange, 200, metrics_content_type(&metrics.text));
}
