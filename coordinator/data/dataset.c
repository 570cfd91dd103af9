/* dataset.c - from files of pairs to ids; see dataset.h.
 *
 * The order is the notebook's: shuffle all pairs that survive cleaning, keep data.take of them, and split those. */
#include "coordinator/data/dataset.h"

#include "proto/text/detect.h"
#include "proto/text/pairs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { DATASET_EARLY = 8 }; /* pairs */

/* What exists only while a dataset is built. */
struct build {
    const struct config *config;
    struct pairs pairs; /* training pairs; also validation pairs that are split off */
    struct pairs own;   /* validation pairs from their own file */
    bool has_own;
    uint32_t *train; /* [train_count] items of `pairs` */
    uint32_t *valid; /* [valid_count] items of `pairs` or, with has_own, of `own` */
    uint32_t train_count, valid_count;
    uint32_t *order; /* the memory of train and valid */
    uint32_t *own_order;
    size_t id_capacity;
};

static bool dataset_no_memory(struct err *err)
{
    return err_set(err, ERR_MEMORY, "no memory for the dataset");
}

/* Check one of the two ways to name a set of pairs. *any = false: neither is used. */
static bool dataset_check_paths(const char *pairs, const char *src, const char *tgt, const char *prefix, bool *any,
                                struct err *err)
{
    *any = pairs[0] != '\0' || src[0] != '\0' || tgt[0] != '\0';
    if (pairs[0] != '\0' && (src[0] != '\0' || tgt[0] != '\0'))
        return err_set(err, ERR_USAGE, "data.%spairs and data.%ssrc/data.%stgt both name data: give one of them",
                       prefix, prefix, prefix);
    if ((src[0] != '\0') != (tgt[0] != '\0'))
        return err_set(err, ERR_USAGE, "data.%s%s is missing: data.%ssrc and data.%stgt go together", prefix,
                       src[0] != '\0' ? "tgt" : "src", prefix, prefix);
    return true;
}

static bool dataset_check(struct build *build, struct err *err)
{
    const struct config *config = build->config;
    bool any;
    if (!dataset_check_paths(config->data_pairs, config->data_src, config->data_tgt, "", &any, err))
        return false;
    if (!any)
        return err_set(err, ERR_USAGE,
                       "no data: give --data.pairs FILE, or --data.src FILE and --data.tgt FILE (scripts/data.sh gets "
                       "pairs to begin with)");
    if (!dataset_check_paths(config->data_valid_pairs, config->data_valid_src, config->data_valid_tgt, "valid_",
                             &build->has_own, err))
        return false;
    if (config->data_min_tokens > config->data_max_tokens)
        return err_set(err, ERR_USAGE, "data.min_tokens is %" PRId64 " but data.max_tokens is %" PRId64,
                       config->data_min_tokens, config->data_max_tokens);
    if (config->data_max_tokens + 2 > config->data_length)
        return err_set(err, ERR_USAGE,
                       "data.length is %" PRId64 ", too short for data.max_tokens %" PRId64
                       " and two markers: give --data.length %" PRId64 " or --data.max_tokens %" PRId64,
                       config->data_length, config->data_max_tokens, config->data_max_tokens + 2,
                       config->data_length - 2);
    return true;
}

/* `source` has the paths and what to keep; the rest comes from the configuration. */
static bool dataset_read_pairs(const struct config *config, struct pairs_source source, struct pairs *pairs,
                               struct err *err)
{
    source.rule = (enum normalise)config->data_normalise;
    source.on_bad_line = (enum on_bad_line)config->data_on_bad_line;
    source.min_tokens = (size_t)config->data_min_tokens;
    source.max_tokens = (size_t)config->data_max_tokens;
    if (!pairs_read(pairs, &source, err))
        return false;
    if (pairs->count > UINT32_MAX / 2)
        return err_set(err, ERR_DATA, "%s: %zu pairs are too many to train on",
                       source.pairs[0] != '\0' ? source.pairs : source.src, pairs->count);
    return true;
}

