/* test_trainer.c - a run from the coordinator's side, against a worker that has no model but speaks every message. */
#include "coordinator/trainer.h"

#include "coordinator/metrics.h"
#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/unit/fake_worker.h"

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

static const char s_endpoint[] = "inproc://test-trainer";

/* One part of a run: from run_open to the worker's leave. */
struct part {
    struct config config;
    struct mt19937 stream;
    struct dataset dataset;
    struct plan plan;
    struct samples samples;
    struct run run;
    struct checkpoint checkpoint;
    bool found;
    struct display display;
    struct loop *loop;
    struct trainer *trainer;
    struct fake_worker fake;
    uint64_t interrupt_at_step, interrupt_at_score; /* 0 = never */
    bool stranger;                                  /* somebody else says HELLO in the middle */
    void *other;
    bool refused;
    bool ok;
    struct err err;
    enum trainer_outcome outcome;
};

static char s_folder[] = "/tmp/lstmq-trainer-XXXXXX";
static char s_pairs[64], s_run[64], s_run_too[64];

/* 25 pairs: 20 to train on and 5 to validate; with batches of 3 that is 7 steps an epoch and 2 validation requests. */
static int make_pairs(void **state)
{
    (void)state;
    log_open("test", LOG_OFF);
    if (mkdtemp(s_folder) == NULL)
        return -1;
    snprintf(s_pairs, sizeof s_pairs, "%s/pairs.tsv", s_folder);
    snprintf(s_run, sizeof s_run, "%s/run", s_folder);
    snprintf(s_run_too, sizeof s_run_too, "%s/run-too", s_folder);
    FILE *file = fopen(s_pairs, "w");
    if (file == NULL)
        return -1;
    for (int i = 0; i < 25; i++)
        fprintf(file, "a%d b%d c d\tw%d x%d y z\n", i % 7, i, i % 5, i);
    return fclose(file);
}

static int remove_all(void **state)
{
    (void)state;
    return folder_remove(s_folder, NULL) ? 0 : -1;
}

static int remove_runs(void **state)
{
    (void)state;
    return folder_remove(s_run, NULL) && folder_remove(s_run_too, NULL) ? 0 : -1;
}

static void begin(struct part *part, const char *run)
{
    *part = (struct part){.fake = {.endpoint = s_endpoint, .credit = 2}};
    config_defaults(&part->config);
    part->config.data_normalise = NORMALISE_NONE; /* digits count */
    snprintf(part->config.data_pairs, sizeof part->config.data_pairs, "%s", s_pairs);
    snprintf(part->config.run_dir, sizeof part->config.run_dir, "%s", run);
    part->config.data_valid_fraction = 0.2;
    part->config.data_split = SPLIT_TAIL;
    part->config.train_epochs = 2;
    part->config.train_batch = 3;
    part->config.train_span = 4;
    part->config.train_shards = 1;
    part->config.train_valid_decode = VALID_FREE;
    part->config.run_progress = PROGRESS_NONE;
    part->config.log_steps = 1000;
}

static void say_hello_too(struct part *part)
{
    struct text one = {"1", 1};
    int linger = 0;
    part->other = zmq_socket(part->fake.context, ZMQ_DEALER);
    assert_int_equal(zmq_setsockopt(part->other, ZMQ_LINGER, &linger, sizeof linger), 0);
    assert_int_equal(zmq_connect(part->other, s_endpoint), 0);
    fake_say(part->other, &(struct message){.type = MESSAGE_HELLO, .hello = {one, one, one, one, {"fp32", 4}, 1}});
}

static bool receive_and_watch(void *context, struct err *err)
{
    struct part *part = context;
    if (!trainer_receive(part->trainer, err))
        return false;
    if ((part->interrupt_at_step > 0 && atomic_load(&part->fake.steps) >= part->interrupt_at_step) ||
        (part->interrupt_at_score > 0 && atomic_load(&part->fake.scored) >= part->interrupt_at_score))
        return trainer_interrupt(part->trainer, err);
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

/* Train until the worker has left, or the trainer cannot go on. */
static void train(struct part *part)
{
    int mandatory = 1, linger = 0;
    struct err *err = &part->err;
    mt19937_seed(&part->stream, 42);
    assert_true(dataset_read(&part->dataset, &part->config, &part->stream, err));
    assert_true(samples_open(&part->samples, &part->dataset, &part->config, err));
    assert_true(plan_open(&part->plan, part->dataset.train, (uint32_t)part->config.train_batch,
                          (uint32_t)part->config.train_shards, &part->stream, err));
    assert_true(run_open(&part->run, &part->config, err));
    if (part->config.run_resume &&
        !run_resume(&part->run, &part->config, part->dataset.fingerprint, &part->checkpoint, &part->found, err))
        fail_msg("%s", err->text);
    if (part->found)
        assert_true(run_rewind(&part->run, part->checkpoint.state.epoch, part->checkpoint.state.step, err));
    progress_open(&part->display, PROGRESS_NONE, 1);
    part->loop = loop_new(err);
    part->fake.context = zmq_ctx_new();
    void *socket = zmq_socket(part->fake.context, ZMQ_ROUTER);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger), 0);
    assert_int_equal(zmq_bind(socket, s_endpoint), 0);
    struct trainer_parts parts = {&part->config,
                                  &part->dataset,
                                  &part->plan,
                                  &part->samples,
                                  &part->run,
                                  &part->display,
                                  part->loop,
                                  socket,
                                  NULL, part->found ? &part->checkpoint : NULL,
                                  NULL,
                                  NULL};
    part->trainer = trainer_new(&parts, err);
    assert_non_null(part->trainer);
    assert_int_not_equal(loop_add_socket(part->loop, socket, receive_and_watch, part, err), 0);
    assert_int_equal(pthread_create(&part->fake.thread, NULL, fake_run, &part->fake), 0);
    part->ok = loop_run(part->loop, err);
    part->outcome = trainer_outcome(part->trainer);
    zmq_ctx_shutdown(part->fake.context);
    pthread_join(part->fake.thread, NULL);
    trainer_destroy(&part->trainer);
    loop_destroy(&part->loop);
    if (part->other != NULL)
        zmq_close(part->other);
    zmq_close(socket);
    zmq_ctx_term(part->fake.context);
}

