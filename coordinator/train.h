/* train.h - what `lstmq train` needs from the rest of the program: workers to embed.
 *
 * The coordinator knows no model, so main.c passes it functions. `check` tests, before any older run is touched,
 * whether this machine has the configured device, threads and precision. A hub sums the gradients of this process's
 * workers. With several workers it is made before they start, and destroyed after the last has returned. `run` runs on
 * its own thread for each worker. It speaks the messages of proto/wire/message.h on `endpoint` of `zmq_context`, like a
 * worker on another host. It returns true when it was dismissed, false and err when it failed, and false when the
 * context is shut down. Static data, read-only. */
#ifndef LSTMQ_COORDINATOR_TRAIN_H
#define LSTMQ_COORDINATOR_TRAIN_H

#include "proto/base/config.h"
#include "proto/base/err.h"

struct train_worker {
    bool (*check)(const struct config *config, struct err *err);
    void *(*hub_new)(struct err *err);
    void (*hub_destroy)(void *hub);
    /* `hub` may be NULL with one worker. */
    bool (*run)(void *zmq_context, const char *endpoint, const struct config *config, void *hub, struct err *err);
};

#endif