/* Training pairs that lose too much to normalisation are an error. For separate validation pairs it is a warning. */
static bool dataset_read_all(struct build *build, struct err *err)
{
    const struct config *config = build->config;
    const struct pairs_source train = {.pairs = config->data_pairs,
                                       .src = config->data_src,
                                       .tgt = config->data_tgt,
                                       .keep_raw = config->train_bleu && !build->has_own,
                                       .refuse_loss = true};
    const struct pairs_source valid = {.pairs = config->data_valid_pairs,
                                       .src = config->data_valid_src,
                                       .tgt = config->data_valid_tgt,
                                       .keep_raw = config->train_bleu};
    return dataset_read_pairs(config, train, &build->pairs, err) &&
           (!build->has_own || dataset_read_pairs(config, valid, &build->own, err));
}

static uint32_t *dataset_identity(size_t count, struct err *err)
{
    uint32_t *order = malloc((count > 0 ? count : 1) * sizeof *order);
    if (order == NULL) {
        dataset_no_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    return order;
}

static const char *dataset_src(const struct pairs *pairs, uint32_t item)
{
    return pairs->text.data + pairs->items[item].src;
}

static const char *dataset_tgt(const struct pairs *pairs, uint32_t item)
{
    return pairs->text.data + pairs->items[item].tgt;
}

/* Remove training pairs whose source also occurs in the validation part; keep the order of the rest. */
static bool dataset_hold_out(struct build *build, struct err *err)
{
    const struct pairs *pairs = &build->pairs;
    size_t slots = 16;
    while (slots < (size_t)build->valid_count * 2)
        slots *= 2;
    uint32_t *table = malloc(slots * sizeof *table); /* open addressing; UINT32_MAX = empty */
    if (table == NULL)
        return dataset_no_memory(err);
    memset(table, 0xff, slots * sizeof *table);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < build->valid_count + build->train_count; i++) {
        bool training = i >= build->valid_count;
        uint32_t item = training ? build->train[i - build->valid_count] : build->valid[i];
        uint32_t size = pairs->items[item].src_size;
        size_t slot = (size_t)XXH3_64bits(dataset_src(pairs, item), size) & (slots - 1);
        while (table[slot] != UINT32_MAX &&
               (pairs->items[table[slot]].src_size != size ||
                memcmp(dataset_src(pairs, table[slot]), dataset_src(pairs, item), size) != 0))
            slot = (slot + 1) & (slots - 1);
        if (!training)
            table[slot] = item;
        else if (table[slot] == UINT32_MAX)
            build->train[kept++] = item;
    }
    build->train_count = kept;
    free(table);
    return true;
}

/* Count the first pairs of build->order, and write the tables. They lie all over the text, so fetching them early saves
 * a third of the time. */
static bool dataset_count_trigrams(struct dataset *dataset, const struct build *build, struct detect_counter *src,
                                   struct detect_counter *tgt, struct err *err)
{
    const struct pairs *pairs = &build->pairs;
    bool ok = true;
    for (size_t i = 0; ok && i < pairs->count && !(detect_counter_full(src) && detect_counter_full(tgt)); i++) {
        uint32_t item = build->order[i];
        if (i + 2 * DATASET_EARLY < pairs->count) {
            __builtin_prefetch(&pairs->items[build->order[i + 2 * DATASET_EARLY]]);
            __builtin_prefetch(dataset_src(pairs, build->order[i + DATASET_EARLY]));
        }
        ok = detect_count(src, dataset_src(pairs, item), pairs->items[item].src_size, err) &&
             detect_count(tgt, dataset_tgt(pairs, item), pairs->items[item].tgt_size, err);
    }
    struct detect_table *src_table = ok ? detect_table_new(src, err) : NULL;
    struct detect_table *tgt_table = src_table != NULL ? detect_table_new(tgt, err) : NULL;
    ok = tgt_table != NULL && detect_write(src_table, tgt_table, &dataset->trigrams, err);
    detect_table_destroy(&src_table);
    detect_table_destroy(&tgt_table);
    return ok;
}

