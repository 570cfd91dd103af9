/* fleet.c - the table of members and what they say that is not an answer to work; see fleet.h. */
#include "coordinator/fleet.h"

#include "coordinator/generation.h"
#include "proto/base/clock.h"
#include "proto/base/fault.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* How long a connection may be gone before its worker is: ZeroMQ connects again on its own. */
enum { GONE_MS = 200 };

/* How long a worker may take to stop, or to leave: a step and a checkpoint's upload are shorter. */
enum { STOP_MS = 30000, LEAVE_MS = 3000 };

/* Times cluster.timeout that a member may be silent while the coordinator has not read all that was said. */
enum { BEHIND = 3 };

enum { COMPLAIN_MS = 1000 };

/* From a restart to a generation without those who have not come back: workers look for their coordinator every second,
 * and one of them may hold a step more than the others. */
enum { RETURN_MS = 2000 };

static struct text s_text(const char *text)
{
    return (struct text){text, strlen(text)};
}

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
    if ((gone && !fleet->embedded) || full)
        return true;
    *err = failure;
    return err_context(err, "worker %" PRIu64, member->id);
}

/* A peer should know why it is not heard; it may be gone, or deaf. */
static void s_say_error(struct fleet *fleet, const struct route *to, const struct err *why)
{
    struct err ignored;
    struct message message = {.type = MESSAGE_ERROR, .error = {.code = (uint32_t)why->code, .text = s_text(why->text)}};
    message_send(fleet->socket, to, &message, &ignored);
}

/* ---- the table ---- */

static struct member *s_find(const struct fleet *fleet, const struct route *route)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (member_is(fleet->members[i], route))
            return fleet->members[i];
    return NULL;
}

static struct member *s_add(struct fleet *fleet, const struct route *route, struct err *err)
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

static void s_remove(struct fleet *fleet, const struct member *member)
{
    size_t at = 0;
    while (fleet->members[at] != member)
        at++;
    free(fleet->members[at]);
    fleet->count--;
    memmove(&fleet->members[at], &fleet->members[at + 1], (fleet->count - at) * sizeof(struct member *));
}

/* The member is no more. */
static bool s_drop(struct fleet *fleet, struct member *member, struct err *err)
{
    bool was_in = member_is_in(member);
    s_remove(fleet, member);
    if (fleet->phase == FLEET_DISMISSED)
        return fleet->count > 0 || fleet->owner.empty(fleet->owner.context, err);
    return (was_in ? generation_end(fleet, err) : generation_check_ended(fleet, err)) &&
           generation_consider(fleet, err);
}

/* Should it come back to itself: what it was is over, and HELLO makes it a new worker. */
static void s_say_given_up(struct fleet *fleet, const struct member *member)
{
    struct err why;
    err_set(&why, ERR_PROTOCOL, "worker %" PRIu64 " was given up: say HELLO", member->id);
    s_say_error(fleet, &member->route, &why);
}

static bool s_lose(struct fleet *fleet, struct member *member, const char *why, struct err *err)
{
    if (fleet->embedded && fleet->phase != FLEET_DISMISSED)
        return err_set(err, ERR_FAILED, "worker %" PRIu64 " %s", member->id, why);
    fleet->lost++;
    log_warn("worker %" PRIu64 " (%s, process %u) %s and is given up", member->id, member->host, member->pid, why);
    s_say_given_up(fleet, member);
    return s_drop(fleet, member, err);
}

/* ---- coming and going ---- */

/* What must be the same for the same bits. */
static bool s_fits(const struct fleet *fleet, const struct hello *hello, struct err *err)
{
    static const char *const precisions[] = {"fp32", "bf16"};
    const char *wanted = precisions[fleet->config->train_precision];
    char backend[sizeof fleet->members[0]->backend];
    if (hello->precision.size != strlen(wanted) || memcmp(hello->precision.data, wanted, hello->precision.size) != 0)
        return err_set(err, ERR_USAGE, "this run computes in %s: start the worker with --precision %s", wanted, wanted);
    snprintf(backend, sizeof backend, "%.*s %.*s %.*s", (int)hello->backend.size, hello->backend.data,
             (int)hello->backend_version.size, hello->backend_version.data, (int)hello->isa.size, hello->isa.data);
    for (size_t i = 0; i < fleet->count; i++) {
        const struct member *other = fleet->members[i];
        bool same = strcmp(other->backend, backend) == 0 && strlen(other->build) == hello->build.size &&
                    memcmp(other->build, hello->build.data, hello->build.size) == 0;
        if (same)
            continue;
        if (fleet->config->train_reduce == REDUCE_EXACT)
            return err_set(err, ERR_USAGE,
                           "train.reduce exact takes workers of one kind: %.*s with %s is not %s with %s of worker "
                           "%" PRIu64,
                           (int)hello->build.size, hello->build.data, backend, other->build, other->backend, other->id);
        log_warn("workers differ: %.*s with %s, and %s with %s", (int)hello->build.size, hello->build.data, backend,
                 other->build, other->backend);
        break;
    }
    return true;
}

