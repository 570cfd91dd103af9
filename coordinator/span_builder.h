/* span_builder.h - steps of the plan as SPAN messages.
 *
 * Puts the rows of a worker's shards for consecutive steps into one message. The memory is kept from span to span; what
 * a build returns points into it and lasts until the next. Coordinator's thread. */
#ifndef LSTMQ_SPAN_BUILDER_H
#define LSTMQ_SPAN_BUILDER_H

#include "coordinator/dataset.h"
#include "coordinator/packing.h"
#include "coordinator/plan.h"
#include "proto/wire/message.h"

#include <stdbool.h>

struct span_builder {
    const struct dataset *dataset;
    struct plan *plan;
    struct packing packing;
    struct span_step *of;      /* [SPAN_STEPS]                 */
    struct span_shard *shards; /* [shard_capacity]             */
    size_t shard_capacity;
    /* of steps first..first+known-1, kept from build to build */
    uint64_t first;
    uint32_t known;
    bool together;
    uint16_t *distinct; /* [distinct_count] */
    size_t distinct_count, distinct_capacity;
    uint64_t *seen; /* a bit for each id: sources, then decoder inputs */
};

bool span_builder_open(struct span_builder *builder, const struct dataset *dataset, struct plan *plan, struct err *err);
void span_builder_close(struct span_builder *builder);

/* The span of at most `most` steps (>= 1) from `first_step`, for the shards of `share`; fewer where the rows are many.
 * `together`: others compute the steps' other shards, so the batches' distinct ids are told. All but generation and
 * number of `span` are filled. */
bool span_build(struct span_builder *builder, uint64_t first_step, uint32_t most, struct share share, bool together,
                struct span *span, struct err *err);

#endif
