/* test_run.c - the run folder: who owns it, what resuming demands, and records that survive. */
#include "coordinator/run/run.h"

#include "coordinator/run/metrics.h"
#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct config options(void)
{
    struct config config;
    config_defaults(&config);
    snprintf(config.run_dir, sizeof config.run_dir, "%s/deep/run", scratch_folder);
    return config;
}

/* A run whose folder held another one before, if any. */
static struct run begin(struct config *config)
{
    struct run run;
    *config = options();
    config->run_overwrite = true;
    assert_true(run_open(&run, config, NULL));
    return run;
}

static bool is_there(const struct run *run, const char *name)
{
    char path[CHECKPOINT_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", run->dir, name);
    return access(path, F_OK) == 0;
}

static void log_epochs(struct run *run, uint64_t from, uint64_t to)
{
    for (uint64_t epoch = from; epoch <= to; epoch++) {
        struct epoch_record record = {
            .epoch = epoch, .step = epoch * 10, .train_loss = 1.5, .bleu = (double)NAN, .bleu_normalised = (double)NAN};
        run_log_epoch(run, &record);
    }
}

static void a_folder_with_a_run_is_refused_with_both_ways_out(void **state)
{
    struct config config = options();
    struct run run;
    struct err err = {0};
    (void)state;
    config.run_overwrite = true;
    assert_true(run_open(&run, &config, &err));
    log_epochs(&run, 1, 1);
    run_close(&run);
    config.run_overwrite = false;
    assert_false(run_open(&run, &config, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.text, "--resume"));
    assert_non_null(strstr(err.text, "--run.overwrite"));
    config.run_resume = true;
    assert_true(run_open(&run, &config, &err));
    assert_true(is_there(&run, "metrics.jsonl"));
    run_close(&run);
}

static void a_run_that_did_no_step_leaves_metrics_and_blocks_nothing(void **state)
{
    struct config config;
    struct run run = begin(&config);
    char path[CHECKPOINT_PATH + 64];
    (void)state;
    assert_true(run_flushed(&run));
    assert_true(is_there(&run, "metrics.jsonl"));
    snprintf(path, sizeof path, "%s/report.html", run.dir);
    assert_true(file_write_atomic(path, "page", 4, NULL));
    run_close(&run);
    config.run_overwrite = false;
    assert_true(run_open(&run, &config, NULL));
    run_close(&run);
    config.run_overwrite = true;
    assert_true(run_open(&run, &config, NULL));
    assert_false(is_there(&run, "metrics.jsonl"));
    assert_false(is_there(&run, "report.html"));
    run_close(&run);
}

static void overwriting_removes_a_run_and_nothing_else(void **state)
{
    struct config config;
    struct run run = begin(&config);
    char path[CHECKPOINT_PATH + 64];
    (void)state;
    log_epochs(&run, 1, 1);
    snprintf(path, sizeof path, "%s/step-00000010/deeper", run.dir);
    assert_true(folder_make(path, NULL));
    snprintf(path, sizeof path, "%s/best", run.dir);
    assert_true(link_replace(path, "step-00000010", NULL));
    snprintf(path, sizeof path, "%s/journal", run.dir); /* or its results would be taken for those of the next run */
    assert_true(file_write_atomic(path, "a run's", 7, NULL));
    snprintf(path, sizeof path, "%s/notes.txt", run.dir);
    assert_true(file_write_atomic(path, "mine", 4, NULL));
    snprintf(path, sizeof path, "%s/step-by-step.txt", run.dir);
    assert_true(file_write_atomic(path, "mine", 4, NULL));
    run_close(&run);
    assert_true(run_open(&run, &config, NULL));
    assert_true(is_there(&run, "step-by-step.txt"));
    assert_false(is_there(&run, "metrics.jsonl"));
    assert_false(is_there(&run, "step-00000010"));
    assert_false(is_there(&run, "best"));
    assert_false(is_there(&run, "journal"));
    assert_true(is_there(&run, "notes.txt"));
    run_close(&run);
}

static void a_second_training_names_the_process_that_holds_the_folder(void **state)
{
    struct config config = options();
    struct run run, second;
    struct err err = {0};
    char pid[32];
    (void)state;
    config.run_overwrite = true;
    assert_true(run_open(&run, &config, NULL));
    assert_false(run_open(&second, &config, &err));
    assert_int_equal(err.code, ERR_FAILED);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.text, pid));
    run_close(&run);
    assert_true(run_open(&second, &config, NULL));
    run_close(&second);
}

static void a_killed_training_leaves_no_lock(void **state)
{
    struct config config = options();
    struct run run;
    int ready[2], status;
    char byte;
    (void)state;
    config.run_overwrite = true;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        bool opened = run_open(&run, &config, NULL);
        if (write(ready[1], opened ? "y" : "n", 1) == 1 && opened)
            pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_false(run_open(&run, &config, NULL));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(run_open(&run, &config, NULL));
    run_close(&run);
    close(ready[0]);
    close(ready[1]);
}

