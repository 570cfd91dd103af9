/* span_builder.h - steps of the plan as SPAN messages.
 *
 * Collects the rows of a worker's shards for consecutive steps into one message. The builder keeps its memory from span
 * to span. The result of a build points into it and is valid until the next build. Owned by the trainer. Coordinator's
 * thread. */
#ifndef LSTMQ_COORDINATOR_DATA_SPAN_BUILDER_H
#define LSTMQ_COORDINATOR_DATA_SPAN_BUILDER_H

#include "coordinator/data/dataset.h"
#include "coordinator/data/packing.h"
#include "coordinator/data/plan.h"
#include "proto/wire/message.h"

#include <stdbool.h>

enum { SPAN_KEPT = 128 }; /* remembered steps: by default, members of a generation are fewer steps apart */

/* What all workers get for a step. */
struct span_fact {
    uint64_t step;
    bool known;
    struct span_step of;
    uint16_t *distinct; /* [capacity]; `of` has the number of ids; NULL until the first */
    size_t capacity;
};

struct span_builder {
    const struct dataset *dataset;
    struct plan *plan;
    struct packing packing;
    struct span_step *of;      /* [SPAN_STEPS] */
    struct span_shard *shards; /* [shard_capacity] */
    size_t shard_capacity;
    uint16_t *distinct; /* [distinct_count] */
    size_t distinct_count, distinct_capacity;
    struct span_fact *facts; /* [SPAN_KEPT]; a step is at its number modulo SPAN_KEPT */
    uint64_t *seen;          /* a bit for each id: sources, then decoder inputs */
};

bool span_builder_open(struct span_builder *builder, const struct dataset *dataset, struct plan *plan, struct err *err);
void span_builder_close(struct span_builder *builder);

/* The span of at most `most` steps (>= 1) from `first_step`, for the shards of `share`; fewer steps if there are many
 * rows. Fills all fields of `span` except its generation and number. */
bool span_build(struct span_builder *builder, uint64_t first_step, uint32_t most, struct share share, struct span *span,
                struct err *err);

#endif
