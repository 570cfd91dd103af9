/* test_dataset.c - from files of pairs to rows of ids: splits, markers, counts, and what is refused. */
#include "coordinator/data/dataset.h"

#include "proto/text/detect.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int make_files(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    FILE *pairs = fopen(scratch_path("pairs.tsv"), "w");
    if (pairs == NULL)
        return -1;
    for (int i = 0; i < 40; i++) /* each source twice */
        fprintf(pairs, "the s%d\tle t%d ici\n", i / 2, i);
    scratch_write_text(scratch_path("valid.tsv"), "the new\tle neuf\nthe s1\tle t1 ici\n");
    return fclose(pairs);
}

static struct config options(void)
{
    struct config config;
    config_defaults(&config);
    config.data_valid_fraction = 0.1;
    config.data_normalise = NORMALISE_NONE; /* digits count */
    snprintf(config.data_pairs, sizeof config.data_pairs, "%s", scratch_path("pairs.tsv"));
    return config;
}

static bool read_pairs(struct dataset *dataset, const struct config *config, struct err *err)
{
    struct mt19937 stream;
    mt19937_seed(&stream, 42);
    return dataset_read(dataset, config, &stream, err);
}

static void decode(const struct dataset *dataset, uint32_t row, bool target, char *text, size_t room)
{
    struct buffer out = {0};
    const struct dataset_row *at = &dataset->rows[row];
    const uint16_t *ids = dataset_ids(dataset, row) + (target ? at->src_length : 0);
    vocab_decode(target ? dataset->tgt : dataset->src, ids, target ? at->tgt_length : at->src_length, &out);
    snprintf(text, room, "%s", out.data);
    buffer_free(&out);
}

static void pairs_come_in_cpythons_order_and_the_tail_is_held_out(void **state)
{
    struct config config = options();
    struct dataset dataset;
    char text[64];
    struct err err = {0};
    (void)state;
    config.data_split = SPLIT_TAIL;
    config.data_vocab_from = VOCAB_FROM_ALL;
    config.data_take = 30;
    assert_true(read_pairs(&dataset, &config, &err));
    assert_int_equal(dataset.kept, 40);
    assert_int_equal(dataset.train, 27);
    assert_int_equal(dataset.valid, 3);
    /* random.Random(42).shuffle(list(range(40))): first and twenty-eighth */
    decode(&dataset, 0, true, text, sizeof text);
    assert_string_equal(text, "le t9 ici");
    assert_string_equal(dataset_reference(&dataset, 0), "le t33 ici");
    assert_string_equal(dataset_source(&dataset, 0), "the s16");
    dataset_free(&dataset);
}

static void trigrams_of_all_pairs_are_counted(void **state)
{
    struct config config = options();
    struct dataset dataset, again;
    struct detect_table *tables[2];
    struct detect_guess guesses[2];
    struct err err = {0};
    (void)state;
    assert_true(read_pairs(&dataset, &config, &err));
    config.data_take = 2;
    assert_true(read_pairs(&again, &config, &err));
    assert_int_equal(dataset.trigrams.size, again.trigrams.size);
    assert_memory_equal(dataset.trigrams.data, again.trigrams.data, again.trigrams.size);
    assert_true(detect_read(again.trigrams.data, again.trigrams.size, DETECT_FILE, &tables[0], &tables[1], &err));
    static const char *const texts[] = {"the", "ici"};
    for (size_t side = 0; side < 2; side++) {
        detect_text((const struct detect_table *const *)tables, 2, texts[side], 3, guesses);
        assert_int_equal(guesses[0].language, side);
        assert_int_equal(guesses[0].confidence, 100);
    }
    detect_table_destroy(&tables[0]);
    detect_table_destroy(&tables[1]);
    dataset_free(&dataset);
    dataset_free(&again);
}

static void no_held_out_source_is_trained_on(void **state)
{
    struct config config = options();
    struct dataset dataset;
    struct err err = {0};
    char held[64], trained[64];
    (void)state;
    config.data_vocab_from = VOCAB_FROM_ALL;
    assert_true(read_pairs(&dataset, &config, &err));
    assert_int_equal(dataset.valid, 4);
    assert_int_equal(dataset.train + dataset.held_out, 36);
    assert_true(dataset.held_out > 0);
    for (uint32_t v = 0; v < dataset.valid; v++)
        for (uint32_t t = 0; t < dataset.train; t++) {
            decode(&dataset, dataset.train + v, false, held, sizeof held);
            decode(&dataset, t, false, trained, sizeof trained);
            assert_string_not_equal(held, trained);
        }
    dataset_free(&dataset);
}

