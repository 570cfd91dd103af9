/* What bench measures with: drawn pairs, the count of a step's products, rows that leave when they are told to,
 * laps. */
#include "proto/text/vocab.h"
#include "worker/bench/bench_products.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PAIRS = 4000, FEW = 24 };

static struct config bench_config(void)
{
    struct config config;
    config_defaults(&config);
    config.data_target_start = true;
    config.data_vocab_limit = 200;
    config.model_embed = 6;
    config.model_hidden = 8;
    config.train_batch = FEW;
    return config;
}

static struct bench_data bench_draw(const struct config *config, size_t count)
{
    struct bench_data data;
    struct err err = {0};
    if (!bench_data_draw(&data, config, 200, 150, count, &err))
        fail_msg("%s", err.text);
    return data;
}

static void drawn_pairs_are_as_long_as_the_notebooks(void **state)
{
    (void)state;
    struct config config = bench_config();
    struct bench_data data = bench_draw(&config, PAIRS);
    double src = 0;
    for (size_t r = 0; r < PAIRS; r++) {
        assert_in_range(data.src_lengths[r], 4, 12);
        assert_in_range(data.tgt_lengths[r], 4, 12);
        src += data.src_lengths[r];
    }
    assert_true(fabs(src / PAIRS - 7.66) < 0.1);
    assert_true(fabs((double)data.tgt_tokens / PAIRS - 8.07) < 0.1);
    bench_data_free(&data);
}

static void drawn_ids_are_in_the_vocabulary_and_sentences_end_with_eos(void **state)
{
    (void)state;
    struct config config = bench_config();
    config.data_target_start = false;
    config.data_length = 6;
    struct bench_data data = bench_draw(&config, PAIRS);
    for (size_t r = 0; r < PAIRS; r++) {
        const uint16_t *src = data.ids + data.at[r], *tgt = src + data.src_lengths[r];
        assert_in_range(data.src_lengths[r], 4, 6);
        assert_in_range(data.tgt_lengths[r], 3, 5);
        assert_int_equal(src[0], ID_SOS);
        assert_int_equal(src[data.src_lengths[r] - 1], ID_EOS);
        assert_int_equal(tgt[data.tgt_lengths[r] - 1], ID_EOS);
        for (int i = 1; i + 1 < data.src_lengths[r]; i++)
            assert_in_range(src[i], ID_UNKNOWN, 199);
        for (int i = 0; i + 1 < data.tgt_lengths[r]; i++)
            assert_in_range(tgt[i], ID_UNKNOWN, 149);
    }
    bench_data_free(&data);
}

static uint64_t bench_hash(const struct bench_data *data)
{
    uint64_t hash = 0;
    for (size_t r = 0; r < data->rows.count; r++)
        for (size_t i = 0; i < (size_t)data->src_lengths[r] + data->tgt_lengths[r]; i++)
            hash += (data->ids[data->at[r] + i] + 1u) * (uint64_t)(i + 1);
    return hash;
}

static void sorting_keeps_the_pairs_and_puts_the_longest_first(void **state)
{
    (void)state;
    struct err err = {0};
    struct config config = bench_config();
    struct bench_data data = bench_draw(&config, PAIRS), again = bench_draw(&config, PAIRS);
    assert_memory_equal(data.ids, again.ids, data.rows.id_count * sizeof *data.ids);
    assert_true(bench_data_sort(&data, &err));
    assert_int_equal(bench_hash(&data), bench_hash(&again));
    assert_int_equal(data.tgt_tokens, again.tgt_tokens);
    for (size_t r = 1; r < PAIRS; r++) {
        assert_true(data.src_lengths[r] <= data.src_lengths[r - 1]);
        if (data.src_lengths[r] == data.src_lengths[r - 1])
            assert_true(data.tgt_lengths[r] <= data.tgt_lengths[r - 1]);
    }
    bench_data_free(&data);
    bench_data_free(&again);
}

static struct bench bench_open(struct training *training, struct bench_data *data)
{
    struct err err = {0};
    struct bench bench = {.config = bench_config()};
    *data = bench_draw(&bench.config, FEW);
    bench.backend = backend_open("cpu", 1, PRECISION_FP32, &err);
    if (bench.backend == NULL || !training_open(training, bench.backend, &bench.config, 200, 150, &err) ||
        !model_init(training->model, 3, &err))
        fail_msg("%s", err.text);
    return bench;
}

static void bench_close(struct bench *bench, struct training *training, struct bench_data *data)
{
    training_close(training);
    bench_data_free(data);
    backend_close(&bench->backend);
}

/* The gradient of such a step is finite: the probability of the word is 0. */
static void a_step_of_infinite_loss_has_diverged(void **state)
{
    (void)state;
    struct err err = {0};
    struct training training;
    struct bench_data data;
    struct step_result result;
    struct bench bench = bench_open(&training, &data);
    const struct model *model = training.model;
    for (int i = 0; i < model->tensor_count; i++)
        if (strcmp(model->tensors[i].name, "projection.bias") == 0)
            model->parameters[model->tensors[i].offset + ID_EOS] = -INFINITY;
    assert_false(bench_training_step(&training, &data, 0, &result, &err));
    assert_int_equal(err.code, ERR_DIVERGED);
    assert_non_null(strstr(err.text, "training loss is not finite"));
    bench_close(&bench, &training, &data);
}

