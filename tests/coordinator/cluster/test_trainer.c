/* test_trainer.c - a run from the coordinator's side, against a worker that has no model but speaks every message. */
#include "coordinator/cluster/trainer_inside.h"
#include "coordinator/run/metrics.h"
#include "coordinator/run/tally.h"
#include "proto/store/file.h"
#include "tests/support/fake_worker.h"
#include "tests/support/legal.h"
#include "tests/support/scene_place.h"
#include "tests/support/trainer_scene.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static const char trainer_endpoint[] = "inproc://test-trainer";

/* One part of a run: from run_open to the worker's leave. */
struct part {
    struct scene scene;
    struct fake_worker fake;
    uint64_t interrupt_at_step, interrupt_at_score; /* 0 = never */
    bool stranger;                                  /* another peer sends HELLO in the middle */
    void *other;
    bool refused;
    bool ahead;              /* to come: while it saves, a later step is reported, as by a worker that comes back */
    bool saved;              /* as the trainer says at the end */
    struct journal *journal; /* with its results in `ledger`; NULL both where the worker is of this process */
    struct ledger *ledger;
    bool ok;
    struct err err;
    enum trainer_outcome outcome;
    struct err failure; /* of the outcome TRAINER_FAILED */
};

static void begin(struct part *part, const char *run)
{
    *part = (struct part){.fake = {.endpoint = trainer_endpoint, .credit = 2}};
    struct config *config = &part->scene.config;
    scene_configure(config, scene_place_place.pairs, run);
    config->train_span = 4;
    config->train_shards = 1;
    config->train_valid_decode = VALID_FREE;
}

static void say_hello_too(struct part *part)
{
    int linger = 0;
    part->other = zmq_socket(part->fake.context, ZMQ_DEALER);
    assert_int_equal(zmq_setsockopt(part->other, ZMQ_LINGER, &linger, sizeof linger), 0);
    assert_int_equal(zmq_connect(part->other, trainer_endpoint), 0);
    fake_say(part->other, &(struct message){.type = MESSAGE_HELLO, .hello = dummy_hello()});
}

static bool tell_of_a_step_more(struct part *part, struct err *err)
{
    static const struct step_result more = {.loss_sum = 1, .tokens = 1};
    struct trainer *trainer = part->scene.trainer;
    if (!part->ahead || trainer->saver == 0)
        return true;
    part->ahead = false;
    return fleet_put_results(&trainer->fleet, trainer->state.step, &more, 1, err);
}

static bool receive_and_watch(void *context, struct err *err)
{
    struct part *part = context;
    if (!trainer_receive(part->scene.trainer, err) || !tell_of_a_step_more(part, err))
        return false;
    if ((part->interrupt_at_step > 0 && atomic_load(&part->fake.steps) >= part->interrupt_at_step) ||
        (part->interrupt_at_score > 0 && atomic_load(&part->fake.scored) >= part->interrupt_at_score))
        trainer_interrupt(part->scene.trainer);
    if (part->stranger && part->other == NULL && atomic_load(&part->fake.steps) > 0)
        say_hello_too(part);
    if (part->other == NULL || part->refused)
        return true;
    struct message message;
    bool got;
    assert_true(message_receive(part->other, NULL, false, &message, &got, err));
    part->refused = got && message.type == MESSAGE_ERROR;
    if (got)
        message_close(&message);
    return true;
}

static unsigned nexts; /* that were next in some state of the fleet: a set of 1 << enum next */

/* A handler of the loop's turns, after the trainer's. */
static bool check_states(void *context, struct err *err)
{
    const struct trainer *trainer = context;
    (void)err;
    legal_check(&trainer->fleet);
    assert_int_not_equal(trainer_legal[trainer->fleet.state] & 1U << trainer->next, 0);
    nexts |= 1U << trainer->next;
    return true;
}

/* Train until the worker has left, or the trainer cannot go on. */
static void train(struct part *part)
{
    struct scene *scene = &part->scene;
    struct err *err = &part->err;
    if (!scene_open_data(scene, err) || !scene_open_run(scene, err))
        fail_msg("%s", err->text);
    part->fake.context = zmq_ctx_new();
    void *socket = scene_router(part->fake.context, trainer_endpoint);
    assert_non_null(socket);
    if (!scene_open_trainer(scene, socket, part->journal, part->ledger, err))
        fail_msg("%s", err->text);
    assert_int_not_equal(loop_add_socket(scene->loop, socket, receive_and_watch, part, err), 0);
    assert_int_not_equal(loop_add_turn(scene->loop, check_states, scene->trainer, err), 0);
    assert_int_equal(pthread_create(&part->fake.thread, NULL, fake_run, &part->fake), 0);
    part->ok = loop_run(scene->loop, err);
    part->outcome = trainer_outcome(scene->trainer);
    part->failure = *trainer_failure(scene->trainer);
    part->saved = trainer_saved(scene->trainer);
    zmq_ctx_shutdown(part->fake.context);
    pthread_join(part->fake.thread, NULL);
    scene_close_trainer(scene);
    if (part->other != NULL)
        zmq_close(part->other);
    zmq_close(socket);
    zmq_ctx_term(part->fake.context);
}