static void words_of_the_validation_part_are_unknown_unless_counted(void **state)
{
    struct config config = options();
    struct dataset dataset, all;
    (void)state;
    assert_true(read_pairs(&dataset, &config, NULL));
    config.data_vocab_from = VOCAB_FROM_ALL;
    assert_true(read_pairs(&all, &config, NULL));
    assert_int_equal(vocab_size(all.tgt), 4 + 2 + all.train + all.valid);
    assert_int_equal(vocab_size(dataset.tgt), 4 + 2 + dataset.train);
    assert_int_equal(dataset_ids(&dataset, dataset.train)[dataset.rows[dataset.train].src_length + 1], ID_UNKNOWN);
    dataset_free(&dataset);
    dataset_free(&all);
}

static void a_target_begins_with_sos_only_if_requested(void **state)
{
    struct config config = options();
    struct dataset dataset;
    (void)state;
    assert_true(read_pairs(&dataset, &config, NULL));
    const uint16_t *ids = dataset_ids(&dataset, 0);
    assert_int_equal(dataset.rows[0].src_length, 4);
    assert_int_equal(dataset.rows[0].tgt_length, 4);
    assert_int_equal(ids[0], ID_SOS);
    assert_int_equal(ids[3], ID_EOS);
    assert_true(ids[4] > ID_EOS);
    assert_int_equal(ids[7], ID_EOS);
    dataset_free(&dataset);
    config.data_target_start = true;
    assert_true(read_pairs(&dataset, &config, NULL));
    assert_int_equal(dataset.rows[0].tgt_length, 5);
    assert_int_equal(dataset_ids(&dataset, 0)[4], ID_SOS);
    dataset_free(&dataset);
}

static void a_separate_validation_set_takes_no_training_pairs(void **state)
{
    struct config config = options();
    struct dataset dataset;
    (void)state;
    snprintf(config.data_valid_pairs, sizeof config.data_valid_pairs, "%s", scratch_path("valid.tsv"));
    assert_true(read_pairs(&dataset, &config, NULL));
    assert_int_equal(dataset.train, 40);
    assert_int_equal(dataset.valid, 2);
    assert_int_equal(dataset.held_out, 0);
    assert_string_equal(dataset_reference(&dataset, 0), "le neuf");
    dataset_free(&dataset);
}

static void the_fingerprint_follows_what_is_trained_on(void **state)
{
    struct config config = options();
    struct dataset one, same, other;
    (void)state;
    assert_true(read_pairs(&one, &config, NULL));
    assert_true(read_pairs(&same, &config, NULL));
    config.data_take = 39;
    assert_true(read_pairs(&other, &config, NULL));
    assert_string_equal(one.fingerprint, same.fingerprint);
    assert_string_not_equal(one.fingerprint, other.fingerprint);
    dataset_free(&one);
    dataset_free(&same);
    dataset_free(&other);
}

static void refuses(const struct config *config, enum err_code code, const char *naming)
{
    struct dataset dataset;
    struct err err = {0};
    assert_false(read_pairs(&dataset, config, &err));
    assert_int_equal(err.code, code);
    if (strstr(err.text, naming) == NULL)
        fail_msg("\"%s\" does not name %s", err.text, naming);
}

static void what_contradicts_itself_is_refused_by_name(void **state)
{
    struct config config = options();
    (void)state;
    config.data_max_tokens = config.data_length - 1;
    refuses(&config, ERR_USAGE, "data.length");
    config = options();
    config.data_min_tokens = 9;
    config.data_max_tokens = 8;
    refuses(&config, ERR_USAGE, "data.min_tokens");
    config = options();
    config.data_pairs[0] = '\0';
    refuses(&config, ERR_USAGE, "--data.pairs");
    snprintf(config.data_src, sizeof config.data_src, "x");
    refuses(&config, ERR_USAGE, "data.tgt");
}

static void an_empty_result_names_the_option_that_emptied_it(void **state)
{
    struct config config = options();
    (void)state;
    config.data_min_tokens = 20;
    refuses(&config, ERR_DATA, "data.min_tokens");
    config = options();
    config.data_take = 1;
    refuses(&config, ERR_DATA, "data.valid_fraction");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_come_in_cpythons_order_and_the_tail_is_held_out),
        cmocka_unit_test(trigrams_of_all_pairs_are_counted),
        cmocka_unit_test(no_held_out_source_is_trained_on),
        cmocka_unit_test(words_of_the_validation_part_are_unknown_unless_counted),
        cmocka_unit_test(a_target_begins_with_sos_only_if_requested),
        cmocka_unit_test(a_separate_validation_set_takes_no_training_pairs),
        cmocka_unit_test(the_fingerprint_follows_what_is_trained_on),
        cmocka_unit_test(what_contradicts_itself_is_refused_by_name),
        cmocka_unit_test(an_empty_result_names_the_option_that_emptied_it),
    };
    return cmocka_run_group_tests(tests, make_files, scratch_remove);
}
