/* fleet.c - what members say that is not an answer to work, and whether they live; see fleet.h. */
#include "coordinator/cluster/fleet.h"

#include "coordinator/cluster/generation.h"
#include "coordinator/cluster/joining.h"
#include "coordinator/cluster/roster.h"
#include "proto/base/clock.h"
#include "proto/base/fault.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

/* How long what a worker had said may take to be read when its connection is gone, which never comes back: a worker that
 * connects again has another. */
enum { GONE_MS = 200 };

/* How long a worker may take to stop, or to leave: a step and a checkpoint's upload are shorter. */
enum { STOP_MS = 30000, LEAVE_MS = 3000 };

/* Times cluster.heartbeat_timeout that a member may be silent while the coordinator has not read all that was said. */
enum { BEHIND = 3 };

enum { COMPLAIN_MS = 1000 };

/* Generations, or workers, that a crash of the host may have taken out of the journal, which is not fsynced when one begins
 * or comes: more than there can be until the system writes it by itself. Workers elsewhere remember theirs, take no lower
 * generation, and say which of them they were. */
enum { FORGOTTEN = 1000 };

/* From a restart to a generation without those who have not come back: workers look for their coordinator every second,
 * and one of them may hold a step more than the others. */
enum { RETURN_MS = 2000 };

/* ---- sending ---- */

bool fleet_send(struct fleet *fleet, struct member *member, const struct message *message, bool *sent, struct err *err)
{
    struct err failure = {0};
    *sent = message_send(fleet->socket, &member->route, message, &failure);
    if (*sent) {
        member->gone_ms = 0;
        return true;
    }
    bool gone = failure.code == ERR_FAILED, full = failure.code == ERR_FULL;
    member->full = member->full || full;
    if (gone && member->gone_ms == 0)
        member->gone_ms = clock_ms();
    /* The connection broke: the cause is the ERROR that still waits to be read, or the end of the worker's thread. */
    if (gone || full)
        return true;
    *err = failure;
    return err_context(err, "worker %" PRIu64, member->id);
}

/* ---- going ---- */

static bool fleet_resign(struct fleet *fleet, struct member *member, struct err *err)
{
    member->resigned = true;
    return generation_consider(fleet, err);
}

static bool fleet_leave(struct fleet *fleet, struct member *member, struct err *err)
{
    if (member->phase != MEMBER_LEAVING)
        return roster_lose(fleet, member, "left before it was dismissed", err);
    if (!fleet->embedded)
        log_event(LOG_INFO, "worker_left",
                  LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host),
                             LOG_COUNT("process", member->pid), LOG_COUNT("steps", member->steps)),
                  "worker %" PRIu64 " left after %" PRIu64 " steps", member->id, member->steps);
    return roster_drop(fleet, member, err);
}

/* The error of a run that a worker's failure ends. Divergence is not the fault of one worker: it names none. */
static bool fleet_run_error(uint64_t worker, const struct failure *failure, struct err *err)
{
    err_set(err, (enum err_code)failure->code, "%.*s", (int)failure->text.size, failure->text.data);
    return failure->code != ERR_DIVERGED && err_context(err, "worker %" PRIu64, worker);
}

/* A failure that every worker would have. */
static bool fleet_is_of_all(const struct failure *failure)
{
    return failure->code == ERR_DIVERGED || failure->code == ERR_DATA;
}

/* A failure of all ends the run; any other ends one worker. */
static bool fleet_worker_error(struct fleet *fleet, struct member *member, const struct failure *failure,
                               struct err *err)
{
    char why[MESSAGE_LINE + 16];
    bool of_all = fleet_is_of_all(failure);
    if (fleet->embedded)
        return fleet_run_error(member->id, failure, err);
    if (of_all && fleet->phase == FLEET_DISMISSED)
        return roster_drop(fleet, member, err);
    if (of_all) {
        fleet->phase = FLEET_DISMISSED; /* no generation follows */
        uint64_t id = member->id;
        return roster_drop(fleet, member, err) && fleet_run_error(id, failure, err);
    }
    snprintf(why, sizeof why, "failed: %.*s", (int)failure->text.size, failure->text.data);
    return roster_lose(fleet, member, why, err);
}

/* ERROR of a worker that was declared dead before this coordinator read it. */
static bool fleet_last_words(const struct fleet *fleet, const struct route *from, const struct failure *failure,
                             struct err *err)
{
    uint64_t id = roster_former(fleet, from);
    if (id == 0 || fleet->phase == FLEET_DISMISSED)
        return true;
    if (fleet_is_of_all(failure))
        return fleet_run_error(id, failure, err);
    char why[MESSAGE_LINE + 1];
    snprintf(why, sizeof why, "%.*s", (int)failure->text.size, failure->text.data);
    log_event(LOG_WARN, "worker_failed", LOG_FIELDS(LOG_COUNT("worker", id), LOG_TEXT("reason", why)),
              "worker %" PRIu64 " had failed: %s", id, why);
    return true;
}

