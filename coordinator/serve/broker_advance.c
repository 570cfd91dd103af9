/* broker_advance.c - once a turn, all decisions; see broker.h. */
#include "coordinator/serve/broker_inside.h"

#include "proto/base/log.h"

#include <inttypes.h>

enum {
    DEATHS_MOST = 3,       /* workers that may die with a sentence */
    DEATHS_EXTRA = 3,      /* more, while workers die without it too */
    SUSPECT_BATCH = 8,     /* sentences of a batch after one death */
    ORPHAN_MS = 1000,      /* for a client to come back to work that was begun for it */
    PROMOTE_MS = 10000,    /* that workers may take to load what another one has loaded */
    AHEAD_US = 10000,      /* a worker gets a second batch where batches are shorter ... */
    SHARED_AHEAD_US = 500, /* ... and where a flow that sends little would wait for it */
    SWEEP_MS = 1000,
    RETRY_FAILED_MS = 1000, /* for a client whose model no worker can load */
};

/* ---- workers ---- */

static void advance_poison(struct broker *broker, struct sentence *sentence)
{
    broker->counts.poison++;
    log_event(LOG_WARN, "sentence_refused",
              LOG_FIELDS(LOG_COUNT("deaths", sentence->deaths), LOG_COUNT("bytes", sentence->text.size)),
              "a sentence of %zu bytes is refused: %u workers died with it", sentence->text.size, sentence->deaths);
    sentence->answer = (struct answer){.status = ANSWER_FAILED};
    buffer_clear(&sentence->result);
    broker_settle(broker, sentence, 0);
}

/* A worker died with it. It is tried again in a small batch, then alone. Alone it fails after DEATHS_MOST deaths, and
 * later where workers die anyway. */
static void advance_suspect(struct broker *broker, struct sentence *sentence, bool alone)
{
    uint32_t recent = pool_recent_losses(&broker->pool, broker_ms(broker));
    sentence->deaths++;
    uint32_t others = recent > sentence->deaths ? recent - sentence->deaths : 0;
    sentence->most = sentence->deaths == 1 && !alone ? SUSPECT_BATCH : 1;
    if (alone && sentence->deaths >= DEATHS_MOST + (others < DEATHS_EXTRA ? others : DEATHS_EXTRA))
        advance_poison(broker, sentence);
}

/* The lease's sentences wait again. */
static void advance_revoke(struct broker *broker, struct pool_worker *worker, struct lease *lease)
{
    bool died = worker->state == POOL_LOST && lease->sent;
    broker->counts.requeued[worker->state == POOL_LOST ? worker->loss : COUNTS_LEFT] += lease->count;
    for (uint32_t i = 0; i < lease->count; i++) {
        struct sentence *sentence = lease->sentences[i];
        if (sentence->state == SENTENCE_DROPPED) {
            sentences_free(&broker->sentences, sentence);
            continue;
        }
        sentence->state = SENTENCE_NEW;
        if (died)
            advance_suspect(broker, sentence, lease->count == 1 && worker->lease_count == 1);
        if (sentence->state == SENTENCE_NEW)
            flow_return(sentence->parts->request->flow, sentence);
    }
    lease->version->holders--;
}

/* An embedded worker is dead: its process is to be replaced, also where it is only frozen. */
static void advance_report_dead(struct broker *broker, const struct pool_worker *worker)
{
    bool embedded = worker->peer != NULL && worker->peer->door == &broker->doors[BROKER_DOORS - 1];
    if (embedded && broker->dead_count < BROKER_DEAD)
        broker->dead[broker->dead_count++] = worker->pid;
}

