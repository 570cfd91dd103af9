/* plan.h - which rows a step trains on, and how they are shared.
 *
 * A plan is a pure function of (number of training rows, the run's MT19937 stream, step). Each epoch's order is a
 * shuffle of 0, 1, 2, ... from the stream that also shuffled the pairs, one shuffle an epoch. Batches are consecutive
 * pieces of train.batch rows; the last one is smaller. A batch is cut into train.shards contiguous, nearly equal
 * shards, independent of the workers. A plan is never stored: it is drawn again from the seed. The coordinator owns it
 * from plan_open to plan_close; its thread only. */
#ifndef LSTMQ_COORDINATOR_DATA_PLAN_H
#define LSTMQ_COORDINATOR_DATA_PLAN_H

#include "proto/base/err.h"
#include "proto/base/random.h"

struct plan {
    struct mt19937 first;  /* the stream before the first epoch's shuffle */
    struct mt19937 stream; /* the stream after the shuffle of `epoch` */
    uint64_t epoch;        /* whose order `order` has, from 1; 0 = none yet */
    uint32_t *order;       /* [rows] */
    uint32_t rows;         /* training rows */
    uint32_t batch;        /* rows in a step */
    uint32_t shards;       /* V */
};

/* `stream` is the run's stream after the shuffle of the pairs; it is copied. rows >= 1, batch >= 1, shards >= 1. */
bool plan_open(struct plan *plan, uint32_t rows, uint32_t batch, uint32_t shards, const struct mt19937 *stream,
               struct err *err);
void plan_close(struct plan *plan);

/* Steps in an epoch. */
uint64_t plan_steps(const struct plan *plan);

/* The rows of a step (counted from 0 over the whole run). The pointer is valid until a step of another epoch is
 * requested. An earlier epoch draws the stream again from its beginning. */
const uint32_t *plan_batch(struct plan *plan, uint64_t step, uint32_t *count);

/* A contiguous part: of a batch's rows, or of a step's shards. */
struct share {
    uint32_t first, count;
};

/* The rows of shard `shard` (below `shards`) in a batch of `rows`: sizes differ by at most one, and may be 0. */
struct share plan_shard(uint32_t rows, uint32_t shards, uint32_t shard);

/* The shards of rank `rank` of `size`: at most ceil(shards / size), so the last ranks may have fewer or none. */
struct share plan_share(uint32_t shards, uint32_t rank, uint32_t size);

#endif
