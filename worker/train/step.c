/* step.c - where one step's arrays end in the span, the next step's begin; see step.h. */
#include "worker/train/step.h"

struct step step_before(const struct span *span)
{
    return (struct step){
        .shards = span->shards, .distinct = {span->distinct, span->distinct}, .span = span, .left = span->rows};
}

bool step_next(struct step *step)
{
    const struct span *span = step->span;
    if (step->end == span->steps)
        return false;
    const struct span_step *of = &span->of[step->end];
    const struct span_shard *end = span->shards + span->shard_count;
    uint32_t rows = 0;

    step->shards += step->shard_count;
    step->shard_count = 0;
    for (const struct span_shard *shard = step->shards; shard < end && shard->step == step->end; shard++) {
        rows += shard->rows;
        step->shard_count++;
    }
    step->rows = rows_take(&step->left, rows);
    step->distinct[SIDE_SRC] = step->distinct[SIDE_TGT] + step->distinct_count[SIDE_TGT];
    step->distinct[SIDE_TGT] = step->distinct[SIDE_SRC] + of->src_distinct;
    step->distinct_count[SIDE_SRC] = of->src_distinct;
    step->distinct_count[SIDE_TGT] = of->tgt_distinct;
    step->tokens = of->tokens;
    step->end++;
    return true;
}
