/* step.h - the work of one training step, as one rank has it: cut out of a span.
 *
 * A step holds the rows of this rank's shards, one shard after another, and what all ranks must know of the whole
 * batch: its distinct ids and its number of target tokens. It owns nothing: its arrays are the span's, which must
 * outlive it.
 *
 *     struct step step = step_before(&span);
 *     while (step_next(&step))
 *         train_step(&training, &step, ...);
 *
 * Plain memory of one thread. */
#ifndef LSTMQ_WORKER_TRAIN_STEP_H
#define LSTMQ_WORKER_TRAIN_STEP_H

#include "proto/wire/message.h"
#include "worker/model/model.h"

struct step {
    struct rows rows;                /* of this rank's shards                                         */
    const struct span_shard *shards; /* [shard_count], in the order of the rows                       */
    uint32_t shard_count;
    const uint16_t *distinct[MODEL_SIDES]; /* [distinct_count] what any rank's rows look up, rising */
    uint32_t distinct_count[MODEL_SIDES];
    uint32_t tokens; /* target tokens of the whole batch */
    /* of step_next */
    const struct span *span;
    struct rows left; /* rows of the steps after this one           */
    uint32_t end;     /* place in the span of the step after this one */
};

/* Before the first step of a span. */
struct step step_before(const struct span *span);

/* Move on to the next step of the span. False: that was the last one. */
bool step_next(struct step *step);

#endif
