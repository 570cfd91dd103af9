/* generation.h - the decisions about a fleet's generation: when one is formed, of whom, and when it ends; see fleet.h.
 *
 * Called by fleet_advance; fleet_begin and fleet_end are the trainer's. Nothing here sends: a decision is a new state of the
 * fleet and of its members, and messages that are due. Loop's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_GENERATION_H
#define LSTMQ_COORDINATOR_CLUSTER_GENERATION_H

#include "coordinator/cluster/fleet.h"

/* Move the fleet's state as far as its members allow. */
void generation_advance(struct fleet *fleet);

#endif
