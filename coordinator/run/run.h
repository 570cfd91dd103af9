/* run.h - the folder of a run: who may write to it, and what it remembers beside checkpoints.
 *
 *   RUN/lock                  held (flock) by the one training that owns the folder; the kernel frees it when that dies
 *   RUN/metrics.jsonl         one object an epoch
 *   RUN/steps.jsonl           one object for each of the first log.steps steps
 *   RUN/step-*, latest, best  checkpoints (proto/store/checkpoint.h)
 *   RUN/report.html           (coordinator/run/report.h)
 *   RUN/journal               of a coordinator (coordinator/run/journal.h)
 *   RUN/options.yaml          the options of its newest start (coordinator/run/resume.h)
 *
 * run_open takes the lock and refuses a folder that holds another run. Records are appended as things happen; a record
 * that cannot be written is kept in memory and tried again with the next one, so a full disk loses none. run_rewind
 * cuts the records back to where training goes on from; a file that cannot be cut yet is cut before anything is appended
 * to it, so none is there twice. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_RUN_H
#define LSTMQ_COORDINATOR_RUN_RUN_H

#include "coordinator/run/journal.h"
#include "proto/base/buffer.h"
#include "proto/base/config.h"
#include "proto/store/checkpoint.h"
#include "proto/wire/message.h"

#define RUN_OPTIONS "options.yaml"

/* One line of metrics.jsonl. NAN stands for null: not computed. */
struct epoch_record {
    uint64_t epoch, step;
    double train_loss, train_acc;
    double val_loss, val_acc, val_tf_loss;
    double bleu, bleu_normalised; /* against the references as written, and normalised as in training */
    uint64_t tgt_tokens;          /* target positions trained on */
    double tgt_tok_per_s;         /* tgt_tokens ÷ training wall time; validation and checkpoints left out */
    double seconds;               /* wall time of the epoch's training and validation */
};

/* A file of one JSON object a line. */
struct record_file {
    char path[CHECKPOINT_PATH];
    const char *key;       /* the number by which its lines rise: "epoch", "step" */
    struct buffer pending; /* lines that could not be written yet */
    bool stale;            /* the file may hold lines beyond `most`, which count no more */
    uint64_t most;
    bool complained; /* the failure has been logged */
};

struct run {
    char dir[CHECKPOINT_PATH];
    int lock; /* descriptor */
    struct record_file metrics, steps;
};

/* Make or take over config->run_dir and lock it. ERR_USAGE when it holds a run and neither run.resume nor run.overwrite
 * is given, or both are; ERR_FAILED when another process trains there. With run.overwrite what the former run left is
 * removed. */
bool run_open(struct run *run, const struct config *config, struct err *err);
void run_close(struct run *run);

/* What a run of `config` on the dataset of `fingerprint` begins with: that of two runs is the same where one of them can be
 * continued as the other. ERR_MEMORY. */
bool run_origin(const struct config *config, const char *fingerprint, struct journal_origin *origin, struct err *err);

/* Open the newest whole checkpoint for run.resume. *found = false: begin at step 0. ERR_USAGE when `config` differs
 * from the stored one in anything that shapes the numbers (names key and both values); ERR_DATA when it is of another
 * dataset. Without a checkpoint the same holds for the journal of a coordinator, which tells no more than that they differ. */
bool run_resume(struct run *run, const struct config *config, const char *fingerprint, struct checkpoint *checkpoint,
                bool *found, struct err *err);

/* Drop the records of epochs from `epoch` on and of steps beyond `step`, written or not, and lines cut short by a crash. A
 * failure is logged once, and tried again with the next records. */
void run_rewind(struct run *run, uint64_t epoch, uint64_t step);

/* Append records. A failure is logged once and the lines are kept; run_flushed says whether the files are as they should
 * be. */
void run_log_epoch(struct run *run, const struct epoch_record *record);
/* `count` results, the first of which is of step `first_step`, counted from 0. */
void run_log_steps(struct run *run, uint64_t first_step, const struct step_result *results, uint32_t count);
bool run_flushed(struct run *run);

#endif