static void end(struct part *part)
{
    fake_free(&part->fake);
    scene_close_run(&part->scene);
    scene_close_data(&part->scene);
}

static void a_run_sends_its_messages_in_order(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_FINISHED);
    assert_string_equal(part.fake.heard.data,
                        "WELCOME GENERATION(0,seed) "
                        "SPAN(0+4) SPAN(4+3) VALIDATE(7,3) VALIDATE(7,2) VALIDATE(4,5) SAVE(7) "
                        "SPAN(7+4) SPAN(11+3) VALIDATE(7,3) VALIDATE(7,2) VALIDATE(4,5) SAVE(14) DISMISS ");
    end(&part);
}

static void no_work_is_sent_without_credit(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    part.fake.credit = 1;
    part.scene.config.train_span = 1;
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.fake.units, 14 + 2 * 3);
    assert_false(part.fake.overrun);
    end(&part);
}

static void spans_end_at_checkpoints_and_epochs(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    part.scene.config.train_epochs = 1;
    part.scene.config.train_checkpoint_every = 3;
    part.scene.config.train_bleu = false;
    part.scene.config.train_valid_decode = VALID_FORCED;
    train(&part);
    assert_true(part.ok);
    assert_string_equal(part.fake.heard.data,
                        "WELCOME GENERATION(0,seed) SPAN(0+3) SAVE(3) SPAN(3+3) SAVE(6) SPAN(6+1) "
                        "VALIDATE(1,3) VALIDATE(1,2) VALIDATE(4,5) SAVE(7) DISMISS ");
    end(&part);
}

/* metrics.jsonl without what depends on the clock, steps.jsonl, and the model's number. */
static uint64_t outcome_of(const char *run, struct buffer *figures)
{
    char path[128];
    struct metrics metrics = {0};
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    assert_true(metrics_read(&metrics, path, NULL));
    for (size_t i = 0; i < metrics.count; i++) {
        const struct epoch_metrics *epoch = &metrics.epochs[i];
        buffer_format(figures, "%d %.10g %.10g %.10g %.10g %.10g %.10g %.10g\n", (int)epoch->epoch, epoch->train_loss,
                      epoch->train_acc, epoch->val_loss, epoch->val_acc, epoch->val_tf_loss, epoch->bleu,
                      epoch->tgt_tokens);
    }
    metrics_free(&metrics);
    snprintf(path, sizeof path, "%s/steps.jsonl", run);
    assert_true(file_read(path, 1 << 20, figures, NULL));
    struct buffer model = {0};
    uint64_t value;
    snprintf(path, sizeof path, "%s/latest/model.safetensors", run);
    assert_true(file_read(path, 64 << 20, &model, NULL));
    memcpy(&value, model.data + model.size - sizeof value, sizeof value);
    buffer_free(&model);
    return value;
}

/* Run to the end with an interruption, resume, and compare with a run that was left alone. */
static void compare_with_unbroken(uint64_t at_step, uint64_t at_score, const char *resumed_as)
{
    struct part whole, first, second;
    struct buffer expected = {0}, found = {0};
    begin(&whole, scene_place_place.run);
    train(&whole);
    assert_true(whole.ok);
    begin(&first, scene_place_place.run_too);
    first.interrupt_at_step = at_step;
    first.interrupt_at_score = at_score;
    train(&first);
    assert_true(first.ok);
    assert_int_equal(first.outcome, TRAINER_INTERRUPTED);
    end(&first);
    begin(&second, scene_place_place.run_too);
    second.scene.config.run_resume = true;
    train(&second);
    assert_true(second.ok);
    assert_int_equal(second.outcome, TRAINER_FINISHED);
    assert_memory_equal(second.fake.heard.data, resumed_as, strlen(resumed_as));
    assert_int_equal(outcome_of(scene_place_place.run, &expected), outcome_of(scene_place_place.run_too, &found));
    assert_string_equal(found.data, expected.data);
    buffer_free(&expected);
    buffer_free(&found);
    end(&second);
    end(&whole);
}

