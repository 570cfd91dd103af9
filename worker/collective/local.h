/* local.h - the collective of ranks that are threads of one process; see kernels/collective.h for what it does.
 *
 * The ranks meet at a hub. The caller makes it before the threads start and destroys it after they have closed their
 * collectives. */
#ifndef LSTMQ_WORKER_COLLECTIVE_LOCAL_H
#define LSTMQ_WORKER_COLLECTIVE_LOCAL_H

#include "kernels/collective.h"

struct local_hub;

/* NULL and err when there is no memory. */
struct local_hub *local_hub_new(struct err *err);
void local_hub_destroy(struct local_hub **hub);

/* One rank's end. The calling thread owns it. NULL and err when there is no memory. */
struct collective *local_open(struct local_hub *hub, struct err *err);

#endif
