/* train.h - what `lstmq train` needs from the rest of the program: a worker to embed.
 *
 * The coordinator knows no model. main.c hands it the function that computes, which is run on a thread of its own and
 * speaks the messages of proto/wire/message.h on `endpoint` of `zmq_context`, as a worker on another host would. It
 * returns when it was dismissed (true), when it cannot go on (false and err), or when the context is shut down
 * (false). */
#ifndef LSTMQ_TRAIN_H
#define LSTMQ_TRAIN_H

#include "proto/base/config.h"
#include "proto/base/err.h"

typedef bool train_worker(void *zmq_context, const char *endpoint, const struct config *config, struct err *err);

#endif
