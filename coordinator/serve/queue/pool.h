/* pool.h - the translation workers of a queue: which checkpoints they hold, and what they are lent.
 *
 *   JOIN > joined > MODEL, LOADED for each version > BATCH, RESULT ... > GOODBYE > left
 *   from anywhere: lost (silent, disconnected, a lease ended, broke the protocol)
 *
 * A lease lends a batch of sentences to one worker. It begins in pool_lend. It ends when the worker's RESULT arrives
 * (lease_end), or with the worker. Ids are never reused, so a late RESULT finds no lease. A worker computes its leases
 * in order; the time of a lease runs from when it is the first one. The queue sends no more batches than the worker has
 * granted with CREDIT, and POOL_LEASES at most.
 *
 * The broker owns the pool. A worker is born when JOIN is accepted, and is removed at the end of the turn in which it
 * left or was declared lost. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_QUEUE_POOL_H
#define LSTMQ_COORDINATOR_SERVE_QUEUE_POOL_H

#include "coordinator/serve/counts.h"
#include "coordinator/serve/queue/peers.h"

enum { POOL_LEASES = 2, POOL_CREDIT_MOST = 1 << 20, POOL_FETCHES = 16 };

struct lease {
    uint64_t id;
    struct version *version;
    struct sentence **sentences; /* [count] */
    uint32_t count, capacity;
    bool alone;       /* no other lease beside it: it may kill its worker */
    bool sent;        /* BATCH was sent */
    int64_t begun_us; /* it is the worker's first lease since then */
};

enum holding_state {
    HOLDING_OFFER_DUE, /* MODEL is to be sent  */
    HOLDING_OFFERED,   /* LOADED is due        */
    HOLDING_LOADED,
    HOLDING_REFUSED,    /* LOADED said that it cannot be used */
    HOLDING_RETIRE_DUE, /* RETIRE is to be sent */
};

/* A version that a worker was offered. */
struct holding {
    struct version *version;
    enum holding_state state;
};

enum pool_state {
    POOL_JOINED,
    POOL_LEFT, /* within a turn: GOODBYE came              */
    POOL_LOST, /* within a turn: declared dead, see `fault` */
};

struct pool_worker {
    uint64_t id;
    enum pool_state state;
    struct peer *peer; /* NULL: its connection has ended */
    char host[MESSAGE_NAME + 1], build[MESSAGE_NAME + 1], backend[2 * MESSAGE_NAME + 2];
    uint32_t threads, pid;
    bool greeted; /* JOINED was sent */
    bool pinged;  /* the PING that was due last was sent */
    int64_t heard_ms;
    uint32_t credit;
    struct lease leases[POOL_LEASES]; /* [lease_count] in order */
    uint32_t lease_count;
    struct holding *holdings; /* [holding_count] */
    uint32_t holding_count, holding_capacity;
    enum counts_loss loss; /* of POOL_LOST ... */
    struct err fault;
    uint64_t batches, sentences, computed_us; /* done so far */
    struct fetch fetches[POOL_FETCHES];       /* [fetch_count] in order; PIECE is due for each */
    uint32_t fetch_count;
};

enum { POOL_LOSSES = 32 };
struct pool {
    struct pool_worker **workers; /* [count], by rising id; each owned */
    size_t count, capacity;
    uint64_t ids, lease_ids;
    size_t turn;                    /* the worker that is looked at first */
    double busy_us, busy_sentences; /* moving sums over the last batches */
    double batch_us;                /* moving average of a batch's time */
    int64_t losses_ms[POOL_LOSSES]; /* times of the last deaths, number n at n modulo the length */
    uint64_t losses;
};

struct pool_worker *pool_add(struct pool *pool, const struct join *join, struct peer *peer, int64_t now_ms);
/* Free a worker without leases. */
void pool_remove(struct pool *pool, struct pool_worker *worker);
void pool_close(struct pool *pool);

/* Declare it dead, unless it has left or was declared dead before. */
void pool_lose(struct pool_worker *worker, enum counts_loss loss, enum err_code code, const char *why);

/* The worker's entry of a version; NULL = it was not offered. */
struct holding *pool_holding(const struct pool_worker *worker, const struct version *version);
/* False: no memory. */
bool pool_offer(struct pool_worker *worker, struct version *version);
void pool_forget(struct pool_worker *worker, struct holding *holding);
bool pool_has(const struct pool_worker *worker, const struct version *version);

/* Deaths of workers in the last seconds. */
uint32_t pool_recent_losses(const struct pool *pool, int64_t now_ms);

/* Begin a lease of up to `most` sentences: the caller fills lease->sentences and lease->count. NULL: no memory. */
struct lease *pool_lend(struct pool *pool, struct pool_worker *worker, uint32_t most, int64_t now_us);

/* The worker's lease with that id; NULL = it has no such lease. */
struct lease *pool_lease(struct pool_worker *worker, uint64_t id);

/* End it. Its sentences are the caller's. */
void lease_end(struct pool_worker *worker, struct lease *lease, int64_t now_us);

#endif
