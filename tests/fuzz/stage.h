/* stage.h - a coordinator whose peers are played by a fuzz target: a run of a few pairs, a ROUTER that is played too
 * (wire.h), checkpoints in memory (shelf.h), and a clock that stands still until it is told to go on.
 *
 * The dataset and the plan are made once; run, journal and trainer anew for each input, so that an input does the same
 * whenever it is run. The clock is the linker's doing: every clock_gettime of the program comes to __wrap_clock_gettime
 * below, and getrandom, which names a run, to __wrap_getrandom; so does the page for people, which would take longer than
 * all else. Nothing here waits. One thread. */
#ifndef LSTMQ_TESTS_FUZZ_STAGE_H
#define LSTMQ_TESTS_FUZZ_STAGE_H

#include "coordinator/journal.h"
#include "coordinator/report.h"
#include "coordinator/trainer.h"
#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/fuzz/shelf.h"
#include "tests/fuzz/wire.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Messages that wait for one peer, and from all of them. */
enum { STAGE_QUEUE = 16 };

struct stage {
    struct config config;
    struct dataset dataset;
    struct plan plan;
    struct samples samples;
    struct display display;
    struct wire_line heard; /* by the router */
    struct wire_socket router;
    bool made;
    char folder[64], dir[96];
    /* of one input */
    struct run run;
    struct checkpoint checkpoint;
    bool found;
    struct journal journal;
    struct ledger ledger;
    struct loop *loop;
    struct trainer *trainer;
    bool ended; /* the run cannot go on */
    struct err err;
};

static bool stage_clock_stands;
static int64_t stage_now_ms;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
    if (!stage_clock_stands || id != CLOCK_MONOTONIC)
        return __real_clock_gettime(id, now);
    *now = (struct timespec){.tv_sec = stage_now_ms / 1000, .tv_nsec = stage_now_ms % 1000 * 1000000};
    return 0;
}

bool __wrap_report_write(const char *dir, const struct report_facts *facts, struct err *err);

bool __wrap_report_write(const char *dir, const struct report_facts *facts, struct err *err)
{
    (void)dir, (void)facts, (void)err;
    return true;
}

/* The run's identity: the same for each input. */
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    (void)flags;
    memset(bytes, 0x5A, size);
    return (ssize_t)size;
}

static struct stage stage;

static void stage_remove(void)
{
    unlink(stage.journal.path);
    must(rmdir(stage.dir) == 0 && rmdir(stage.folder) == 0);
}

static void stage_configure(struct config *config)
{
    config_defaults(config);
    snprintf(config->data_pairs, sizeof config->data_pairs, "%s/pairs.tsv", stage.folder);
    snprintf(config->run_dir, sizeof config->run_dir, "%s", stage.dir);
    config->data_valid_fraction = 0.2;
    config->data_split = SPLIT_TAIL;
    config->train_epochs = 1;
    config->train_batch = 2;
    config->train_shards = 2;
    config->train_span = 1;
    config->train_checkpoint_every = 1;
    config->train_min_workers = 1;
    config->cluster_settle = 0;
    config->run_progress = PROGRESS_NONE;
    config->log_steps = 4;
}

