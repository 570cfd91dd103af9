/* generation.h - how the members of a fleet become a generation, and how it ends; see fleet.h.
 *
 * Internal to the fleet: fleet.c says who is there, generation.c takes those from GATHER to WORK and back. */
#ifndef LSTMQ_GENERATION_H
#define LSTMQ_GENERATION_H

#include "coordinator/cluster/fleet.h"

/* Form a generation if there is none, enough members wait and they have settled; wind up the one there is if others
 * wait to join it. Called whenever that may have changed. */
bool generation_consider(struct fleet *fleet, struct err *err);

/* Messages of members, already known to be of one. ERR_PROTOCOL where they are out of turn. */
bool generation_endpoint(struct fleet *fleet, struct member *member, const struct endpoint *endpoint, struct err *err);
bool generation_ready(struct fleet *fleet, struct member *member, const struct ready *ready, struct err *err);
bool generation_stopped(struct fleet *fleet, struct member *member, const struct stopped *stopped, struct err *err);
bool generation_pong(struct fleet *fleet, struct member *member, const struct message *pong, struct err *err);

/* What a member says that it holds: the state after `step` steps, as of generation `branch`, and what the last `steps` of
 * them came to. */
struct generation_held {
    uint64_t step, branch;
    uint32_t steps;
    const struct step_result *results;
};

/* Note what a member holds, unless the run went on without that state. False where the results contradict those known of the
 * same course. */
bool generation_hold(struct fleet *fleet, struct member *member, const struct generation_held *held, struct err *err);

/* Say STOP to a member (`phase` MEMBER_STOPPING) or DISMISS (MEMBER_LEAVING, `reason` is static), which has that phase
 * from now on. One that may be waiting for other ranks hears STOP before DISMISS, or it would wait for those who have
 * left. Where its queue has no room, as in the middle of an upload, generation_ask_again says it later. */
bool generation_ask(struct fleet *fleet, struct member *member, enum member_phase phase, const char *reason,
                    struct err *err);
bool generation_ask_again(struct fleet *fleet, struct member *member, struct err *err);

/* End it: STOP to all who are in it. Nothing happens when there is none. */
bool generation_end(struct fleet *fleet, struct err *err);

/* A member was taken off the table while the generation was ending: perhaps it was the last one waited for. */
bool generation_check_ended(struct fleet *fleet, struct err *err);

#endif