static void a_run_resumed_in_an_epoch_keeps_its_bits(void **state)
{
    (void)state;
    compare_with_unbroken(11, 0, "WELCOME GENERATION(");
}

static void a_run_resumed_in_validation_validates_first(void **state)
{
    (void)state;
    compare_with_unbroken(0, 1, "WELCOME GENERATION(7,state) VALIDATE(7,3) VALIDATE(7,2) ");
}

/* A journal in the second run's folder, and what it knows behind step 7. */
static void open_journal(struct journal *journal, struct ledger *ledger, bool resume)
{
    const struct journal_origin origin = {.options = 1, .pairs = 2};
    ledger_begin(ledger, 7);
    assert_true(journal_open(journal, scene_place_place.run_too, resume, &origin, ledger, NULL));
}

/* The checkpoint is of an epoch that is not closed, and the journal has results of the next epoch. No worker holds a
 * state after them: they will come again, and may be others. */
static void the_journal_drops_results_behind_a_first_generation(void **state)
{
    static const struct step_result lost[2] = {{.loss_sum = 1, .tokens = 1}, {.loss_sum = 2, .tokens = 1}};
    struct part first, second;
    struct journal journal;
    struct ledger ledger = {0};
    (void)state;
    begin(&first, scene_place_place.run_too);
    first.interrupt_at_score = 1;
    train(&first);
    assert_true(first.ok);
    end(&first);
    open_journal(&journal, &ledger, false);
    journal_results(&journal, 7, lost, 2);
    journal_close(&journal);
    open_journal(&journal, &ledger, true);
    assert_int_equal(ledger_end(&ledger), 9);
    begin(&second, scene_place_place.run_too);
    second.scene.config.run_resume = true;
    second.scene.config.cluster_join_delay = 0;
    second.interrupt_at_score = 1;
    second.journal = &journal;
    second.ledger = &ledger;
    train(&second);
    assert_true(second.ok);
    assert_int_equal(second.outcome, TRAINER_INTERRUPTED);
    end(&second);
    journal_close(&journal);
    open_journal(&journal, &ledger, true);
    assert_true(journal.resumed);
    assert_int_equal(ledger_end(&ledger), 7);
    journal_close(&journal);
    ledger_free(&ledger);
}

static void an_interruption_saves_after_the_spans_in_flight(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    part.scene.config.train_span = 1;
    part.interrupt_at_step = 2;
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_INTERRUPTED);
    char tail[64];
    snprintf(tail, sizeof tail, "SAVE(%d) DISMISS ", (int)part.fake.step);
    size_t size = part.fake.heard.size;
    assert_string_equal(part.fake.heard.data + size - strlen(tail), tail);
    end(&part);
}

static void a_step_reported_while_another_is_saved_is_not_saved(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        struct part part;
        begin(&part, ahead ? scene_place_place.run_too : scene_place_place.run);
        part.scene.config.train_span = 1;
        part.interrupt_at_step = 2;
        part.ahead = ahead == 1;
        train(&part);
        assert_true(part.ok);
        assert_false(part.ahead);
        assert_int_equal(part.outcome, TRAINER_INTERRUPTED);
        assert_int_equal(part.saved, ahead == 0);
        end(&part);
    }
}

static double rising(uint64_t step)
{
    return (double)step;
}

static void patience_ends_a_run_and_the_best_epoch_stays(void **state)
{
    struct part part;
    char target[64] = "", path[128];
    (void)state;
    begin(&part, scene_place_place.run);
    part.scene.config.train_epochs = 50;
    part.scene.config.train_patience = 2;
    part.scene.config.train_keep = 1;
    part.fake.val_loss = rising;
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_FINISHED);
    assert_int_equal(part.fake.step, 3 * 7);
    snprintf(path, sizeof path, "%s/best", scene_place_place.run);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_string_equal(target, "step-00000007");
    snprintf(path, sizeof path, "%s/step-00000014", scene_place_place.run);
    assert_int_not_equal(access(path, F_OK), 0);
    end(&part);
}

/* Files beyond 1 MiB cannot be written: the checkpoints fail, the records and the page do not. */
static void a_failed_checkpoint_does_not_end_a_run(void **state)
{
    struct part part;
    struct rlimit limit, small;
    struct metrics metrics = {0};
    (void)state;
    begin(&part, scene_place_place.run);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    train(&part);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_UNSAVED);
    assert_int_equal(part.fake.step, 14);
    assert_true(metrics_read(&metrics, part.scene.run.metrics.path, NULL));
    assert_int_equal(metrics.count, 2);
    metrics_free(&metrics);
    end(&part);
}

