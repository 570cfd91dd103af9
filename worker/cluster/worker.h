/* worker.h - a training worker: a member of a coordinator's cluster, on two threads.
 *
 * The loop thread (the caller of worker_run) owns the connection to the coordinator. It answers PING at once, handles
 * signals, notices a broken connection and makes another. It forwards everything else to and from the compute thread
 * (session.h), which owns the model. The two meet at an inproc pair and share only struct worker_shared. STOP overtakes
 * messages that wait for the compute thread: it is recorded in struct worker_shared, and the collective operation in
 * flight is aborted, before STOP enters the queue.
 *
 * After a broken connection the worker connects again, and the compute thread sends HELLO with the state that it holds.
 * A worker ends with the coordinator's DISMISS or ERROR, with a signal, or when the coordinator cannot be reached for
 * worker.reconnect_timeout seconds. */
#ifndef LSTMQ_WORKER_CLUSTER_WORKER_H
#define LSTMQ_WORKER_CLUSTER_WORKER_H

#include "worker/cluster/options.h"

/* Whether this machine has the device and precision of `config`. ERR_USAGE: it has not. */
bool worker_check(const struct config *config, struct err *err);

/* Work until dismissed. A failure is also sent to the coordinator as ERROR, unless the coordinator caused it. ERR_IO:
 * the context was shut down. */
bool worker_run(const struct worker_options *options, struct err *err);

#endif
