/* ranks.h - the ranks of a generation as threads of a test, over any kind of collective. */
#ifndef LSTMQ_TESTS_SUPPORT_RANKS_H
#define LSTMQ_TESTS_SUPPORT_RANKS_H

#include "kernels/collective.h"
#include "proto/base/clock.h"
#include "worker/collective/local.h"
#include "worker/collective/ring.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { RANKS_MOST = 8 };

enum ranks_kind { RANKS_LOCAL, RANKS_INPROC, RANKS_IPC, RANKS_NAME, RANKS_TCP, RANKS_KINDS };

/* inproc hands memory from thread to thread inside ZeroMQ, which ThreadSanitizer cannot see; it
 * does see the rest. */
static inline bool ranks_kind_tested(int kind)
{
#ifdef __SANITIZE_THREAD__
    return kind != RANKS_INPROC;
#else
    return kind < RANKS_KINDS;
#endif
}

static const char *const ranks_bind[RANKS_KINDS] = {"", "inproc://", "ipc://", "ipc://@", "tcp://127.0.0.1"};
static const char *const ranks_name[RANKS_KINDS] = {"local", "ring inproc", "ring ipc", "ring ipc by name", "ring tcp"};

struct ranks;

struct rank {
    struct ranks *all;
    uint32_t number;
    struct collective *collective;
    char endpoint[COLLECTIVE_ENDPOINT];
    struct err err;
    bool ok;
    pthread_t thread;
};

typedef bool rank_work(struct rank *rank, struct err *err);

struct ranks {
    enum ranks_kind kind;
    uint32_t size;
    void *zmq_context;
    struct local_hub *hub;
    uint64_t generation;
    int64_t timeout_ms;
    const char *endpoints[RANKS_MOST];
    rank_work *work;
    void *context; /* the test's */
    struct rank rank[RANKS_MOST];
};

/* cmocka's assert_ are for its own thread; here err carries a failure. */
#define RANK_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return err_set(err, ERR_DATA, "%s:%d: %s", __FILE__, __LINE__, #condition);                                \
    } while (0)

static inline void ranks_open(struct ranks *ranks, enum ranks_kind kind, uint32_t size)
{
    struct err err = {0};
    *ranks = (struct ranks){.kind = kind, .size = size};
    ranks->zmq_context = zmq_ctx_new();
    ranks->hub = local_hub_new(&err);
    struct ring_options options = {.zmq_context = ranks->zmq_context, .bind = ranks_bind[kind]};
    for (uint32_t i = 0; i < size; i++) {
        struct rank *rank = &ranks->rank[i];
        rank->all = ranks;
        rank->number = i;
        rank->collective = kind == RANKS_LOCAL ? local_open(ranks->hub, &err) : ring_open(&options, &err);
        if (rank->collective == NULL)
            fail_msg("%s", err.text);
    }
}

static inline void ranks_close(struct ranks *ranks)
{
    for (uint32_t i = 0; i < ranks->size; i++)
        collective_close(&ranks->rank[i].collective);
    local_hub_destroy(&ranks->hub);
    zmq_ctx_term(ranks->zmq_context);
}

/* Phase one for all. */
static inline void ranks_listen(struct ranks *ranks, uint64_t generation)
{
    ranks->generation = generation;
    for (uint32_t i = 0; i < ranks->size; i++) {
        struct rank *rank = &ranks->rank[i];
        if (!rank->collective->op->listen(rank->collective, generation, rank->endpoint, &rank->err))
            fail_msg("%s", rank->err.text);
        ranks->endpoints[i] = rank->endpoint;
    }
}

static inline bool rank_connect(struct rank *rank, struct err *err)
{
    struct ranks *all = rank->all;
    struct collective_group group = {.generation = all->generation,
                                     .rank = rank->number,
                                     .size = all->size,
                                     .endpoints = all->endpoints,
                                     .timeout_ms = all->timeout_ms};
    return rank->collective->op->connect(rank->collective, &group, err);
}

static inline void *ranks_thread(void *argument)
{
    struct rank *rank = argument;
    rank->ok = rank_connect(rank, &rank->err) && rank->all->work(rank, &rank->err);
    return NULL;
}

/* Phase two and `work`, in a thread for each rank. */
static inline void ranks_start(struct ranks *ranks, rank_work *work)
{
    ranks->work = work;
    for (uint32_t i = 0; i < ranks->size; i++) {
        ranks->rank[i].err = (struct err){0};
        pthread_create(&ranks->rank[i].thread, NULL, ranks_thread, &ranks->rank[i]);
    }
}

static inline void ranks_join(struct ranks *ranks)
{
    for (uint32_t i = 0; i < ranks->size; i++)
        pthread_join(ranks->rank[i].thread, NULL);
}

static inline void ranks_all_well(const struct ranks *ranks)
{
    for (uint32_t i = 0; i < ranks->size; i++)
        if (!ranks->rank[i].ok)
            fail_msg("%s, rank %u of %u: %s", ranks_name[ranks->kind], i, ranks->size, ranks->rank[i].err.text);
}

/* A whole generation of `work`, which must go well. */
static inline void ranks_run(struct ranks *ranks, uint64_t generation, rank_work *work)
{
    ranks_listen(ranks, generation);
    ranks_start(ranks, work);
    ranks_join(ranks);
    ranks_all_well(ranks);
}

#endif