static void s_describe(struct member *member, const struct hello *hello)
{
    snprintf(member->build, sizeof member->build, "%.*s", (int)hello->build.size, hello->build.data);
    snprintf(member->backend, sizeof member->backend, "%.*s %.*s %.*s", (int)hello->backend.size, hello->backend.data,
             (int)hello->backend_version.size, hello->backend_version.data, (int)hello->isa.size, hello->isa.data);
    snprintf(member->host, sizeof member->host, "%.*s", (int)hello->host.size, hello->host.data);
    member->pid = hello->pid;
    member->threads = hello->threads;
}

static void s_log_coming(const struct fleet *fleet, const struct member *member)
{
    char holds[48] = "";
    if (member->held)
        snprintf(holds, sizeof holds, ", holds step %" PRIu64, member->step);
    log_line(fleet->embedded ? LOG_DEBUG : LOG_INFO, "worker %" PRIu64 ": %s, process %u, %s, %s, threads: %u%s",
             member->id, member->host, member->pid, member->build, member->backend, member->threads, holds);
}

static bool s_welcome(struct fleet *fleet, struct member *member, struct err *err)
{
    struct buffer text = {0};
    bool sent;
    config_dump(fleet->config, &text);
    struct message message = {.type = MESSAGE_WELCOME,
                              .welcome = {.run = fleet->run,
                                          .worker = member->id,
                                          .config = {text.data, text.size},
                                          .src_vocab = (uint32_t)vocab_size(fleet->dataset->src),
                                          .tgt_vocab = (uint32_t)vocab_size(fleet->dataset->tgt)}};
    bool done = buffer_ok(&text, err) && fleet_send(fleet, member, &message, &sent, err);
    buffer_free(&text);
    return done;
}

/* A worker that comes again was given another connection, or said HELLO where it had been forgotten: what it was
 * before is no more, on that connection or on this. Losing one can change the table: look from the beginning. */
static bool s_forget_former(struct fleet *fleet, const struct route *from, const struct hello *hello, struct err *err)
{
    for (size_t i = 0; i < fleet->count;) {
        struct member *member = fleet->members[i++];
        bool former = hello->run == fleet->run && hello->worker == member->id;
        if (!member_is(member, from) && !former)
            continue;
        if (!s_lose(fleet, member, "came again", err))
            return false;
        i = 0;
    }
    return true;
}

/* Whether it can hold what it says: a state of this run, which a member of it was given, after steps that were handed
 * out. The last number given is `most`. */
static bool s_may_hold(const struct fleet *fleet, const struct hello *hello, uint64_t most)
{
    if (hello->held == 0 || hello->run != fleet->run)
        return false;
    if (hello->worker >= 1 && hello->worker <= most && hello->step <= fleet->handed)
        return true;
    log_warn("a worker says that it was number %" PRIu64 " and holds step %" PRIu64 ", which nobody was given: it is "
             "taken as one that holds nothing",
             hello->worker, hello->step);
    return false;
}

/* Too late, or dismissed by a coordinator that was killed before it was heard. */
static bool s_see_off(struct fleet *fleet, const struct route *from)
{
    struct message message = {.type = MESSAGE_DISMISS, .dismiss = {.reason = s_text("the run is over")}};
    struct err ignored;
    message_send(fleet->socket, from, &message, &ignored);
    return true;
}

static bool s_hello(struct fleet *fleet, const struct route *from, const struct hello *hello, struct err *err)
{
    struct err refusal = {0};
    if (!s_forget_former(fleet, from, hello, err))
        return false;
    if (fleet->phase == FLEET_DISMISSED)
        return s_see_off(fleet, from);
    if (s_fits(fleet, hello, &refusal)) {
        bool held = s_may_hold(fleet, hello, fleet->ids);
        struct member *member = s_add(fleet, from, err);
        if (member == NULL)
            return false;
        s_describe(member, hello);
        if (fleet->watch != NULL)
            watch_trust(fleet->watch, from);
        member->held = held;
        member->step = held ? hello->step : 0;
        s_log_coming(fleet, member);
        return s_welcome(fleet, member, err) &&
               (!member->held || hello->steps == 0 ||
                fleet->owner.results(fleet->owner.context, hello->step - hello->steps, hello->results, hello->steps,
                                     err)) &&
               generation_consider(fleet, err);
    }
    if (fleet->embedded) {
        *err = refusal;
        return false;
    }
    log_warn("a worker was refused: %s", refusal.text);
    s_say_error(fleet, from, &refusal);
    return true;
}

