/* bench_data.h - sentence pairs to measure with.
 *
 * Drawn pairs have the lengths of the notebook's recipe (4 to 12 ids a side, 7.7 and 8.1 on average, cut to
 * data.length) and ids whose frequency falls as one over their rank, as words do; the same seed gives the same pairs.
 * Pairs of a file are encoded with a checkpoint's vocabularies. Owned by whoever made it, given back with
 * bench_data_free. */
#ifndef LSTMQ_WORKER_BENCH_BENCH_DATA_H
#define LSTMQ_WORKER_BENCH_BENCH_DATA_H

#include "worker/model/translator.h"

struct bench_data {
    struct rows rows;                          /* points into the arrays below */
    uint16_t *src_lengths, *tgt_lengths, *ids; /* memory */
    size_t *at;                                /* [rows.count] place of each row in ids */
    uint64_t tgt_tokens;                       /* of all rows */
};

/* The vocabularies of the notebook's recipe, or what data.vocab_limit leaves of them. */
int bench_src_vocab(const struct config *config);
int bench_tgt_vocab(const struct config *config);

/* `count` pairs of ids below the two sizes, drawn with train.seed. */
bool bench_data_draw(struct bench_data *data, const struct config *config, int src_vocab, int tgt_vocab, size_t count,
                     struct err *err);

/* The pairs of `source`'s file, as the translator's model sees them. */
bool bench_data_read(struct bench_data *data, const struct translator *translator, const struct config *source,
                     struct err *err);

/* Put rows in the order in which a batch is translated: longest source first, then longest target. */
bool bench_data_sort(struct bench_data *data, struct err *err);

void bench_data_free(struct bench_data *data);

#endif
