/* progress.h - what a user sees of a run while it trains.
 *
 * On a terminal: one live line, redrawn at most ten times a second, and removed before other output (log lines of any
 * thread included). Fields that do not fit the terminal's width are omitted. In a pipe: one plain line an epoch. Both
 * end with a table; run.progress none prints neither. All output goes to stdout. Once its reader has gone (EPIPE, EIO),
 * nothing more is printed and the run continues. The view owns a struct display, from progress_open to progress_close.
 * Coordinator's thread; other threads only clear the line. */
#ifndef LSTMQ_COORDINATOR_RUN_PROGRESS_H
#define LSTMQ_COORDINATOR_RUN_PROGRESS_H

#include "coordinator/run/metrics.h"
#include "coordinator/run/run.h"

#include <pthread.h>

struct display {
    bool live;            /* a line that is redrawn */
    bool shown;           /* false with run.progress none, and once the reader has gone */
    pthread_mutex_t lock; /* protects drawn: log lines of other threads clear the line */
    bool drawn;           /* the live line is on the terminal */
    int64_t drawn_ms;     /* when it was last drawn */
    bool headed;          /* the heading of the plain lines was printed */
    uint64_t epochs;      /* of the whole run */
};

/* A moment of an epoch. */
struct progress_moment {
    uint64_t epoch, epoch_step, epoch_steps;
    double loss, accuracy;    /* of the epoch so far; NAN = not known yet */
    double tokens_per_second; /* target positions; NAN = not known yet */
    double eta_seconds;       /* of the whole run; NAN = not known yet */
    const char *doing;        /* "training", "validating", "saving" */
};

/* The content of the table at the end. */
struct progress_summary {
    const char *dir, *status; /* "finished", "stopped early", "interrupted" */
    uint64_t epochs_done, steps;
    double tgt_tok_per_s;             /* mean over all epochs; NAN = unknown */
    double seconds;                   /* training and validation, over all parts of the run */
    const struct epoch_metrics *best; /* NULL = no completed epoch */
    bool has_checkpoint, has_report;
};

void progress_open(struct display *display, enum progress mode, uint64_t epochs);
/* Removes the live line. */
void progress_close(struct display *display);

void progress_moment(struct display *display, const struct progress_moment *moment);
void progress_epoch(struct display *display, const struct epoch_record *record, bool best);
void progress_summary(struct display *display, const struct progress_summary *summary);

#endif
