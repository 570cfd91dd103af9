/* view.h - what users see of a run: the line on the terminal, the page in the run folder, the table at the end.
 *
 * It reads the trainer's counts and decides nothing. A page that cannot be written is logged; training continues. The
 * trainer owns it. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_VIEW_H
#define LSTMQ_COORDINATOR_RUN_VIEW_H

#include "coordinator/data/dataset.h"
#include "coordinator/run/progress.h"
#include "coordinator/run/run.h"
#include "coordinator/run/samples.h"

/* Sums over the steps since the last line of log.every. */
struct view_window {
    uint64_t steps, tokens;
    double loss_sum, batch_loss_sum;
};

struct view {
    const struct config *config;
    const struct dataset *dataset;
    const struct run *run;
    const struct samples *samples;
    const struct checkpoint_state *state;
    struct display *display;
    const char *command;     /* of this process, for the page; NULL = unknown */
    uint64_t epoch_steps;    /* steps in an epoch */
    uint64_t parameters;     /* of the model; 0 = no worker has sent it */
    double seconds_per_step; /* of the newest epoch with a step; 0 = unknown */
    double epoch_overhead;   /* seconds of the last validation */
    bool has_report;
    struct view_window window;
    uint64_t logged_step;   /* newest step that log.every has logged, or must not log */
    double stepped_seconds; /* training wall time of the epoch at the newest step */
};

/* Call it for each counted step: logs a line every log.every steps of an epoch. `train_seconds` as below. */
void view_step(struct view *view, const struct step_result *result, double train_seconds);

/* The state was set back and will count known steps again. Steps up to `logged` are not logged again. */
void view_back(struct view *view, uint64_t logged);

/* A moment of the epoch; `train_seconds` is the epoch's training time so far. */
void view_moment(struct view *view, const char *doing, double train_seconds);

/* An epoch is over: print its line and write the page again. */
void view_epoch(struct view *view, const struct epoch_record *record, bool best);

/* Write the page; `status` is the run's status on it. */
void view_report(struct view *view, const char *status);

/* The page and the table at the end of a run. */
void view_end(struct view *view, const char *status);

#endif
