/* member.c - the states of one worker, its credit and its spans in flight; see member.h. */
#include "coordinator/cluster/member.h"

#include "proto/base/clock.h"

#include <inttypes.h>
#include <stdio.h>

bool member_is_in(const struct member *member)
{
    return member->state == MEMBER_ENTERING || member->state == MEMBER_SYNCING || member->state == MEMBER_ACTIVE;
}

bool member_is_here(const struct member *member)
{
    return member->state < MEMBER_LEFT;
}

void member_enter(struct member *member, bool held)
{
    member->state = MEMBER_ENTERING;
    member->held = held;
    member->rank = 0;
    member->endpoint[0] = '\0';
    member->credit = 0;
    member->next_span = 0;
    member->validations = 0;
    member->first_flight = member->flight_count = 0;
}

void member_stop(struct member *member)
{
    member->state = MEMBER_STOPPING;
    member->held = false;
    member->due = (member->due & (DUE_WELCOME | DUE_GENERATION)) | DUE_STOP;
    member->due_ms = clock_ms();
}

void member_dismiss(struct member *member, const char *reason, bool drop)
{
    bool waits = member_is_in(member) && (drop || member->state != MEMBER_ACTIVE);
    bool stop = (member->due & DUE_GENERATION) == 0 && (waits || (member->due & DUE_STOP) != 0);
    member->state = MEMBER_LEAVING;
    member->due = (member->due & DUE_WELCOME) | (stop ? DUE_STOP : 0) | DUE_DISMISS;
    member->reason = reason;
    member->due_ms = clock_ms();
}

void member_lose(struct member *member, enum err_code code, const char *why)
{
    member->state = MEMBER_DEAD;
    member->fault.code = code;
    snprintf(member->fault.text, sizeof member->fault.text, "%s", why);
}

bool member_can_train(const struct member *member)
{
    return member->state == MEMBER_ACTIVE && !member->full && member->credit > 0 &&
           member->flight_count < MEMBER_FLIGHTS;
}

bool member_can_validate(const struct member *member)
{
    return member->state == MEMBER_ACTIVE && !member->full && member->credit > 0 &&
           member->validations < MEMBER_FLIGHTS;
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
        return err_set(err, ERR_PROTOCOL, "REPORT of span %" PRIu64 ", but no span is in flight", report->span);
    *flight = member->flights[member->first_flight];
    if (report->span != flight->span || report->steps != flight->steps)
        return err_set(err, ERR_PROTOCOL,
                       "REPORT of span %" PRIu64 " with %u steps, but span %" PRIu64 " with %u steps is due",
                       report->span, report->steps, flight->span, flight->steps);
    member->first_flight = (member->first_flight + 1) % MEMBER_FLIGHTS;
    member->flight_count--;
    member->steps += report->steps;
    member->rows += report->rows;
    member->busy_ns += report->busy_ns;
    member->waited_ns += report->waited_ns;
    return true;
}

bool member_is_idle(const struct member *member)
{
    return member->flight_count == 0 && member->validations == 0;
}
