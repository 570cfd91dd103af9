/* What a span says of a step, against what a worker makes of the step's rows. */
#include "coordinator/data/span_builder.h"

#include "tests/support/scratch.h"
#include "worker/model/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAIRS = 150, BATCH = 11, SHARDS = 4 };

struct bench {
    struct config config;
    struct dataset dataset;
    struct plan plan;
    struct span_builder builder;
    struct backend *backend;
};

static int test_span_builder_open(void **state)
{
    static struct bench bench;
    struct mt19937 stream;
    if (scratch_make(state) != 0)
        return -1;
    *state = &bench;
    FILE *file = fopen(scratch_path("pairs.tsv"), "w");
    if (file == NULL)
        return -1;
    for (int i = 0; i < PAIRS; i++)
        fprintf(file, "a%d b%d %sd\tw%d %sx%d z\n", i % 71, i % 5, i % 3 == 0 ? "c " : "", i, i % 4 == 0 ? "v " : "",
                i % 13);
    if (fclose(file) != 0)
        return -1;
    config_defaults(&bench.config);
    bench.config.data_normalise = NORMALISE_NONE; /* digits count */
    snprintf(bench.config.data_pairs, sizeof bench.config.data_pairs, "%s", scratch_path("pairs.tsv"));
    mt19937_seed(&stream, 42);
    bench.backend = backend_open("cpu", 1, PRECISION_FP32, NULL);
    return bench.backend != NULL && dataset_read(&bench.dataset, &bench.config, &stream, NULL) &&
                   plan_open(&bench.plan, bench.dataset.train, BATCH, SHARDS, &stream, NULL) &&
                   span_builder_open(&bench.builder, &bench.dataset, &bench.plan, NULL)
               ? 0
               : -1;
}

static int test_span_builder_close(void **state)
{
    struct bench *bench = *state;
    span_builder_close(&bench->builder);
    plan_close(&bench->plan);
    dataset_free(&bench->dataset);
    backend_close(&bench->backend);
    return scratch_remove(state);
}

static void span_builder_build(struct bench *bench, uint64_t step, uint32_t steps, uint32_t rank, uint32_t size,
                               struct span *span)
{
    struct share share = plan_share(SHARDS, rank, size);
    assert_true(span_build(&bench->builder, step, steps, share, span, NULL));
    assert_int_equal(span->steps, steps);
}

/* Named ids of a side: rising, so that none stands there twice. */
static void span_builder_name(uint8_t *named, const uint16_t *ids, uint32_t count)
{
    memset(named, 0, UINT16_MAX + 1);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(i == 0 || ids[i] > ids[i - 1]);
        named[ids[i]] = 1;
    }
}

/* What a worker looks up must be named; it is marked as needed. */
static void span_builder_look_up(uint8_t *named, const struct batch_side *side)
{
    for (int i = 0; i < side->U; i++) {
        assert_int_not_equal(named[side->host_distinct[i]], 0);
        named[side->host_distinct[i]] = 2;
    }
}

/* The rows of all shards of a step, as the ranks of a generation of `size` pack them, look up what was named, and
 * between them all of it. */
static void span_builder_check_step(struct bench *bench, uint64_t step, uint32_t size)
{
    static uint8_t src[UINT16_MAX + 1], tgt[UINT16_MAX + 1];
    struct batch batch = {.backend = bench->backend};
    struct span span;
    int src_vocab = (int)vocab_size(bench->dataset.src), tgt_vocab = (int)vocab_size(bench->dataset.tgt);
    for (uint32_t rank = 0; rank < size; rank++) {
        span_builder_build(bench, step, 1, rank, size, &span);
        if (rank == 0) {
            span_builder_name(src, span.distinct, span.of[0].src_distinct);
            span_builder_name(tgt, span.distinct + span.of[0].src_distinct, span.of[0].tgt_distinct);
        }
        for (uint32_t i = 0; i < span.shard_count; i++) {
            const struct rows rows = rows_take(&span.rows, span.shards[i].rows);
            if (rows.count > 0) {
                assert_true(batch_pack(&batch, &rows, 0, src_vocab, tgt_vocab, NULL));
                span_builder_look_up(src, &batch.src);
                span_builder_look_up(tgt, &batch.tgt);
            }
        }
    }
    for (uint32_t id = 0; id <= UINT16_MAX; id++)
        assert_true(src[id] != 1 && tgt[id] != 1);
    batch_free(&batch);
}

static void what_any_shard_looks_up_is_named_and_nothing_else(void **state)
{
    struct bench *bench = *state;
    for (uint64_t step = 0; step < 2 * plan_steps(&bench->plan); step++)
        span_builder_check_step(bench, step, 1 + (uint32_t)(step % 4));
}

static void a_late_rank_gets_the_same_answer_about_a_step(void **state)
{
    struct bench *bench = *state;
    struct span span;
    uint16_t first[4096];
    const uint64_t later = SPAN_KEPT; /* shares its place among what is kept */
    span_builder_build(bench, 0, 3, 0, 2, &span);
    size_t count = span.distinct_count;
    struct span_step of[3] = {span.of[0], span.of[1], span.of[2]};
    assert_in_range(count, 1, sizeof first / sizeof *first);
    memcpy(first, span.distinct, count * sizeof *first);
    span_builder_check_step(bench, later, 2);
    span_builder_build(bench, 0, 3, 1, 2, &span);
    assert_int_equal(span.distinct_count, count);
    assert_memory_equal(span.distinct, first, count * sizeof *first);
    assert_memory_equal(span.of, of, sizeof of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_any_shard_looks_up_is_named_and_nothing_else),
        cmocka_unit_test(a_late_rank_gets_the_same_answer_about_a_step),
    };
    return cmocka_run_group_tests_name("span_builder", tests, test_span_builder_open, test_span_builder_close);
}
