/* reconnect.h - what a worker logs and does while it has no connection to its server: a coordinator or a queue.
 *
 * It waits for as long as its user wants and logs why: the server cannot be reached, does not answer, or refuses the
 * worker's key. A key can be added to the server's list at any time, so a refusal does not end the wait. A link that
 * does not retry (link.h) is replaced. A struct of zeroes with its server has never been connected. Owned by the
 * worker. Loop thread. */
#ifndef LSTMQ_WORKER_LINK_RECONNECT_H
#define LSTMQ_WORKER_LINK_RECONNECT_H

#include "proto/wire/monitor.h"

#include <stdbool.h>

enum reconnect_kind { RECONNECT_COORDINATOR, RECONNECT_QUEUE };

/* The server, and how long to wait for it. Owned by the worker. */
struct reconnect_server {
    enum reconnect_kind kind;
    const char *endpoint;
    bool keys;          /* this worker has keys */
    double timeout_s;   /* 0 = wait without end */
    const char *option; /* the name of the option that sets it */
};

struct reconnect {
    const struct reconnect_server *server;
    int64_t lost_ms;           /* disconnected since (ms); 0 = connected */
    bool stood;                /* it was connected before, so the keys are right */
    bool wait_logged;          /* the wait was logged */
    enum monitor_news failure; /* end of the last attempt: UNREACHED, SILENT or REFUSED */
    unsigned failures;         /* SILENT or REFUSED ones since the last connection */
    enum monitor_news warned;  /* the last logged failure; MONITOR_SAME = none */
    int64_t warned_ms;         /* when */
    int64_t replace_ms;        /* when to replace a link that does not retry; 0 = it retries */
};

/* A link begins to connect. */
void reconnect_begin(struct reconnect *reconnect);

/* The connection is established. */
void reconnect_done(struct reconnect *reconnect);

/* An attempt to connect ended in `failure`. `spent`: the link does not retry. */
void reconnect_failed(struct reconnect *reconnect, enum monitor_news failure, bool spent);

/* Call it about every 100 ms while disconnected. *replace: close the link and open another. ERR_FAILED: the wait is
 * over. */
bool reconnect_tick(struct reconnect *reconnect, bool *replace, struct err *err);

#endif
