/* loader.h - the loader thread of a translation worker: checkpoints in, models out.
 *
 * MODEL names a checkpoint. The loader opens it beside those that serve, lets it translate a probe, puts it where the
 * compute thread finds it (models.h), and answers LOADED. What cannot be used is answered with the reason, and the
 * others serve on. RETIRE frees a model.
 *
 * All of it belongs to the loader thread, except the models and `ending`, which the loop thread sets so that a load
 * ends early. A struct with lane, models and config, and zeroes else, is ready; loader_close ends it. */
#ifndef LSTMQ_WORKER_SERVE_LOADER_H
#define LSTMQ_WORKER_SERVE_LOADER_H

#include "worker/serve/lane.h"
#include "worker/serve/models.h"

#include <stdatomic.h>

struct loader {
    struct models *models;
    struct lane *lane;
    const struct config *config;
    _Atomic bool ending;
};

/* Handle a message of the lane; `context` is a struct loader. ERR_PROTOCOL: the message is out of turn. */
bool loader_handle(void *context, const struct message *message, struct err *err);

void loader_close(struct loader *loader);

#endif
