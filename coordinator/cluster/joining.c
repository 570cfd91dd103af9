/* joining.c - from HELLO to WELCOME; see joining.h. */
#include "coordinator/cluster/joining.h"

#include "coordinator/cluster/generation.h"
#include "coordinator/cluster/roster.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What must be the same for the same bits. */
static bool joining_fits(const struct fleet *fleet, const struct hello *hello, struct err *err)
{
    static const char *const precisions[] = {"fp32", "bf16"};
    const char *wanted = precisions[fleet->config->train_precision];
    size_t size = strlen(wanted);
    if (hello->arithmetic.size <= size || memcmp(hello->arithmetic.data, wanted, size) != 0 ||
        hello->arithmetic.data[size] != '-')
        return err_set(err, ERR_USAGE, "this run computes in %s: start the worker with --precision %s", wanted, wanted);
    char build[MESSAGE_NAME + 1], arithmetic[MESSAGE_NAME + 1];
    snprintf(build, sizeof build, "%.*s", (int)hello->build.size, hello->build.data);
    snprintf(arithmetic, sizeof arithmetic, "%.*s", (int)hello->arithmetic.size, hello->arithmetic.data);
    for (size_t i = 0; i < fleet->count; i++) {
        const struct member *other = fleet->members[i];
        if (strcmp(other->arithmetic, arithmetic) == 0 && strcmp(other->build, build) == 0)
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

static void joining_describe(struct member *member, const struct hello *hello)
{
    snprintf(member->build, sizeof member->build, "%.*s", (int)hello->build.size, hello->build.data);
    snprintf(member->backend, sizeof member->backend, "%.*s %.*s %.*s", (int)hello->backend.size, hello->backend.data,
             (int)hello->backend_version.size, hello->backend_version.data, (int)hello->isa.size, hello->isa.data);
    snprintf(member->arithmetic, sizeof member->arithmetic, "%.*s", (int)hello->arithmetic.size,
             hello->arithmetic.data);
    snprintf(member->host, sizeof member->host, "%.*s", (int)hello->host.size, hello->host.data);
    member->pid = hello->pid;
    member->threads = hello->threads;
}

static void joining_log_coming(const struct fleet *fleet, const struct member *member, const struct hello *hello,
                               bool held)
{
    char holds[48] = "";
    if (held)
        snprintf(holds, sizeof holds, ", holds step %" PRIu64, hello->step);
    log_event(fleet->embedded ? LOG_DEBUG : LOG_INFO, "worker_joined",
              LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host),
                         LOG_COUNT("process", member->pid), LOG_TEXT("build", member->build),
                         LOG_TEXT("backend", member->backend), LOG_COUNT("threads", member->threads),
                         held ? LOG_COUNT("step", hello->step) : LOG_TEXT("step", NULL)),
              "worker %" PRIu64 ": %s, process %u, %s, %s, threads: %u%s", member->id, member->host, member->pid,
              member->build, member->backend, member->threads, holds);
}

static bool joining_welcome(struct fleet *fleet, struct member *member, struct err *err)
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
static bool joining_forget_former(struct fleet *fleet, const struct route *from, const struct hello *hello,
                                  struct err *err)
{
    for (size_t i = 0; i < fleet->count;) {
        struct member *member = fleet->members[i++];
        bool former = hello->run == fleet->run && hello->worker == member->id;
        if (!member_is(member, from) && !former)
            continue;
        if (!roster_lose(fleet, member, "came again", err))
            return false;
        i = 0;
    }
    return true;
}

/* Whether it can hold what it says: a state of this run, which a member of it was given, after steps that were handed
 * out. */
static bool joining_may_hold(const struct fleet *fleet, const struct hello *hello)
{
    if (hello->held == 0 || hello->run != fleet->run)
        return false;
    if (hello->worker >= 1 && hello->worker <= fleet->ids && hello->step <= fleet->handed)
        return true;
    log_event(LOG_WARN, "state_unknown", LOG_FIELDS(LOG_COUNT("worker", hello->worker), LOG_COUNT("step", hello->step)),
              "a worker says that it was number %" PRIu64 " and holds step %" PRIu64
              ", which this run never handed out: it is treated as one that holds nothing",
              hello->worker, hello->step);
    return false;
}

/* Too late, or dismissed by a coordinator that was killed before it was heard. */
static bool joining_see_off(struct fleet *fleet, const struct route *from)
{
    static const char over[] = "the run is over";
    struct message message = {.type = MESSAGE_DISMISS, .dismiss = {.reason = {over, strlen(over)}}};
    struct err ignored;
    message_send(fleet->socket, from, &message, &ignored);
    return true;
}

/* A key may only do what its role says. */
static bool joining_may_train(const struct route *from, struct err *err)
{
    return strcmp(from->role, "admin") != 0 ||
           err_set(err, ERR_USAGE,
                   "this key may ask and not train: make the worker's with lstmq keygen NAME --role train");
}

bool joining_hello(struct fleet *fleet, const struct route *from, const struct hello *hello, struct err *err)
{
    struct err refusal = {0};
    if (!joining_forget_former(fleet, from, hello, err))
        return false;
    if (fleet->phase == FLEET_DISMISSED)
        return joining_see_off(fleet, from);
    if (joining_may_train(from, &refusal) && joining_fits(fleet, hello, &refusal)) {
        bool held = joining_may_hold(fleet, hello);
        struct member *member = roster_add(fleet, from, err);
        if (member == NULL)
            return false;
        joining_describe(member, hello);
        if (fleet->watch != NULL)
            watch_trust(fleet->watch, from);
        const struct generation_held state = {hello->step, hello->branch, hello->steps, hello->results};
        joining_log_coming(fleet, member, hello, held);
        return joining_welcome(fleet, member, err) && (!held || generation_hold(fleet, member, &state, err)) &&
               generation_consider(fleet, err);
    }
    if (fleet->embedded) {
        *err = refusal;
        return false;
    }
    log_event(LOG_WARN, "worker_refused", LOG_FIELDS(LOG_TEXT("reason", refusal.text)), "a worker was refused: %s",
              refusal.text);
    roster_say_error(fleet, from, &refusal);
    return true;
}
