/* session.h - a worker's side of the conversation with a coordinator.
 *
 * A session is one compute thread and one socket. It says HELLO, is told the run's configuration, takes or builds the
 * state of a generation, and then does units of work in the order they come until it is dismissed. It keeps no files
 * and no dataset. Life, in PROTOCOL.md's words: HELLO, WELCOME, (GENERATION, STATE..., READY, units of work...)*,
 * DISMISS, LEAVE. */
#ifndef LSTMQ_SESSION_H
#define LSTMQ_SESSION_H

#include "proto/base/config.h"

/* Whether this machine has the device and precision that `config` asks for: ERR_USAGE where not. */
bool worker_check(const struct config *config, struct err *err);

/* Work for the coordinator at `endpoint` (of `zmq_context`, so inproc works) until dismissed. Of `config` only what is
 * this host's own counts: train.device, train.threads, train.precision; the rest comes with WELCOME. A failure is also
 * sent to the coordinator as ERROR. */
bool worker_run(void *zmq_context, const char *endpoint, const struct config *config, struct err *err);

#endif