/* Of all pairs, because a file's first pairs are often its shortest, and data.take may leave few. */
static bool dataset_trigrams(struct dataset *dataset, const struct build *build, struct err *err)
{
    struct detect_counter *src = detect_counter_new(err);
    struct detect_counter *tgt = src != NULL ? detect_counter_new(err) : NULL;
    bool ok = tgt != NULL && dataset_count_trigrams(dataset, build, src, tgt, err);
    detect_counter_destroy(&src);
    detect_counter_destroy(&tgt);
    return ok;
}

/* Shuffle, take, split. */
static bool dataset_divide(struct build *build, struct mt19937 *stream, struct err *err)
{
    const struct config *config = build->config;
    size_t count = build->pairs.count;
    build->order = dataset_identity(count, err);
    if (build->order == NULL)
        return false;
    mt19937_shuffle(stream, build->order, count);
    if (config->data_take > 0 && (uint64_t)config->data_take < count)
        count = (size_t)config->data_take;
    size_t cut = build->has_own ? count : (size_t)((1.0 - config->data_valid_fraction) * (double)count);
    build->train = build->order;
    build->train_count = (uint32_t)cut;
    build->valid = build->order + cut;
    build->valid_count = (uint32_t)(count - cut);
    if (build->has_own) {
        build->own_order = dataset_identity(build->own.count, err);
        if (build->own_order == NULL)
            return false;
        build->valid = build->own_order;
        build->valid_count = (uint32_t)build->own.count;
    } else if (config->data_split == SPLIT_SOURCE && !dataset_hold_out(build, err)) {
        return false;
    }
    if (build->train_count == 0)
        return err_set(err, ERR_DATA,
                       "no training pair is left of %zu: %u are held out (data.valid_fraction %g), and %zu share their "
                       "source with those (data.split source)",
                       count, build->valid_count, config->data_valid_fraction, cut);
    return true;
}

static const struct pairs *dataset_valid_pairs(const struct build *build)
{
    return build->has_own ? &build->own : &build->pairs;
}

static bool dataset_count(const struct pairs *pairs, const uint32_t *items, uint32_t count, struct vocab *src,
                          struct vocab *tgt, struct err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct pair *pair = &pairs->items[items[i]];
        if (!vocab_count(src, dataset_src(pairs, items[i]), pair->src_size, err) ||
            !vocab_count(tgt, dataset_tgt(pairs, items[i]), pair->tgt_size, err))
            return false;
    }
    return true;
}

static bool dataset_vocabularies(struct dataset *dataset, const struct build *build, struct err *err)
{
    const struct config *config = build->config;
    dataset->src = vocab_new(err);
    if (dataset->src == NULL)
        return false;
    dataset->tgt = vocab_new(err);
    if (dataset->tgt == NULL)
        return false;
    if (!dataset_count(&build->pairs, build->train, build->train_count, dataset->src, dataset->tgt, err))
        return false;
    if (config->data_vocab_from == VOCAB_FROM_ALL &&
        !dataset_count(dataset_valid_pairs(build), build->valid, build->valid_count, dataset->src, dataset->tgt, err))
        return false;
    enum unknown unknown = (enum unknown)config->data_unknown;
    size_t limit = (size_t)config->data_vocab_limit;
    return vocab_close(dataset->src, unknown, limit, err) && vocab_close(dataset->tgt, unknown, limit, err);
}

static bool dataset_grow_ids(struct dataset *dataset, struct build *build, size_t more, struct err *err)
{
    if (dataset->id_count + more <= build->id_capacity)
        return true;
    size_t capacity = build->id_capacity + build->id_capacity / 2 + more + 4096;
    uint16_t *grown = realloc(dataset->ids, capacity * sizeof *grown);
    if (grown == NULL)
        return dataset_no_memory(err);
    dataset->ids = grown;
    build->id_capacity = capacity;
    return true;
}

