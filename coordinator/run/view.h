/* view.h - a run as people see it: the line on the terminal, the page in the run folder, the table at the end.
 *
 * Reads what the trainer counts and decides nothing. A page that cannot be written is logged; training goes on.
 * Coordinator's thread. */
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
    uint64_t parameters;     /* of the model; 0 until a worker sent one */
    double seconds_per_step; /* of the newest epoch that trained a step; 0 = not known yet */
    double epoch_overhead;   /* seconds of the last validation */
    bool has_report;
    struct view_window window;
    uint64_t logged_step;   /* newest step that log.every has logged, or may skip */
    double stepped_seconds; /* training wall time of the epoch when steps came last */
};

/* Call for each step that the state has counted: logs a line every log.every steps of an epoch. `train_seconds` as
 * below. */
void view_step(struct view *view, const struct step_result *result, double train_seconds);

/* The state went back and counts known steps again. Steps up to `logged` are not logged again. */
void view_back(struct view *view, uint64_t logged);

/* A moment of the epoch: `train_seconds` is the training time of the epoch up to now. */
void view_moment(struct view *view, const char *doing, double train_seconds);

/* An epoch is over: its line, and the page anew. */
void view_epoch(struct view *view, const struct epoch_record *record, bool best);

/* Write the page; `status` is what it says of the run. */
void view_report(struct view *view, const char *status);

/* The page and the table of a run that ends here. */
void view_end(struct view *view, const char *status);

#endif
