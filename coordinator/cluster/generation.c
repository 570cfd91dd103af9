/* generation.c - ranks, the rendezvous, the state to begin with, and the end; see generation.h. */
#include "coordinator/cluster/generation.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <string.h>

enum { RETRY_MS = 2 }; /* until a full queue is tried again */

/* Ranks that have not met so long after they had all they need may be out of one another's reach. */
enum { MEETING_MS = 10000 };

static size_t generation_count(const struct fleet *fleet, enum member_phase phase)
{
    size_t count = 0;
    for (size_t i = 0; i < fleet->count; i++)
        count += fleet->members[i]->phase == phase;
    return count;
}

/* Of this generation, with this rank. */
static struct member *generation_rank(const struct fleet *fleet, uint32_t rank)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (member_is_in(fleet->members[i]) && fleet->members[i]->rank == rank)
            return fleet->members[i];
    return NULL;
}

/* ---- the beginning ---- */

static bool generation_waits(const struct member *member)
{
    return member->phase == MEMBER_WAITING && !member->resigned;
}

static bool generation_is_exact(const struct fleet *fleet)
{
    return fleet->config->train_reduce == REDUCE_EXACT;
}

/* The run took no other course after that state. */
static bool generation_is_of_course(const struct fleet *fleet, uint64_t branch, uint64_t step)
{
    return generation_is_exact(fleet) || (branch <= fleet->generation && branch_has(&fleet->branch, branch, step));
}

/* A state that the run can go on from: others may have gone on without it since it was told of. */
static bool generation_has_state(const struct fleet *fleet, const struct member *member)
{
    return member->phase == MEMBER_WAITING && member->held &&
           generation_is_of_course(fleet, member->branch, member->step) &&
           fleet->owner.knows(fleet->owner.context, member->step);
}

static bool generation_holds(const struct fleet *fleet, const struct member *member)
{
    return generation_waits(member) && generation_has_state(fleet, member);
}

/* What a member holds is further along the run's course than what another does. */
static bool generation_is_ahead(const struct fleet *fleet, const struct member *member, const struct member *other)
{
    if (!generation_is_exact(fleet) && member->branch != other->branch)
        return member->branch > other->branch;
    return member->step > other->step;
}

/* Of those who wait and were told to end, the one with whom a state would go that nobody else holds and no checkpoint
 * has; NULL = nobody. Of those who were released the owner knew when it ended their generation: it saved, or failed to. */
static struct member *generation_last_holder(const struct fleet *fleet)
{
    struct member *last = NULL;
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->resigned && !member->released && generation_has_state(fleet, member) &&
            (last == NULL || generation_is_ahead(fleet, member, last)))
            last = member;
    }
    if (last == NULL || !fleet->owner.unsaved(fleet->owner.context))
        return NULL;
    for (size_t i = 0; i < fleet->count; i++)
        if (generation_holds(fleet, fleet->members[i]) && !generation_is_ahead(fleet, last, fleet->members[i]))
            return NULL;
    return last;
}

/* The member with the most advanced state, of several the first; NULL where there is none. */
static const struct member *generation_foremost(const struct fleet *fleet)
{
    const struct member *foremost = NULL;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct member *member = fleet->members[i];
        if (generation_holds(fleet, member) && (foremost == NULL || generation_is_ahead(fleet, member, foremost)))
            foremost = member;
    }
    return foremost;
}

/* Members with the state of the foremost first, so that those in reserve are those without; then by number. Ranks go by
 * number. */
static uint32_t generation_choose(struct fleet *fleet, const struct member *foremost)
{
    uint32_t size = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < fleet->count && size < fleet->most; i++) {
            struct member *member = fleet->members[i];
            bool same =
                foremost != NULL && generation_holds(fleet, member) && !generation_is_ahead(fleet, foremost, member);
            if (generation_waits(member) && same == (pass == 0)) {
                member_enter(member, 0, 0);
                member->has_start = same;
                size++;
            }
        }
    uint32_t rank = 0;
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->phase == MEMBER_ENTERING)
            fleet->members[i]->rank = rank++;
    return size;
}

