/* report.h - RUN/report.html: a run on one page.
 *
 * Self-contained: Chart.js and all data are in the file, and it requests nothing. It has curves of loss, accuracy, BLEU
 * and speed over epochs, the settings, and sample translations beside their references. It is built from
 * RUN/metrics.jsonl and the arguments, so it can be written after each epoch and after a resume. Keeps no state.
 * Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_REPORT_H
#define LSTMQ_COORDINATOR_RUN_REPORT_H

#include "proto/base/config.h"

struct report_sample {
    const char *source, *reference, *translation; /* NUL-terminated UTF-8; reference NULL = none */
};

struct report_facts {
    const struct config *config;
    const char *title; /* "notebook" */
    size_t train_pairs, valid_pairs, src_vocab, tgt_vocab;
    uint64_t parameters;
    uint64_t best_epoch; /* 0 = none yet */
    const char *status;  /* "finished", "training", "interrupted", "stopped early" */
    const char *command; /* that wrote the page; NULL = unknown */
    const struct report_sample *samples;
    size_t sample_count;
};

/* Write `run`/report.html atomically. */
bool report_write(const char *run, const struct report_facts *facts, struct err *err);

#endif
