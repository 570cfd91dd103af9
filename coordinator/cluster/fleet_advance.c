/* fleet_advance.c - once a turn: who is alive, and who is removed from the table; see fleet.h. */
#include "coordinator/cluster/fleet.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zmq.h>

/* How long reading what a disconnected worker had sent may take. It never comes back on that connection: a worker that
 * connects again has another. */
enum { GONE_MS = 200 };

/* How long a worker may take to stop, or to leave: a step and a checkpoint's upload are shorter. */
enum { STOP_MS = 30000, LEAVE_MS = 3000 };

/* Times cluster.heartbeat_timeout that a member may be silent while the coordinator has not read all that was sent. */
enum { BEHIND = 3 };

/* Whether messages wait to be read, among which may be a member's. */
static bool fleet_is_behind(const struct fleet *fleet)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(fleet->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

/* The reason to declare a member dead now; NULL = no reason. While the coordinator is behind, a member may be silent
 * for longer. */
static const char *fleet_fault(const struct fleet *fleet, const struct member *member, int64_t now, bool behind)
{
    int64_t leave_ms = fleet->state == FLEET_ABANDONED ? STOP_MS : LEAVE_MS;
    if (member->lost_ms != 0 && (!behind || now - member->lost_ms >= GONE_MS))
        return "has lost its connection";
    if (now - member->heard_ms >= fleet->config->cluster_heartbeat_timeout * (behind ? BEHIND : 1))
        return "was silent for too long";
    if (member->state == MEMBER_STOPPING && now - member->due_ms >= STOP_MS)
        return "did not stop";
    if (member->state == MEMBER_LEAVING && now - member->due_ms >= leave_ms)
        return "did not leave";
    return NULL;
}

/* Every cluster.heartbeat: PING to all, and those that are dead are noticed. */
static bool fleet_heartbeat(struct fleet *fleet, struct err *err)
{
    const struct config *config = fleet->config;
    const struct message ping = {.type = MESSAGE_PING, .ping = {.time = (uint64_t)clock_ns()}};
    int64_t now = clock_ms(), late = now - fleet->tick_ms;
    if (fleet_is_embedded(fleet) || late < 0)
        return true;
    fleet->tick_ms =
        late < config->cluster_heartbeat ? fleet->tick_ms + config->cluster_heartbeat : now + config->cluster_heartbeat;
    for (size_t i = 0; i < fleet->count; i++) {
        bool sent;
        /* This process itself was held up, and has not read yet what was sent meanwhile. */
        if (late > config->cluster_heartbeat_timeout / 4)
            fleet->members[i]->heard_ms = now;
        if (member_is_here(fleet->members[i]) && !fleet_send(fleet, fleet->members[i], &ping, &sent, err))
            return false;
    }
    bool behind = fleet_is_behind(fleet);
    for (size_t i = 0; i < fleet->count; i++) {
        const char *why = fleet_fault(fleet, fleet->members[i], now, behind);
        if (why != NULL && member_is_here(fleet->members[i]))
            member_lose(fleet->members[i], ERR_FAILED, why);
    }
    return true;
}

static void fleet_log_left(const struct fleet *fleet, const struct member *member)
{
    if (!fleet_is_embedded(fleet))
        log_event(LOG_INFO, "worker_left",
                  LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host),
                             LOG_COUNT("process", member->pid), LOG_COUNT("steps", member->steps)),
                  "worker %" PRIu64 " left after %" PRIu64 " steps", member->id, member->steps);
}

/* Declared dead. The worker may only have been silent: it learns that its membership is over, and HELLO makes it a new
 * one. */
static void fleet_bury(struct fleet *fleet, const struct member *member)
{
    bool broke = member->state == MEMBER_DEAD && member->fault.code == ERR_PROTOCOL;
    struct err why = member->fault, notice = member->fault;
    fleet->formers[fleet->lost++ % FLEET_FORMERS] = (struct former){member->id, member->route};
    if (broke || member->state == MEMBER_FAILED)
        err_context(&why, broke ? "broke the protocol" : "failed");
    log_event(
        LOG_WARN, "worker_dead",
        LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host), LOG_COUNT("process", member->pid),
                   LOG_TEXT("reason", why.text), LOG_COUNT("steps", member->steps)),
        "worker %" PRIu64 " (%s, process %u) declared dead: it %s", member->id, member->host, member->pid, why.text);
    if (!broke)
        err_set(&notice, ERR_PROTOCOL, "worker %" PRIu64 " was declared dead: send HELLO to join again", member->id);
    fleet_say_error(fleet, &member->route, &notice);
}

/* What follows from the end of a member. A failure that every worker would have ends the run; so does any failure in an
 * embedded fleet: false, and err. */
static bool fleet_end_of(struct fleet *fleet, const struct member *member, struct err *err)
{
    const struct err *fault = &member->fault;
    bool embedded = fleet_is_embedded(fleet), dismissed = fleet_is_dismissed(fleet);
    bool failed = member->state == MEMBER_FAILED, of_all = failed && fleet_is_of_all(fault);
    if (failed && (embedded || (of_all && !dismissed)))
        return fleet_run_error(member->id, fault, err);
    if (member->state == MEMBER_LEFT || of_all) {
        fleet_log_left(fleet, member);
        return true;
    }
    if (!embedded || dismissed) {
        fleet_bury(fleet, member);
        return true;
    }
    *err = *fault;
    return fault->code == ERR_PROTOCOL ? false
                                       : err_set(err, fault->code, "worker %" PRIu64 " %s", member->id, fault->text);
}

/* Take those that left, failed or died off the table. */
static bool fleet_remove(struct fleet *fleet, struct err *err)
{
    bool good = true;
    size_t kept = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member_is_here(member)) {
            fleet->members[kept++] = member;
            continue;
        }
        good = fleet_end_of(fleet, member, err) && good;
        free(member);
    }
    fleet->count = kept;
    return good;
}

bool fleet_advance(struct fleet *fleet, struct err *err)
{
    if (!fleet_heartbeat(fleet, err) || !fleet_remove(fleet, err))
        return false;
    generation_advance(fleet);
    if (!fleet_is_embedded(fleet))
        loop_wake(fleet->loop, fleet->tick_ms - clock_ms());
    if (fleet->state == FLEET_SEEING_OFF)
        loop_wake(fleet->loop, fleet->until_ms - clock_ms());
    return true;
}
