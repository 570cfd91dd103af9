/* broker_status.c - what the queue is doing, as JSON and as counters; see broker.h. */
#include "coordinator/serve/broker_inside.h"

#include <jansson.h>
#include <stdlib.h>

enum { STATUS_ROWS = 100 }; /* workers, and flows, in a status of at most MESSAGE_JSON bytes */

enum status_work { STATUS_BUSY, STATUS_IDLE, STATUS_LOADING };

static enum status_work status_work(const struct pool_worker *worker)
{
    if (worker->lease_count > 0)
        return STATUS_BUSY;
    for (uint32_t i = 0; i < worker->holding_count; i++)
        if (worker->holdings[i].state == HOLDING_LOADED)
            return STATUS_IDLE;
    return STATUS_LOADING;
}

struct broker_counts broker_counts(const struct broker *broker)
{
    struct broker_counts counts = broker->counts;
    for (size_t i = 0; i < broker->pool.count; i++) {
        enum status_work work = status_work(broker->pool.workers[i]);
        counts.workers_busy += work == STATUS_BUSY;
        counts.workers_idle += work == STATUS_IDLE;
        counts.workers_loading += work == STATUS_LOADING;
    }
    counts.queue_limit = (uint64_t)broker->config->serve_queue;
    counts.flows = broker->flows.count;
    for (size_t i = 0; i < BROKER_DOORS; i++) {
        if (broker->doors[i].watch == NULL || broker->doors[i].workers_only)
            continue;
        struct watch_counts watched = watch_counts(broker->doors[i].watch);
        counts.connections = watched.connections;
        counts.handshake_failures = watched.refused;
    }
    return counts;
}

static json_t *status_worker(const struct pool_worker *worker)
{
    static const char *const works[] = {"busy", "idle", "loading"};
    return json_pack("{s:I, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:f}", "worker", (json_int_t)worker->id, "state",
                     works[status_work(worker)], "host", worker->host, "pid", (json_int_t)worker->pid, "threads",
                     (json_int_t)worker->threads, "backend", worker->backend, "batches", (json_int_t)worker->batches,
                     "sentences", (json_int_t)worker->sentences, "computed_seconds",
                     (double)worker->computed_us * 1e-6);
}

static json_t *status_model(const struct broker *broker, size_t index)
{
    struct catalog_view view = catalog_at(&broker->catalog, index);
    double oldest = view.oldest_us > 0 ? (double)(broker->now_us - view.oldest_us) * 1e-6 : 0;
    return json_pack("{s:s, s:s, s:I, s:I, s:s, s:b, s:I, s:f, s:I, s:I, s:I}", "source", view.source, "target",
                     view.target, "version", (json_int_t)view.version, "step", (json_int_t)view.step, "hash", view.hash,
                     "ready", (int)view.ready, "waiting", (json_int_t)view.waiting, "oldest_seconds", oldest,
                     "sentences", (json_int_t)view.counts->sentences, "batches", (json_int_t)view.counts->batches,
                     "deduplicated", (json_int_t)view.counts->deduplicated);
}

static json_t *status_requests(const struct broker *broker)
{
    static const char *const names[REQUEST_OUTCOMES] = {
        [REQUEST_DONE] = "ok",         [REQUEST_BUSY] = "busy",           [REQUEST_EXPIRED] = "expired",
        [REQUEST_INVALID] = "invalid", [REQUEST_NO_WORKER] = "no_worker", [REQUEST_ENDING] = "ending",
        [REQUEST_FAILED] = "failed",   [REQUEST_CANCELLED] = "cancelled"};
    json_t *counts = json_object();
    for (int i = REQUEST_DONE; i < REQUEST_OUTCOMES; i++) {
        uint64_t sum = 0;
        for (int from = 0; from < REQUEST_FROM; from++)
            sum += broker->counts.requests[from][i];
        json_object_set_new(counts, names[i], json_integer((json_int_t)sum));
    }
    return counts;
}

/* A flow's name may be a client's key or address: only an operator sees it. */
static json_t *status_flows(const struct broker *broker)
{
    json_t *flows = json_array();
    for (size_t i = 0; i < FLOW_CHAINS; i++)
        for (const struct flow *flow = broker->flows.chains[i]; flow != NULL; flow = flow->same)
            if (json_array_size(flows) < STATUS_ROWS && (flow->waiting > 0 || flow->requests > 0))
                json_array_append_new(flows,
                                      json_pack("{s:s, s:I, s:I}", "flow", flow->name, "waiting",
                                                (json_int_t)flow->waiting, "requests", (json_int_t)flow->requests));
    return flows;
}

static json_t *status_root(const struct broker *broker)
{
    static const char *const states[] = {"serving", "draining", "ending", "over"};
    const char *trouble = broker_trouble(broker);
    struct broker_counts counts = broker_counts(broker);
    json_t *models = json_array();
    for (size_t i = 0; i < broker->catalog.count; i++)
        json_array_append_new(models, status_model(broker, i));
    return json_pack("{s:s, s:s, s:s?, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "kind",
                     "queue", "state", states[broker->state], "trouble", trouble, "waiting",
                     (json_int_t)broker_waiting(broker), "queue_limit", (json_int_t)counts.queue_limit,
                     "sentences_per_s", broker_throughput(broker), "capacity_per_s", broker_rate(broker), "clients",
                     (json_int_t)broker->peers.clients, "connections", (json_int_t)counts.connections, "flow_count",
                     (json_int_t)counts.flows, "late_results", (json_int_t)counts.late, "poison_sentences",
                     (json_int_t)counts.poison, "reloads", (json_int_t)counts.reloads, "reloads_failed",
                     (json_int_t)counts.reloads_failed, "requests", status_requests(broker), "models", models);
}

void broker_status(const struct broker *broker, bool detail, struct buffer *out)
{
    json_t *root = status_root(broker), *workers = json_array();
    for (size_t i = 0; i < broker->pool.count && i < STATUS_ROWS; i++)
        json_array_append_new(workers, status_worker(broker->pool.workers[i]));
    json_object_set_new(root, "worker_count", json_integer((json_int_t)broker->pool.count));
    if (detail) {
        json_object_set(root, "workers", workers);
        json_object_set_new(root, "flows", status_flows(broker));
    }
    json_decref(workers);
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (text != NULL)
        buffer_text(out, text);
    else
        out->failed = true;
    free(text);
    json_decref(root);
}