/* Append the ids of one pair, and describe it in `row`. */
static bool dataset_encode_pair(struct dataset *dataset, struct build *build, const struct pairs *pairs, uint32_t item,
                                struct dataset_row *row, struct err *err)
{
    const struct pair *pair = &pairs->items[item];
    size_t length = (size_t)build->config->data_length;
    if (!dataset_grow_ids(dataset, build, 2 * length, err))
        return false;
    if (dataset->id_count > UINT32_MAX)
        return err_set(err, ERR_DATA, "more than 4 Gi tokens of pairs");
    uint16_t *ids = dataset->ids + dataset->id_count;
    row->at = (uint32_t)dataset->id_count;
    size_t src = vocab_encode(dataset->src, dataset_src(pairs, item), pair->src_size, length, ids, NULL, NULL);
    size_t tgt = vocab_encode(dataset->tgt, dataset_tgt(pairs, item), pair->tgt_size, length, ids + src, NULL, NULL);
    if (!build->config->data_target_start) {
        tgt--;
        memmove(ids + src, ids + src + 1, tgt * sizeof *ids);
    }
    row->src_length = (uint16_t)src;
    row->tgt_length = (uint16_t)tgt;
    dataset->id_count += src + tgt;
    return true;
}

static bool dataset_encode(struct dataset *dataset, struct build *build, struct err *err)
{
    dataset->train = build->train_count;
    dataset->valid = build->valid_count;
    dataset->rows = calloc((size_t)dataset->train + dataset->valid, sizeof *dataset->rows);
    if (dataset->rows == NULL)
        return dataset_no_memory(err);
    struct dataset_row *row = dataset->rows;
    for (uint32_t i = 0; i < build->train_count; i++)
        if (!dataset_encode_pair(dataset, build, &build->pairs, build->train[i], row++, err))
            return false;
    for (uint32_t i = 0; i < build->valid_count; i++)
        if (!dataset_encode_pair(dataset, build, dataset_valid_pairs(build), build->valid[i], row++, err))
            return false;
    uint16_t *exact = realloc(dataset->ids, dataset->id_count * sizeof *exact);
    if (exact != NULL)
        dataset->ids = exact;
    return true;
}

static bool dataset_keep_text(struct dataset *dataset, const char *text, uint32_t *at, struct err *err)
{
    if (dataset->text.size > UINT32_MAX)
        return err_set(err, ERR_DATA, "more than 4 GiB of validation text");
    *at = (uint32_t)dataset->text.size;
    buffer_append(&dataset->text, text, strlen(text) + 1);
    return true;
}

/* A target that normalisation does not change is stored once. */
static bool dataset_keep_reference(struct dataset *dataset, const struct build *build, uint32_t index, struct err *err)
{
    const struct pairs *pairs = dataset_valid_pairs(build);
    const char *text = dataset_tgt(pairs, build->valid[index]);
    if (!dataset_keep_text(dataset, text, &dataset->references[index], err))
        return false;
    dataset->raw_references[index] = dataset->references[index];
    if (!build->config->train_bleu)
        return true;
    const char *raw = pairs->raw.data + pairs->items[build->valid[index]].raw;
    return strcmp(raw, text) == 0 || dataset_keep_text(dataset, raw, &dataset->raw_references[index], err);
}

static bool dataset_keep_texts(struct dataset *dataset, const struct build *build, struct err *err)
{
    const struct pairs *pairs = dataset_valid_pairs(build);
    dataset->references = malloc(((size_t)build->valid_count + 1) * sizeof *dataset->references);
    dataset->raw_references = malloc(((size_t)build->valid_count + 1) * sizeof *dataset->raw_references);
    if (dataset->references == NULL || dataset->raw_references == NULL)
        return dataset_no_memory(err);
    for (uint32_t i = 0; i < build->valid_count; i++)
        if (!dataset_keep_reference(dataset, build, i, err))
            return false;
    for (uint32_t i = 0; i < build->valid_count && i < DATASET_SHOWN; i++)
        if (!dataset_keep_text(dataset, dataset_src(pairs, build->valid[i]), &dataset->sources[i], err))
            return false;
    return buffer_ok(&dataset->text, err);
}