/* It has left or is dead: what it was lent waits again. */
static void advance_end_worker(struct broker *broker, struct pool_worker *worker)
{
    struct pool *pool = &broker->pool;
    bool lost = worker->state == POOL_LOST;
    if (lost) {
        pool->losses_ms[pool->losses++ % POOL_LOSSES] = broker_ms(broker);
        broker->counts.losses[worker->loss]++;
        log_event(LOG_WARN, "translator_dead",
                  LOG_FIELDS(LOG_COUNT("worker", worker->id), LOG_TEXT("host", worker->host),
                             LOG_COUNT("process", worker->pid), LOG_TEXT("reason", worker->fault.text)),
                  "worker %" PRIu64 " (%s, process %u) declared dead: %s", worker->id, worker->host, worker->pid,
                  worker->fault.text);
        advance_report_dead(broker, worker);
        if (worker->peer != NULL && !peer_is_gone(worker->peer))
            broker_say_error(worker->peer->door, &worker->peer->route, worker->fault.code, worker->fault.text);
    } else {
        log_event(LOG_INFO, "translator_left",
                  LOG_FIELDS(LOG_COUNT("worker", worker->id), LOG_TEXT("host", worker->host),
                             LOG_COUNT("process", worker->pid), LOG_COUNT("sentences", worker->sentences)),
                  "worker %" PRIu64 " left after %" PRIu64 " sentences", worker->id, worker->sentences);
    }
    while (worker->lease_count > 0) {
        struct lease *last = &worker->leases[worker->lease_count - 1];
        advance_revoke(broker, worker, last);
        worker->lease_count--;
    }
    for (uint32_t i = 0; i < worker->holding_count; i++) {
        struct holding *holding = &worker->holdings[i];
        holding->version->loaded -= holding->state == HOLDING_LOADED;
        holding->version->holders--;
    }
    if (worker->peer != NULL && worker->peer->worker == worker)
        worker->peer->worker = NULL;
    pool_remove(pool, worker);
}

static void advance_judge(struct broker *broker, struct pool_worker *worker)
{
    const struct config *config = broker->config;
    int64_t lease_us = (int64_t)(config->serve_lease * 1e6);
    if (broker_ms(broker) - worker->heard_ms > config->serve_heartbeat_timeout && broker->caught_up)
        pool_lose(worker, COUNTS_HEARTBEAT, ERR_PROTOCOL, "it was silent for too long");
    else if (worker->lease_count > 0 && worker->leases[0].sent && broker->caught_up &&
             broker->now_us - worker->leases[0].begun_us > lease_us)
        pool_lose(worker, COUNTS_LEASE, ERR_PROTOCOL, "a batch took longer than serve.lease");
}

static void advance_workers(struct broker *broker)
{
    for (size_t i = 0; i < broker->pool.count;) {
        struct pool_worker *worker = broker->pool.workers[i];
        if (worker->state == POOL_JOINED)
            advance_judge(broker, worker);
        if (worker->state == POOL_JOINED)
            i++;
        else
            advance_end_worker(broker, worker);
    }
}

/* ---- versions ---- */

/* Whether the worker is to load a version of the model, or does. */
static bool advance_is_loading(const struct pool_worker *worker, const struct served_model *model)
{
    for (uint32_t i = 0; i < worker->holding_count; i++)
        if (worker->holdings[i].state <= HOLDING_OFFERED && worker->holdings[i].version->model == model)
            return true;
    return false;
}

/* A run may write checkpoints faster than workers load them, or without any worker: those between the one that is being
 * loaded and the newest are passed over. */
static void advance_pass_over(struct served_model *model)
{
    bool newer = false;
    for (struct version *at = model->versions; at != NULL; at = at->next) {
        if (at->state != VERSION_OFFERED)
            continue;
        if (newer && at->requests == 0 && at->holders == 0)
            at->state = VERSION_OLD;
        newer = true;
    }
}

/* Each worker is offered each version that is to be served, and retires the others. It gets a new one after it has
 * loaded what it was offered before. A worker that was not there when the newest version failed tries it too: what was
 * wrong may be another worker's host, such as a full disk. */
static void advance_offers(struct broker *broker, struct pool_worker *worker)
{
    for (size_t i = 0; i < broker->catalog.count; i++) {
        for (struct version *at = broker->catalog.models[i].versions; at != NULL; at = at->next) {
            bool failed = at->state == VERSION_FAILED && at == broker->catalog.models[i].versions;
            bool wanted = failed || at->state == VERSION_OFFERED || at->state == VERSION_CURRENT ||
                          (at->state == VERSION_OLD && at->requests > 0);
            struct holding *holding = pool_holding(worker, at);
            if (at->state == VERSION_OFFERED && holding == NULL && advance_is_loading(worker, at->model))
                continue;
            if (wanted && holding == NULL && pool_offer(worker, at)) {
                at->holders++;
                if (failed)
                    at->state = VERSION_OFFERED;
            } else if (!wanted && holding != NULL && holding->state != HOLDING_RETIRE_DUE) {
                at->loaded -= holding->state == HOLDING_LOADED;
                holding->state = HOLDING_RETIRE_DUE;
            }
        }
    }
}

