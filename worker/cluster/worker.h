/* worker.h - a training worker: a member of a coordinator's cluster, on two threads.
 *
 * The loop thread (whoever calls worker_run) owns the connection to the coordinator. It answers PING at once, takes
 * signals, notices a broken connection and makes another; everything else it hands on to the compute thread and back
 * (session.h), which owns the model. The two meet at an inproc pair and share nothing but struct worker_shared. STOP
 * overtakes what waits for the compute thread: it is written down there, and the collective operation in flight is
 * aborted, before it takes its place in the queue.
 *
 * A connection that broke is made anew, and the compute thread says HELLO with the state that it holds. Life ends with
 * the coordinator's DISMISS or ERROR, a signal, or when the coordinator cannot be reached for worker.patience. */
#ifndef LSTMQ_WORKER_CLUSTER_WORKER_H
#define LSTMQ_WORKER_CLUSTER_WORKER_H

#include "proto/base/config.h"
#include "proto/wire/auth/keyring.h"

struct local_hub;

struct worker_options {
    void *zmq_context;    /* not owned */
    const char *endpoint; /* the coordinator's; inproc, ipc or tcp */
    /* Of it only what is this host's own counts: train.device, train.threads, train.precision, worker.*; the rest of the
     * run's configuration comes with WELCOME. */
    const struct config *config;
    struct local_hub *hub;         /* where workers of one process meet; NULL = they meet as a ring */
    const struct keyring *keyring; /* a client's; NULL or not used = connections without keys */
    bool signals;                  /* SIGTERM, SIGINT and SIGHUP let the worker resign; else they are the caller's */
};

static inline bool worker_has_keys(const struct worker_options *options)
{
    return options->keyring != NULL && options->keyring->used;
}

/* Whether this machine has the device and precision that `config` asks for: ERR_USAGE where not. */
bool worker_check(const struct config *config, struct err *err);

/* Work until dismissed. A failure is also sent to the coordinator as ERROR, unless it was the coordinator that said so.
 * A context that is shut down is a failure, ERR_IO. */
bool worker_run(const struct worker_options *options, struct err *err);

#endif