/* A member that is to save what it holds. */
static uint32_t generation_take_alone(struct member *member)
{
    member_enter(member, 0, 0);
    member->has_start = true;
    return 1;
}

static enum generation_source generation_source_of(const struct fleet *fleet, const struct member *member,
                                                   uint32_t root)
{
    const struct fleet_start *start = &fleet->start;
    if (start->held)
        return member->has_start ? SOURCE_HELD : SOURCE_PEER;
    if (start->checkpoint == NULL)
        return SOURCE_SEED;
    return member->rank == root ? SOURCE_STATE : SOURCE_PEER;
}

static uint32_t generation_root(const struct fleet *fleet)
{
    for (uint32_t rank = 0; fleet->start.held && rank < fleet->size; rank++)
        if (generation_rank(fleet, rank)->has_start)
            return rank;
    return 0;
}

static bool generation_announce(struct fleet *fleet, struct err *err)
{
    uint32_t root = generation_root(fleet);
    bool broadcast = false;
    for (uint32_t rank = 0; rank < fleet->size; rank++)
        broadcast = broadcast || generation_source_of(fleet, generation_rank(fleet, rank), root) == SOURCE_PEER;
    for (uint32_t rank = 0; rank < fleet->size; rank++) {
        struct member *member = generation_rank(fleet, rank);
        struct message message = {.type = MESSAGE_GENERATION,
                                  .generation = {.generation = fleet->generation,
                                                 .rank = rank,
                                                 .size = fleet->size,
                                                 .step = fleet->start.step,
                                                 .source = generation_source_of(fleet, member, root),
                                                 .broadcast = broadcast,
                                                 .root = root}};
        bool sent;
        member->sent_step = fleet->start.step;
        member->phase = fleet->size > 1 ? MEMBER_ENTERING : MEMBER_SYNCING;
        if (!fleet_send(fleet, member, &message, &sent, err))
            return false;
    }
    return true;
}

static bool generation_send_state(struct fleet *fleet, struct err *err);

static bool generation_on_retry(void *context, struct err *err)
{
    struct fleet *fleet = context;
    fleet->retry = 0;
    for (size_t i = 0; i < fleet->count; i++)
        if (!generation_ask_again(fleet, fleet->members[i], err))
            return false;
    return fleet->phase != FLEET_SYNC || generation_send_state(fleet, err);
}

static bool generation_retry_soon(struct fleet *fleet, struct err *err)
{
    if (fleet->retry == 0)
        fleet->retry = loop_add_timer(fleet->loop, RETRY_MS, 0, generation_on_retry, fleet, err);
    return fleet->retry != 0;
}

/* PING behind what is on its way, whose PONG says that it arrived. Where there is no room for it, that of the fleet's next
 * tick does as well. */
static bool generation_ask_arrival(struct fleet *fleet, struct member *member, struct err *err)
{
    uint64_t now = (uint64_t)clock_ns();
    const struct message ping = {.type = MESSAGE_PING, .ping = {.time = now}};
    bool sent;
    if (fleet->upload.asked_ns != 0)
        return true;
    fleet->upload.asked_ns = now;
    return fleet_send(fleet, member, &ping, &sent, err);
}

/* The checkpoint's state to rank 0, as fast as it takes it. What the socket has no room for now is sent a little later. */
static bool generation_send_state(struct fleet *fleet, struct err *err)
{
    struct member *member = generation_rank(fleet, 0);
    for (bool more = true, sent = true; more;) {
        if (member != NULL && !fleet->embedded && !upload_may_send(&fleet->upload))
            return generation_ask_arrival(fleet, member, err);
        struct message message = {.type = MESSAGE_STATE};
        if (!upload_piece(&fleet->upload, &message.state, &more, err))
            return false;
        if (!more || member == NULL)
            return true;
        if (!fleet_send(fleet, member, &message, &sent, err))
            return false;
        if (sent) {
            upload_sent(&fleet->upload);
            continue;
        }
        return generation_retry_soon(fleet, err);
    }
    return true;
}

