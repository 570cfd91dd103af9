/* bench_data.h - sentence pairs for measurements.
 *
 * Drawn pairs have the lengths of the notebook's recipe (4 to 12 ids a side, 7.7 and 8.1 on average, truncated to
 * data.length). The frequency of an id is inversely proportional to its rank, as for words. The same seed gives the
 * same pairs. Pairs of a file are encoded with a checkpoint's vocabularies. The caller owns it and ends it with
 * bench_data_free. One thread at a time. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_DATA_H
#define LSTMQ_WORKER_BENCH_BENCH_DATA_H

#include "worker/model/translator.h"

struct bench_data {
    struct rows rows;                          /* points into the arrays below */
    uint16_t *src_lengths, *tgt_lengths, *ids; /* memory */
    size_t *at;                                /* [rows.count] index of each row's first id */
    uint64_t tgt_tokens;                       /* of all rows */
};

/* The vocabulary sizes of the notebook's recipe, limited by data.vocab_limit. */
int bench_src_vocab(const struct config *config);
int bench_tgt_vocab(const struct config *config);

/* Draw `count` pairs of ids below the two sizes, with train.seed. */
bool bench_data_draw(struct bench_data *data, const struct config *config, int src_vocab, int tgt_vocab, size_t count,
                     struct err *err);

/* Read the pairs of `source`'s file, encoded for the translator's model. */
bool bench_data_read(struct bench_data *data, const struct translator *translator, const struct config *source,
                     struct err *err);

/* Sort rows as translation batches them: longest source first, then longest target. */
bool bench_data_sort(struct bench_data *data, struct err *err);

/* Rows first..first+count-1. */
struct rows bench_data_rows(const struct bench_data *data, size_t first, size_t count);

void bench_data_free(struct bench_data *data);

#endif
