/* span_builder.c - rows into spans; see span_builder.h. */
#include "coordinator/span_builder.h"

#include <stdlib.h>

/* A span ends after the step that brings it to this many ids (2 MiB), which keeps messages far below their limit. */
enum { SPAN_IDS = 1 << 20 };

bool span_builder_open(struct span_builder *builder, const struct dataset *dataset, struct plan *plan, struct err *err)
{
    *builder = (struct span_builder){.dataset = dataset, .plan = plan};
    builder->tokens = malloc(SPAN_STEPS * sizeof *builder->tokens);
    if (builder->tokens == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a span");
    return true;
}

void span_builder_close(struct span_builder *builder)
{
    packing_free(&builder->packing);
    free(builder->tokens);
    free(builder->shards);
    *builder = (struct span_builder){0};
}

static bool s_reserve_shards(struct span_builder *builder, size_t count, struct err *err)
{
    if (count <= builder->shard_capacity)
        return true;
    struct span_shard *grown = realloc(builder->shards, count * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_MEMORY, "no memory for %zu shards", count);
    builder->shards = grown;
    builder->shard_capacity = count;
    return true;
}

static bool s_add_shard(struct span_builder *builder, const uint32_t *batch, struct share rows, struct err *err)
{
    const struct dataset *dataset = builder->dataset;
    for (uint32_t i = rows.first; i < rows.first + rows.count; i++) {
        const struct dataset_row *row = &dataset->rows[batch[i]];
        if (!packing_add(&builder->packing, dataset_ids(dataset, batch[i]), row->src_length, row->tgt_length, err))
            return false;
    }
    return true;
}

static uint32_t s_target_tokens(const struct dataset *dataset, const uint32_t *batch, uint32_t count)
{
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < count; i++)
        tokens += dataset->rows[batch[i]].tgt_length;
    return tokens;
}

bool span_build(struct span_builder *builder, uint64_t first_step, uint32_t most, struct share share, struct span *span,
                struct err *err)
{
    uint32_t steps = 0, shards = 0;
    if (most > SPAN_STEPS)
        most = SPAN_STEPS;
    packing_clear(&builder->packing);
    if (!s_reserve_shards(builder, (size_t)most * share.count, err))
        return false;
    for (; steps < most && builder->packing.id_count < SPAN_IDS; steps++) {
        uint32_t count;
        const uint32_t *batch = plan_batch(builder->plan, first_step + steps, &count);
        builder->tokens[steps] = s_target_tokens(builder->dataset, batch, count);
        for (uint32_t shard = share.first; shard < share.first + share.count; shard++) {
            struct share rows = plan_shard(count, builder->plan->shards, shard);
            builder->shards[shards++] = (struct span_shard){.step = steps, .shard = shard, .rows = rows.count};
            if (!s_add_shard(builder, batch, rows, err))
                return false;
        }
    }
    *span = (struct span){.first_step = first_step,
                          .steps = steps,
                          .tokens = builder->tokens,
                          .shards = builder->shards,
                          .shard_count = shards,
                          .rows = packing_rows(&builder->packing)};
    return true;
}