/* Workers that have not answered whether they can load it; and those that refused it. */
static void advance_poll(const struct broker *broker, const struct version *version, uint32_t *loading,
                         uint32_t *refused)
{
    *loading = *refused = 0;
    for (size_t i = 0; i < broker->pool.count; i++) {
        const struct holding *holding = pool_holding(broker->pool.workers[i], version);
        *loading += holding != NULL ? holding->state <= HOLDING_OFFERED
                                    : advance_is_loading(broker->pool.workers[i], version->model);
        *refused += holding != NULL && holding->state == HOLDING_REFUSED;
    }
}

/* A version that no worker can load answers nothing. */
static void advance_fail(struct broker *broker, struct version *version)
{
    broker->counts.reloads_failed++;
    catalog_fail(version);
    for (size_t i = 0; i < broker->deadlines.count;) {
        struct request *request = broker->deadlines.heap[i];
        if (request->version == version) {
            broker_reject(broker, request, REQUEST_NO_WORKER, RETRY_FAILED_MS, "no worker can load the model");
            i = 0;
        } else {
            i++;
        }
    }
}

/* All of the request is computed by another version, from the beginning: its texts never come from two. */
static void advance_move(struct broker *broker, struct request *request, struct version *to)
{
    struct version *from = request->version;
    for (uint32_t i = 0; i < request->part_count; i++) {
        struct sentence *sentence = request->parts[i].sentence;
        if (sentence->kind.version != from || sentence->state == SENTENCE_LENT)
            continue; /* it is here twice, or shared with a request that was moved */
        if (sentence->state == SENTENCE_WAITS)
            flow_remove(sentence);
        if (sentence->state == SENTENCE_DONE)
            for (struct part *part = sentence->parts; part != NULL; part = part->next)
                part->request->open++;
        sentences_change(&broker->sentences, sentence, to);
        flow_add(request->flow, sentence);
    }
    request->version = to;
    from->requests--;
    to->requests++;
}

/* The workers that had an old version are gone, and others cannot load it any more: the current one takes over. */
static void advance_rescue(struct broker *broker, struct version *version)
{
    struct version *to = version->model->current;
    uint32_t loading, refused;
    if (version->state != VERSION_OLD || version->requests == 0 || version->loaded > 0 || to->loaded == 0)
        return;
    advance_poll(broker, version, &loading, &refused);
    for (size_t i = 0; loading == 0 && i < broker->deadlines.count; i++)
        if (broker->deadlines.heap[i]->version == version)
            advance_move(broker, broker->deadlines.heap[i], to);
}

/* An offered version becomes current when the workers that can have loaded it. The newest one wins. */
static void advance_versions(struct broker *broker)
{
    for (size_t i = 0; i < broker->catalog.count; i++) {
        for (struct version *at = broker->catalog.models[i].versions; at != NULL; at = at->next) {
            uint32_t loading, refused;
            advance_rescue(broker, at);
            if (at->state != VERSION_OFFERED)
                continue;
            advance_poll(broker, at, &loading, &refused);
            bool late = at->loaded_ms != 0 && broker_ms(broker) - at->loaded_ms > PROMOTE_MS;
            if (at->loaded > 0 && (loading == 0 || late || at->model->current == NULL)) {
                broker->counts.reloads++;
                catalog_promote(at);
                break;
            }
            if (at->loaded == 0 && loading == 0 && refused > 0)
                advance_fail(broker, at);
        }
    }
    for (size_t i = 0; i < broker->catalog.count; i++)
        advance_pass_over(&broker->catalog.models[i]);
    for (size_t i = 0; i < broker->pool.count; i++)
        advance_offers(broker, broker->pool.workers[i]);
    catalog_sweep(&broker->catalog);
}

/* ---- requests ---- */

static void advance_deadlines(struct broker *broker)
{
    struct request *request;
    while ((request = deadlines_first(&broker->deadlines)) != NULL && request->deadline_us <= broker->now_us)
        broker_reject(broker, request, REQUEST_EXPIRED, 0, "the deadline passed");
}

/* Whether a worker has begun on any of its sentences. */
static bool advance_is_begun(const struct request *request)
{
    return request->client != 0 && (request->lent_us != 0 || request->open < request->part_count);
}

