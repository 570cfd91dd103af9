/* options.h - what a training worker is started with.
 *
 * Plain memory of worker_run's caller, which outlives the worker. Read-only; both of the worker's threads read it. */
#ifndef LSTMQ_WORKER_CLUSTER_OPTIONS_H
#define LSTMQ_WORKER_CLUSTER_OPTIONS_H

#include "proto/base/config.h"
#include "proto/wire/auth/keyring.h"

struct local_hub;

struct worker_options {
    void *zmq_context;    /* not owned */
    const char *endpoint; /* the coordinator's; inproc, ipc or tcp */
    /* Only this host's options count: train.device, train.threads, train.precision, worker.*. WELCOME brings the rest
     * of the run's configuration. */
    const struct config *config;
    struct local_hub *hub;         /* sums gradients within one process; NULL = the workers form a ring */
    const struct keyring *keyring; /* a client's; NULL or unused = connections without keys */
    bool signals;                  /* SIGTERM, SIGINT and SIGHUP make the worker resign; false: the caller's affair */
};

static inline bool worker_has_keys(const struct worker_options *options)
{
    return options->keyring != NULL && options->keyring->used;
}

#endif