static void a_workers_error_ends_the_run_with_its_code(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    part.fake.fail_at = 5;
    train(&part);
    assert_false(part.ok);
    assert_int_equal(part.err.code, ERR_MEMORY);
    assert_string_equal(part.err.text, "worker 1: no room left");
    end(&part);
}

static void a_diverged_validation_names_the_epoch(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    part.fake.diverges = true;
    train(&part);
    assert_false(part.ok);
    assert_int_equal(part.err.code, ERR_DIVERGED);
    assert_string_equal(part.err.text, "epoch 1: loss is not finite");
    end(&part);
}

/* The epoch is closed by then, and the state of the trainer is in the next one. */
static void a_diverged_checkpoint_names_the_epoch_that_it_closes(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    part.fake.diverges_at_save = true;
    train(&part);
    assert_false(part.ok);
    assert_int_equal(part.err.code, ERR_DIVERGED);
    assert_string_equal(part.err.text, "epoch 1: loss is not finite");
    end(&part);
}

static void a_diverged_run_of_a_cluster_ends_once(void **state)
{
    struct part part;
    struct journal journal;
    struct ledger ledger = {0};
    const struct journal_origin origin = {.options = 1, .pairs = 2};
    (void)state;
    ledger_begin(&ledger, 0);
    assert_true(journal_open(&journal, scene_place_place.run, false, &origin, &ledger, NULL));
    begin(&part, scene_place_place.run);
    part.scene.config.cluster_join_delay = 0;
    part.fake.diverges = true;
    part.journal = &journal;
    part.ledger = &ledger;
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_FAILED);
    assert_int_equal(part.failure.code, ERR_DIVERGED);
    assert_string_equal(part.failure.text, "epoch 1: loss is not finite");
    end(&part);
    journal_close(&journal);
    ledger_free(&ledger);
}

static void a_stranger_is_refused_and_the_run_goes_on(void **state)
{
    struct part part;
    (void)state;
    begin(&part, scene_place_place.run);
    part.stranger = true;
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_FINISHED);
    assert_true(part.refused);
    end(&part);
}

static void the_best_epoch_is_the_one_of_the_wanted_score(void **state)
{
    static const struct {
        int keep;
        double score;
        const char *name;
    } wanted[] = {{KEEP_VAL_ACC, 0.5, "val_acc"},
                  {KEEP_VAL_LOSS, 2, "val_loss"},
                  {KEEP_BLEU, 3, "bleu"},
                  {KEEP_BLEU_NORMALISED, 20, "bleu_normalised"}};
    const struct epoch_record record = {.epoch = 1, .val_acc = 0.5, .val_loss = 2, .bleu = 3, .bleu_normalised = 20};
    struct config config;
    struct err err = {0};
    (void)state;
    config_defaults(&config);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct checkpoint_state best = {0};
        config.train_keep_best = wanted[i].keep;
        assert_true(tally_best(&best, &config, &record, true));
        assert_true(best.best_score == wanted[i].score);
        assert_string_equal(tally_metric(&config, true), wanted[i].name);
        assert_string_equal(tally_metric(&config, false), "train_loss");
    }
    config.train_bleu = false;
    assert_false(trainer_check(&config, &err));
    assert_non_null(strstr(err.text, "train.keep_best is bleu_normalised but train.bleu is false"));
}

/* A run that goes back to an earlier step repeats it, but not its line in the log. */
static void steps_that_are_repeated_are_logged_once(void **state)
{
    const struct step_result result = {.loss_sum = 1, .tokens = 1};
    struct checkpoint_state at = {.epoch = 1, .step = 10, .epoch_step = 10, .tokens = 1};
    struct config config;
    (void)state;
    config_defaults(&config);
    config.log_every = 10;
    struct view view = {.config = &config, .state = &at, .epoch_steps = 100, .logged_step = 20};
    view_step(&view, &result, 1);
    assert_int_equal(view.logged_step, 20);
    at.step = at.epoch_step = 30;
    view_step(&view, &result, 1);
    assert_int_equal(view.logged_step, 30);
}

