/* plan.c - shuffles, batches and shards; see plan.h. */
#include "coordinator/data/plan.h"

#include <stdlib.h>

bool plan_open(struct plan *plan, uint32_t rows, uint32_t batch, uint32_t shards, const struct mt19937 *stream,
               struct err *err)
{
    *plan = (struct plan){.first = *stream, .stream = *stream, .rows = rows, .batch = batch, .shards = shards};
    plan->order = malloc((size_t)rows * sizeof *plan->order);
    if (plan->order == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the order of %u rows", rows);
    return true;
}

void plan_close(struct plan *plan)
{
    free(plan->order);
    *plan = (struct plan){0};
}

uint64_t plan_steps(const struct plan *plan)
{
    return ((uint64_t)plan->rows + plan->batch - 1) / plan->batch;
}

static void plan_draw_next(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->rows; i++)
        plan->order[i] = i;
    mt19937_shuffle(&plan->stream, plan->order, plan->rows);
    plan->epoch++;
}

const uint32_t *plan_batch(struct plan *plan, uint64_t step, uint32_t *count)
{
    uint64_t epoch = step / plan_steps(plan) + 1;
    if (epoch < plan->epoch) {
        plan->stream = plan->first;
        plan->epoch = 0;
    }
    while (plan->epoch < epoch)
        plan_draw_next(plan);
    uint32_t from = (uint32_t)(step % plan_steps(plan)) * plan->batch;
    uint32_t left = plan->rows - from;
    *count = left < plan->batch ? left : plan->batch;
    return plan->order + from;
}

struct share plan_shard(uint32_t rows, uint32_t shards, uint32_t shard)
{
    uint32_t from = (uint32_t)((uint64_t)rows * shard / shards);
    uint32_t to = (uint32_t)((uint64_t)rows * (shard + 1) / shards);
    return (struct share){.first = from, .count = to - from};
}

struct share plan_share(uint32_t shards, uint32_t rank, uint32_t size)
{
    uint64_t most = ((uint64_t)shards + size - 1) / size;
    uint64_t first = most * rank;
    if (first >= shards)
        return (struct share){.first = shards, .count = 0};
    uint64_t left = shards - first;
    return (struct share){.first = (uint32_t)first, .count = (uint32_t)(left < most ? left : most)};
}