/* Once in the life of the process: six pairs, of which four are trained on in two steps. */
static void stage_make(void)
{
    struct mt19937 stream;
    struct err err;
    log_open("fuzz", LOG_OFF);
    snprintf(stage.folder, sizeof stage.folder, "%s",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm/lstmq-fuzz-XXXXXX" : "/tmp/lstmq-fuzz-XXXXXX");
    must(mkdtemp(stage.folder) != NULL);
    snprintf(stage.dir, sizeof stage.dir, "%s/run", stage.folder);
    stage_configure(&stage.config);
    FILE *pairs = fopen(stage.config.data_pairs, "we");
    must(pairs != NULL);
    fputs("a b c\tw x y\na b d\tw y\nc a\tx w w\nd d b\ty\nb a\tx y\n", pairs);
    must(fclose(pairs) == 0);
    mt19937_seed(&stream, 42);
    must(dataset_read(&stage.dataset, &stage.config, &stream, &err));
    must(samples_open(&stage.samples, &stage.dataset, &stage.config, &err));
    must(plan_open(&stage.plan, stage.dataset.train, (uint32_t)stage.config.train_batch,
                   (uint32_t)stage.config.train_shards, &stream, &err));
    progress_open(&stage.display, PROGRESS_NONE, 1);
    unlink(stage.config.data_pairs);
    must(rmdir(stage.folder) == 0);
    stage.heard.most = STAGE_QUEUE;
    stage.router.in = &stage.heard;
    stage.made = true;
}

/* A coordinator begins, or begins again, in the run folder as it is. */
static void stage_open(bool resume)
{
    struct err err;
    stage.config.run_resume = resume;
    must(run_open(&stage.run, &stage.config, &err));
    stage.found = false;
    if (resume)
        must(run_resume(&stage.run, &stage.config, stage.dataset.fingerprint, &stage.checkpoint, &stage.found, &err));
    const struct checkpoint_state *state = &stage.checkpoint.state;
    must(run_rewind(&stage.run, stage.found ? state->epoch : 1, stage.found ? state->step : 0, &err));
    stage.ledger = (struct ledger){0};
    ledger_begin(&stage.ledger, stage.found ? state->step : 0);
    must(journal_open(&stage.journal, stage.run.dir, resume, &stage.ledger, &err));
    stage.loop = loop_new(&err);
    const struct trainer_parts parts = {.config = &stage.config,
                                        .dataset = &stage.dataset,
                                        .plan = &stage.plan,
                                        .samples = &stage.samples,
                                        .run = &stage.run,
                                        .display = &stage.display,
                                        .loop = stage.loop,
                                        .socket = &stage.router,
                                        .checkpoint = stage.found ? &stage.checkpoint : NULL,
                                        .journal = &stage.journal,
                                        .ledger = &stage.ledger};
    stage.trainer = trainer_new(&parts, &err);
    must(stage.trainer != NULL);
}

static void stage_close(void)
{
    trainer_destroy(&stage.trainer);
    loop_destroy(&stage.loop);
    journal_close(&stage.journal);
    ledger_free(&stage.ledger);
    run_close(&stage.run);
    if (stage.found)
        checkpoint_close(&stage.checkpoint);
}

static bool stage_is_over(void)
{
    return stage.ended || trainer_outcome(stage.trainer) != TRAINER_RUNNING;
}

/* A run may end because its workers contradict each other, or one of them says that training diverged or that the data
 * is bad: it then names a worker. Nothing else that is said may end it. */
static void stage_must(bool goes_on)
{
    stage.ended = !goes_on;
    must(goes_on || ((stage.err.code == ERR_FAILED || stage.err.code == ERR_DIVERGED || stage.err.code == ERR_DATA) &&
                     strncmp(stage.err.text, "worker", 6) == 0));
}

static bool stage_stop(void *loop, struct err *err)
{
    (void)err;
    loop_stop(loop);
    return true;
}

/* The clock goes on by `ms`, and what falls due is done. */
static void stage_wait(int64_t ms)
{
    stage_now_ms += ms;
    must(loop_add_timer(stage.loop, 0, 0, stage_stop, stage.loop, &stage.err) != 0);
    stage_must(loop_run(stage.loop, &stage.err));
}

/* The coordinator takes in what waits for it. */
static void stage_take(void)
{
    while (!stage_is_over() && stage.heard.count > 0)
        stage_must(trainer_receive(stage.trainer, &stage.err));
}

/* It is killed, and started anew. */
static void stage_restart(void)
{
    const struct config *config = &stage.config;
    stage_close();
    stage_open(true);
    stage.ended = stage.found && tally_over(&stage.checkpoint.state, config);
}

#endif
