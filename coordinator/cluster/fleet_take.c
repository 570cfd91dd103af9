/* fleet_take.c - what a message means beyond its member's state: who joins, what workers hold, and the answer to a peer
 * that is no member; see fleet.h. */
#include "coordinator/cluster/fleet.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPLAIN_MS = 1000 }; /* between two warnings about strangers */

/* ---- what workers hold ---- */

bool fleet_put_results(struct fleet *fleet, uint64_t first_step, const struct step_result *results, uint32_t steps,
                       struct err *err)
{
    for (uint32_t i = 0; i < steps; i++)
        if (results[i].tokens == 0)
            return err_set(err, ERR_PROTOCOL, "results count no tokens in step %" PRIu64, first_step + i + 1);
    return ledger_put(fleet->ledger, first_step, results, steps, err);
}

/* What a worker says that it holds: the state after `step` steps, as of generation `branch`, and the results of the
 * last `steps` of them. */
struct fleet_claim {
    uint64_t step, branch;
    uint32_t steps;
    const struct step_result *results;
};

/* Note what a member holds, unless the run went on without that state. False where its results contradict those known
 * of the same branch. */
static bool fleet_note_held(struct fleet *fleet, struct member *member, const struct fleet_claim *claim,
                            struct err *err)
{
    struct err failure = {0};
    member->step = claim->step;
    member->branch = claim->branch;
    member->held = fleet_has_branch(fleet, claim->branch, claim->step);
    if (!member->held) {
        log_event(LOG_INFO, "state_outdated",
                  LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_COUNT("step", claim->step),
                             LOG_COUNT("generation", claim->branch)),
                  "worker %" PRIu64 " holds step %" PRIu64 " of generation %" PRIu64
                  ", but the run went on without that state: the worker gets what the others hold",
                  member->id, claim->step, claim->branch);
        return true;
    }
    if (fleet_put_results(fleet, claim->step - claim->steps, claim->results, claim->steps, &failure))
        return true;
    /* Generations before this process may have been of another branch, and left no trace but this. */
    if (fleet->config->train_reduce == REDUCE_EXACT || claim->branch == fleet->generation ||
        failure.code != ERR_FAILED) {
        *err = failure;
        return false;
    }
    log_event(
        LOG_WARN, "state_differs",
        LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_COUNT("step", claim->step), LOG_TEXT("reason", failure.text)),
        "worker %" PRIu64 " holds a state of another branch: %s; the worker gets what the others hold", member->id,
        failure.text);
    member->held = false;
    return true;
}

/* ---- who joins ---- */

/* What must be the same for the same bits. */
static bool fleet_fits(const struct fleet *fleet, const char *build, const char *arithmetic, struct err *err)
{
    static const char *const precisions[] = {"fp32", "bf16"};
    const char *wanted = precisions[fleet->config->train_precision];
    size_t size = strlen(wanted);
    if (strncmp(arithmetic, wanted, size) != 0 || arithmetic[size] != '-')
        return err_set(err, ERR_USAGE, "this run computes in %s: start the worker with --precision %s", wanted, wanted);
    for (size_t i = 0; i < fleet->count; i++) {
        const struct member *other = fleet->members[i];
        if (!member_is_here(other) || (strcmp(other->arithmetic, arithmetic) == 0 && strcmp(other->build, build) == 0))
            continue;
        if (fleet->config->train_reduce == REDUCE_EXACT)
            return err_set(err, ERR_USAGE,
                           "train.reduce exact takes one build and one arithmetic: this worker has %s and %s, worker "
                           "%" PRIu64 " has %s and %s",
                           build, arithmetic, other->id, other->build, other->arithmetic);
        log_event(LOG_WARN, "workers_differ",
                  LOG_FIELDS(LOG_COUNT("worker", other->id), LOG_TEXT("arithmetic", other->arithmetic),
                             LOG_TEXT("other_arithmetic", arithmetic)),
                  "workers differ: %s with %s, and %s with %s", build, arithmetic, other->build, other->arithmetic);
        break;
    }
    return true;
}

/* Whether the worker can hold what it says: a state of this run, which one of its members was given, after steps that
 * were handed out. */
static bool fleet_believes(const struct fleet *fleet, const struct hello *hello)
{
    if (hello->held == 0 || hello->run != fleet->run)
        return false;
    if (hello->worker >= 1 && hello->worker <= fleet->ids && hello->step <= fleet->handed)
        return true;
    log_event(LOG_WARN, "state_unknown", LOG_FIELDS(LOG_COUNT("worker", hello->worker), LOG_COUNT("step", hello->step)),
              "a worker says that it was worker %" PRIu64 " and holds step %" PRIu64
              ", which this run never handed out: it is treated as one that holds no state",
              hello->worker, hello->step);
    return false;
}