static void an_epochs_record_follows_the_definitions(void **state)
{
    struct part part;
    struct metrics metrics = {0};
    (void)state;
    begin(&part, scene_place_place.run);
    part.scene.config.train_epochs = 1;
    part.scene.config.train_loss_mean = MEAN_BATCH;
    train(&part);
    assert_true(part.ok);
    assert_true(metrics_read(&metrics, part.scene.run.metrics.path, NULL));
    assert_int_equal(metrics.count, 1);
    const struct epoch_metrics *epoch = &metrics.epochs[0];
    assert_int_equal(epoch->tgt_tokens, 20 * 5);
    assert_true(fabs(epoch->val_loss - 2) < 1e-9);
    assert_true(fabs(epoch->val_tf_loss - 1) < 1e-9);
    /* requests of 3 and 2 rows with 15 and 10 tokens: 3 and 2 right */
    assert_true(fabs(epoch->val_acc - (3.0 / 15 + 2.0 / 10) / 2) < 1e-9);
    /* 7 batches, of 15 tokens but for the last: 7 right of 15, 5 of 10 */
    assert_true(fabs(epoch->train_acc - (6 * 7 + 5) / 100.0) < 1e-9);
    assert_true(epoch->bleu > 0 && epoch->bleu < 100);
    assert_true(epoch->seconds > 0 && epoch->tgt_tok_per_s > 0);
    metrics_free(&metrics);
    end(&part);
}

/* The journal has results that no checkpoint has, and no worker comes that holds them. */
static void an_interrupted_run_without_workers_ends_at_its_deadline(void **state)
{
    static const struct step_result result = {.loss_sum = 1, .tokens = 1};
    struct scene scene = {0};
    struct ledger ledger = {0};
    struct err err = {0};
    (void)state;
    scene_configure(&scene.config, scene_place_place.pairs, scene_place_place.run);
    ledger_begin(&ledger, 0);
    assert_true(ledger_put(&ledger, 0, &result, 1, &err));
    void *context = zmq_ctx_new(), *socket = scene_router(context, trainer_endpoint);
    assert_true(scene_open_data(&scene, &err) && scene_open_run(&scene, &err) &&
                scene_open_trainer(&scene, socket, NULL, &ledger, &err));
    struct trainer *trainer = scene.trainer;
    trainer_interrupt(trainer);
    assert_true(trainer_advance(trainer, &err));
    int64_t deadline = trainer->stop_ms;
    assert_int_not_equal(deadline, 0);
    assert_true(trainer_advance(trainer, &err));
    assert_int_equal(trainer->stop_ms, deadline);
    assert_int_equal(trainer_outcome(trainer), TRAINER_RUNNING);
    trainer->stop_ms = 1; /* long ago */
    assert_true(trainer_advance(trainer, &err));
    assert_int_equal(trainer_outcome(trainer), TRAINER_INTERRUPTED);
    scene_close_trainer(&scene);
    scene_close_run(&scene);
    scene_close_data(&scene);
    ledger_free(&ledger);
    zmq_close(socket);
    zmq_ctx_term(context);
}

/* After all others. */
static void each_kind_of_work_was_next(void **state)
{
    (void)state;
    assert_int_equal(nexts, (1U << NEXTS) - 1);
}

int main(void)
{
#define RUN(name) cmocka_unit_test_teardown(name, place_clear)
    const struct CMUnitTest tests[] = {
        RUN(a_run_sends_its_messages_in_order),
        RUN(no_work_is_sent_without_credit),
        RUN(spans_end_at_checkpoints_and_epochs),
        RUN(a_run_resumed_in_an_epoch_keeps_its_bits),
        RUN(a_run_resumed_in_validation_validates_first),
        RUN(the_journal_drops_results_behind_a_first_generation),
        RUN(an_interruption_saves_after_the_spans_in_flight),
        RUN(a_step_reported_while_another_is_saved_is_not_saved),
        RUN(patience_ends_a_run_and_the_best_epoch_stays),
        RUN(a_failed_checkpoint_does_not_end_a_run),
        RUN(a_workers_error_ends_the_run_with_its_code),
        RUN(a_diverged_validation_names_the_epoch),
        RUN(a_diverged_checkpoint_names_the_epoch_that_it_closes),
        RUN(a_diverged_run_of_a_cluster_ends_once),
        RUN(a_stranger_is_refused_and_the_run_goes_on),
        RUN(steps_that_are_repeated_are_logged_once),
        RUN(the_best_epoch_is_the_one_of_the_wanted_score),
        RUN(an_epochs_record_follows_the_definitions),
        RUN(an_interrupted_run_without_workers_ends_at_its_deadline),
        RUN(each_kind_of_work_was_next),
    };
    return cmocka_run_group_tests(tests, place_make, place_remove);
}
