/* run.h - the folder of a run: its lock, and its records besides checkpoints.
 *
 *   RUN/lock                  held (flock) by the one training that owns the folder; the kernel frees it when that dies
 *   RUN/metrics.jsonl         one object an epoch
 *   RUN/steps.jsonl           one object for each of the first log.steps steps
 *   RUN/step-*, latest, best  checkpoints (proto/store/checkpoint.h)
 *   RUN/report.html           (coordinator/run/report.h)
 *   RUN/journal               of a coordinator (coordinator/run/journal.h)
 *   RUN/options.yaml          the options of its newest start (coordinator/run/resume.h)
 *
 * run_open takes the lock and refuses a folder that holds another run; run_close releases it. Records are appended as
 * they occur. A record that cannot be written stays in memory until the next one is written, so a full disk loses none.
 * run_rewind cuts the records back to the position where training continues. A file that cannot be cut then is cut
 * before the next append, so no record occurs twice. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_RUN_H
#define LSTMQ_COORDINATOR_RUN_RUN_H

#include "coordinator/run/journal.h"
#include "proto/base/buffer.h"
#include "proto/base/config.h"
#include "proto/base/step_result.h"
#include "proto/store/checkpoint.h"

#define RUN_OPTIONS "options.yaml"

/* One line of metrics.jsonl. NAN becomes null: not computed. */
struct epoch_record {
    uint64_t epoch, step;
    double train_loss, train_acc;
    double val_loss, val_acc, val_tf_loss;
    double bleu, bleu_normalised; /* against references as written, and against references normalised as in training */
    uint64_t tgt_tokens;          /* target positions trained on */
    double tgt_tok_per_s;         /* tgt_tokens ÷ training wall time, without validation and checkpoints */
    double seconds;               /* wall time of the epoch's training and validation */
};

/* A file of one JSON object a line. */
struct record_file {
    char path[CHECKPOINT_PATH];
    const char *key;       /* the number that rises from line to line: "epoch", "step" */
    struct buffer pending; /* lines that are not written yet */
    bool stale;            /* the file may hold obsolete lines beyond `most` */
    uint64_t most;
    bool complained; /* the failure was logged */
};

struct run {
    char dir[CHECKPOINT_PATH];
    int lock; /* descriptor */
    struct record_file metrics, steps;
};

/* Make config->run_dir, or open it, and lock it. ERR_USAGE: it holds a run and neither run.resume nor run.overwrite is
 * given, or both are. ERR_FAILED: another process trains there. With run.overwrite, removes the files of the previous
 * run. */
bool run_open(struct run *run, const struct config *config, struct err *err);
void run_close(struct run *run);

/* The origin of a run of `config` on the dataset of `fingerprint`. Two runs have the same origin if one can be
 * continued as the other. ERR_MEMORY. */
bool run_origin(const struct config *config, const char *fingerprint, struct journal_origin *origin, struct err *err);

/* Open the newest valid checkpoint for run.resume. *found = false: begin at step 0. ERR_USAGE: `config` differs from
 * the stored one in an option that affects the numbers (names key and both values). ERR_DATA: it belongs to another
 * dataset. Without a checkpoint, the same check uses a coordinator's journal, which shows only that they differ. */
bool run_resume(struct run *run, const struct config *config, const char *fingerprint, struct checkpoint *checkpoint,
                bool *found, struct err *err);

/* Drop the records of epochs from `epoch` on and of steps beyond `step`, written or not, and partial lines after a
 * crash. A failure is logged once, and repeated with the next records. */
void run_rewind(struct run *run, uint64_t epoch, uint64_t step);

/* Append records. After a failure, logged once, the lines are kept; run_flushed tells whether all are written. */
void run_log_epoch(struct run *run, const struct epoch_record *record);
/* `count` results; the first is of step `first_step`, counted from 0. */
void run_log_steps(struct run *run, uint64_t first_step, const struct step_result *results, uint32_t count);
bool run_flushed(struct run *run);

#endif