/* The connection of a client has ended: it may come back for what is begun. */
static void advance_abandon(struct broker *broker, struct peer *peer)
{
    while (peer->open.first != NULL) {
        struct request *request = peer->open.first;
        request->peer = NULL;
        if (advance_is_begun(request)) {
            request->until_us = broker->now_us + ORPHAN_MS * 1000;
            request_move(request, &broker->orphans);
        } else {
            broker_finish(broker, request, REQUEST_CANCELLED);
        }
    }
    while (peer->due.first != NULL) {
        struct request *request = peer->due.first;
        request->peer = NULL;
        if (request->outcome == REQUEST_DONE)
            requests_keep(&broker->requests, request, broker->now_us);
        else
            requests_free(&broker->requests, request);
    }
}

/* Connections that have ended. What came over them before may still be unread, so their peers end a round later. */
static void advance_peers(struct broker *broker)
{
    while (broker->peers.gone != NULL && broker->caught_up) {
        struct peer *peer = broker->peers.gone;
        broker->peers.gone = peer->next_gone;
        advance_abandon(broker, peer);
        if (peer->worker != NULL) {
            pool_lose(peer->worker, COUNTS_LEFT, ERR_FAILED, "its connection has ended");
            peer->worker->peer = NULL;
            peer->worker = NULL;
        }
        peer->state = PEER_OVER;
        if (!peer->listed)
            peers_remove(&broker->peers, peer);
    }
    for (size_t i = 0; i < BROKER_DOORS; i++) {
        struct door *door = &broker->doors[i];
        uint64_t number;
        while (door->watch != NULL && (number = watch_ended(door->watch)) != 0) {
            struct peer *peer = peers_connection(&broker->peers, door, number);
            if (peer != NULL)
                peers_lose(&broker->peers, peer);
        }
    }
    if (broker->peers.gone != NULL)
        loop_wake(broker->loop, 0);
}

static void advance_orphans(struct broker *broker)
{
    while (broker->orphans.first != NULL && broker->orphans.first->until_us <= broker->now_us)
        broker_finish(broker, broker->orphans.first, REQUEST_CANCELLED);
}

/* ---- lending ---- */

bool broker_can_serve(const struct broker *broker)
{
    for (size_t i = 0; i < broker->catalog.count; i++)
        if (broker->catalog.models[i].current != NULL && broker->catalog.models[i].current->loaded > 0)
            return true;
    return false;
}

/* Whether a worker may be lent a batch that begins with this sentence. */
static bool advance_may_lend(const struct broker *broker, const struct pool_worker *worker,
                             const struct sentence *first)
{
    if (worker->credit == 0 || peer_is_gone(worker->peer) || !pool_has(worker, first->kind.version))
        return false;
    if (worker->lease_count == 0)
        return true;
    int most_us = schedule_is_shared(first->flow->schedule) ? SHARED_AHEAD_US : AHEAD_US;
    bool ahead = broker->pool.batch_us > 0 && broker->pool.batch_us < most_us;
    return first->most == 0 && ahead && worker->lease_count < POOL_LEASES && !worker->leases[0].alone;
}

/* The worker with the fewest batches that may get the next one; NULL = none may. */
static struct pool_worker *advance_choose(struct broker *broker, const struct sentence *first)
{
    struct pool *pool = &broker->pool;
    struct pool_worker *chosen = NULL;
    for (size_t i = 0; i < pool->count; i++) {
        struct pool_worker *worker = pool->workers[(pool->turn + i) % pool->count];
        if ((chosen == NULL || worker->lease_count < chosen->lease_count) && advance_may_lend(broker, worker, first))
            chosen = worker;
    }
    pool->turn++;
    return chosen;
}

static void advance_note_lent(const struct broker *broker, struct sentence *sentence)
{
    struct model_counts *counts = &sentence->kind.version->model->counts;
    histogram_add(&counts->queued, (double)(broker->now_us - sentence->arrived_us) * 1e-6, NULL);
    for (struct part *part = sentence->parts; part != NULL; part = part->next)
        if (part->request->lent_us == 0)
            part->request->lent_us = broker->now_us;
}

/* Whether no request that waits for it can have its answer in time. */
static bool advance_is_too_late(const struct broker *broker, const struct sentence *sentence)
{
    int64_t done_us = broker->now_us + (int64_t)broker->pool.batch_us;
    for (const struct part *part = sentence->parts; part != NULL; part = part->next)
        if (part->request->deadline_us >= done_us)
            return false;
    return true;
}

