/* samples.h - the few sentences whose translations a report shows.
 *
 * At most SAMPLES_MOST: first the user's own (run.sample), then the first validation pairs with their references. They
 * are encoded once in samples_open. A worker translates them at each epoch's end, and the newest translation is kept.
 * samples_close frees them. Owned by the trainer; its thread only. */
#ifndef LSTMQ_COORDINATOR_RUN_SAMPLES_H
#define LSTMQ_COORDINATOR_RUN_SAMPLES_H

#include "coordinator/data/dataset.h"
#include "coordinator/data/packing.h"
#include "coordinator/run/report.h"

enum { SAMPLES_MOST = 20 };

struct samples {
    size_t count;
    struct report_sample shown[SAMPLES_MOST]; /* views of the texts below; translation "" until the first */
    char *sources[SAMPLES_MOST];              /* owned; a user's sentence as written */
    char *translations[SAMPLES_MOST];         /* owned, or NULL */
    struct packing rows;                      /* [count] */
};

/* ERR_IO: run.sample cannot be read. ERR_DATA: it is empty or not UTF-8. Sentences that are empty or longer than
 * data.max_tokens are skipped with a warning. `dataset` must outlive the samples. */
bool samples_open(struct samples *samples, const struct dataset *dataset, const struct config *config, struct err *err);
void samples_close(struct samples *samples);

/* The new translation of sample `index`: ids up to and with <eos>. */
bool samples_translated(struct samples *samples, size_t index, const struct vocab *vocab, const uint16_t *ids,
                        size_t count, struct err *err);

#endif
