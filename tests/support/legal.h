/* legal.h - whether a fleet and its members are in states that may be together at the end of a turn, for tests: the
 * tables of fleet.h and member.h, held against what is there. */
#ifndef LSTMQ_TESTS_SUPPORT_LEGAL_H
#define LSTMQ_TESTS_SUPPORT_LEGAL_H

#include "coordinator/cluster/fleet.h"

#include <stdio.h>
#include <stdlib.h>

static inline bool legal_member(const struct member *member)
{
    const struct member_row *row = &member_legal[member->state];
    return (member->due & ~row->due) == 0 && (row->wishes >> member->wish & 1U) != 0;
}

/* All states of members that there are: a set of 1 << enum member_state. */
static inline unsigned legal_states(const struct fleet *fleet)
{
    unsigned states = 0;
    for (size_t i = 0; i < fleet->count; i++)
        states |= 1U << fleet->members[i]->state;
    return states;
}

static inline bool legal_fleet(const struct fleet *fleet)
{
    const struct fleet_row *row = &fleet_legal[fleet->state];
    unsigned found = legal_states(fleet);
    bool legal = (found & ~row->may) == 0 && (row->must == 0 || (found & row->must) != 0);
    for (size_t i = 0; i < fleet->count; i++)
        legal = legal && legal_member(fleet->members[i]);
    return legal && fleet->state != FLEET_FORM;
}

/* Ends the process where it is not so. */
static inline void legal_check(const struct fleet *fleet)
{
    if (legal_fleet(fleet))
        return;
    fprintf(stderr, "fleet state %d", (int)fleet->state);
    for (size_t i = 0; i < fleet->count; i++)
        fprintf(stderr, ", member: state %d, due %x, wish %d", (int)fleet->members[i]->state, fleet->members[i]->due,
                (int)fleet->members[i]->wish);
    fprintf(stderr, ": not legal\n");
    abort();
}

#endif
