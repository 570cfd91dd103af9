/* flow.h - whose sentences wait, and which are next.
 *
 * A flow is one sender of requests to one model: a key, a connection, or an HTTP client's key or address. Its waiting
 * sentences stand in order of arrival, apart by length. A schedule has the flows of a model that have any.
 *
 * schedule_pick makes a batch. Flows take turns (deficit round robin, Shreedhar and Varghese 1995, with tokens as
 * cost). The flow whose turn it is begins the batch with its oldest sentence. The batch is filled with sentences of
 * similar length, of all flows, as far as there are any. What a flow gave is its debt. Each time that the turn passes
 * it, QUANTUM tokens are remitted, and it has its next turn without a debt. So flows get the same share of tokens,
 * whatever the number and length of their sentences. While a flow is there that sends little (schedule_is_shared), each
 * flow gives once to a batch. Batches are short then, and that flow does not wait long for others.
 *
 * Flows are born with their first request and are freed when they have been idle for a while. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_QUEUE_FLOW_H
#define LSTMQ_COORDINATOR_SERVE_QUEUE_FLOW_H

#include "coordinator/serve/queue/sentence.h"

enum { FLOW_NAME = 128, FLOW_CLASSES = 8, FLOW_IDLE_MS = 2000 };

struct flow {
    char name[FLOW_NAME];
    struct schedule *schedule;
    struct {
        struct sentence *first, *last;
    } lines[FLOW_CLASSES];      /* by length */
    uint32_t waiting;           /* sentences */
    uint32_t much;              /* sweeps for which it counts as one that sends much; 0 = it does not */
    int64_t deficit;            /* tokens; below 0: its debt */
    uint32_t requests;          /* not over */
    int64_t used_ms;            /* last time that a request came or ended */
    struct flow *next, *before; /* in the schedule's ring, if sentences wait */
    uint64_t hash;
    struct flow *same; /* in the table's chain */
};

/* The waiting sentences of a model. */
struct schedule {
    struct flow *turn; /* the flow whose turn it is; NULL = no sentence waits */
    uint32_t waiting;  /* sentences */
    uint32_t flows;    /* that have any */
    uint32_t known;    /* flows, whether they have any or not */
    uint32_t much;     /* of these, those that send much */
};

enum { FLOW_CHAINS = 256 };
struct flows {
    struct flow *chains[FLOW_CHAINS];
    uint32_t count;
};

/* The flow with that name, which may be new. NULL: no memory. */
struct flow *flows_get(struct flows *flows, struct schedule *schedule, const char *name, int64_t now_ms);

/* Free the flows that were idle for FLOW_IDLE_MS. */
void flows_sweep(struct flows *flows, int64_t now_ms);
void flows_close(struct flows *flows);

/* The sentence waits, behind those of its length. */
void flow_add(struct flow *flow, struct sentence *sentence);

/* It waits again, before those that came after it. */
void flow_return(struct flow *flow, struct sentence *sentence);

/* It waits no longer. */
void flow_remove(struct sentence *sentence);

/* The sentence with which the next batch begins; NULL = none waits. */
const struct sentence *schedule_first(const struct schedule *schedule);

/* Take the next batch of at most `most` sentences, all of one kind, into picked[]. They wait no longer. Returns their
 * number; 0 = none waits. */
uint32_t schedule_pick(struct schedule *schedule, uint32_t most, struct sentence **picked);

/* Whether a flow sends little while another one sends much. */
bool schedule_is_shared(const struct schedule *schedule);

/* Since when the oldest waiting sentence waits, µs; 0 = none waits. */
int64_t schedule_oldest_us(const struct schedule *schedule);

#endif
