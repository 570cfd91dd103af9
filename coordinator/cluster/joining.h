/* joining.h - how a worker comes to a fleet: what HELLO says is held against the run, and answered.
 *
 * Internal to the fleet. A worker that computes as this run does becomes a member, and is told so by WELCOME; another one is
 * told why not by ERROR; and where the run is over, by DISMISS. What it says to hold is believed where this run can have
 * given it. Loop's thread. */
#ifndef LSTMQ_JOINING_H
#define LSTMQ_JOINING_H

#include "coordinator/cluster/fleet.h"

/* Take HELLO from whomever: whatever the worker was before, on this connection or by the number that it says, is no more.
 * False where the run cannot go on; in an embedded fleet a worker that does not fit is such a case. */
bool joining_hello(struct fleet *fleet, const struct route *from, const struct hello *hello, struct err *err);

#endif