static bool generation_begin_upload(struct fleet *fleet, struct err *err)
{
    upload_close(&fleet->upload);
    upload_open(&fleet->upload, fleet->start.held ? NULL : fleet->start.checkpoint);
    return generation_send_state(fleet, err);
}

/* What was on its way to rank 0 has arrived. */
static bool generation_arrived(struct fleet *fleet, const struct member *member, uint64_t asked_ns, struct err *err)
{
    struct upload *upload = &fleet->upload;
    if (fleet->phase != FLEET_SYNC || upload->file >= TRANSFER_FILES || upload->asked_ns == 0 ||
        asked_ns < upload->asked_ns || !member_is_in(member) || member->rank != 0)
        return true;
    upload_arrived(upload, (uint64_t)clock_ns() - upload->asked_ns);
    return generation_send_state(fleet, err);
}

/* It reads: what found no room for it may find some now. */
bool generation_pong(struct fleet *fleet, struct member *member, const struct message *pong, struct err *err)
{
    bool full = member->full;
    member->full = false;
    if (full && member->phase == MEMBER_WORKING && fleet->phase == FLEET_WORK)
        return fleet->owner.answer(fleet->owner.context, member, pong, err);
    return generation_arrived(fleet, member, pong->pong.time, err);
}

/* `alone`: of this member only, which is to save what it holds; NULL = of all who wait. */
static bool generation_form(struct fleet *fleet, struct member *alone, struct err *err)
{
    const struct member *foremost = alone != NULL ? alone : generation_foremost(fleet);
    bool held = foremost != NULL;
    fleet->size = alone != NULL ? generation_take_alone(alone) : generation_choose(fleet, foremost);
    if (!fleet->owner.begin(fleet->owner.context, held, held ? foremost->step : 0, &fleet->start, err))
        return false;
    fleet->generation++;
    branch_begin(&fleet->branch, fleet->generation, fleet->start.step);
    if (fleet->journal != NULL) {
        fleet->journal->generation = fleet->generation;
        fleet->journal->ranks = fleet->size;
        journal_numbers(fleet->journal);
    }
    fleet->phase = FLEET_SYNC;
    fleet->formed_ms = clock_ms();
    fleet->winding_up = false;
    fleet->parting = alone != NULL;
    fleet->told_waiting = 0;
    fleet->expected = 0;
    if (!fleet->embedded)
        log_event(LOG_INFO, "generation_started",
                  LOG_FIELDS(LOG_COUNT("generation", fleet->generation), LOG_COUNT("workers", fleet->size),
                             LOG_COUNT("step", fleet->start.step), LOG_BOOL("alone", alone != NULL)),
                  "generation %" PRIu64 ": %u worker%s, from step %" PRIu64, fleet->generation, fleet->size,
                  fleet->size == 1 ? "" : "s", fleet->start.step);
    return generation_announce(fleet, err) && (fleet->size > 1 || generation_begin_upload(fleet, err));
}

/* Nobody came just now: others who were started with it may be on their way. */
static bool generation_settled(const struct fleet *fleet)
{
    int64_t now = clock_ms(), settle = fleet->embedded ? 0 : fleet->config->cluster_join_delay;
    if (fleet->expected > fleet->count && now < fleet->expected_until)
        return false;
    for (size_t i = 0; i < fleet->count; i++)
        if (generation_waits(fleet->members[i]) && now - fleet->members[i]->joined_ms < settle)
            return false;
    return true;
}

/* DISMISS to those who wait and were told to end. */
static bool generation_let_go(struct fleet *fleet, struct err *err)
{
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->phase == MEMBER_WAITING && member->resigned &&
            !generation_ask(fleet, member, MEMBER_LEAVING, "it asked to go", err))
            return false;
    }
    return true;
}

