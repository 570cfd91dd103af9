/* roster.h - the table of a fleet's members: who is on it, who comes onto it, and what follows where one is taken off.
 *
 * Internal to the fleet: fleet.c hears the members, joining.c puts workers on the roster, generation.c makes generations of
 * those who are on it. A member is the roster's until it is taken off, and no pointer to it outlives that; taking one off
 * can take others off too, and can begin a generation. Loop's thread. */
#ifndef LSTMQ_ROSTER_H
#define LSTMQ_ROSTER_H

#include "coordinator/cluster/fleet.h"

/* The member whose connection it is; NULL = somebody else's. */
struct member *roster_find(const struct fleet *fleet, const struct route *route);

/* A new member, with a number that nobody had in this run, which the journal keeps. NULL and ERR_MEMORY. */
struct member *roster_add(struct fleet *fleet, const struct route *route, struct err *err);

/* The member is no more: the generation that it was in ends; of those who were dismissed, the last one's end is told to the
 * owner. False where the run cannot go on. */
bool roster_drop(struct fleet *fleet, struct member *member, struct err *err);

/* The same for a member that is declared dead: it is notified by ERROR, and logged as "it WHY". In an embedded fleet that
 * is a failure of the run, ERR_FAILED. */
bool roster_lose(struct fleet *fleet, struct member *member, const char *why, struct err *err);

/* The id of a member that was declared dead, by its former connection. 0 = not among the last FLEET_FORMERS. */
uint64_t roster_former(const struct fleet *fleet, const struct route *route);

/* Send ERROR to a peer, best effort: the peer may have disconnected. */
void roster_say_error(struct fleet *fleet, const struct route *to, const struct err *why);

#endif
