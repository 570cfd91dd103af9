/* How validation rows are cut into requests, and that what is made of the answers does not depend on it. */
#include "coordinator/cluster/validation.h"

#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/support/trainer_scene.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of 6250 pairs 5000 are validated on, in batches of 4500 rows. */
enum { PAIRS = 6250, VALID = 5000, BATCH = 4500, LONG = 1002, SHORT = 50, ANSWER = 4 << 20 };

struct place {
    char folder[40], pairs[64], run[64];
    struct scene scene;
    struct validation validation;
};

static int test_validation_open(void **state)
{
    static struct place place;
    place = (struct place){.folder = "/tmp/lstmq-validation-XXXXXX"};
    log_open("test", LOG_OFF);
    if (mkdtemp(place.folder) == NULL)
        return -1;
    snprintf(place.pairs, sizeof place.pairs, "%s/pairs.tsv", place.folder);
    snprintf(place.run, sizeof place.run, "%s/run", place.folder);
    FILE *file = fopen(place.pairs, "we");
    if (file == NULL)
        return -1;
    for (int i = 0; i < PAIRS; i++)
        fprintf(file, "a%d b c d\tw%d x y%s\n", i % 7, i % 5, i > 5000 ? " z" : "");
    *state = &place;
    return fclose(file);
}

static int test_validation_close(void **state)
{
    struct place *place = *state;
    return folder_remove(place->folder, NULL) ? 0 : -1;
}

static void test_validation_begin(struct place *place, int64_t length)
{
    struct config *config = &place->scene.config;
    struct err err = {0};
    scene_configure(config, place->pairs, place->run);
    config->data_valid_fraction = (VALID - 0.5) / PAIRS;
    config->data_length = length;
    config->train_batch = BATCH;
    config->train_loss_mean = MEAN_BATCH;
    config->train_valid_decode = VALID_FORCED;
    if (!scene_open_data(&place->scene, &err) ||
        !validation_open(&place->validation, config, &place->scene.dataset, &place->scene.samples, &err))
        fail_msg("%s", err.text);
    assert_int_equal(place->scene.dataset.valid, VALID);
    validation_begin(&place->validation, 1);
}

static void validation_end(struct place *place)
{
    validation_close(&place->validation);
    scene_close_data(&place->scene);
}

/* What a worker would say of these rows: a third of a nat for each token, and empty translations. */
static struct scored validation_answer(const struct validate *request)
{
    static const uint16_t lengths[BATCH];
    struct scored scored = {.request = request->request, .lengths = lengths, .rows = request->rows.count};
    for (uint32_t r = 0; r < request->rows.count; r++)
        scored.tokens += request->rows.tgt_lengths[r];
    scored.forced_loss_sum = (double)scored.tokens / 3;
    scored.forced_correct = request->rows.count;
    return scored;
}

/* Every request, in order, and the largest answer that it allows; its answers in `answers`. */
static uint32_t validation_ask_all(struct place *place, struct scored *answers, uint32_t most, size_t *largest)
{
    const struct dataset *dataset = &place->scene.dataset;
    uint32_t count = 0, row = dataset->train;
    for (bool more = true; more;) {
        struct validate request;
        assert_true(validation_next(&place->validation, &request, &more, NULL));
        if (!more)
            break;
        assert_true(count < most);
        answers[count++] = validation_answer(&request);
        size_t bytes = (size_t)request.rows.count * (size_t)place->scene.config.data_length * sizeof(uint16_t);
        *largest = bytes > *largest ? bytes : *largest;
        if ((request.what & VALIDATE_FORCED) == 0)
            continue;
        for (uint32_t r = 0; r < request.rows.count; r++, row++) {
            assert_int_equal(request.rows.src_lengths[r], dataset->rows[row].src_length);
            assert_int_equal(request.rows.tgt_lengths[r], dataset->rows[row].tgt_length);
        }
    }
    assert_int_equal(row, dataset->train + VALID);
    return count;
}

static struct epoch_record test_validation_record(struct place *place, const struct scored *answers, uint32_t count,
                                                  bool backwards)
{
    struct epoch_record record = {0};
    for (uint32_t i = 0; i < count; i++) {
        assert_false(validation_done(&place->validation));
        assert_true(validation_scored(&place->validation, &answers[backwards ? count - 1 - i : i], NULL));
    }
    assert_true(validation_done(&place->validation));
    validation_record(&place->validation, &record);
    return record;
}

static void an_answer_fits_what_is_kept_of_a_worker(void **state)
{
    struct place *place = *state;
    struct scored answers[16];
    size_t largest = 0;
    test_validation_begin(place, LONG);
    /* 4500 rows in three parts, 500 in one, and the samples. */
    assert_int_equal(validation_ask_all(place, answers, 16, &largest), 3 + 1 + 1);
    assert_true(largest <= ANSWER);
    assert_int_equal(answers[0].rows, 1500);
    assert_int_equal(answers[2].rows, 1500);
    assert_int_equal(answers[3].rows, 500);
    validation_end(place);
}

static void a_batch_whose_answer_fits_is_one_request(void **state)
{
    struct place *place = *state;
    struct scored answers[16];
    size_t largest = 0;
    test_validation_begin(place, SHORT);
    assert_int_equal(validation_ask_all(place, answers, 16, &largest), 1 + 1 + 1);
    assert_int_equal(answers[0].rows, BATCH);
    assert_int_equal(answers[1].rows, VALID - BATCH);
    validation_end(place);
}

/* Of batches, not of requests; and the same bits in whatever order the answers come. */
static void the_record_is_of_batches_however_they_are_cut(void **state)
{
    static const int64_t lengths[] = {SHORT, LONG};
    struct place *place = *state;
    struct epoch_record records[2][2];
    for (int cut = 0; cut < 2; cut++)
        for (int backwards = 0; backwards < 2; backwards++) {
            struct scored answers[16];
            size_t largest = 0;
            test_validation_begin(place, lengths[cut]);
            uint32_t count = validation_ask_all(place, answers, 16, &largest);
            records[cut][backwards] = test_validation_record(place, answers, count, backwards);
            validation_end(place);
        }
    for (int cut = 0; cut < 2; cut++) {
        const struct epoch_record *record = records[cut];
        assert_memory_equal(&record[0].val_loss, &record[1].val_loss, sizeof record->val_loss);
        assert_memory_equal(&record[0].val_acc, &record[1].val_acc, sizeof record->val_acc);
        assert_true(fabs(record->val_loss - 1.0 / 3) < 1e-12);
        assert_true(fabs(record->val_acc - records[0]->val_acc) < 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_fits_what_is_kept_of_a_worker),
        cmocka_unit_test(a_batch_whose_answer_fits_is_one_request),
        cmocka_unit_test(the_record_is_of_batches_however_they_are_cut),
    };
    return cmocka_run_group_tests_name("validation", tests, test_validation_open, test_validation_close);
}