static bool generation_gather(struct fleet *fleet, size_t waiting, struct err *err)
{
    struct member *last = generation_last_holder(fleet);
    if (last != NULL)
        return generation_form(fleet, last, err);
    if (!generation_let_go(fleet, err))
        return false;
    if (waiting >= fleet->least)
        return !generation_settled(fleet) || generation_form(fleet, NULL, err);
    if (!fleet->embedded && fleet->told_waiting != waiting + 1)
        log_event(LOG_INFO, "waiting_for_workers",
                  LOG_FIELDS(LOG_COUNT("workers", waiting), LOG_COUNT("least", fleet->least)),
                  "waiting for workers: %zu of at least %u are here", waiting, fleet->least);
    fleet->told_waiting = waiting + 1;
    return true;
}

/* Ranks that cannot reach one another wait without end, and each of them is alive: that is for people to mend. */
static void generation_watch_meeting(struct fleet *fleet)
{
    int64_t now = clock_ms();
    if (fleet->phase != FLEET_SYNC || fleet->upload.file < TRANSFER_FILES) {
        fleet->meeting_ms = now;
        return;
    }
    if (now - fleet->meeting_ms < MEETING_MS)
        return;
    fleet->meeting_ms = now;
    log_event(
        LOG_WARN, "generation_stalled",
        LOG_FIELDS(LOG_COUNT("generation", fleet->generation), LOG_INT("ms", now - fleet->formed_ms),
                   LOG_COUNT("workers", fleet->size),
                   LOG_COUNT("unready", fleet->size - generation_count(fleet, MEMBER_WORKING))),
        "generation %" PRIu64 " has not begun after %" PRId64 " ms: %zu of %u workers are not ready; each must reach "
        "the next at the place it names (worker.bind)",
        fleet->generation, now - fleet->formed_ms, fleet->size - generation_count(fleet, MEMBER_WORKING), fleet->size);
    for (uint32_t rank = 0; rank < fleet->size; rank++) {
        const struct member *member = generation_rank(fleet, rank);
        if (member != NULL && member->phase != MEMBER_WORKING)
            log_event(LOG_WARN, "worker_unready",
                      LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host),
                                 LOG_TEXT("address", member->endpoint)),
                      "  worker %" PRIu64 " (%s): %s", member->id, member->host, member->endpoint);
    }
}

/* A member of the generation was told to end. */
static bool generation_one_resigns(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->resigned && member_is_in(fleet->members[i]))
            return true;
    return false;
}

bool generation_consider(struct fleet *fleet, struct err *err)
{
    generation_watch_meeting(fleet);
    size_t waiting = 0;
    for (size_t i = 0; i < fleet->count; i++)
        waiting += generation_waits(fleet->members[i]);
    if (fleet->phase == FLEET_GATHER)
        return generation_gather(fleet, waiting, err);
    /* While one saves what it holds, others who hold it too stay: it may die meanwhile. */
    bool works = fleet->phase == FLEET_SYNC || fleet->phase == FLEET_WORK, resigned = generation_one_resigns(fleet);
    if (works && !fleet->parting && !generation_let_go(fleet, err))
        return false;
    bool joins = waiting > 0 && fleet->size < fleet->most && generation_settled(fleet);
    if (fleet->phase != FLEET_WORK || fleet->winding_up || !(joins || resigned))
        return true;
    fleet->winding_up = true;
    return fleet->owner.wind_up(fleet->owner.context, err);
}

/* ---- rendezvous ---- */

static bool generation_of_now(const struct fleet *fleet, uint64_t generation, const char *name, struct err *err)
{
    return generation == fleet->generation ||
           err_set(err, ERR_PROTOCOL, "%s of generation %" PRIu64 " came in generation %" PRIu64, name, generation,
                   fleet->generation);
}

