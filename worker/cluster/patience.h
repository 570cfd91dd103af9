/* patience.h - what a worker logs and does while it has no connection to its coordinator.
 *
 * It waits for worker.patience seconds, and logs what for: a coordinator that cannot be reached, that does not answer,
 * or that refuses its key. A key can be put on the coordinator's list at any time, so a refusal does not end the wait. A
 * link that does not try again (link.h) is replaced. A struct of zeroes with its options has never had a connection.
 * Loop thread. */
#ifndef LSTMQ_WORKER_CLUSTER_PATIENCE_H
#define LSTMQ_WORKER_CLUSTER_PATIENCE_H

#include "proto/wire/monitor.h"
#include "worker/cluster/worker.h"

struct patience {
    const struct worker_options *options;
    int64_t lost_ms;           /* disconnected since (ms); 0 = connected */
    bool stood;                /* it was connected before, so the keys are right */
    bool says_waiting;         /* the wait was logged */
    enum monitor_news failure; /* UNREACHED, SILENT or REFUSED: how the newest attempt ended */
    unsigned failures;         /* that were SILENT or REFUSED, since a connection stood */
    enum monitor_news warned;  /* the failure that was last logged; MONITOR_SAME = none */
    int64_t warned_ms;         /* when */
    int64_t replace_ms;        /* replace a link that does not try again then; 0 = it does */
};

/* A link begins to connect. */
void patience_begin(struct patience *patience);

/* The connection is established. */
void patience_rest(struct patience *patience);

/* An attempt to connect ended in `failure`. `spent`: the link does not try again. */
void patience_failed(struct patience *patience, enum monitor_news failure, bool spent);

/* Call it about every 100 ms while disconnected. *replace: close the link and open another. ERR_FAILED: the wait is
 * over. */
bool patience_tick(struct patience *patience, bool *replace, struct err *err);

#endif
