/* roster.c - the table of members; see roster.h. */
#include "coordinator/cluster/roster.h"

#include "coordinator/cluster/generation.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void roster_say_error(struct fleet *fleet, const struct route *to, const struct err *why)
{
    struct err ignored;
    struct message message = {.type = MESSAGE_ERROR,
                              .error = {.code = (uint32_t)why->code, .text = {why->text, strlen(why->text)}}};
    message_send(fleet->socket, to, &message, &ignored);
}

struct member *roster_find(const struct fleet *fleet, const struct route *route)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (member_is(fleet->members[i], route))
            return fleet->members[i];
    return NULL;
}

struct member *roster_add(struct fleet *fleet, const struct route *route, struct err *err)
{
    if (fleet->count == fleet->capacity) {
        size_t capacity = 2 * fleet->capacity + 8;
        struct member **grown = realloc(fleet->members, capacity * sizeof(struct member *));
        if (grown != NULL) {
            fleet->members = grown;
            fleet->capacity = capacity;
        }
    }
    struct member *member = fleet->count < fleet->capacity ? calloc(1, sizeof *member) : NULL;
    if (member == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a worker");
        return NULL;
    }
    member->id = ++fleet->ids;
    member->route = *route;
    member->joined_ms = member->heard_ms = clock_ms();
    fleet->members[fleet->count++] = member;
    if (fleet->journal != NULL) {
        fleet->journal->workers = fleet->ids;
        journal_numbers(fleet->journal);
    }
    return member;
}

static void roster_remove(struct fleet *fleet, const struct member *member)
{
    size_t at = 0;
    while (fleet->members[at] != member)
        at++;
    free(fleet->members[at]);
    fleet->count--;
    memmove(&fleet->members[at], &fleet->members[at + 1], (fleet->count - at) * sizeof(struct member *));
}

bool roster_drop(struct fleet *fleet, struct member *member, struct err *err)
{
    bool was_in = member_is_in(member);
    roster_remove(fleet, member);
    if (fleet->phase == FLEET_DISMISSED)
        return fleet->count > 0 || fleet->owner.empty(fleet->owner.context, err);
    return (was_in ? generation_end(fleet, err) : generation_check_ended(fleet, err)) &&
           generation_consider(fleet, err);
}

/* A worker that was only silent learns that its membership is over. HELLO makes it a new worker. */
static void roster_notify_dead(struct fleet *fleet, const struct member *member)
{
    struct err why;
    err_set(&why, ERR_PROTOCOL, "worker %" PRIu64 " was declared dead: send HELLO to join again", member->id);
    roster_say_error(fleet, &member->route, &why);
}

uint64_t roster_former(const struct fleet *fleet, const struct route *route)
{
    for (size_t i = 0; i < FLEET_FORMERS; i++) {
        const struct former *former = &fleet->formers[i];
        if (former->id != 0 && former->route.size == route->size &&
            memcmp(former->route.id, route->id, route->size) == 0)
            return former->id;
    }
    return 0;
}

bool roster_lose(struct fleet *fleet, struct member *member, const char *why, struct err *err)
{
    if (fleet->embedded && fleet->phase != FLEET_DISMISSED)
        return err_set(err, ERR_FAILED, "worker %" PRIu64 " %s", member->id, why);
    fleet->formers[fleet->lost++ % FLEET_FORMERS] = (struct former){member->id, member->route};
    log_event(LOG_WARN, "worker_dead",
              LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host),
                         LOG_COUNT("process", member->pid), LOG_TEXT("reason", why), LOG_COUNT("steps", member->steps)),
              "worker %" PRIu64 " (%s, process %u) declared dead: it %s", member->id, member->host, member->pid, why);
    roster_notify_dead(fleet, member);
    return roster_drop(fleet, member, err);
}