/* ---- what comes in ---- */

static bool fleet_credit(struct fleet *fleet, struct member *member, const struct message *message, struct err *err)
{
    if (member->phase != MEMBER_WORKING)
        return true;
    member->credit += message->credit.units;
    return fleet->phase != FLEET_WORK || fleet->owner.answer(fleet->owner.context, member, message, err);
}

/* An answer to work: of a member that works, or, where it is a report, of one that was told to stop. */
static bool fleet_answer(struct fleet *fleet, struct member *member, const struct message *message, struct err *err)
{
    if (member->phase == MEMBER_WORKING)
        return fleet->owner.answer(fleet->owner.context, member, message, err);
    if (member->phase != MEMBER_STOPPING && member->phase != MEMBER_LEAVING)
        return err_set(err, ERR_PROTOCOL, "%s came outside a generation", message_name(message->type));
    struct flight flight;
    if (message->type != MESSAGE_REPORT || message->report.generation != fleet->generation ||
        !member_reported(member, &message->report, &flight, NULL))
        return true;
    return fleet->owner.results(fleet->owner.context, flight.first_step, message->report.results, message->report.steps,
                                err);
}

static bool fleet_handle(struct fleet *fleet, struct member *member, const struct message *message, struct err *err)
{
    switch (message->type) {
    case MESSAGE_PONG:
        return generation_pong(fleet, member, message, err);
    case MESSAGE_ENDPOINT:
        return generation_endpoint(fleet, member, &message->endpoint, err);
    case MESSAGE_READY:
        return generation_ready(fleet, member, &message->ready, err);
    case MESSAGE_STOPPED:
        return generation_stopped(fleet, member, &message->stopped, err);
    case MESSAGE_CREDIT:
        return fleet_credit(fleet, member, message, err);
    case MESSAGE_REPORT:
    case MESSAGE_SCORED:
    case MESSAGE_STATE:
        return fleet_answer(fleet, member, message, err);
    case MESSAGE_RESIGN:
        return fleet_resign(fleet, member, err);
    case MESSAGE_LEAVE:
        return fleet_leave(fleet, member, err);
    case MESSAGE_ERROR:
        return fleet_worker_error(fleet, member, &message->error, err);
    default:
        return err_set(err, ERR_PROTOCOL, "%s is not for a coordinator", message_name(message->type));
    }
}

/* Somebody who is not of the run, and may not disturb it: told why, and logged, but not without end. */
static void fleet_refuse(struct fleet *fleet, const struct route *from, const struct err *why)
{
    int64_t now = clock_ms();
    roster_say_error(fleet, from, why);
    fleet->strangers++;
    if (now - fleet->complained_ms < COMPLAIN_MS)
        return;
    log_event(LOG_WARN, "stranger_refused",
              LOG_FIELDS(LOG_TEXT("reason", why->text), LOG_COUNT("count", fleet->strangers)),
              "a stranger was refused: %s (%" PRIu64 " in all)", why->text, fleet->strangers);
    fleet->complained_ms = now;
}

static void fleet_answer_ask(struct fleet *fleet, const struct route *from, const struct ask *ask)
{
    struct buffer json = {0};
    struct err ignored;
    fleet->owner.status(fleet->owner.context, ask->detail != 0, &json);
    struct message message = {.type = MESSAGE_STATUS, .status = {.json = {json.data, json.size}}};
    if (buffer_ok(&json, NULL))
        message_send(fleet->socket, from, &message, &ignored);
    buffer_free(&json);
}

/* From somebody who is not a member. */
static bool fleet_stranger(struct fleet *fleet, const struct route *from, const struct message *message,
                           struct err *err)
{
    struct err why = {0};
    if (fleet->watch != NULL && !watch_knows(fleet->watch, from))
        return true; /* its key was removed while it was silent: the watch disconnects it */
    if (message->type == MESSAGE_HELLO && (!fleet->embedded || fleet->ids < fleet->least))
        return joining_hello(fleet, from, &message->hello, err);
    if (message->type == MESSAGE_ASK) {
        fleet_answer_ask(fleet, from, &message->ask);
        return true;
    }
    if (message->type == MESSAGE_ERROR)
        return fleet_last_words(fleet, from, &message->error, err);
    if (message->type == MESSAGE_LEAVE || message->type == MESSAGE_PONG)
        return true;
    if (fleet->embedded)
        err_set(&why, ERR_PROTOCOL, "%s came from somebody who is not in this run, which has its workers",
                message_name(message->type));
    else
        err_set(&why, ERR_PROTOCOL, "%s came from somebody who is not a member: say HELLO first",
                message_name(message->type));
    fleet_refuse(fleet, from, &why);
    return true;
}

