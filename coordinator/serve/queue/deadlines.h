/* deadlines.h - the requests that wait, the one whose deadline is next on top: a binary heap.
 *
 * A request knows its place in it, so that it can be removed. Plain memory that its owner closes. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_QUEUE_DEADLINES_H
#define LSTMQ_COORDINATOR_SERVE_QUEUE_DEADLINES_H

#include "coordinator/serve/request.h"

struct deadlines {
    struct request **heap; /* [count]; request->place is 1 + its index */
    size_t count, capacity;
};

/* False: no memory. */
bool deadlines_add(struct deadlines *deadlines, struct request *request);

/* A request that is not in it is ignored. */
void deadlines_remove(struct deadlines *deadlines, struct request *request);

/* The request with the earliest deadline; NULL = empty. */
static inline struct request *deadlines_first(const struct deadlines *deadlines)
{
    return deadlines->count > 0 ? deadlines->heap[0] : NULL;
}

#endif