/* While others wait, a worker does not compute what would be too late. It waits for its deadline, in no flow. */
static void advance_park(struct broker *broker, struct lease *lease)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < lease->count; i++) {
        struct sentence *sentence = lease->sentences[i];
        if (advance_is_too_late(broker, sentence))
            sentences_forget(&broker->sentences, sentence);
        else
            lease->sentences[kept++] = sentence;
    }
    lease->count = kept;
}

/* Lend the schedule's next batch. False: no worker may get it now. */
static bool advance_lend(struct broker *broker, struct schedule *schedule)
{
    const struct sentence *first = schedule_first(schedule);
    struct pool_worker *worker = first != NULL ? advance_choose(broker, first) : NULL;
    if (worker == NULL)
        return false;
    uint32_t most = (uint32_t)broker->config->serve_max_batch;
    struct lease *lease = pool_lend(&broker->pool, worker, most, broker->now_us);
    if (lease == NULL)
        return false;
    lease->alone = first->most > 0;
    lease->version = first->kind.version;
    lease->count = schedule_pick(schedule, most, lease->sentences);
    if (schedule->waiting >= most)
        advance_park(broker, lease);
    if (lease->count == 0) {
        lease_end(worker, lease, broker->now_us);
        return true;
    }
    lease->version->holders++;
    worker->credit--;
    for (uint32_t i = 0; i < lease->count; i++) {
        lease->sentences[i]->state = SENTENCE_LENT;
        advance_note_lent(broker, lease->sentences[i]);
    }
    return true;
}

/* Models take turns. */
static void advance_batches(struct broker *broker)
{
    struct catalog *catalog = &broker->catalog;
    for (size_t refused = 0; refused < catalog->count;) {
        struct served_model *model = &catalog->models[broker->model_turn++ % catalog->count];
        refused = advance_lend(broker, &model->schedule) ? 0 : refused + 1;
    }
}

/* ---- the turn ---- */

/* Nothing that was accepted is unanswered. */
static bool advance_is_empty(const struct broker *broker)
{
    return broker->deadlines.count == 0 && broker->peers.due == NULL && broker->finished.first == NULL;
}

static void advance_state(struct broker *broker)
{
    int64_t now_ms = broker_ms(broker);
    if (broker->state == BROKER_DRAINS && now_ms >= broker->drain_ms)
        broker->state = BROKER_ENDS;
    if (broker->state == BROKER_ENDS && (advance_is_empty(broker) || now_ms >= broker->over_ms)) {
        broker->state = BROKER_OVER;
        log_event(LOG_INFO, "drained", LOG_FIELDS(LOG_COUNT("unanswered", broker->deadlines.count)),
                  "drained; requests without an answer: %zu", broker->deadlines.count);
    }
}

/* The next round begins when something will be due. */
static void advance_wake(struct broker *broker)
{
    const struct request *request = deadlines_first(&broker->deadlines);
    int64_t lease_us = (int64_t)(broker->config->serve_lease * 1e6);
    int64_t next_us = broker->tick_ms * 1000;
    if (request != NULL && request->deadline_us < next_us)
        next_us = request->deadline_us;
    for (size_t i = 0; i < broker->pool.count; i++) {
        const struct pool_worker *worker = broker->pool.workers[i];
        if (worker->lease_count > 0 && worker->leases[0].begun_us + lease_us < next_us)
            next_us = worker->leases[0].begun_us + lease_us;
    }
    if (broker->orphans.first != NULL && broker->orphans.first->until_us < next_us)
        next_us = broker->orphans.first->until_us;
    loop_wake(broker->loop, (next_us - broker->now_us + 999) / 1000);
}

void broker_advance(struct broker *broker)
{
    int64_t now_ms = broker_ms(broker);
    if (now_ms >= broker->look_ms) {
        broker->look_ms = now_ms + (int64_t)(broker->config->serve_check_every * 1000);
        catalog_look(&broker->catalog);
    }
    if (now_ms >= broker->sweep_ms) {
        broker->sweep_ms = now_ms + SWEEP_MS;
        flows_sweep(&broker->flows, now_ms);
        requests_sweep(&broker->requests, broker->now_us);
    }
    advance_peers(broker);
    advance_workers(broker);
    advance_versions(broker);
    if (broker_can_serve(broker))
        broker->ready_ms = now_ms;
    advance_deadlines(broker);
    advance_orphans(broker);
    advance_batches(broker);
    advance_state(broker);
    advance_wake(broker);
}
