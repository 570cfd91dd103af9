/* bench_texts.c - numbered texts, and the sources of a file of pairs; see bench_texts.h. */
#include "worker/bench/serve/bench_texts.h"

#include "proto/base/random.h"
#include "proto/text/pairs.h"

#include <stdlib.h>
#include <string.h>

static bool bench_texts_alloc(struct bench_texts *texts, size_t most, struct err *err)
{
    *texts = (struct bench_texts){.lengths = malloc((most + 1) * sizeof *texts->lengths),
                                  .at = malloc((most + 1) * sizeof *texts->at)};
    return (texts->lengths != NULL && texts->at != NULL) || err_set(err, ERR_MEMORY, "no memory for %zu texts", most);
}

/* The bytes of the next text were appended. */
static void bench_texts_end(struct bench_texts *texts)
{
    size_t i = texts->count++;
    texts->at[i] = i == 0 ? 0 : texts->at[i - 1] + texts->lengths[i - 1];
    texts->lengths[i] = (uint32_t)(texts->bytes.size - texts->at[i]);
}

bool bench_texts_number(struct bench_texts *texts, size_t count, struct err *err)
{
    if (!bench_texts_alloc(texts, count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        buffer_format(&texts->bytes, "sentence %zu of the queue", i);
        bench_texts_end(texts);
    }
    return buffer_ok(&texts->bytes, err);
}

/* Neighbours of a sorted file often have the same source, which counts once. */
static bool bench_texts_draw(struct bench_texts *texts, const struct pairs *pairs, size_t most, struct err *err)
{
    uint32_t *order = malloc((pairs->count + 1) * sizeof *order);
    struct mt19937 mt;
    const char *last = "";
    uint32_t kept = 0;
    if (order == NULL || !bench_texts_alloc(texts, most, err)) {
        free(order);
        return err_set(err, ERR_MEMORY, "no memory for %zu texts", most);
    }
    for (size_t i = 0; i < pairs->count; i++) {
        const char *source = pairs->text.data + pairs->items[i].src;
        if (strcmp(source, last) != 0)
            order[kept++] = (uint32_t)i;
        last = source;
    }
    mt19937_seed(&mt, 42);
    mt19937_shuffle(&mt, order, kept);
    for (size_t i = 0; i < kept && i < most; i++) {
        const struct pair *pair = &pairs->items[order[i]];
        buffer_append(&texts->bytes, pairs->text.data + pair->src, pair->src_size);
        bench_texts_end(texts);
    }
    free(order);
    return buffer_ok(&texts->bytes, err);
}

bool bench_texts_read(struct bench_texts *texts, const struct config *config, size_t most, struct err *err)
{
    struct pairs pairs = {0};
    const struct pairs_source from = {.pairs = config->data_pairs,
                                      .src = config->data_src,
                                      .tgt = config->data_tgt,
                                      .rule = (enum normalise)config->data_normalise,
                                      .on_bad_line = (enum on_bad_line)config->data_on_bad_line,
                                      .min_tokens = 1,
                                      .max_tokens = SIZE_MAX};
    *texts = (struct bench_texts){0};
    bool ok = pairs_read(&pairs, &from, err) && bench_texts_draw(texts, &pairs, most, err);
    pairs_free(&pairs);
    return ok;
}

struct texts bench_texts_cut(const struct bench_texts *texts, size_t first, size_t count)
{
    first %= texts->count;
    if (count > texts->count - first)
        count = texts->count - first;
    size_t last = first + count - 1;
    return (struct texts){.count = (uint32_t)count,
                          .lengths = texts->lengths + first,
                          .bytes = texts->bytes.data + texts->at[first],
                          .size = texts->at[last] + texts->lengths[last] - texts->at[first]};
}

void bench_texts_free(struct bench_texts *texts)
{
    buffer_free(&texts->bytes);
    free(texts->lengths);
    free(texts->at);
    *texts = (struct bench_texts){0};
}