static bool generation_send_peers(struct fleet *fleet, struct err *err)
{
    struct buffer lines = {0};
    for (uint32_t rank = 0; rank < fleet->size; rank++) {
        const struct member *member = generation_rank(fleet, rank);
        const char *key = member->route.key;
        buffer_format(&lines, "%s%s%s\n", member->endpoint, key[0] != '\0' ? " " : "", key);
    }
    bool ok = buffer_ok(&lines, err);
    for (uint32_t rank = 0; ok && rank < fleet->size; rank++) {
        struct message message = {.type = MESSAGE_PEERS,
                                  .peers = {.generation = fleet->generation, .lines = lines.data, .size = lines.size}};
        struct member *member = generation_rank(fleet, rank);
        bool sent;
        member->phase = MEMBER_SYNCING;
        ok = fleet_send(fleet, member, &message, &sent, err);
    }
    buffer_free(&lines);
    return ok;
}

bool generation_endpoint(struct fleet *fleet, struct member *member, const struct endpoint *endpoint, struct err *err)
{
    if (member->phase == MEMBER_STOPPING || member->phase == MEMBER_LEAVING)
        return true;
    if (member->phase != MEMBER_ENTERING || member->endpoint[0] != '\0' || endpoint->address.size == 0 ||
        memchr(endpoint->address.data, ' ', endpoint->address.size) != NULL)
        return err_set(err, ERR_PROTOCOL, "ENDPOINT was not asked for, or is none");
    if (!generation_of_now(fleet, endpoint->generation, "ENDPOINT", err))
        return false;
    memcpy(member->endpoint, endpoint->address.data, endpoint->address.size);
    member->endpoint[endpoint->address.size] = '\0';
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->phase == MEMBER_ENTERING && fleet->members[i]->endpoint[0] == '\0')
            return true;
    return generation_send_peers(fleet, err) && generation_begin_upload(fleet, err);
}

bool generation_ready(struct fleet *fleet, struct member *member, const struct ready *ready, struct err *err)
{
    if (member->phase == MEMBER_STOPPING || member->phase == MEMBER_LEAVING)
        return true;
    if (member->phase != MEMBER_SYNCING || ready->step != fleet->start.step)
        return err_set(err, ERR_PROTOCOL, "READY for generation %" PRIu64 ", step %" PRIu64 " was not asked for",
                       ready->generation, ready->step);
    if (!generation_of_now(fleet, ready->generation, "READY", err))
        return false;
    member->phase = MEMBER_WORKING;
    if (generation_count(fleet, MEMBER_WORKING) < fleet->size)
        return true;
    upload_close(&fleet->upload);
    fleet->phase = FLEET_WORK;
    fleet->winding_up = generation_one_resigns(fleet);
    if (!fleet->embedded)
        log_event(LOG_INFO, "generation_active",
                  LOG_FIELDS(LOG_COUNT("generation", fleet->generation), LOG_INT("ms", clock_ms() - fleet->formed_ms),
                             LOG_COUNT("workers", fleet->size), LOG_COUNT("step", fleet->start.step)),
                  "generation %" PRIu64 " is active after %" PRId64 " ms", fleet->generation,
                  clock_ms() - fleet->formed_ms);
    return fleet->owner.work(fleet->owner.context, err) && generation_consider(fleet, err);
}

/* ---- what members hold ---- */

bool generation_hold(struct fleet *fleet, struct member *member, const struct generation_held *held, struct err *err)
{
    struct err failure = {0};
    member->step = held->step;
    member->branch = held->branch;
    member->held = generation_is_of_course(fleet, held->branch, held->step);
    if (!member->held) {
        log_event(LOG_INFO, "state_outdated",
                  LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_COUNT("step", held->step),
                             LOG_COUNT("generation", held->branch)),
                  "worker %" PRIu64 " holds step %" PRIu64 " of generation %" PRIu64
                  ", which the run went on without: it gets what the others hold",
                  member->id, held->step, held->branch);
        return true;
    }
    if (held->steps == 0 ||
        fleet->owner.results(fleet->owner.context, held->step - held->steps, held->results, held->steps, &failure))
        return true;
    /* Generations before this process, which it does not know, may have taken another course, and left no trace but this. */
    if (generation_is_exact(fleet) || held->branch == fleet->generation || failure.code != ERR_FAILED) {
        *err = failure;
        return false;
    }
    log_event(
        LOG_WARN, "state_differs",
        LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_COUNT("step", held->step), LOG_TEXT("reason", failure.text)),
        "worker %" PRIu64 " took another course than the run: %s; it gets what the others hold", member->id,
        failure.text);
    member->held = false;
    return true;
}

