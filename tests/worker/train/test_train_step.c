/* test_train_step.c - what a step that fails or diverges leaves behind. */
#include "proto/base/config.h"
#include "proto/text/vocab.h"
#include "worker/train/train_step.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 10, STEPS = 3, SRC = 4, TGT = 3 };

/* A training, and a span of steps that are all of the same pair. */
struct scene {
    struct backend *backend;
    struct training training;
    uint16_t src_lengths[STEPS], tgt_lengths[STEPS], ids[STEPS * (SRC + TGT)], distinct[STEPS * 2 * (VOCAB - 1)];
    struct span_step of[STEPS];
    struct span_shard shards[STEPS];
    struct span span;
};

static void train_step_fill(struct scene *scene)
{
    static const uint16_t pair[SRC + TGT] = {ID_SOS, 5, 6, ID_EOS, 5, 7, ID_EOS};
    for (int s = 0; s < STEPS; s++) {
        scene->src_lengths[s] = SRC;
        scene->tgt_lengths[s] = TGT;
        memcpy(scene->ids + s * (SRC + TGT), pair, sizeof pair);
        for (int id = 1; id < VOCAB; id++)
            scene->distinct[2 * s * (VOCAB - 1) + id - 1] = scene->distinct[(2 * s + 1) * (VOCAB - 1) + id - 1] =
                (uint16_t)id;
        scene->of[s] = (struct span_step){.tokens = TGT, .src_distinct = VOCAB - 1, .tgt_distinct = VOCAB - 1};
        scene->shards[s] = (struct span_shard){.step = (uint32_t)s, .rows = 1};
    }
    scene->span = (struct span){
        .steps = STEPS,
        .of = scene->of,
        .shards = scene->shards,
        .shard_count = STEPS,
        .distinct = scene->distinct,
        .distinct_count = sizeof scene->distinct / sizeof *scene->distinct,
        .rows = {STEPS, scene->src_lengths, scene->tgt_lengths, scene->ids, sizeof scene->ids / sizeof *scene->ids}};
}

static int train_step_open(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct config config;
    struct err err;
    assert_non_null(scene);
    config_defaults(&config);
    config.model_embed = 4;
    config.model_hidden = 3;
    scene->backend = backend_open("cpu", 1, PRECISION_FP32, &err);
    assert_non_null(scene->backend);
    assert_true(training_open(&scene->training, scene->backend, &config, VOCAB, VOCAB, &err));
    assert_true(model_init(scene->training.model, 1, &err));
    training_begin(&scene->training, 0);
    train_step_fill(scene);
    *state = scene;
    return 0;
}

static int train_step_close(void **state)
{
    struct scene *scene = *state;
    training_close(&scene->training);
    backend_close(&scene->backend);
    free(scene);
    return 0;
}

/* The parameters as they are now; the caller frees them. */
static float *train_step_parameters(const struct scene *scene)
{
    const struct model *model = scene->training.model;
    float *copy = malloc(model->elements * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, model->parameters, model->elements * sizeof *copy);
    return copy;
}

static void train_step_same(const struct scene *scene, float *before)
{
    const struct model *model = scene->training.model;
    assert_memory_equal(model->parameters, before, model->elements * sizeof *before);
    free(before);
}

static bool train_step_fails(const struct backend *self)
{
    (void)self;
    return true;
}

static bool train_step_check(struct backend *self, struct err *err)
{
    (void)self;
    return err_set(err, ERR_MEMORY, "no memory for scratch");
}

static void a_failed_backend_ends_its_step_before_the_sums(void **state)
{
    struct scene *scene = *state;
    const struct backend_table *op = scene->backend->op;
    struct backend_table failing = *op;
    struct step step = step_before(&scene->span);
    struct err err = {0};
    float *before = train_step_parameters(scene);
    failing.failing = train_step_fails;
    failing.check = train_step_check;
    assert_true(step_next(&step));
    scene->backend->op = &failing;
    assert_false(train_step(&scene->training, &step, &err));
    scene->backend->op = op;
    assert_int_equal(err.code, ERR_MEMORY);
    assert_string_equal(err.text, "step 1: no memory for scratch");
    assert_int_equal(scene->training.step, 0);
    train_step_same(scene, before);
}

static void a_diverged_step_and_those_after_it_change_nothing(void **state)
{
    struct scene *scene = *state;
    struct step step = step_before(&scene->span);
    struct step_result result;
    struct err err = {0};
    float *at = scene->training.model->parameters + scene->training.model->elements - 1, kept = *at;
    assert_true(step_next(&step) && train_step(&scene->training, &step, &err));
    assert_true(train_result(&scene->training, &result, &err));
    assert_int_equal(result.tokens, TGT);
    kept = *at;
    *at = NAN;
    float *before = train_step_parameters(scene);
    assert_true(step_next(&step) && train_step(&scene->training, &step, &err));
    *at = before[scene->training.model->elements - 1] = kept;
    assert_true(step_next(&step) && train_step(&scene->training, &step, &err));
    train_step_same(scene, before);
    assert_false(train_result(&scene->training, &result, &err));
    assert_int_equal(err.code, ERR_DIVERGED);
    assert_non_null(strstr(err.text, "step 2: "));
    assert_int_equal(scene->training.read, 1);
}

static void a_dropped_step_marks_no_later_one(void **state)
{
    struct scene *scene = *state;
    struct step step = step_before(&scene->span);
    struct step_result result;
    struct err err = {0};
    scene->training.outcome->bad = OUTCOME_ELEMENT; /* of a step whose sums were aborted */
    training_begin(&scene->training, 0);
    float *before = train_step_parameters(scene);
    assert_true(step_next(&step) && train_step(&scene->training, &step, &err));
    if (!train_result(&scene->training, &result, &err))
        fail_msg("%s", err.text);
    assert_memory_not_equal(scene->training.model->parameters, before,
                            scene->training.model->elements * sizeof *before);
    free(before);
}

int main(void)
{
#define RUN(test) cmocka_unit_test_setup_teardown(test, train_step_open, train_step_close)
    const struct CMUnitTest tests[] = {
        RUN(a_failed_backend_ends_its_step_before_the_sums),
        RUN(a_diverged_step_and_those_after_it_change_nothing),
        RUN(a_dropped_step_marks_no_later_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
