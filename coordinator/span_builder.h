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

struct span_builder {
    const struct dataset *dataset;
    struct plan *plan;
    struct packing packing;
    uint32_t *tokens;          /* [SPAN_STEPS]                 */
    struct span_shard *shards; /* [shard_capacity]             */
    size_t shard_capacity;
};

bool span_builder_open(struct span_builder *builder, const struct dataset *dataset, struct plan *plan, struct err *err);
void span_builder_close(struct span_builder *builder);

/* The span of at most `most` steps (>= 1) from `first_step`, for the shards of `share`; fewer where the rows are many.
 * All but generation and number of `span` are filled. */
bool span_build(struct span_builder *builder, uint64_t first_step, uint32_t most, struct share share, struct span *span,
                struct err *err);

#endif