/* ---- the end ---- */

static bool generation_request(struct fleet *fleet, struct member *member, struct err *err)
{
    const struct message stop = {.type = MESSAGE_STOP, .stop = {.generation = fleet->generation}};
    bool sent = true;
    if (member->stops && !fleet_send(fleet, member, &stop, &sent, err))
        return false;
    member->stops = member->stops && !sent;
    if (sent && member->phase == MEMBER_LEAVING) {
        const struct message dismiss = {.type = MESSAGE_DISMISS,
                                        .dismiss = {.reason = {member->reason, strlen(member->reason)}}};
        if (!fleet_send(fleet, member, &dismiss, &sent, err))
            return false;
    }
    member->unasked = !sent;
    return sent || !fleet->embedded || generation_retry_soon(fleet, err); /* elsewhere the tick says it again */
}

bool generation_ask(struct fleet *fleet, struct member *member, enum member_phase phase, const char *reason,
                    struct err *err)
{
    bool waits = member->phase == MEMBER_ENTERING || member->phase == MEMBER_SYNCING;
    member->stops = member->stops || waits || phase == MEMBER_STOPPING;
    member->phase = phase;
    member->reason = reason;
    member->asked_ms = clock_ms();
    return generation_request(fleet, member, err);
}

bool generation_ask_again(struct fleet *fleet, struct member *member, struct err *err)
{
    return !member->unasked || generation_request(fleet, member, err);
}

bool generation_end(struct fleet *fleet, struct err *err)
{
    if (fleet->phase != FLEET_SYNC && fleet->phase != FLEET_WORK)
        return true;
    fleet->phase = FLEET_ENDING;
    if (!fleet->embedded)
        log_fact("generation_ended", LOG_FIELDS(LOG_COUNT("generation", fleet->generation)),
                 "generation %" PRIu64 " ends", fleet->generation);
    fleet->winding_up = false;
    upload_close(&fleet->upload);
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (!member_is_in(member))
            continue;
        member->held = false;
        if (!generation_ask(fleet, member, MEMBER_STOPPING, NULL, err))
            return false;
    }
    return fleet->owner.over(fleet->owner.context, err) && generation_check_ended(fleet, err);
}

bool generation_check_ended(struct fleet *fleet, struct err *err)
{
    if (fleet->phase != FLEET_ENDING || generation_count(fleet, MEMBER_STOPPING) > 0)
        return true;
    fleet->phase = FLEET_GATHER;
    return generation_consider(fleet, err);
}

bool generation_stopped(struct fleet *fleet, struct member *member, const struct stopped *stopped, struct err *err)
{
    if (member->phase == MEMBER_LEAVING)
        return true;
    if (member->phase != MEMBER_STOPPING)
        return err_set(err, ERR_PROTOCOL, "STOPPED came without STOP");
    if (!generation_of_now(fleet, stopped->generation, "STOPPED", err))
        return false;
    if (stopped->held != 0 && stopped->step > fleet->handed)
        return err_set(err, ERR_PROTOCOL, "STOPPED at step %" PRIu64 ", but none after step %" PRIu64 " was handed out",
                       stopped->step, fleet->handed);
    member->phase = MEMBER_WAITING;
    const struct generation_held held = {stopped->step, stopped->branch, stopped->steps, stopped->results};
    if (stopped->held != 0 && !generation_hold(fleet, member, &held, err))
        return false;
    if (member->released && !generation_ask(fleet, member, MEMBER_LEAVING, "it asked to go", err))
        return false;
    return generation_check_ended(fleet, err);
}
