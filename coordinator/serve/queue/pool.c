/* pool.c - workers, what they hold and what they are lent; see pool.h. */
#include "coordinator/serve/queue/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECENT_MS = 10000 };

static void pool_destroy(struct pool_worker *worker)
{
    for (size_t i = 0; i < POOL_LEASES; i++)
        free(worker->leases[i].sentences);
    free(worker->holdings);
    free(worker);
}

struct pool_worker *pool_add(struct pool *pool, const struct join *join, struct peer *peer, int64_t now_ms)
{
    if (pool->count == pool->capacity) {
        size_t capacity = pool->capacity == 0 ? 16 : pool->capacity * 2;
        struct pool_worker **workers = realloc(pool->workers, capacity * sizeof *workers);
        if (workers == NULL)
            return NULL;
        pool->workers = workers;
        pool->capacity = capacity;
    }
    struct pool_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    worker->id = ++pool->ids;
    worker->peer = peer;
    worker->heard_ms = now_ms;
    worker->threads = join->threads;
    worker->pid = join->pid;
    snprintf(worker->host, sizeof worker->host, "%.*s", (int)join->host.size, join->host.data);
    snprintf(worker->build, sizeof worker->build, "%.*s", (int)join->build.size, join->build.data);
    snprintf(worker->backend, sizeof worker->backend, "%.*s %.*s", (int)join->backend.size, join->backend.data,
             (int)join->isa.size, join->isa.data);
    pool->workers[pool->count++] = worker;
    return worker;
}

void pool_remove(struct pool *pool, struct pool_worker *worker)
{
    size_t at = 0;
    while (pool->workers[at] != worker)
        at++;
    memmove(pool->workers + at, pool->workers + at + 1, (pool->count - at - 1) * sizeof *pool->workers);
    pool->count--;
    pool_destroy(worker);
}

void pool_close(struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        pool_destroy(pool->workers[i]);
    free(pool->workers);
    *pool = (struct pool){0};
}

void pool_lose(struct pool_worker *worker, enum counts_loss loss, enum err_code code, const char *why)
{
    if (worker->state != POOL_JOINED)
        return;
    worker->state = POOL_LOST;
    worker->loss = loss;
    err_set(&worker->fault, code, "%s", why);
}

struct holding *pool_holding(const struct pool_worker *worker, const struct version *version)
{
    for (uint32_t i = 0; i < worker->holding_count; i++)
        if (worker->holdings[i].version == version)
            return &worker->holdings[i];
    return NULL;
}

bool pool_offer(struct pool_worker *worker, struct version *version)
{
    if (worker->holding_count == worker->holding_capacity) {
        uint32_t capacity = worker->holding_capacity + 4;
        struct holding *holdings = realloc(worker->holdings, capacity * sizeof *holdings);
        if (holdings == NULL)
            return false;
        worker->holdings = holdings;
        worker->holding_capacity = capacity;
    }
    worker->holdings[worker->holding_count++] = (struct holding){version, HOLDING_OFFER_DUE};
    return true;
}

void pool_forget(struct pool_worker *worker, struct holding *holding)
{
    *holding = worker->holdings[--worker->holding_count];
}

bool pool_has(const struct pool_worker *worker, const struct version *version)
{
    const struct holding *holding = pool_holding(worker, version);
    return holding != NULL && holding->state == HOLDING_LOADED;
}

uint32_t pool_recent_losses(const struct pool *pool, int64_t now_ms)
{
    uint32_t recent = 0;
    for (uint64_t i = 0; i < pool->losses && i < POOL_LOSSES; i++)
        recent += now_ms - pool->losses_ms[i] < RECENT_MS;
    return recent;
}

struct lease *pool_lend(struct pool *pool, struct pool_worker *worker, uint32_t most, int64_t now_us)
{
    struct lease *lease = &worker->leases[worker->lease_count];
    if (lease->capacity < most) {
        struct sentence **sentences = realloc(lease->sentences, most * sizeof(struct sentence *));
        if (sentences == NULL)
            return NULL;
        lease->sentences = sentences;
        lease->capacity = most;
    }
    *lease = (struct lease){
        .id = ++pool->lease_ids, .sentences = lease->sentences, .capacity = lease->capacity, .begun_us = now_us};
    worker->lease_count++;
    return lease;
}

struct lease *pool_lease(struct pool_worker *worker, uint64_t id)
{
    for (uint32_t i = 0; i < worker->lease_count; i++)
        if (worker->leases[i].id == id)
            return &worker->leases[i];
    return NULL;
}

void lease_end(struct pool_worker *worker, struct lease *lease, int64_t now_us)
{
    struct lease ended = *lease;
    uint32_t at = (uint32_t)(lease - worker->leases);
    bool first = at == 0;
    ended.count = 0;
    for (worker->lease_count--; at < worker->lease_count; at++)
        worker->leases[at] = worker->leases[at + 1];
    worker->leases[worker->lease_count] = ended; /* for its memory */
    if (first && worker->lease_count > 0 && worker->leases[0].begun_us < now_us)
        worker->leases[0].begun_us = now_us;
}
