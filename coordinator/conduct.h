/* conduct.h - everything a run needs around its trainer: data, plan, folder, loop, signals.
 *
 * What `lstmq train` and `lstmq coordinator` have in common: the first brings workers along on threads of its own, the
 * second waits for them on a socket. conduct_prepare reads the data and opens the run folder, conduct_open_loop makes the
 * loop, conduct_open_trainer the trainer on a socket that is bound, conduct_run goes to the run's end and says how it
 * came. The first SIGINT, SIGTERM or SIGHUP ends a run in good order; soon after they have their default meaning again, so a
 * second one ends the process at once. Main thread. */
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
    struct buffer command; /* the words as a shell takes them */
    struct loop *loop;
    struct trainer *trainer;
    int signals;    /* signalfd */
    bool signalled; /* the first signal came */
};

/* Read the data, open the run folder, find where the run stands. argv are the command's words, for the report; they
 * must outlive the conduct. *over: there is nothing left to do. Call conduct_close whatever it returns. */
bool conduct_prepare(struct conduct *conduct, const struct config *config, int argc, char **argv, bool *over,
                     struct err *err);

/* Signals are blocked from here on, before any thread is started, so that the loop alone hears them. */
bool conduct_open_loop(struct conduct *conduct, struct err *err);

/* The trainer on `socket` (ROUTER, bound); watch, journal and ledger as in struct trainer_parts. */
bool conduct_open_trainer(struct conduct *conduct, void *socket, struct watch *watch, struct journal *journal,
                          struct ledger *ledger, struct err *err);

/* Record the options, then run the loop to the end of the run. Call it once nothing else can fail: a start that fails
 * must leave the options of the run as they were. ERR_INTERRUPTED after a signal; ERR_IO where the last state could not
 * be saved. */
bool conduct_run(struct conduct *conduct, struct err *err);

/* Before the socket is closed. */
void conduct_close_trainer(struct conduct *conduct);
void conduct_close(struct conduct *conduct);

#endif
