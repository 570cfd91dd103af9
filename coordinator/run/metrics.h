/* metrics.h - RUN/metrics.jsonl read back: the results of each epoch.
 *
 * Training writes the file, one object a line (see the README). Reading is lenient, because a run that died may leave
 * half a line. A line that is not an object with an epoch is ignored. A value that is missing, null or not a number is
 * NAN. If an epoch occurs twice, as after a resume, the later line counts. The caller owns it and ends it with
 * metrics_free. One thread at a time. */
#ifndef LSTMQ_COORDINATOR_RUN_METRICS_H
#define LSTMQ_COORDINATOR_RUN_METRICS_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct epoch_metrics {
    uint64_t epoch; /* from 1 */
    double train_loss, val_loss, val_tf_loss;
    double train_acc, val_acc;        /* fractions */
    double bleu, bleu_normalised;     /* 0 to 100 */
    double tgt_tokens, tgt_tok_per_s; /* real target positions; per second of training time */
    double seconds;                   /* of the epoch, validation included */
};

struct metrics {
    struct epoch_metrics *epochs; /* ascending, owned */
    size_t count, capacity;
};

/* Read `path` into `metrics`, which the caller frees in any case. A missing file has no epochs. */
bool metrics_read(struct metrics *metrics, const char *path, struct err *err);
void metrics_free(struct metrics *metrics);

/* Target tokens per second of training, over all epochs; NAN = unknown. */
double metrics_speed(const struct metrics *metrics);
/* Training and validation time of all epochs, over all processes. */
double metrics_seconds(const struct metrics *metrics);

/* The row of `epoch`; NULL = none. */
const struct epoch_metrics *metrics_of(const struct metrics *metrics, uint64_t epoch);

#endif
