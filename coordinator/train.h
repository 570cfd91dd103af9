/* train.h - what `lstmq train` needs from the rest of the program: workers to embed.
 *
 * The coordinator knows no model. main.c hands it functions. `check` says at once whether this machine can compute
 * what the configuration asks for (device, threads, precision), before anything of an older run is touched. A hub is
 * where the workers of this process sum their gradients: made before they start where there are several, destroyed
 * after the last has returned. `run` is run on a thread of its own for each worker and speaks the messages of proto/wire/message.h on `endpoint` of `zmq_context`, as a
 * worker on another host would. It returns when it was dismissed (true), when it cannot go on (false and err), or when
 * the context is shut down (false). */
#ifndef LSTMQ_COORDINATOR_TRAIN_H
#define LSTMQ_COORDINATOR_TRAIN_H

#include "proto/base/config.h"
#include "proto/base/err.h"

struct train_worker {
    bool (*check)(const struct config *config, struct err *err);
    void *(*hub_new)(struct err *err);
    void (*hub_destroy)(void *hub);
    /* `hub` may be NULL where there is one worker. */
    bool (*run)(void *zmq_context, const char *endpoint, const struct config *config, void *hub, struct err *err);
};

#endif