static void end(struct part *part)
{
    fake_free(&part->fake);
    progress_close(&part->display);
    if (part->found)
        checkpoint_close(&part->checkpoint);
    run_close(&part->run);
    plan_close(&part->plan);
    samples_close(&part->samples);
    dataset_free(&part->dataset);
}

static void a_run_says_its_messages_in_order(void **state)
{
    struct part part;
    (void)state;
    begin(&part, s_run);
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
    begin(&part, s_run);
    part.fake.credit = 1;
    part.config.train_span = 1;
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
    begin(&part, s_run);
    part.config.train_epochs = 1;
    part.config.train_checkpoint_every = 3;
    part.config.train_bleu = false;
    part.config.train_valid_decode = VALID_FORCED;
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
    begin(&whole, s_run);
    train(&whole);
    assert_true(whole.ok);
    begin(&first, s_run_too);
    first.interrupt_at_step = at_step;
    first.interrupt_at_score = at_score;
    train(&first);
    assert_true(first.ok);
    assert_int_equal(first.outcome, TRAINER_INTERRUPTED);
    end(&first);
    begin(&second, s_run_too);
    second.config.run_resume = true;
    train(&second);
    assert_true(second.ok);
    assert_int_equal(second.outcome, TRAINER_FINISHED);
    assert_memory_equal(second.fake.heard.data, resumed_as, strlen(resumed_as));
    assert_int_equal(outcome_of(s_run, &expected), outcome_of(s_run_too, &found));
    assert_string_equal(found.data, expected.data);
    buffer_free(&expected);
    buffer_free(&found);
    end(&second);
    end(&whole);
}

static void a_run_resumed_in_an_epoch_has_the_bits_of_an_unbroken_one(void **state)
{
    (void)state;
    compare_with_unbroken(11, 0, "WELCOME GENERATION(");
}

static void a_run_resumed_in_validation_validates_first(void **state)
{
    (void)state;
    compare_with_unbroken(0, 1, "WELCOME GENERATION(7,state) VALIDATE(7,3) VALIDATE(7,2) ");
}

static void an_interruption_saves_after_the_spans_in_flight(void **state)
{
    struct part part;
    (void)state;
    begin(&part, s_run);
    part.config.train_span = 1;
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

static double rising(uint64_t step)
{
    return (double)step;
}

static void patience_ends_a_run_and_the_best_epoch_stays(void **state)
{
    struct part part;
    char target[64] = "", path[128];
    (void)state;
    begin(&part, s_run);
    part.config.train_epochs = 50;
    part.config.train_patience = 2;
    part.config.train_keep = 1;
    part.fake.val_loss = rising;
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_FINISHED);
    assert_int_equal(part.fake.step, 3 * 7);
    snprintf(path, sizeof path, "%s/best", s_run);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_string_equal(target, "step-00000007");
    snprintf(path, sizeof path, "%s/step-00000014", s_run);
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
    begin(&part, s_run);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    train(&part);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_UNSAVED);
    assert_int_equal(part.fake.step, 14);
    assert_true(metrics_read(&metrics, part.run.metrics.path, NULL));
    assert_int_equal(metrics.count, 2);
    metrics_free(&metrics);
    end(&part);
}

static void a_workers_error_ends_the_run_with_its_code(void **state)
{
    struct part part;
    (void)state;
    begin(&part, s_run);
    part.fake.fail_at = 5;
    train(&part);
    assert_false(part.ok);
    assert_int_equal(part.err.code, ERR_MEMORY);
    assert_string_equal(part.err.text, "worker 1: no room left");
    end(&part);
}

static void a_stranger_is_refused_and_the_run_goes_on(void **state)
{
    struct part part;
    (void)state;
    begin(&part, s_run);
    part.stranger = true;
    train(&part);
    assert_true(part.ok);
    assert_int_equal(part.outcome, TRAINER_FINISHED);
    assert_true(part.refused);
    end(&part);
}

static void an_epochs_record_follows_the_definitions(void **state)
{
    struct part part;
    struct metrics metrics = {0};
    (void)state;
    begin(&part, s_run);
    part.config.train_epochs = 1;
    part.config.train_loss_mean = MEAN_BATCH;
    train(&part);
    assert_true(part.ok);
    assert_true(metrics_read(&metrics, part.run.metrics.path, NULL));
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

int main(void)
{
#define RUN(name) cmocka_unit_test_teardown(name, remove_runs)
    const struct CMUnitTest tests[] = {
        RUN(a_run_says_its_messages_in_order),
        RUN(no_work_is_sent_without_credit),
        RUN(spans_end_at_checkpoints_and_epochs),
        RUN(a_run_resumed_in_an_epoch_has_the_bits_of_an_unbroken_one),
        RUN(a_run_resumed_in_validation_validates_first),
        RUN(an_interruption_saves_after_the_spans_in_flight),
        RUN(patience_ends_a_run_and_the_best_epoch_stays),
        RUN(a_failed_checkpoint_does_not_end_a_run),
        RUN(a_workers_error_ends_the_run_with_its_code),
        RUN(a_stranger_is_refused_and_the_run_goes_on),
        RUN(an_epochs_record_follows_the_definitions),
    };
    return cmocka_run_group_tests(tests, make_pairs, remove_all);
}
