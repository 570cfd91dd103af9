/* conduct.h - a run's parts around its trainer: data, plan, folder, loop, signals.
 *
 * Shared by `lstmq train`, which starts workers on its own threads, and `lstmq coordinator`, which waits for them on a
 * socket. The command owns a struct conduct. conduct_prepare reads the data and opens the run folder. conduct_open_loop
 * makes the loop, conduct_open_trainer makes the trainer on a bound socket, conduct_run runs to the end of the run, and
 * conduct_close frees everything. The first SIGINT, SIGTERM or SIGHUP ends a run in good order. Half a second later the
 * signals get their default action, so a second one ends the process at once. Main thread. */
#ifndef LSTMQ_COORDINATOR_CONDUCT_H
#define LSTMQ_COORDINATOR_CONDUCT_H

#include "coordinator/cluster/trainer.h"
#include "coordinator/data/dataset.h"
#include "coordinator/data/plan.h"
#include "coordinator/run/journal.h"
#include "coordinator/run/progress.h"
#include "coordinator/run/run.h"
#include "coordinator/run/samples.h"
#include "proto/wire/watch.h"

struct conduct {
    const struct config *config; /* not owned */
    struct mt19937 stream;
    struct dataset dataset;
    struct plan plan;
    struct samples samples;
    struct run run;
    struct checkpoint checkpoint;
    bool found; /* checkpoint is open */
    struct display display;
    int argc; /* the command's words; the caller owns them */
    char **argv;
    struct buffer command; /* the words, quoted for a shell */
    struct loop *loop;
    struct trainer *trainer;
    int signals;    /* signalfd */
    bool signalled; /* the first signal has arrived */
};

/* Read the data, open the run folder, find the run's position. argv are the command's words, for the report; they must
 * outlive the conduct. *over: nothing is left to do. Call conduct_close in any case. */
bool conduct_prepare(struct conduct *conduct, const struct config *config, int argc, char **argv, bool *over,
                     struct err *err);

/* Signals are blocked from here on, before any thread starts, so that only the loop receives them. */
bool conduct_open_loop(struct conduct *conduct, struct err *err);

/* Open the trainer on `socket` (ROUTER, bound); watch, journal and ledger as in struct trainer_parts. */
bool conduct_open_trainer(struct conduct *conduct, void *socket, struct watch *watch, struct journal *journal,
                          struct ledger *ledger, struct err *err);

/* Record the options, then run the loop to the end of the run. Call it when nothing else can fail: a start that fails
 * must leave the run's options unchanged. ERR_INTERRUPTED: a signal came. ERR_IO: the last state could not be saved. */
bool conduct_run(struct conduct *conduct, struct err *err);

/* Call it before the socket is closed. */
void conduct_close_trainer(struct conduct *conduct);
void conduct_close(struct conduct *conduct);

#endif
