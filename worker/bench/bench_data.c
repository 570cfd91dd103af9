/* bench_data.c - batches for measurements, drawn or read; see bench_data.h. */
#include "worker/bench/bench_data.h"

#include "proto/base/random.h"
#include "proto/text/pairs.h"
#include "proto/text/vocab.h"

#include <stdlib.h>
#include <string.h>

/* Vocabulary sizes of the notebook's recipe on its own pairs, markers included. */
enum { NOTEBOOK_SRC_VOCAB = 5779, NOTEBOOK_TGT_VOCAB = 7844 };

/* How many of the notebook's 8,000 pairs have 4, 5, ... 12 ids a side, <sos> and <eos> included. */
enum { SHORTEST = 4, LENGTHS = 9 };
static const uint16_t SRC_LENGTHS[LENGTHS] = {219, 760, 1309, 1647, 1545, 1171, 744, 400, 205};
static const uint16_t TGT_LENGTHS[LENGTHS] = {136, 614, 1119, 1412, 1526, 1220, 940, 646, 387};
enum { LENGTH_SUM = 8000 };

/* An id's weight is 1 / (rank + ZIPF_OFFSET), ranks from 0. With this offset a batch of 64 pairs has as many distinct
 * ids as the notebook's. */
static const double ZIPF_OFFSET = 2.0;

static int bench_data_vocab(const struct config *config, int vocab)
{
    return config->data_vocab_limit < vocab ? (int)config->data_vocab_limit : vocab;
}

int bench_src_vocab(const struct config *config)
{
    return bench_data_vocab(config, NOTEBOOK_SRC_VOCAB);
}

int bench_tgt_vocab(const struct config *config)
{
    return bench_data_vocab(config, NOTEBOOK_TGT_VOCAB);
}

static bool bench_data_alloc(struct bench_data *data, size_t count, size_t length, struct err *err)
{
    *data = (struct bench_data){
        .src_lengths = malloc(count * sizeof *data->src_lengths),
        .tgt_lengths = malloc(count * sizeof *data->tgt_lengths),
        .ids = malloc(count * 2 * length * sizeof *data->ids),
        .at = malloc(count * sizeof *data->at),
    };
    if (data->src_lengths != NULL && data->tgt_lengths != NULL && data->ids != NULL && data->at != NULL)
        return true;
    bench_data_free(data);
    return err_set(err, ERR_MEMORY, "no memory for %zu pairs", count);
}

struct rows bench_data_rows(const struct bench_data *data, size_t first, size_t count)
{
    struct rows from = {.src_lengths = data->src_lengths + first,
                        .tgt_lengths = data->tgt_lengths + first,
                        .ids = data->ids + data->at[first]};
    return rows_take(&from, (uint32_t)count);
}

void bench_data_free(struct bench_data *data)
{
    free(data->src_lengths);
    free(data->tgt_lengths);
    free(data->ids);
    free(data->at);
    *data = (struct bench_data){0};
}

/* Point the rows at the arrays, and count the tokens. */
static void bench_data_close(struct bench_data *data, size_t count)
{
    size_t at = 0;
    data->tgt_tokens = 0;
    for (size_t r = 0; r < count; r++) {
        data->at[r] = at;
        at += (size_t)data->src_lengths[r] + data->tgt_lengths[r];
        data->tgt_tokens += data->tgt_lengths[r];
    }
    data->rows = (struct rows){.count = (uint32_t)count,
                               .src_lengths = data->src_lengths,
                               .tgt_lengths = data->tgt_lengths,
                               .ids = data->ids,
                               .id_count = at};
}

static int bench_data_draw_length(struct mt19937 *mt, const uint16_t *weights)
{
    uint32_t at = mt19937_below(mt, LENGTH_SUM);
    int length = 0;
    while (at >= weights[length])
        at -= weights[length++];
    return SHORTEST + length;
}

/* Cumulative weights of the words. */
static double *bench_data_zipf(int vocab, struct err *err)
{
    int words = vocab - ID_UNKNOWN;
    double *sums = malloc((size_t)words * sizeof *sums), sum = 0;
    if (sums == NULL) {
        err_set(err, ERR_MEMORY, "no memory for %d words", words);
        return NULL;
    }
    for (int w = 0; w < words; w++)
        sums[w] = sum += 1.0 / (w + ZIPF_OFFSET);
    return sums;
}

