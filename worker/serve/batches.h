/* batches.h - the compute thread of a translation worker: BATCH in, RESULT out.
 *
 * A batch is translated by the version that it names, all its sentences together. Memory is kept from batch to batch.
 * All of it belongs to the compute thread, except the models (models.h). A struct with lane and models, and zeroes
 * else, is ready; batches_close ends it. */
#ifndef LSTMQ_WORKER_SERVE_BATCHES_H
#define LSTMQ_WORKER_SERVE_BATCHES_H

#include "worker/serve/lane.h"
#include "worker/serve/models.h"
#include "worker/serve/passage.h"

struct batches {
    struct models *models;
    struct lane *lane;
    struct passage passage;
};

/* Handle BATCH, or RETIRE behind the batches that came before it; `context` is a struct batches. ERR_PROTOCOL: a BATCH
 * of a version that is not loaded. */
bool batches_handle(void *context, const struct message *message, struct err *err);

void batches_close(struct batches *batches);

#endif
