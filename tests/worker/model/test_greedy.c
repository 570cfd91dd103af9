/* Greedy decoding: a row's translation is its own, and scores follow the decoder's own path. */
#include "proto/base/random.h"
#include "proto/text/vocab.h"
#include "worker/model/greedy.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 9, SRC_VOCAB = 17, TGT_VOCAB = 19, LENGTH = 8, LIMIT = 10 };

struct fixture {
    struct config config;
    struct backend *backend;
    struct model *model;
    struct decoder decoder;
    struct batch batch;
    struct rows rows;
    uint16_t src_lengths[ROWS], tgt_lengths[ROWS], ids[ROWS * 2 * LENGTH];
};

static void greedy_open(struct fixture *fixture, enum cell cell, int threads)
{
    struct err err;
    struct mt19937 random;
    memset(fixture, 0, sizeof *fixture);
    config_defaults(&fixture->config);
    fixture->config.model_cell = cell;
    fixture->config.model_embed = 7;
    fixture->config.model_hidden = 12;
    fixture->backend = backend_open("cpu", threads, PRECISION_FP32, &err);
    assert_non_null(fixture->backend);
    fixture->model = model_new(fixture->backend, &fixture->config, SRC_VOCAB, TGT_VOCAB, &err);
    assert_non_null(fixture->model);
    assert_true(model_init(fixture->model, 5, &err));
    /* Stronger weights than a first draw has, so that rows take ways of their own: some reach <eos>, some do not. */
    struct weights *weights = &fixture->model->weights;
    for (size_t i = 0; i < (size_t)TGT_VOCAB * 12; i++)
        weights->projection[i] *= 8;
    for (size_t i = 0; i < (size_t)fixture->model->shape.G * 12; i++)
        weights->decoder.w_hh[i] *= 5;
    weights->projection_bias[ID_PAD] = -100; /* a translation that serves as a reference has no <pad> */
    fixture->decoder.model = fixture->decoder.network.model = fixture->model;
    fixture->batch.backend = fixture->backend;
    mt19937_seed(&random, 11);
    size_t used = 0;
    for (int r = 0; r < ROWS; r++) {
        fixture->src_lengths[r] = (uint16_t)(1 + mt19937_below(&random, LENGTH));
        fixture->tgt_lengths[r] = (uint16_t)(1 + mt19937_below(&random, LENGTH));
        for (int i = 0; i < fixture->src_lengths[r]; i++)
            fixture->ids[used++] = (uint16_t)(1 + mt19937_below(&random, SRC_VOCAB - 1));
        for (int i = 0; i < fixture->tgt_lengths[r]; i++)
            fixture->ids[used++] = (uint16_t)(1 + mt19937_below(&random, TGT_VOCAB - 1));
    }
    fixture->rows = (struct rows){.count = ROWS,
                                  .src_lengths = fixture->src_lengths,
                                  .tgt_lengths = fixture->tgt_lengths,
                                  .ids = fixture->ids,
                                  .id_count = used};
}

static void greedy_close(struct fixture *fixture)
{
    decoder_free(&fixture->decoder);
    batch_free(&fixture->batch);
    model_destroy(&fixture->model);
    backend_close(&fixture->backend);
}

struct translations {
    uint16_t ids[ROWS * LIMIT], lengths[ROWS];
    bool ended[ROWS];
    struct decode_result result;
};

static void greedy_decode(struct fixture *fixture, uint32_t first, uint32_t count, int pad_to, bool score,
                          struct translations *out)
{
    struct err err = {0};
    memset(out, 0, sizeof *out);
    out->result = (struct decode_result){.ids = out->ids, .lengths = out->lengths, .ended = out->ended};
    struct rows from = fixture->rows;
    rows_take(&from, first);
    const struct rows rows = rows_take(&from, count);
    if (!batch_pack(&fixture->batch, &rows, pad_to, SRC_VOCAB, TGT_VOCAB, &err) ||
        !decode_greedy(&fixture->decoder, &fixture->batch, LIMIT, score, &out->result, &err))
        fail_msg("%s", err.text);
}

static void greedy_check_alone(enum cell cell, int pad_to)
{
    struct fixture fixture;
    struct translations all, one;
    greedy_open(&fixture, cell, 2);
    greedy_decode(&fixture, 0, ROWS, pad_to, false, &all);
    int ended = 0;
    for (uint32_t r = 0; r < ROWS; r++) {
        greedy_decode(&fixture, r, 1, pad_to, false, &one);
        assert_int_equal(one.lengths[0], all.lengths[r]);
        assert_memory_equal(one.ids, all.ids + r * LIMIT, all.lengths[r] * sizeof(uint16_t));
        assert_int_equal(one.ended[0], all.ended[r]);
        assert_int_equal(all.ended[r], all.ids[r * LIMIT + all.lengths[r] - 1u] == ID_EOS);
        ended += all.ended[r];
    }
    assert_in_range(ended, 1, ROWS - 1);
    greedy_close(&fixture);
}

