/* translate_connected.h - standard input to standard output through a queue, for `lstmq translate --connect`.
 *
 * Many requests are in flight, so that the queue's workers always have full batches. Their answers are printed in the
 * order of the input. The number of lines in flight follows the time that answers take: a fast pool gets many, a slow
 * or shared one few. So no deadline comes near. The main thread. */
#ifndef LSTMQ_WORKER_TRANSLATE_CONNECTED_H
#define LSTMQ_WORKER_TRANSLATE_CONNECTED_H

#include "proto/base/config.h"

/* ERR_USAGE: the endpoint, a key or a language is wrong. ERR_FAILED: the queue cannot be reached or refuses, or some
 * lines failed. In the last case the output still has a line for each line of input. */
bool translate_connected(const struct config *config, struct err *err);

#endif