static void the_formula_is_the_sum_of_the_products(void **state)
{
    (void)state;
    struct err err = {0};
    struct training training;
    struct bench_data data;
    struct step_result result;
    struct product list[PRODUCTS];
    struct bench bench = bench_open(&training, &data);
    assert_true(bench_training_step(&training, &data, 0, &result, &err));
    struct step_counts counts = products_count(&training);
    assert_int_equal((int)counts.n, data.tgt_tokens);
    assert_int_equal((int)counts.m, data.rows.id_count - data.tgt_tokens - FEW);
    products_list(&training.model->shape, &counts, list);
    double sum = 0;
    for (int i = 0; i < PRODUCTS; i++)
        sum += product_flops(&list[i]);
    assert_true(sum == products_flops(&training.model->shape, &counts));
    bench_close(&bench, &training, &data);
}

static void laps_add_up_to_no_more_than_the_step(void **state)
{
    (void)state;
    struct err err = {0};
    struct training training;
    struct bench_data data;
    struct step_result result;
    struct stopwatch stopwatch = {0};
    struct bench bench = bench_open(&training, &data);
    training.network.stopwatch = &stopwatch;
    int64_t begin = clock_ns(), sum = 0;
    assert_true(bench_training_step(&training, &data, 0, &result, &err));
    int64_t taken = clock_ns() - begin;
    for (int i = 0; i < LAPS; i++) {
        assert_true(stopwatch.ns[i] > 0);
        sum += stopwatch.ns[i];
    }
    assert_true(sum <= taken);
    bench_close(&bench, &training, &data);
}

static void a_row_leaves_at_its_given_length(void **state)
{
    (void)state;
    enum { LIMIT = 12 };
    struct err err = {0};
    struct training training;
    struct bench_data data;
    struct bench bench = bench_open(&training, &data);
    struct decoder decoder = {.model = training.model, .network = {.model = training.model}};
    uint16_t ids[2][FEW * LIMIT] = {{0}}, lengths[2][FEW];
    const uint16_t *stops[2] = {NULL, data.tgt_lengths};
    for (int i = 0; i < 2; i++) {
        struct decode_result result = {.ids = ids[i], .lengths = lengths[i], .stops = stops[i]};
        const struct rows rows = bench_data_rows(&data, 0, FEW);
        assert_true(batch_pack(&training.batch, &rows, 0, 200, 150, &err));
        assert_true(decode_greedy(&decoder, &training.batch, LIMIT, false, &result, &err));
    }
    int earlier = 0;
    for (int r = 0; r < FEW; r++) {
        int own = lengths[0][r], told = data.tgt_lengths[r];
        assert_int_equal(lengths[1][r], own < told ? own : told);
        assert_memory_equal(ids[0] + r * LIMIT, ids[1] + r * LIMIT, lengths[1][r] * sizeof(uint16_t));
        earlier += told < own;
    }
    assert_true(earlier > 0);
    decoder_free(&decoder);
    bench_close(&bench, &training, &data);
}

struct counted {
    int prepared, run;
};

static bool bench_prepare(void *context, struct err *err)
{
    (void)err;
    ((struct counted *)context)->prepared++;
    return true;
}

static bool test_bench_run(void *context, struct err *err)
{
    struct counted *counted = context;
    return ++counted->run < 9 || err_set(err, ERR_FAILED, "nine is enough");
}

static void a_measurement_stops_at_a_failure(void **state)
{
    (void)state;
    struct err err = {0};
    struct timing timing;
    struct counted counted = {0};
    struct work work = {.prepare = bench_prepare, .run = test_bench_run, .context = &counted};
    assert_true(bench_time(&work, 0, &timing, &err));
    assert_int_equal(timing.runs, 3);
    assert_int_equal(counted.prepared, counted.run);
    assert_true(timing.least <= timing.median && timing.median <= timing.most);
    assert_false(bench_time(&work, 60, &timing, &err));
    assert_string_equal(err.text, "nine is enough");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_pairs_are_as_long_as_the_notebooks),
        cmocka_unit_test(drawn_ids_are_in_the_vocabulary_and_sentences_end_with_eos),
        cmocka_unit_test(sorting_keeps_the_pairs_and_puts_the_longest_first),
        cmocka_unit_test(the_formula_is_the_sum_of_the_products),
        cmocka_unit_test(a_step_of_infinite_loss_has_diverged),
        cmocka_unit_test(laps_add_up_to_no_more_than_the_step),
        cmocka_unit_test(a_row_leaves_at_its_given_length),
        cmocka_unit_test(a_measurement_stops_at_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
