/* stage.h - a coordinator whose peers are played by a fuzz target: a run of a few pairs, a ROUTER that is played too
 * (wire.h), checkpoints and a journal in memory (shelf.h), and a clock that stands still until it is moved on
 * (clock.h).
 *
 * The dataset and the plan are made once; run, journal and trainer are new for each input, so that an input does the
 * same whenever it is run. It is the linker's doing too that getrandom, which names a run, comes to __wrap_getrandom
 * below, and the page for people, which would take longer than all else, to __wrap_report_write. Nothing here waits.
 * One thread. */
#ifndef LSTMQ_TESTS_FUZZ_STAGE_H
#define LSTMQ_TESTS_FUZZ_STAGE_H

#include "coordinator/cluster/trainer_inside.h"
#include "coordinator/run/journal.h"
#include "coordinator/run/report.h"
#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/fuzz/shelf.h"
#include "tests/fuzz/stopped_clock.h"
#include "tests/fuzz/wire.h"
#include "tests/support/legal.h"
#include "tests/support/trainer_scene.h"

#include <stdio.h>
#include <unistd.h>

/* Messages that wait for one peer, and from all of them. */
enum { STAGE_QUEUE = 16 };

struct stage {
    struct scene scene;
    struct wire_line heard; /* by the router */
    struct wire_socket router;
    bool made;
    int64_t now_ms;
    /* of one input */
    struct journal journal;
    struct ledger ledger;
    bool ended; /* the run cannot go on */
    struct err err;
};

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

static void stage_configure(struct config *config, const char *folder)
{
    char pairs[96];
    snprintf(pairs, sizeof pairs, "%s/pairs.tsv", folder);
    scene_configure(config, pairs, folder);
    config->train_epochs = 1;
    config->train_batch = 2;
    config->train_span = 1;
    config->train_checkpoint_every = 1;
    config->cluster_join_delay = 0;
}

/* Once in the life of the process: five pairs, of which four are trained on in two steps. */
static void stage_make(void)
{
    struct config *config = &stage.scene.config;
    struct err err;
    char folder[] = "/tmp/lstmq-fuzz-XXXXXX";
    log_open("fuzz", LOG_OFF);
    must(mkdtemp(folder) != NULL);
    stage_configure(config, folder);
    FILE *pairs = fopen(config->data_pairs, "we");
    must(pairs != NULL);
    fputs("a b c\tw x y\na b d\tw y\nc a\tx w w\nd d b\ty\nb a\tx y\n", pairs);
    must(fclose(pairs) == 0);
    must(scene_open_data(&stage.scene, &err));
    unlink(config->data_pairs);
    must(rmdir(folder) == 0);
    stage.heard.most = STAGE_QUEUE;
    stage.router.in = &stage.heard;
    stage.made = true;
}

/* A coordinator begins, or begins again, in the run folder as it is. */
static void stage_open(bool resume)
{
    struct scene *scene = &stage.scene;
    const struct journal_origin origin = {.options = 1, .pairs = 2};
    struct err err;
    scene->config.run_resume = resume;
    must(scene_open_run(scene, &err));
    stage.ledger = (struct ledger){0};
    ledger_begin(&stage.ledger, scene->found ? scene->checkpoint.state.step : 0);
    must(journal_open(&stage.journal, scene->run.dir, resume, &origin, &stage.ledger, &err));
    must(scene_open_trainer(scene, &stage.router, &stage.journal, &stage.ledger, &err));
}

static void stage_close(void)
{
    scene_close_trainer(&stage.scene);
    journal_close(&stage.journal);
    ledger_free(&stage.ledger);
    scene_close_run(&stage.scene);
}

static bool stage_is_over(void)
{
    return stage.ended || trainer_outcome(stage.scene.trainer) != TRAINER_RUNNING;
}

static bool stage_is_legal(void)
{
    const struct trainer *trainer = stage.scene.trainer;
    return legal_fleet(&trainer->fleet) && (trainer_legal[trainer->fleet.state] >> trainer->next & 1U) != 0;
}

/* A run may end because its workers contradict each other, or one of them says that training diverged or that the data
 * is bad: it then names a worker. No other message may end it. */
static void stage_must(bool goes_on)
{
    stage.ended = !goes_on;
    must(!goes_on || stage.scene.trainer == NULL || stage_is_legal());
    must(goes_on || ((stage.err.code == ERR_FAILED || stage.err.code == ERR_DIVERGED || stage.err.code == ERR_DATA) &&
                     strncmp(stage.err.text, "worker", 6) == 0));
}

/* The clock goes on by `ms`, and what falls due is done. */
static void stage_wait(int64_t ms)
{
    bool over;
    stage_must(clock_round(stage.scene.loop, ms, loop_run, &over, &stage.err));
}

/* The coordinator takes in what waits for it. */
static void stage_take(void)
{
    while (!stage_is_over() && stage.heard.count > 0)
        stage_must(trainer_receive(stage.scene.trainer, &stage.err) &&
                   trainer_advance(stage.scene.trainer, &stage.err));
}

/* It is killed, and started again. */
static void stage_restart(void)
{
    const struct scene *scene = &stage.scene;
    stage_close();
    stage_open(true);
    stage.ended = scene->found && tally_over(&scene->checkpoint.state, &scene->config);
}

#endif
