/* loader.h - the loader thread of a translation worker: checkpoints in, models out.
 *
 * MODEL names a checkpoint. The loader reads it in its folder, if this host sees that folder with the same manifest.
 * Otherwise it takes the cache's copy (cache.h), or fetches one from the queue (fetching.h). It opens the checkpoint
 * beside those that serve, lets it translate a probe, puts it where the compute thread finds it (models.h), and answers
 * LOADED. What cannot be used is answered with the reason, and the others serve on. RETIRE drops an offer, or goes on
 * to the compute thread, which has the batches that were sent before it.
 *
 * Messages only record: offers wait in order, a piece goes to the file that is on its way. loader_advance then takes
 * the next offer, unless one is being fetched, and sends what FETCH is due.
 *
 * All of it belongs to the loader thread, except the models and `ending`, which the loop thread sets so that no further
 * checkpoint is opened. A struct with lane, models and config, and zeroes else, is ready; loader_close ends it. */
#ifndef LSTMQ_WORKER_SERVE_LOADER_H
#define LSTMQ_WORKER_SERVE_LOADER_H

#include "worker/serve/fetching.h"
#include "worker/serve/lane.h"
#include "worker/serve/models.h"

#include <stdatomic.h>

enum { LOADER_OFFERS = 256 /* that may wait */ };

struct offer {
    uint64_t version, manifest, step;
    bool echo;
    char source[MESSAGE_LANGUAGE + 1], target[MESSAGE_LANGUAGE + 1];
    char path[MESSAGE_FOLDER + 1];
    int64_t begun_ns;
    struct offer *next;
};

struct loader {
    struct models *models;
    struct lane *lane;
    const struct config *config;
    _Atomic bool ending;
    struct offer *first, **last; /* last: where the next one goes; NULL = the list is new */
    size_t offers;
    struct fetching fetching; /* of the first offer */
    unsigned strays;          /* pieces that were requested for downloads that failed */
    bool serves;              /* a model was loaded: further loads have a lower priority */
};

/* Handle a message of the lane; `context` is a struct loader. ERR_PROTOCOL: the message is out of turn. */
bool loader_handle(void *context, const struct message *message, struct err *err);

void loader_close(struct loader *loader);

#endif