static void records_are_cut_back_to_where_a_checkpoint_stands(void **state)
{
    struct config config;
    struct run run = begin(&config);
    struct buffer text = {0};
    struct metrics metrics = {0};
    struct step_result results[12];
    (void)state;
    log_epochs(&run, 1, 4);
    for (int i = 0; i < 12; i++)
        results[i] = (struct step_result){.loss_sum = 3, .grad_norm = 1, .tokens = 2, .correct = 1};
    run_log_steps(&run, 0, results, 12);
    assert_true(file_append(run.metrics.path, "{\"epoch\": 5, \"ste", 17, NULL));
    run_rewind(&run, 3, 10);
    assert_true(metrics_read(&metrics, run.metrics.path, NULL));
    assert_int_equal(metrics.count, 2);
    metrics_free(&metrics);
    assert_true(file_read(run.steps.path, 1 << 20, &text, NULL));
    static const char last[] = "{\"step\": 10, \"loss\": 1.5, \"grad_norm\": 1}\n";
    assert_string_equal(text.data + text.size - strlen(last), last);
    buffer_clear(&text);
    assert_true(file_read(run.metrics.path, 1 << 20, &text, NULL));
    assert_int_equal(text.data[text.size - 1], '\n');
    assert_non_null(strstr(text.data, "\"bleu\": null"));
    buffer_free(&text);
    run_close(&run);
}

static void a_record_that_cannot_be_written_is_kept_for_later(void **state)
{
    struct config config;
    struct run run = begin(&config);
    struct metrics metrics = {0};
    (void)state;
    assert_true(folder_make(run.metrics.path, NULL)); /* a folder in its place cannot be appended to */
    log_epochs(&run, 1, 2);
    assert_false(run_flushed(&run));
    assert_int_equal(rmdir(run.metrics.path), 0);
    log_epochs(&run, 3, 3);
    assert_true(run_flushed(&run));
    assert_true(metrics_read(&metrics, run.metrics.path, NULL));
    assert_int_equal(metrics.count, 3);
    metrics_free(&metrics);
    run_close(&run);
}

