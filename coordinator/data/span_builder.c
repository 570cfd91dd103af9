/* span_builder.c - build spans from rows; see span_builder.h. */
#include "coordinator/data/span_builder.h"

#include <stdlib.h>
#include <string.h>

/* A span ends after the step that reaches this many ids (2 MiB), so messages stay far below their limit. */
enum { SPAN_IDS = 1 << 20 };

/* A bit for each id that a vocabulary can have. */
enum { SEEN_BITS = 64, SEEN_WORDS = 65536 / SEEN_BITS };

bool span_builder_open(struct span_builder *builder, const struct dataset *dataset, struct plan *plan, struct err *err)
{
    *builder = (struct span_builder){.dataset = dataset, .plan = plan};
    builder->of = malloc(SPAN_STEPS * sizeof *builder->of);
    builder->seen = malloc(2 * SEEN_WORDS * sizeof *builder->seen);
    builder->facts = calloc(SPAN_KEPT, sizeof *builder->facts);
    if (builder->of == NULL || builder->seen == NULL || builder->facts == NULL) {
        span_builder_close(builder);
        return err_set(err, ERR_MEMORY, "no memory for a span");
    }
    return true;
}

void span_builder_close(struct span_builder *builder)
{
    packing_free(&builder->packing);
    for (size_t i = 0; builder->facts != NULL && i < SPAN_KEPT; i++)
        free(builder->facts[i].distinct);
    free(builder->facts);
    free(builder->of);
    free(builder->seen);
    free(builder->shards);
    free(builder->distinct);
    *builder = (struct span_builder){0};
}

static bool builder_reserve_shards(struct span_builder *builder, size_t count, struct err *err)
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

static bool builder_add_shard(struct span_builder *builder, const uint32_t *batch, struct share rows, struct err *err)
{
    const struct dataset *dataset = builder->dataset;
    for (uint32_t i = rows.first; i < rows.first + rows.count; i++) {
        const struct dataset_row *row = &dataset->rows[batch[i]];
        if (!packing_add(&builder->packing, dataset_ids(dataset, batch[i]), row->src_length, row->tgt_length, err))
            return false;
    }
    return true;
}

static uint32_t builder_target_tokens(const struct dataset *dataset, const uint32_t *batch, uint32_t count)
{
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < count; i++)
        tokens += dataset->rows[batch[i]].tgt_length;
    return tokens;
}

static bool builder_reserve_ids(uint16_t **ids, size_t *capacity, size_t count, struct err *err)
{
    if (count <= *capacity)
        return true;
    uint16_t *grown = realloc(*ids, (count + count / 2) * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_MEMORY, "no memory for %zu distinct ids", count);
    *ids = grown;
    *capacity = count + count / 2;
    return true;
}

static void builder_see(uint64_t *seen, uint32_t id)
{
    seen[id / SEEN_BITS] |= (uint64_t)1 << id % SEEN_BITS;
}

/* Mark the ids that a batch looks up: its sources, and the decoder's inputs, which are <sos> and all target ids but the
 * last. */
static void builder_see_batch(struct span_builder *builder, const uint32_t *batch, uint32_t count)
{
    uint64_t *src = builder->seen, *tgt = src + SEEN_WORDS;
    memset(builder->seen, 0, 2 * SEEN_WORDS * sizeof *builder->seen);
    builder_see(tgt, ID_SOS);
    for (uint32_t i = 0; i < count; i++) {
        const struct dataset_row *row = &builder->dataset->rows[batch[i]];
        const uint16_t *ids = dataset_ids(builder->dataset, batch[i]);
        for (uint32_t k = 0; k < row->src_length; k++)
            builder_see(src, ids[k]);
        for (uint32_t k = 0; k + 1 < row->tgt_length; k++)
            builder_see(tgt, ids[row->src_length + k]);
    }
}

static uint32_t builder_count(const uint64_t *seen)
{
    uint32_t count = 0;
    for (uint32_t word = 0; word < SEEN_WORDS; word++)
        count += (uint32_t)__builtin_popcountll(seen[word]);
    return count;
}

