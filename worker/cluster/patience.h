/* patience.h - what a worker logs and does while it has no connection to its coordinator.
 *
 * It waits for worker.patience seconds, and logs what for: a coordinator that cannot be reached, or one that refuses its
 * key. A key can be put on the coordinator's list at any time, so a refusal does not end the wait. A link that does not
 * try again (link.h) is replaced. A struct of zeroes with its options has never had a connection. Loop thread. */
#ifndef LSTMQ_PATIENCE_H
#define LSTMQ_PATIENCE_H

#include "worker/cluster/worker.h"

struct patience {
    const struct worker_options *options;
    int64_t lost_ms;    /* disconnected since; 0 = connected                            */
    bool stood;         /* one stood before, so the keys were right once                */
    bool says_waiting;  /* the wait was logged                                          */
    bool refused;       /* the newest attempt to connect was refused                    */
    unsigned refusals;  /* since a connection stood                                     */
    int64_t warned_ms;  /* when they were last logged; 0 = never                        */
    int64_t replace_ms; /* when a link that does not try again is due to be replaced; 0 = it tries again */
};

/* A link begins to connect. */
void patience_begin(struct patience *patience);

/* The connection stands. */
void patience_rest(struct patience *patience);

/* An attempt to connect failed: nothing answered; or something did and the handshake failed. `spent`: the link does not
 * try again. */
void patience_unreached(struct patience *patience);
void patience_refused(struct patience *patience, bool spent);

/* To be called every 100 ms or so while there is no connection. *replace: close the link and open another. ERR_FAILED
 * when the wait is over. */
bool patience_tick(struct patience *patience, bool *replace, struct err *err);

#endif