static bool s_resign(struct fleet *fleet, struct member *member, struct err *err)
{
    member->resigned = true;
    if (member->phase != MEMBER_WAITING)
        return generation_consider(fleet, err);
    return generation_ask(fleet, member, MEMBER_LEAVING, "it asked to go", err);
}

static bool s_leave(struct fleet *fleet, struct member *member, struct err *err)
{
    if (member->phase != MEMBER_LEAVING)
        return s_lose(fleet, member, "left without being asked", err);
    if (!fleet->embedded)
        log_info("worker %" PRIu64 " left after %" PRIu64 " steps", member->id, member->steps);
    return s_drop(fleet, member, err);
}

/* A failure that every worker would have ends the run; any other ends one worker. */
static bool s_worker_error(struct fleet *fleet, struct member *member, const struct failure *failure, struct err *err)
{
    char why[MESSAGE_LINE + 16];
    if (fleet->embedded || failure->code == ERR_DIVERGED || failure->code == ERR_DATA)
        return err_set(err, (enum err_code)failure->code, "worker %" PRIu64 ": %.*s", member->id,
                       (int)failure->text.size, failure->text.data);
    snprintf(why, sizeof why, "failed: %.*s:", (int)failure->text.size, failure->text.data);
    return s_lose(fleet, member, why, err);
}

/* ---- what comes in ---- */

static bool s_credit(struct fleet *fleet, struct member *member, const struct message *message, struct err *err)
{
    if (member->phase != MEMBER_WORKING)
        return true;
    member->credit += message->credit.units;
    return fleet->phase != FLEET_WORK || fleet->owner.answer(fleet->owner.context, member, message, err);
}

/* An answer to work: of a member that works, or, where it is a report, of one that was told to stop. */
static bool s_answer(struct fleet *fleet, struct member *member, const struct message *message, struct err *err)
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

static bool s_handle(struct fleet *fleet, struct member *member, const struct message *message, struct err *err)
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
        return s_credit(fleet, member, message, err);
    case MESSAGE_REPORT:
    case MESSAGE_SCORED:
    case MESSAGE_STATE:
        return s_answer(fleet, member, message, err);
    case MESSAGE_RESIGN:
        return s_resign(fleet, member, err);
    case MESSAGE_LEAVE:
        return s_leave(fleet, member, err);
    case MESSAGE_ERROR:
        return s_worker_error(fleet, member, &message->error, err);
    default:
        return err_set(err, ERR_PROTOCOL, "%s is not for a coordinator", message_name(message->type));
    }
}

/* Somebody who is not of the run, and may not disturb it: told why, and logged, but not without end. */
static void s_refuse(struct fleet *fleet, const struct route *from, const struct err *why)
{
    int64_t now = clock_ms();
    s_say_error(fleet, from, why);
    fleet->strangers++;
    if (now - fleet->complained_ms < COMPLAIN_MS)
        return;
    log_warn("a stranger was refused: %s (%" PRIu64 " in all)", why->text, fleet->strangers);
    fleet->complained_ms = now;
}

static void s_answer_ask(struct fleet *fleet, const struct route *from, const struct ask *ask)
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
static bool s_stranger(struct fleet *fleet, const struct route *from, const struct message *message, struct err *err)
{
    struct err why = {0};
    if (message->type == MESSAGE_HELLO && (!fleet->embedded || fleet->ids < fleet->least))
        return s_hello(fleet, from, &message->hello, err);
    if (message->type == MESSAGE_ASK) {
        s_answer_ask(fleet, from, &message->ask);
        return true;
    }
    if (message->type == MESSAGE_LEAVE || message->type == MESSAGE_ERROR || message->type == MESSAGE_PONG)
        return true;
    if (fleet->embedded)
        err_set(&why, ERR_PROTOCOL, "%s came from somebody who is not in this run, which has its workers",
                message_name(message->type));
    else
        err_set(&why, ERR_PROTOCOL, "%s came from somebody who is not a member: say HELLO first",
                message_name(message->type));
    s_refuse(fleet, from, &why);
    return true;
}

/* A member broke the protocol: it is told, and forgotten; where it is of this process, the run ends. */
static bool s_broken(struct fleet *fleet, struct member *member, const struct err *why, struct err *err)
{
    char text[ERR_TEXT + 32];
    s_say_error(fleet, &member->route, why);
    if (fleet->embedded) {
        *err = *why;
        return false;
    }
    snprintf(text, sizeof text, "broke the protocol: %s:", why->text);
    return s_lose(fleet, member, text, err);
}

