/* member.c - credit and spans in flight; see member.h. */
#include "coordinator/cluster/member.h"

#include <inttypes.h>
#include <string.h>

bool member_is(const struct member *member, const struct route *route)
{
    return member->id != 0 && member->route.size == route->size &&
           memcmp(member->route.id, route->id, route->size) == 0;
}

bool member_is_in(const struct member *member)
{
    return member->phase == MEMBER_ENTERING || member->phase == MEMBER_SYNCING || member->phase == MEMBER_WORKING;
}

void member_enter(struct member *member, uint32_t rank, uint64_t step)
{
    member->phase = MEMBER_ENTERING;
    member->rank = rank;
    member->endpoint[0] = '\0';
    member->credit = 0;
    member->next_span = 0;
    member->sent_step = step;
    member->validations = 0;
    member->first_flight = member->flight_count = 0;
    member->stops = member->unasked = false;
}

bool member_has_room(const struct member *member)
{
    return member->phase == MEMBER_WORKING && member->credit > 0 && member->flight_count < MEMBER_FLIGHTS;
}

bool member_can_validate(const struct member *member)
{
    return member->phase == MEMBER_WORKING && member->credit > 0 && member->validations < MEMBER_FLIGHTS;
}

void member_took_span(struct member *member, const struct span *span)
{
    uint32_t last = (member->first_flight + member->flight_count) % MEMBER_FLIGHTS;
    member->flights[last] = (struct flight){.span = span->span, .first_step = span->first_step, .steps = span->steps};
    member->flight_count++;
    member->credit--;
    member->next_span++;
    member->sent_step = span->first_step + span->steps;
}

bool member_reported(struct member *member, const struct report *report, struct flight *flight, struct err *err)
{
    if (member->flight_count == 0)
        return err_set(err, ERR_PROTOCOL, "REPORT of span %" PRIu64 ", but none is open", report->span);
    *flight = member->flights[member->first_flight];
    if (report->span != flight->span || report->steps != flight->steps)
        return err_set(err, ERR_PROTOCOL,
                       "REPORT of span %" PRIu64 " with %u steps, but span %" PRIu64 " with %u steps is due",
                       report->span, report->steps, flight->span, flight->steps);
    member->first_flight = (member->first_flight + 1) % MEMBER_FLIGHTS;
    member->flight_count--;
    return true;
}

bool member_is_idle(const struct member *member)
{
    return member->flight_count == 0 && member->validations == 0;
}