/* A member broke the protocol: it is told, and forgotten; where it is of this process, the run ends. */
static bool fleet_broken(struct fleet *fleet, struct member *member, const struct err *why, struct err *err)
{
    char text[ERR_TEXT + 32];
    roster_say_error(fleet, &member->route, why);
    if (fleet->embedded) {
        *err = *why;
        return false;
    }
    snprintf(text, sizeof text, "broke the protocol: %s", why->text);
    return roster_lose(fleet, member, text, err);
}

static bool fleet_dispatch(struct fleet *fleet, const struct route *from, const struct message *message,
                           struct err *err)
{
    struct member *member = roster_find(fleet, from);
    struct err failure = {0};
    bool done;
    if (member != NULL)
        member->heard_ms = clock_ms();
    if (member == NULL)
        done = fleet_stranger(fleet, from, message, &failure);
    else if (message->type == MESSAGE_HELLO && !fleet->embedded)
        done = joining_hello(fleet, from, &message->hello, &failure);
    else
        done = fleet_handle(fleet, member, message, &failure);
    if (done)
        return true;
    member = roster_find(fleet, from);
    if (failure.code == ERR_PROTOCOL && member != NULL && message->type != MESSAGE_ERROR)
        return fleet_broken(fleet, member, &failure, err);
    *err = failure;
    return false;
}

bool fleet_receive(struct fleet *fleet, bool *got, struct err *err)
{
    struct message message;
    struct route from = {.size = 0};
    struct err failure = {0};
    bool received = message_receive(fleet->socket, &from, false, &message, got, &failure);
    if (fleet->watch != NULL && from.size > 0)
        watch_received(fleet->watch, &from);
    if (!received) {
        *got = true;
        if (failure.code != ERR_PROTOCOL || from.size == 0) {
            *err = failure;
            return false;
        }
        struct member *member = roster_find(fleet, &from);
        if (member != NULL)
            return fleet_broken(fleet, member, &failure, err);
        fleet_refuse(fleet, &from, &failure);
        return true;
    }
    if (!*got)
        return true;
    bool done = fleet_dispatch(fleet, &from, &message, err);
    message_close(&message);
    return done;
}

/* ---- who is alive ---- */

/* Whether messages wait to be read, among which may be what a member said. */
static bool fleet_is_behind(const struct fleet *fleet)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(fleet->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

/* The reason to declare a member dead now; NULL = none. While the coordinator is behind, a member may be silent for
 * longer. */
static const char *fleet_fault(const struct fleet *fleet, const struct member *member, int64_t now, bool behind)
{
    if (member->gone_ms != 0 && (!behind || now - member->gone_ms >= GONE_MS))
        return "has lost its connection";
    if (now - member->heard_ms >= fleet->config->cluster_heartbeat_timeout * (behind ? BEHIND : 1))
        return "was silent for too long";
    if (member->phase == MEMBER_STOPPING && now - member->asked_ms >= STOP_MS)
        return "did not stop";
    if (member->phase == MEMBER_LEAVING && now - member->asked_ms >= (fleet->abandoned ? STOP_MS : LEAVE_MS))
        return "did not leave";
    return NULL;
}

/* This process itself was held up, and has not read yet what was said meanwhile: nobody else is to blame. */
static void fleet_forgive(struct fleet *fleet, int64_t now)
{
    int64_t late = now - fleet->ticked_ms - fleet->config->cluster_heartbeat;
    if (fleet->ticked_ms != 0 && late > fleet->config->cluster_heartbeat_timeout / 4)
        for (size_t i = 0; i < fleet->count; i++)
            fleet->members[i]->heard_ms = now;
    fleet->ticked_ms = now;
}

static bool fleet_on_tick(void *context, struct err *err)
{
    struct fleet *fleet = context;
    int64_t now = clock_ms();
    fleet_forgive(fleet, now);
    struct message ping = {.type = MESSAGE_PING, .ping = {.time = (uint64_t)clock_ns()}};
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        bool sent;
        if (!fleet_send(fleet, member, &ping, &sent, err) || !generation_ask_again(fleet, member, err))
            return false;
    }
    bool behind = fleet_is_behind(fleet);
    /* Giving one up can change the table: look from the beginning, and at most once for each of them. */
    for (size_t left = fleet->count; left > 0; left--) {
        const char *why = NULL;
        for (size_t i = 0; i < fleet->count && why == NULL; i++) {
            why = fleet_fault(fleet, fleet->members[i], now, behind);
            if (why != NULL && !roster_lose(fleet, fleet->members[i], why, err))
                return false;
        }
        if (why == NULL)
            break;
    }
    return generation_consider(fleet, err);
}