/* A folder in its place cannot be read, appended to or replaced. */
static void a_withdrawn_record_is_not_written_later(void **state)
{
    struct config config;
    struct run run = begin(&config);
    struct buffer text = {0};
    uint64_t epoch = 0;
    (void)state;
    assert_true(folder_make(run.metrics.path, NULL));
    log_epochs(&run, 1, 4);
    run_rewind(&run, 3, 20);
    assert_false(run_flushed(&run));
    assert_int_equal(rmdir(run.metrics.path), 0);
    log_epochs(&run, 3, 5);
    assert_true(run_flushed(&run));
    assert_true(file_read(run.metrics.path, 1 << 20, &text, NULL));
    for (const char *line = text.data; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_int_equal(strtoull(line + strlen("{\"epoch\": "), NULL, 10), ++epoch);
    assert_int_equal(epoch, 5);
    buffer_free(&text);
    run_close(&run);
}

/* Lines of steps.jsonl from 1 to `end`, and no others. */
static void assert_steps(const struct run *run, int end)
{
    struct buffer text = {0}, expected = {0};
    for (int step = 1; step <= end; step++)
        buffer_format(&expected, "{\"step\": %d, \"loss\": 1.5, \"grad_norm\": 1}\n", step);
    assert_true(file_read(run->steps.path, 1 << 20, &text, NULL));
    assert_string_equal(text.data, expected.data);
    buffer_free(&expected);
    buffer_free(&text);
}

/* No file may grow beyond some lines: what is cut back further, and further again, is written in the end as it should
 * be. */
static void a_full_disk_delays_the_cut_of_records(void **state)
{
    struct config config = options();
    struct run run;
    struct step_result results[12];
    struct rlimit limit, small;
    (void)state;
    config.run_overwrite = true;
    for (int i = 0; i < 12; i++)
        results[i] = (struct step_result){.loss_sum = 3, .grad_norm = 1, .tokens = 2, .correct = 1};
    signal(SIGXFSZ, SIG_IGN);
    assert_true(run_open(&run, &config, NULL));
    run_log_steps(&run, 0, results, 12);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = (struct rlimit){.rlim_cur = 100, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    run_rewind(&run, 1, 10);
    bool cut = run_flushed(&run);
    run_log_steps(&run, 10, results, 2);
    run_rewind(&run, 1, 8);
    run_log_steps(&run, 8, results, 3);
    run_rewind(&run, 1, 10);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_false(cut);
    run_log_steps(&run, 10, results, 1);
    assert_true(run_flushed(&run));
    assert_steps(&run, 11);
    run_close(&run);
}

/* A checkpoint with the least that a reader accepts. */
static void write_checkpoint(const struct run *run, const struct config *config)
{
    static const char tensors[] = "\2\0\0\0\0\0\0\0{}", words[] = "<pad>\n<sos>\n<eos>\n<unk>\n";
    struct checkpoint_state made = {.step = 7, .epoch = 2, .shuffles = 2, .config = *config};
    struct buffer text = {0};
    struct err err = {0};
    snprintf(made.dataset, sizeof made.dataset, "%s", "0123456789abcdef");
    snprintf(made.created, sizeof made.created, "%s", "2026-01-31T12:00:00Z");
    snprintf(made.version, sizeof made.version, "%s", "0.1.0");
    checkpoint_state_write(&made, &text);
    struct checkpoint_writer *writer = checkpoint_begin(run->dir, 7, &err);
    assert_non_null(writer);
    assert_true(checkpoint_write(writer, "state.json", text.data, text.size, &err));
    assert_true(checkpoint_write(writer, "model.safetensors", tensors, 10, &err));
    assert_true(checkpoint_write(writer, "optimizer.safetensors", tensors, 10, &err));
    assert_true(checkpoint_write(writer, "src.vocab", words, strlen(words), &err));
    assert_true(checkpoint_write(writer, "tgt.vocab", words, strlen(words), &err));
    if (!checkpoint_commit(&writer, &err))
        fail_msg("%s", err.text);
    buffer_free(&text);
}

static void resume_keeps_options_that_shape_the_numbers(void **state)
{
    struct config config;
    struct run run = begin(&config);
    struct checkpoint checkpoint;
    struct err err = {0};
    bool found = true;
    (void)state;
    assert_true(run_resume(&run, &config, "0123456789abcdef", &checkpoint, &found, &err));
    assert_false(found);
    write_checkpoint(&run, &config);
    config.train_epochs += 10;
    config.train_threads = 3;
    config.train_keep = 9;
    if (!run_resume(&run, &config, "0123456789abcdef", &checkpoint, &found, &err))
        fail_msg("%s", err.text);
    assert_true(found);
    assert_int_equal(checkpoint.state.step, 7);
    checkpoint_close(&checkpoint);
    assert_false(run_resume(&run, &config, "fedcba9876543210", &checkpoint, &found, &err));
    assert_int_equal(err.code, ERR_DATA);
    config.train_lr = 0.25;
    assert_false(run_resume(&run, &config, "0123456789abcdef", &checkpoint, &found, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.text, "train.lr"));
    assert_non_null(strstr(err.text, "0.25"));
    assert_non_null(strstr(err.text, "0.001"));
    run_close(&run);
}

/* A coordinator with these options is killed before its first checkpoint. */
static void leave_journal(const struct run *run, const struct config *config, const char *fingerprint)
{
    struct journal journal;
    struct ledger ledger = {0};
    struct journal_origin origin;
    assert_true(run_origin(config, fingerprint, &origin, NULL));
    assert_true(journal_open(&journal, run->dir, false, &origin, &ledger, NULL));
    journal_close(&journal);
    ledger_free(&ledger);
}

static void resume_keeps_them_before_the_first_checkpoint_too(void **state)
{
    struct config config;
    struct run run = begin(&config);
    struct checkpoint checkpoint;
    struct err err = {0};
    bool found = true;
    (void)state;
    leave_journal(&run, &config, "0123456789abcdef");
    config.run_overwrite = false;
    config.run_resume = true;
    config.train_epochs += 10;
    config.train_min_workers = 3;
    snprintf(config.cluster_bind, sizeof config.cluster_bind, "%s", "tcp://127.0.0.1:7");
    if (!run_resume(&run, &config, "0123456789abcdef", &checkpoint, &found, &err))
        fail_msg("%s", err.text);
    assert_false(found);
    assert_false(run_resume(&run, &config, "fedcba9876543210", &checkpoint, &found, &err));
    assert_int_equal(err.code, ERR_DATA);
    config.train_seed = 99;
    assert_false(run_resume(&run, &config, "0123456789abcdef", &checkpoint, &found, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.text, "options"));
    assert_non_null(strstr(err.text, "--run.overwrite"));
    run_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_with_a_run_is_refused_with_both_ways_out),
        cmocka_unit_test(a_run_that_did_no_step_leaves_metrics_and_blocks_nothing),
        cmocka_unit_test(overwriting_removes_a_run_and_nothing_else),
        cmocka_unit_test(a_second_training_names_the_process_that_holds_the_folder),
        cmocka_unit_test(a_killed_training_leaves_no_lock),
        cmocka_unit_test(records_are_cut_back_to_where_a_checkpoint_stands),
        cmocka_unit_test(a_record_that_cannot_be_written_is_kept_for_later),
        cmocka_unit_test(a_withdrawn_record_is_not_written_later),
        cmocka_unit_test(a_full_disk_delays_the_cut_of_records),
        cmocka_unit_test(resume_keeps_options_that_shape_the_numbers),
        cmocka_unit_test(resume_keeps_them_before_the_first_checkpoint_too),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