static bool s_dispatch(struct fleet *fleet, const struct route *from, const struct message *message, struct err *err)
{
    struct member *member = s_find(fleet, from);
    struct err failure = {0};
    bool done;
    if (member != NULL)
        member->heard_ms = clock_ms();
    if (member == NULL)
        done = s_stranger(fleet, from, message, &failure);
    else if (message->type == MESSAGE_HELLO && !fleet->embedded)
        done = s_hello(fleet, from, &message->hello, &failure);
    else
        done = s_handle(fleet, member, message, &failure);
    if (done)
        return true;
    member = s_find(fleet, from);
    if (failure.code == ERR_PROTOCOL && member != NULL && message->type != MESSAGE_ERROR)
        return s_broken(fleet, member, &failure, err);
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
        struct member *member = s_find(fleet, &from);
        if (member != NULL)
            return s_broken(fleet, member, &failure, err);
        s_refuse(fleet, &from, &failure);
        return true;
    }
    if (!*got)
        return true;
    bool done = s_dispatch(fleet, &from, &message, err);
    message_close(&message);
    return done;
}

/* ---- who is alive ---- */

/* How long a member may be silent: longer while messages wait to be read, among which may be what it said. */
static int64_t s_patience(const struct fleet *fleet)
{
    int events = 0;
    size_t size = sizeof events;
    bool behind = zmq_getsockopt(fleet->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
    return fleet->config->cluster_timeout * (behind ? BEHIND : 1);
}

/* Why a member is to be given up now; NULL where it is not. */
static const char *s_fault(const struct member *member, int64_t now, int64_t patience)
{
    if (member->gone_ms != 0 && now - member->gone_ms >= GONE_MS)
        return "has lost its connection";
    if (now - member->heard_ms >= patience)
        return "was silent for too long";
    if (member->phase == MEMBER_STOPPING && now - member->asked_ms >= STOP_MS)
        return "did not stop";
    if (member->phase == MEMBER_LEAVING && now - member->asked_ms >= LEAVE_MS)
        return "did not leave";
    return NULL;
}

/* This process itself was held up, and has not read yet what was said meanwhile: nobody else is to blame. */
static void s_forgive(struct fleet *fleet, int64_t now)
{
    int64_t late = now - fleet->ticked_ms - fleet->config->cluster_ping;
    if (fleet->ticked_ms != 0 && late > fleet->config->cluster_timeout / 4)
        for (size_t i = 0; i < fleet->count; i++)
            fleet->members[i]->heard_ms = now;
    fleet->ticked_ms = now;
}

static bool s_on_tick(void *context, struct err *err)
{
    struct fleet *fleet = context;
    int64_t now = clock_ms(), patience = s_patience(fleet);
    s_forgive(fleet, now);
    struct message ping = {.type = MESSAGE_PING, .ping = {.time = (uint64_t)clock_ns()}};
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        bool sent;
        if (!fleet_send(fleet, member, &ping, &sent, err) || !generation_ask_again(fleet, member, err))
            return false;
    }
    /* Giving one up can change the table: look from the beginning, and at most once for each of them. */
    for (size_t left = fleet->count; left > 0; left--) {
        const char *why = NULL;
        for (size_t i = 0; i < fleet->count && why == NULL; i++) {
            why = s_fault(fleet->members[i], now, patience);
            if (why != NULL && !s_lose(fleet, fleet->members[i], why, err))
                return false;
        }
        if (why == NULL)
            break;
    }
    return generation_consider(fleet, err);
}

/* ---- life ---- */

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
    fleet->generation = fleet->journal != NULL ? fleet->journal->generation : 0;
    fleet->ids = fleet->journal != NULL ? fleet->journal->workers : 0;
    if (fleet->embedded)
        return true;
    fleet->expected = fleet->journal->resumed ? fleet->journal->ranks : 0;
    fleet->expected_until = clock_ms() + RETURN_MS;
    fleet->tick = loop_add_timer(fleet->loop, config->cluster_ping, config->cluster_ping, s_on_tick, fleet, err);
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
    return generation_end(fleet, err);
}

bool fleet_take_any(struct fleet *fleet, struct err *err)
{
    fleet->least = 1;
    fleet->expected = 0;
    return generation_consider(fleet, err);
}

bool fleet_all_resign(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (member_is_in(fleet->members[i]) && !fleet->members[i]->resigned)
            return false;
    return true;
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

static bool s_on_seen_off(void *context, struct err *err)
{
    struct fleet *fleet = context;
    return fleet->owner.empty(fleet->owner.context, err);
}

bool fleet_see_off(struct fleet *fleet, struct err *err)
{
    fleet->phase = FLEET_DISMISSED;
    return loop_add_timer(fleet->loop, RETURN_MS, 0, s_on_seen_off, fleet, err) != 0;
}