/* ---- life ---- */

/* A worker is heard once for each PING at least, so with a shorter limit a live worker would be declared dead. */
static bool fleet_check_times(const struct config *config, struct err *err)
{
    return config->cluster_heartbeat_timeout >= 2 * config->cluster_heartbeat ||
           err_set(err, ERR_USAGE,
                   "cluster.heartbeat_timeout is %" PRId64 " ms and cluster.heartbeat %" PRId64
                   " ms: all workers would be declared dead; the timeout must be at least twice the ping",
                   config->cluster_heartbeat_timeout, config->cluster_heartbeat);
}

bool fleet_open(struct fleet *fleet, struct err *err)
{
    const struct config *config = fleet->config;
    fleet->least = (uint32_t)(fleet->embedded ? config->train_workers : config->train_min_workers);
    fleet->most = (uint32_t)config->train_shards;
    fleet->upload.file = TRANSFER_FILES;
    if (fleet->most < fleet->least)
        return err_set(err, ERR_USAGE,
                       "train.shards is %u but at least %u workers are wanted: a batch can go to as many workers as it "
                       "has shards",
                       fleet->most, fleet->least);
    fleet->run = fleet->journal != NULL ? fleet->journal->run : 1;
    if (fleet->journal != NULL) {
        uint64_t forgotten = fleet->journal->resumed ? FORGOTTEN : 0;
        fleet->generation = fleet->journal->generation + forgotten;
        fleet->ids = fleet->journal->workers + forgotten;
    }
    if (fleet->embedded)
        return true;
    if (!fleet_check_times(config, err))
        return false;
    fleet->expected = fleet->journal->resumed ? fleet->journal->ranks : 0;
    fleet->expected_until = clock_ms() + RETURN_MS;
    fleet->tick =
        loop_add_timer(fleet->loop, config->cluster_heartbeat, config->cluster_heartbeat, fleet_on_tick, fleet, err);
    return fleet->tick != 0;
}

void fleet_close(struct fleet *fleet)
{
    if (fleet->tick != 0)
        loop_remove(fleet->loop, fleet->tick);
    if (fleet->retry != 0)
        loop_remove(fleet->loop, fleet->retry);
    for (size_t i = 0; i < fleet->count; i++)
        free(fleet->members[i]);
    free(fleet->members);
    upload_close(&fleet->upload);
    fleet->members = NULL;
    fleet->count = 0;
}

bool fleet_end(struct fleet *fleet, struct err *err)
{
    for (size_t i = 0; i < fleet->count; i++)
        fleet->members[i]->released = fleet->members[i]->resigned && member_is_in(fleet->members[i]);
    return generation_end(fleet, err);
}

bool fleet_take_any(struct fleet *fleet, struct err *err)
{
    fleet->least = 1;
    fleet->expected = 0;
    return generation_consider(fleet, err);
}

bool fleet_goes_on(const struct fleet *fleet)
{
    size_t holders = 0, stay = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct member *member = fleet->members[i];
        if (member->resigned)
            continue;
        holders += member_is_in(member);
        stay += member_is_in(member) || member->phase == MEMBER_WAITING;
    }
    return holders > 0 && stay >= fleet->least;
}

bool fleet_winds_up(const struct fleet *fleet)
{
    return fleet->winding_up;
}

bool fleet_dismiss(struct fleet *fleet, const char *reason, struct err *err)
{
    fleet->phase = FLEET_DISMISSED;
    upload_close(&fleet->upload);
    for (size_t i = 0; i < fleet->count; i++)
        if (!generation_ask(fleet, fleet->members[i], MEMBER_LEAVING, reason, err))
            return false;
    fault_point("dismiss");
    if (fleet->journal != NULL) {
        fleet->journal->ranks = 0;
        journal_numbers(fleet->journal);
    }
    return fleet->count > 0 || fleet->owner.empty(fleet->owner.context, err);
}

bool fleet_abandon(struct fleet *fleet, const char *reason, struct err *err)
{
    fleet->abandoned = true;
    for (size_t i = 0; i < fleet->count; i++)
        fleet->members[i]->stops = fleet->members[i]->stops || member_is_in(fleet->members[i]);
    return fleet_dismiss(fleet, reason, err);
}

static bool fleet_on_seen_off(void *context, struct err *err)
{
    struct fleet *fleet = context;
    return fleet->owner.empty(fleet->owner.context, err);
}

bool fleet_see_off(struct fleet *fleet, struct err *err)
{
    fleet->phase = FLEET_DISMISSED;
    return loop_add_timer(fleet->loop, RETURN_MS, 0, fleet_on_seen_off, fleet, err) != 0;
}