static uint16_t bench_data_draw_word(struct mt19937 *mt, const double *sums, int vocab)
{
    int words = vocab - ID_UNKNOWN, low = 0, high = words - 1;
    double at = mt19937_double(mt) * sums[words - 1];
    while (low < high) {
        int middle = (low + high) / 2;
        if (sums[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return (uint16_t)(ID_UNKNOWN + low);
}

/* One sentence, markers included, truncated to `most` ids; without <sos> unless `start`. */
static uint16_t bench_data_draw_sentence(struct mt19937 *mt, const uint16_t *lengths, const double *sums, int vocab,
                                         int most, bool start, uint16_t *ids)
{
    int length = bench_data_draw_length(mt, lengths), used = 0;
    if (length > most)
        length = most;
    if (start)
        ids[used++] = ID_SOS;
    for (int i = 0; i < length - 2; i++)
        ids[used++] = bench_data_draw_word(mt, sums, vocab);
    ids[used++] = ID_EOS;
    return (uint16_t)used;
}

bool bench_data_draw(struct bench_data *data, const struct config *config, int src_vocab, int tgt_vocab, size_t count,
                     struct err *err)
{
    int most = (int)config->data_length;
    struct mt19937 mt;
    *data = (struct bench_data){0};
    double *src = bench_data_zipf(src_vocab, err), *tgt = src != NULL ? bench_data_zipf(tgt_vocab, err) : NULL;
    bool ok = tgt != NULL && bench_data_alloc(data, count, SHORTEST + LENGTHS, err);
    if (ok) {
        uint16_t *at = data->ids;
        mt19937_seed(&mt, (uint64_t)config->train_seed);
        for (size_t r = 0; r < count; r++) {
            at += data->src_lengths[r] = bench_data_draw_sentence(&mt, SRC_LENGTHS, src, src_vocab, most, true, at);
            at += data->tgt_lengths[r] =
                bench_data_draw_sentence(&mt, TGT_LENGTHS, tgt, tgt_vocab, most, config->data_target_start, at);
        }
        bench_data_close(data, count);
    }
    free(src);
    free(tgt);
    return ok;
}

static bool bench_data_encode(struct bench_data *data, const struct translator *translator, const struct pairs *pairs,
                              struct err *err)
{
    size_t length = (size_t)translator->config.data_length;
    if (!bench_data_alloc(data, pairs->count, length, err))
        return false;
    uint16_t *at = data->ids;
    for (size_t r = 0; r < pairs->count; r++) {
        const struct pair *pair = &pairs->items[r];
        size_t n = vocab_encode(translator->checkpoint.src, pairs->text.data + pair->src, pair->src_size, length, at,
                                NULL, NULL);
        data->src_lengths[r] = (uint16_t)n;
        at += n;
        n = vocab_encode(translator->checkpoint.tgt, pairs->text.data + pair->tgt, pair->tgt_size, length, at, NULL,
                         NULL);
        if (!translator->config.data_target_start)
            memmove(at, at + 1, --n * sizeof *at);
        data->tgt_lengths[r] = (uint16_t)n;
        at += n;
    }
    bench_data_close(data, pairs->count);
    return true;
}

bool bench_data_read(struct bench_data *data, const struct translator *translator, const struct config *source,
                     struct err *err)
{
    struct pairs pairs = {0};
    struct pairs_source from = {
        .pairs = source->data_pairs,
        .src = source->data_src,
        .tgt = source->data_tgt,
        .rule = (enum normalise)translator->config.data_normalise,
        .on_bad_line = (enum on_bad_line)source->data_on_bad_line,
        .min_tokens = 1,
        .max_tokens = SIZE_MAX,
    };
    *data = (struct bench_data){0};
    bool ok = pairs_read(&pairs, &from, err) && bench_data_encode(data, translator, &pairs, err);
    pairs_free(&pairs);
    return ok;
}

/* A row's sort key. */
struct bench_placed {
    size_t at;
    uint16_t src, tgt;
};

static int bench_data_by_length(const void *a, const void *b)
{
    const struct bench_placed *x = a, *y = b;
    if (x->src != y->src)
        return x->src < y->src ? 1 : -1;
    if (x->tgt != y->tgt)
        return x->tgt < y->tgt ? 1 : -1;
    return x->at < y->at ? -1 : x->at > y->at;
}

bool bench_data_sort(struct bench_data *data, struct err *err)
{
    size_t count = data->rows.count, used = 0;
    struct bench_placed *order = malloc(count * sizeof *order);
    uint16_t *ids = malloc(data->rows.id_count * sizeof *ids);
    if (order == NULL || ids == NULL) {
        free(order);
        free(ids);
        return err_set(err, ERR_MEMORY, "no memory to sort %zu pairs", count);
    }
    for (size_t r = 0; r < count; r++)
        order[r] = (struct bench_placed){.at = data->at[r], .src = data->src_lengths[r], .tgt = data->tgt_lengths[r]};
    qsort(order, count, sizeof *order, bench_data_by_length);
    for (size_t r = 0; r < count; r++) {
        size_t n = (size_t)order[r].src + order[r].tgt;
        memcpy(ids + used, data->ids + order[r].at, n * sizeof *ids);
        data->src_lengths[r] = order[r].src;
        data->tgt_lengths[r] = order[r].tgt;
        used += n;
    }
    free(order);
    free(data->ids);
    data->ids = ids;
    bench_data_close(data, count);
    return true;
}