/* A new member, with a number that none had in this run. NULL and ERR_MEMORY. */
static struct member *fleet_add(struct fleet *fleet, const struct route *route, struct err *err)
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
    member->due = DUE_WELCOME;
    member->joined_ms = member->heard_ms = clock_ms();
    fleet->members[fleet->count++] = member;
    return member;
}

static bool fleet_join(struct fleet *fleet, const struct route *from, const struct hello *hello, struct err *err)
{
    char holds[48] = "";
    bool held = fleet_believes(fleet, hello);
    struct member *member = fleet_add(fleet, from, err);
    if (member == NULL)
        return false;
    snprintf(member->build, sizeof member->build, "%.*s", (int)hello->build.size, hello->build.data);
    snprintf(member->arithmetic, sizeof member->arithmetic, "%.*s", (int)hello->arithmetic.size,
             hello->arithmetic.data);
    snprintf(member->backend, sizeof member->backend, "%.*s %.*s %.*s", (int)hello->backend.size, hello->backend.data,
             (int)hello->backend_version.size, hello->backend_version.data, (int)hello->isa.size, hello->isa.data);
    snprintf(member->host, sizeof member->host, "%.*s", (int)hello->host.size, hello->host.data);
    member->pid = hello->pid;
    member->threads = hello->threads;
    if (fleet->watch != NULL)
        watch_trust(fleet->watch, from);
    if (held)
        snprintf(holds, sizeof holds, ", holds step %" PRIu64, hello->step);
    log_event(fleet_is_embedded(fleet) ? LOG_DEBUG : LOG_INFO, "worker_joined",
              LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host),
                         LOG_COUNT("process", member->pid), LOG_TEXT("build", member->build),
                         LOG_TEXT("backend", member->backend), LOG_COUNT("threads", member->threads),
                         held ? LOG_COUNT("step", hello->step) : LOG_TEXT("step", NULL)),
              "worker %" PRIu64 " joined: %s, process %u, %s, %s, threads: %u%s", member->id, member->host, member->pid,
              member->build, member->backend, member->threads, holds);
    const struct fleet_claim claim = {hello->step, hello->branch, hello->steps, hello->results};
    return !held || fleet_note_held(fleet, member, &claim, err);
}

/* A worker that comes again has another connection, or was declared dead on this one. Its former membership, on either
 * connection, is over. */
static void fleet_forget_former(struct fleet *fleet, const struct hello *hello)
{
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        bool former = hello->run == fleet->run && hello->worker == member->id;
        if (member_is_here(member) && (former || member == fleet->heard.member))
            member_lose(member, ERR_FAILED, "came again");
    }
}

static bool fleet_hello(struct fleet *fleet, const struct hello *hello, struct err *err)
{
    static const char over[] = "the run is over";
    const struct message dismiss = {.type = MESSAGE_DISMISS, .dismiss = {.reason = {over, strlen(over)}}};
    const struct route *from = &fleet->heard.from;
    char build[MESSAGE_NAME + 1], arithmetic[MESSAGE_NAME + 1];
    struct err refusal = {0};
    fleet_forget_former(fleet, hello);
    if (fleet_is_dismissed(fleet)) {
        message_send(fleet->socket, from, &dismiss, &refusal);
        return true;
    }
    snprintf(build, sizeof build, "%.*s", (int)hello->build.size, hello->build.data);
    snprintf(arithmetic, sizeof arithmetic, "%.*s", (int)hello->arithmetic.size, hello->arithmetic.data);
    if (strcmp(from->role, "admin") == 0)
        err_set(&refusal, ERR_USAGE,
                "this key may read the status and not train: make the worker's with lstmq keygen NAME --role train");
    else if (fleet_fits(fleet, build, arithmetic, &refusal))
        return fleet_join(fleet, from, hello, err);
    if (fleet_is_embedded(fleet)) {
        *err = refusal;
        return false;
    }
    log_event(LOG_WARN, "worker_refused", LOG_FIELDS(LOG_TEXT("reason", refusal.text)), "a worker was refused: %s",
              refusal.text);
    fleet_say_error(fleet, from, &refusal);
    return true;
}

/* ---- what others send ---- */