/* Write the marked ids in rising order. Returns the end of the list. */
static uint16_t *builder_list(const uint64_t *seen, uint16_t *ids)
{
    for (uint32_t word = 0; word < SEEN_WORDS; word++)
        for (uint64_t bits = seen[word]; bits != 0; bits &= bits - 1)
            *ids++ = (uint16_t)(word * SEEN_BITS + (uint32_t)__builtin_ctzll(bits));
    return ids;
}

static bool builder_find_distinct(struct span_builder *builder, const uint32_t *batch, uint32_t count,
                                  struct span_fact *fact, struct err *err)
{
    const uint64_t *src = builder->seen, *tgt = builder->seen + SEEN_WORDS;
    builder_see_batch(builder, batch, count);
    fact->of.src_distinct = builder_count(src);
    fact->of.tgt_distinct = builder_count(tgt);
    if (!builder_reserve_ids(&fact->distinct, &fact->capacity, (size_t)fact->of.src_distinct + fact->of.tgt_distinct,
                             err))
        return false;
    builder_list(tgt, builder_list(src, fact->distinct));
    return true;
}

/* The members of a generation request the same steps, one shortly after the other: keep the result of the first. */
static const struct span_fact *builder_fact(struct span_builder *builder, uint64_t step, const uint32_t *batch,
                                            uint32_t count, struct err *err)
{
    struct span_fact *fact = &builder->facts[step % SPAN_KEPT];
    if (fact->known && fact->step == step)
        return fact;
    fact->step = step;
    fact->of = (struct span_step){.tokens = builder_target_tokens(builder->dataset, batch, count)};
    fact->known = builder_find_distinct(builder, batch, count, fact, err);
    return fact->known ? fact : NULL;
}

static bool builder_add_fact(struct span_builder *builder, uint32_t at, const struct span_fact *fact, struct err *err)
{
    size_t count = (size_t)fact->of.src_distinct + fact->of.tgt_distinct;
    builder->of[at] = fact->of;
    if (!builder_reserve_ids(&builder->distinct, &builder->distinct_capacity, builder->distinct_count + count, err))
        return false;
    memcpy(builder->distinct + builder->distinct_count, fact->distinct, count * sizeof *fact->distinct);
    builder->distinct_count += count;
    return true;
}

static bool builder_add_shards(struct span_builder *builder, uint32_t step, const uint32_t *batch, uint32_t count,
                               struct share share, uint32_t *shards, struct err *err)
{
    for (uint32_t shard = share.first; shard < share.first + share.count; shard++) {
        struct share rows = plan_shard(count, builder->plan->shards, shard);
        builder->shards[(*shards)++] = (struct span_shard){.step = step, .shard = shard, .rows = rows.count};
        if (!builder_add_shard(builder, batch, rows, err))
            return false;
    }
    return true;
}

bool span_build(struct span_builder *builder, uint64_t first_step, uint32_t most, struct share share, struct span *span,
                struct err *err)
{
    uint32_t steps = 0, shards = 0;
    if (most > SPAN_STEPS)
        most = SPAN_STEPS;
    packing_clear(&builder->packing);
    builder->distinct_count = 0;
    if (!builder_reserve_shards(builder, (size_t)most * share.count, err))
        return false;
    for (; steps < most && builder->packing.id_count + builder->distinct_count < SPAN_IDS; steps++) {
        uint32_t count;
        const uint32_t *batch = plan_batch(builder->plan, first_step + steps, &count);
        const struct span_fact *fact = builder_fact(builder, first_step + steps, batch, count, err);
        if (fact == NULL || !builder_add_fact(builder, steps, fact, err) ||
            !builder_add_shards(builder, steps, batch, count, share, &shards, err))
            return false;
    }
    *span = (struct span){.first_step = first_step,
                          .steps = steps,
                          .of = builder->of,
                          .shards = builder->shards,
                          .shard_count = shards,
                          .distinct = builder->distinct,
                          .distinct_count = builder->distinct_count,
                          .rows = packing_rows(&builder->packing)};
    return true;
}