static void a_row_is_translated_alike_alone_and_in_a_batch(void **state)
{
    (void)state;
    greedy_check_alone(CELL_LSTM, 0);
    greedy_check_alone(CELL_LSTM, LENGTH + 2);
    greedy_check_alone(CELL_RNN, 0);
}

/* Packed matrices, the screen of the projection and the short way of one row alone are ways to the same ids. */
static void greedy_check_packed(enum cell cell, int threads, int pad_to)
{
    struct fixture fixture;
    struct translations plain, packed;
    struct err err;
    greedy_open(&fixture, cell, threads);
    greedy_decode(&fixture, 0, ROWS, pad_to, false, &plain);
    assert_true(decoder_pack(&fixture.decoder, &err));
    greedy_decode(&fixture, 0, ROWS, pad_to, false, &packed);
    assert_memory_equal(packed.lengths, plain.lengths, sizeof plain.lengths);
    for (uint32_t r = 0; r < ROWS; r++) {
        assert_memory_equal(packed.ids + r * LIMIT, plain.ids + r * LIMIT, plain.lengths[r] * sizeof(uint16_t));
        struct translations one;
        greedy_decode(&fixture, r, 1, pad_to, false, &one);
        assert_int_equal(one.lengths[0], plain.lengths[r]);
        assert_int_equal(one.ended[0], plain.ended[r]);
        assert_memory_equal(one.ids, plain.ids + r * LIMIT, plain.lengths[r] * sizeof(uint16_t));
    }
    greedy_decode(&fixture, 0, ROWS, pad_to, true, &packed);
    decoder_unpack(&fixture.decoder);
    greedy_decode(&fixture, 0, ROWS, pad_to, true, &plain);
    assert_true(packed.result.loss_sum == plain.result.loss_sum);
    greedy_close(&fixture);
}

static void packing_changes_no_translation_and_no_score(void **state)
{
    (void)state;
    greedy_check_packed(CELL_LSTM, 1, 0);
    greedy_check_packed(CELL_LSTM, 2, LENGTH + 2);
    greedy_check_packed(CELL_RNN, 2, 0);
}

static void references_change_no_translation(void **state)
{
    (void)state;
    struct fixture fixture;
    struct translations plain, scored;
    greedy_open(&fixture, CELL_LSTM, 2);
    greedy_decode(&fixture, 0, ROWS, 0, false, &plain);
    greedy_decode(&fixture, 0, ROWS, 0, true, &scored);
    assert_memory_equal(plain.lengths, scored.lengths, sizeof plain.lengths);
    for (int r = 0; r < ROWS; r++)
        assert_memory_equal(plain.ids + r * LIMIT, scored.ids + r * LIMIT, plain.lengths[r] * sizeof(uint16_t));
    uint64_t tokens = 0;
    for (int r = 0; r < ROWS; r++)
        tokens += fixture.tgt_lengths[r];
    assert_int_equal(scored.result.tokens, tokens);
    assert_int_equal(plain.result.tokens, 0);
    greedy_close(&fixture);
}

/* With its own translation as the reference, the free path is the forced one: same loss, all right. */
static void a_translation_scores_itself_as_the_forced_path_does(void **state)
{
    (void)state;
    struct fixture fixture;
    struct translations first, again;
    struct err err = {0};
    greedy_open(&fixture, CELL_LSTM, 1);
    greedy_decode(&fixture, 0, ROWS, 0, false, &first);

    uint16_t ids[ROWS * (LENGTH + LIMIT)];
    size_t used = 0, at = 0;
    bool usable = true;
    for (int r = 0; r < ROWS; r++) {
        memcpy(ids + used, fixture.ids + at, fixture.src_lengths[r] * sizeof *ids);
        used += fixture.src_lengths[r];
        at += (size_t)fixture.src_lengths[r] + fixture.tgt_lengths[r];
        for (int t = 0; t < first.lengths[r]; t++) {
            usable = usable && first.ids[r * LIMIT + t] != ID_PAD;
            ids[used++] = first.ids[r * LIMIT + t];
        }
    }
    assert_true(usable);
    fixture.rows.tgt_lengths = first.lengths;
    fixture.rows.ids = ids;
    fixture.rows.id_count = used;
    greedy_decode(&fixture, 0, ROWS, 0, true, &again);
    assert_int_equal(again.result.correct, again.result.tokens);

    struct network network = {.model = fixture.model};
    struct figures forced;
    assert_true(network_evaluate(&network, &fixture.batch, &forced, &err));
    assert_int_equal(forced.correct, again.result.correct);
    assert_true(fabs(forced.loss_sum - again.result.loss_sum) < 1e-4);
    network_free(&network);
    greedy_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_translated_alike_alone_and_in_a_batch),
        cmocka_unit_test(packing_changes_no_translation_and_no_score),
        cmocka_unit_test(references_change_no_translation),
        cmocka_unit_test(a_translation_scores_itself_as_the_forced_path_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
