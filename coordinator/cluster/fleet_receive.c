/* fleet_receive.c - what a message says of its member's state, recorded: nothing is sent or decided here; see
 * fleet.h. */
#include "coordinator/cluster/fleet.h"

#include "proto/base/clock.h"

#include <inttypes.h>
#include <string.h>

static bool fleet_of_now(const struct fleet *fleet, uint64_t generation, const char *name, struct err *err)
{
    return generation == fleet->generation ||
           err_set(err, ERR_PROTOCOL, "%s of generation %" PRIu64 " came in generation %" PRIu64, name, generation,
                   fleet->generation);
}

static bool fleet_endpoint(const struct fleet *fleet, struct member *member, const struct endpoint *endpoint,
                           struct err *err)
{
    const struct text *address = &endpoint->address;
    if (member->state != MEMBER_ENTERING || member->due != 0 || member->endpoint[0] != '\0' || address->size == 0 ||
        memchr(address->data, ' ', address->size) != NULL)
        return err_set(err, ERR_PROTOCOL, "ENDPOINT is not due, or holds no address");
    if (!fleet_of_now(fleet, endpoint->generation, "ENDPOINT", err))
        return false;
    memcpy(member->endpoint, address->data, address->size);
    member->endpoint[address->size] = '\0';
    return true;
}

static bool fleet_ready(const struct fleet *fleet, struct member *member, const struct ready *ready, struct err *err)
{
    if (member->state != MEMBER_SYNCING || member->due != 0 || ready->step != fleet->start.step)
        return err_set(err, ERR_PROTOCOL, "READY for generation %" PRIu64 ", step %" PRIu64 " is not due",
                       ready->generation, ready->step);
    if (!fleet_of_now(fleet, ready->generation, "READY", err))
        return false;
    member->state = MEMBER_ACTIVE;
    return true;
}

static bool fleet_stopped(const struct fleet *fleet, struct member *member, const struct stopped *stopped,
                          struct err *err)
{
    if (member->state != MEMBER_STOPPING || member->due != 0)
        return err_set(err, ERR_PROTOCOL, "STOPPED came without STOP");
    if (!fleet_of_now(fleet, stopped->generation, "STOPPED", err))
        return false;
    if (stopped->held != 0 && stopped->step > fleet->handed)
        return err_set(err, ERR_PROTOCOL, "STOPPED at step %" PRIu64 ", but no step after %" PRIu64 " was handed out",
                       stopped->step, fleet->handed);
    member->state = MEMBER_STANDBY;
    return true;
}

/* A member that has to stop or to leave may have sent parts of a rendezvous before it knew. */
static bool fleet_is_late(const struct member *member, enum message_type type)
{
    return (member->state == MEMBER_STOPPING && (type == MESSAGE_ENDPOINT || type == MESSAGE_READY)) ||
           (member->state == MEMBER_LEAVING &&
            (type == MESSAGE_ENDPOINT || type == MESSAGE_READY || type == MESSAGE_STOPPED));
}

/* ERR_PROTOCOL where the message is not due. */
static bool fleet_record(const struct fleet *fleet, struct member *member, const struct message *message,
                         struct err *err)
{
    if (fleet_is_late(member, message->type))
        return true;
    switch (message->type) {
    case MESSAGE_PONG:
        member->pong_time = message->pong.time;
        return true;
    case MESSAGE_ENDPOINT:
        return fleet_endpoint(fleet, member, &message->endpoint, err);
    case MESSAGE_READY:
        return fleet_ready(fleet, member, &message->ready, err);
    case MESSAGE_STOPPED:
        return fleet_stopped(fleet, member, &message->stopped, err);
    case MESSAGE_CREDIT:
        member->credit += member->state == MEMBER_ACTIVE ? message->credit.units : 0;
        return true;
    case MESSAGE_REPORT:
    case MESSAGE_SCORED:
    case MESSAGE_STATE:
        return member->state == MEMBER_ACTIVE || member->state == MEMBER_STOPPING || member->state == MEMBER_LEAVING ||
               err_set(err, ERR_PROTOCOL, "%s came outside a generation", message_name(message->type));
    case MESSAGE_RESIGN:
        member->wish = member->wish == MEMBER_STAYS ? MEMBER_RESIGNED : member->wish;
        return true;
    case MESSAGE_LEAVE:
        if (member->state == MEMBER_LEAVING)
            member->state = MEMBER_LEFT;
        else
            member_lose(member, ERR_FAILED, "left before it was dismissed");
        return true;
    case MESSAGE_ERROR:
        member->state = MEMBER_FAILED;
        return true;
    case MESSAGE_HELLO: /* it comes again, unless it is a thread of this process */
        if (!fleet_is_embedded(fleet))
            return true;
        break;
    default:
        break;
    }
    return err_set(err, ERR_PROTOCOL, "%s is not for a coordinator", message_name(message->type));
}

/* The member with that connection; NULL = no such member. */
static struct member *fleet_find(const struct fleet *fleet, const struct route *route)
{
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->route.size == route->size && memcmp(member->route.id, route->id, route->size) == 0)
            return member;
    }
    return NULL;
}

bool fleet_receive(struct fleet *fleet, struct err *err)
{
    struct message message = {0};
    struct route from = {.size = 0};
    struct err failure = {0};
    bool got = false, good = message_receive(fleet->socket, &from, false, &message, &got, &failure);
    if (fleet->watch != NULL && from.size > 0)
        watch_received(fleet->watch, &from);
    if (!good && (failure.code != ERR_PROTOCOL || from.size == 0)) {
        *err = failure;
        return false;
    }
    if (good && !got)
        return true;
    struct member *member = fleet_find(fleet, &from);
    if (member != NULL) {
        member->heard_ms = clock_ms();
        member->full = false;
        if (!good || !fleet_record(fleet, member, &message, &failure))
            member_lose(member, failure.code, failure.text);
    }
    fleet->heard = (struct heard){good ? message : (struct message){0}, from, member, failure};
    return true;
}
