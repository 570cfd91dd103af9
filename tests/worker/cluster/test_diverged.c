/* test_diverged.c - a worker whose numbers are no longer finite says so by name, and sends none of them. A coordinator
 * that the test leads stands on the other side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/log.h"

#include "tests/support/fake_coordinator.h"

static const enum generation_source diverged_seeds[MEMBERS] = {SOURCE_SEED, SOURCE_SEED, SOURCE_SEED, SOURCE_SEED,
                                                               SOURCE_SEED};

enum { STEPS_MOST = 30 };

/* A worker whose parameters grow by a factor of 999 in each step. */
static void diverged_open(struct fake *fake, enum reduce reduce, enum precision precision, uint32_t workers)
{
    fake_open(fake, workers > 1, reduce);
    fake->config.train_optimizer = OPTIMIZER_SGD;
    fake->config.train_lr = 1000;
    fake->config.train_weight_decay = 1;
    fake->config.train_clip = 0;
    fake->config.train_precision = (int)precision;
    fake_start(fake, 0, (int)workers);
    fake_generation(fake, workers, 0, diverged_seeds);
}

/* The worker ends by ERROR, code 9, with such a text. */
static void diverged_says_diverged(struct fake *fake, const char *text)
{
    const struct member *member = &fake->members[0];
    assert_int_equal(member->said.code, ERR_DIVERGED);
    if (strstr(member->said.text, text) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", member->said.text, text);
    assert_non_null(strstr(member->said.text, "lower train.lr or set train.clip"));
    assert_false(fake_member_join(&fake->members[0]));
    assert_int_equal(member->err.code, ERR_DIVERGED);
    fake_close(fake);
}

/* What the worker says next: `wanted`, or ERROR. */
static bool diverged_goes_on(struct fake *fake, enum message_type wanted)
{
    int who;
    enum message_type type = fake_hear(fake, &who);
    if (type != wanted)
        assert_int_equal(type, MESSAGE_ERROR);
    return type == wanted;
}

static bool diverged_step(struct fake *fake, uint64_t step)
{
    fake_send_span(fake, 0, step);
    fake->span++;
    return diverged_goes_on(fake, MESSAGE_REPORT);
}

static bool diverged_validate(struct fake *fake, uint32_t what)
{
    static const uint16_t lengths[] = {3, 3}, ids[] = {4, 5, 6, 4, 5, 6, 7, 8, 9, 7, 8, 9};
    struct validate validate = {.generation = fake->generation, .what = what};
    validate.rows =
        (struct rows){.count = 2, .src_lengths = lengths, .tgt_lengths = lengths, .ids = ids, .id_count = 12};
    fake_coordinator_say(fake, 0, &(struct message){.type = MESSAGE_VALIDATE, .validate = validate});
    return diverged_goes_on(fake, MESSAGE_SCORED);
}

static void a_loss_of_validation_that_is_not_finite_is_not_sent(void **state)
{
    const uint32_t what[] = {VALIDATE_FORCED, VALIDATE_FREE, VALIDATE_FORCED | VALIDATE_FREE | VALIDATE_TRANSLATE};
    (void)state;
    for (int precision = 0; precision < 2; precision++)
        for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
            struct fake fake;
            uint64_t step = 0;
            diverged_open(&fake, REDUCE_EXACT, precision == 0 ? PRECISION_FP32 : PRECISION_BF16, 1);
            while (step < STEPS_MOST && diverged_step(&fake, step) && diverged_validate(&fake, what[i]))
                step++;
            diverged_says_diverged(&fake, "validation loss is not finite");
        }
}

static void a_step_whose_numbers_are_not_finite_is_not_reported(void **state)
{
    const enum reduce reduce[] = {REDUCE_EXACT, REDUCE_FP32, REDUCE_BF16};
    (void)state;
    for (int precision = 0; precision < 2; precision++)
        for (size_t i = 0; i < sizeof reduce / sizeof *reduce; i++) {
            struct fake fake;
            uint64_t step = 0;
            diverged_open(&fake, reduce[i], precision == 0 ? PRECISION_FP32 : PRECISION_BF16, 1);
            while (step < STEPS_MOST && diverged_step(&fake, step))
                step++;
            diverged_says_diverged(&fake, "step 1");
        }
}

/* A rank alone may meet the number, but no rank may report the step. */
static void a_step_that_diverges_is_reported_by_no_rank(void **state)
{
    const enum reduce reduce[] = {REDUCE_EXACT, REDUCE_FP32};
    enum { RANKS = 2 };
    (void)state;
    for (size_t i = 0; i < sizeof reduce / sizeof *reduce; i++) {
        struct fake fake;
        int goes_on = RANKS;
        diverged_open(&fake, reduce[i], PRECISION_FP32, RANKS);
        for (uint64_t step = 0; step < STEPS_MOST && goes_on == RANKS; step++) {
            for (uint32_t r = 0; r < RANKS; r++)
                fake_send_span(&fake, r, step);
            fake.span++;
            goes_on = 0;
            for (int r = 0; r < RANKS; r++)
                goes_on += diverged_goes_on(&fake, MESSAGE_REPORT);
        }
        assert_int_equal(goes_on, 0);
        for (int r = 0; r < RANKS; r++) {
            assert_int_equal(fake.members[r].said.code, ERR_DIVERGED);
            assert_false(fake_member_join(&fake.members[r]));
        }
        fake_close(&fake);
    }
}

static void parameters_that_are_not_finite_are_not_saved(void **state)
{
    struct fake fake;
    (void)state;
    diverged_open(&fake, REDUCE_FP32, PRECISION_FP32, 1);
    for (uint64_t step = 0; step < STEPS_MOST && diverged_step(&fake, step);) {
        fake_coordinator_say(
            &fake, 0, &(struct message){.type = MESSAGE_SAVE, .save = {.generation = fake.generation, .step = ++step}});
        if (!diverged_goes_on(&fake, MESSAGE_STATE))
            break;
        for (int piece = 0; piece < 2; piece++) /* a header and an arena; no moments, so a header alone */
            assert_int_equal(fake_expect(&fake, MESSAGE_STATE), 0);
    }
    diverged_says_diverged(&fake, "parameter ");
}

static int diverged_quiet(void **state)
{
    (void)state;
    log_open("test", LOG_OFF);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_of_validation_that_is_not_finite_is_not_sent),
        cmocka_unit_test(a_step_whose_numbers_are_not_finite_is_not_reported),
        cmocka_unit_test(a_step_that_diverges_is_reported_by_no_rank),
        cmocka_unit_test(parameters_that_are_not_finite_are_not_saved),
    };
    return cmocka_run_group_tests_name("diverged", tests, diverged_quiet, NULL);
}