/* Rows are hashed by their lengths, not by their place in the arena, so a new layout keeps the hash. */
static bool dataset_fingerprint(struct dataset *dataset, struct err *err)
{
    XXH3_state_t *hash = XXH3_createState();
    if (hash == NULL)
        return dataset_no_memory(err);
    struct buffer words = {0};
    vocab_write(dataset->src, &words);
    buffer_append(&words, "", 1);
    vocab_write(dataset->tgt, &words);
    XXH3_64bits_reset(hash);
    XXH3_64bits_update(hash, words.data, words.size);
    const uint32_t counts[2] = {dataset->train, dataset->valid};
    XXH3_64bits_update(hash, counts, sizeof counts);
    for (size_t row = 0; row < (size_t)dataset->train + dataset->valid; row++) {
        const uint16_t lengths[2] = {dataset->rows[row].src_length, dataset->rows[row].tgt_length};
        XXH3_64bits_update(hash, lengths, sizeof lengths);
    }
    XXH3_64bits_update(hash, dataset->ids, dataset->id_count * sizeof *dataset->ids);
    snprintf(dataset->fingerprint, sizeof dataset->fingerprint, "%016" PRIx64, (uint64_t)XXH3_64bits_digest(hash));
    XXH3_freeState(hash);
    bool whole = buffer_ok(&words, err);
    buffer_free(&words);
    return whole;
}

static bool dataset_build(struct dataset *dataset, struct build *build, struct mt19937 *stream, struct err *err)
{
    if (!dataset_check(build, err) || !dataset_read_all(build, err) || !dataset_divide(build, stream, err) ||
        !dataset_trigrams(dataset, build, err) || !dataset_keep_texts(dataset, build, err))
        return false;
    buffer_free(&build->pairs.raw); /* freed before the ids are made, so that they can use its memory */
    buffer_free(&build->own.raw);
    if (!dataset_vocabularies(dataset, build, err) || !dataset_encode(dataset, build, err) ||
        !dataset_fingerprint(dataset, err))
        return false;
    dataset->lines = build->pairs.lines + build->own.lines;
    dataset->bad = build->pairs.bad + build->own.bad;
    dataset->dropped = build->pairs.dropped + build->own.dropped;
    const struct pairs *with_bad = build->pairs.bad > 0 ? &build->pairs : &build->own;
    snprintf(dataset->first_bad, sizeof dataset->first_bad, "%s", with_bad->first_bad);
    dataset->src_loss = build->pairs.src_loss;
    dataset->tgt_loss = build->pairs.tgt_loss;
    dataset->valid_src_loss = build->own.src_loss;
    dataset->valid_tgt_loss = build->own.tgt_loss;
    dataset->kept = build->pairs.count + build->own.count;
    if (!build->has_own)
        dataset->held_out = (uint64_t)(build->valid - build->order) - build->train_count;
    return true;
}

bool dataset_read(struct dataset *dataset, const struct config *config, struct mt19937 *stream, struct err *err)
{
    struct build build = {.config = config};
    *dataset = (struct dataset){0};
    bool done = dataset_build(dataset, &build, stream, err);
    pairs_free(&build.pairs);
    pairs_free(&build.own);
    free(build.order);
    free(build.own_order);
    if (!done)
        dataset_free(dataset);
    return done;
}

void dataset_free(struct dataset *dataset)
{
    vocab_destroy(&dataset->src);
    vocab_destroy(&dataset->tgt);
    free(dataset->ids);
    free(dataset->rows);
    free(dataset->references);
    free(dataset->raw_references);
    buffer_free(&dataset->trigrams);
    buffer_free(&dataset->text);
    *dataset = (struct dataset){0};
}

const char *dataset_reference(const struct dataset *dataset, uint32_t index)
{
    return dataset->text.data + dataset->references[index];
}

const char *dataset_raw_reference(const struct dataset *dataset, uint32_t index)
{
    return dataset->text.data + dataset->raw_references[index];
}

const char *dataset_source(const struct dataset *dataset, uint32_t index)
{
    return dataset->text.data + dataset->sources[index];
}