/* ERROR of a worker that was declared dead before this coordinator read it. */
static bool fleet_last_words(const struct fleet *fleet, const struct failure *failure, struct err *err)
{
    const struct route *from = &fleet->heard.from;
    for (size_t i = 0; i < FLEET_FORMERS && !fleet_is_dismissed(fleet); i++) {
        const struct former *former = &fleet->formers[i];
        struct err why = {0};
        if (former->id == 0 || former->route.size != from->size || memcmp(former->route.id, from->id, from->size) != 0)
            continue;
        err_set(&why, (enum err_code)failure->code, "%.*s", (int)failure->text.size, failure->text.data);
        if (fleet_is_of_all(&why))
            return fleet_run_error(former->id, &why, err);
        log_event(LOG_WARN, "worker_failed", LOG_FIELDS(LOG_COUNT("worker", former->id), LOG_TEXT("reason", why.text)),
                  "worker %" PRIu64 ", declared dead before, had failed: %s", former->id, why.text);
        break;
    }
    return true;
}

/* A peer that is no member, and may not disturb the run: it gets ERROR, and the log a line now and then. */
static void fleet_refuse(struct fleet *fleet)
{
    const struct heard *heard = &fleet->heard;
    struct err why = heard->failure;
    int64_t now = clock_ms();
    if (why.code == ERR_NONE)
        err_set(&why, ERR_PROTOCOL,
                fleet_is_embedded(fleet) ? "%s came from a peer that is not in this run, whose workers are threads"
                                         : "%s came from a peer that is not a member: send HELLO first",
                message_name(heard->message.type));
    fleet_say_error(fleet, &heard->from, &why);
    fleet->strangers++;
    if (now - fleet->complained_ms < COMPLAIN_MS)
        return;
    log_event(LOG_WARN, "stranger_refused",
              LOG_FIELDS(LOG_TEXT("reason", why.text), LOG_COUNT("count", fleet->strangers)),
              "refused a peer that is not a worker of this run: %s (%" PRIu64 " so far)", why.text, fleet->strangers);
    fleet->complained_ms = now;
}

static bool fleet_take_stranger(struct fleet *fleet, struct err *err)
{
    const struct message *message = &fleet->heard.message;
    if (fleet->watch != NULL && !watch_knows(fleet->watch, &fleet->heard.from)) {
        fleet_forget(fleet); /* its key was removed while it was silent: the watch disconnects it */
        return true;
    }
    switch (message->type) {
    case MESSAGE_HELLO:
        if (!fleet_is_embedded(fleet) || fleet->ids < fleet->least)
            return fleet_hello(fleet, &message->hello, err);
        break;
    case MESSAGE_ERROR:
        return fleet_last_words(fleet, &message->error, err);
    case MESSAGE_ASK: /* the trainer answers */
    case MESSAGE_LEAVE:
    case MESSAGE_PONG:
        return true;
    default:
        break;
    }
    fleet_refuse(fleet);
    return true;
}

static bool fleet_take_member(struct fleet *fleet, struct member *member, const struct message *message,
                              struct err *err)
{
    const struct report *report = &message->report;
    const struct stopped *stopped = &message->stopped;
    const struct failure *error = &message->error;
    const struct fleet_claim claim = {stopped->step, stopped->branch, stopped->steps, stopped->results};
    struct flight flight;
    switch (message->type) {
    case MESSAGE_STOPPED:
        return member->state != MEMBER_STANDBY || stopped->held == 0 || fleet_note_held(fleet, member, &claim, err);
    case MESSAGE_REPORT: /* too late for the trainer, but it counts; what else is too late does not */
        return (member->state != MEMBER_STOPPING && member->state != MEMBER_LEAVING) ||
               report->generation != fleet->generation || !member_reported(member, report, &flight, NULL) ||
               fleet_put_results(fleet, flight.first_step, report->results, report->steps, err);
    case MESSAGE_ERROR:
        err_set(&member->fault, (enum err_code)error->code, "%.*s", (int)error->text.size, error->text.data);
        return true;
    default:
        return true;
    }
}

bool fleet_take(struct fleet *fleet, struct err *err)
{
    const struct heard *heard = &fleet->heard;
    struct member *member = heard->member;
    struct err failure = {0};
    bool stranger = member == NULL || heard->message.type == MESSAGE_HELLO;
    if (member == NULL ? heard->message.type == 0 && heard->failure.code == ERR_NONE : member->state == MEMBER_DEAD)
        return true;
    if (stranger ? fleet_take_stranger(fleet, &failure) : fleet_take_member(fleet, member, &heard->message, &failure))
        return true;
    if (failure.code != ERR_PROTOCOL) {
        *err = failure;
        return false;
    }
    member_lose(stranger ? fleet->members[fleet->count - 1] : member, failure.code, failure.text);
    return true;
}
