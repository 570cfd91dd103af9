/* fleet_generation.c - which members make up a generation, and when it begins and ends. Nothing is sent here: a
 * decision is a new state of the fleet and of its members, and messages that are due; see fleet.h. */
#include "coordinator/cluster/fleet.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>

/* Ranks that have not met so long after they had all they need may be out of one another's reach. */
enum { MEETING_MS = 10000 };

static size_t generation_count(const struct fleet *fleet, unsigned states)
{
    size_t count = 0;
    for (size_t i = 0; i < fleet->count; i++)
        count += (states >> fleet->members[i]->state & 1U) != 0;
    return count;
}

/* ---- its members ---- */

static bool generation_waits(const struct member *member)
{
    return member->state == MEMBER_STANDBY && member->wish == MEMBER_STAYS;
}

/* On standby with a state that the run can go on from. Others may have gone on without it since it was reported. */
static bool generation_has_state(const struct fleet *fleet, const struct member *member)
{
    return member->state == MEMBER_STANDBY && member->held && fleet_has_branch(fleet, member->branch, member->step) &&
           member->step >= fleet->known_first && member->step <= fleet->known_last;
}

/* What a member holds is further along the run's branch than what another holds. */
static bool generation_is_ahead(const struct fleet *fleet, const struct member *member, const struct member *other)
{
    if (fleet->config->train_reduce != REDUCE_EXACT && member->branch != other->branch)
        return member->branch > other->branch;
    return member->step > other->step;
}

/* The member on standby with the most advanced state, of several the first; NULL where none holds one. `wish`: one that
 * stays, or one that resigned. */
static struct member *generation_foremost(const struct fleet *fleet, enum member_wish wish)
{
    struct member *foremost = NULL;
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->wish == wish && generation_has_state(fleet, member) &&
            (foremost == NULL || generation_is_ahead(fleet, member, foremost)))
            foremost = member;
    }
    return foremost;
}

/* The resigning member on standby with which a state would be lost that no other holds and no checkpoint has. NULL = no
 * such member. */
static struct member *generation_last_holder(const struct fleet *fleet)
{
    struct member *last = fleet->unsaved ? generation_foremost(fleet, MEMBER_RESIGNED) : NULL;
    const struct member *other = generation_foremost(fleet, MEMBER_STAYS);
    return last != NULL && (other == NULL || generation_is_ahead(fleet, last, other)) ? last : NULL;
}

/* Members with the state of the foremost first, then others, each by number: the rest stays on standby. Ranks go by
 * number. */
static void generation_choose(struct fleet *fleet, const struct member *foremost)
{
    fleet->size = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < fleet->count && fleet->size < fleet->most; i++) {
            struct member *member = fleet->members[i];
            if (!generation_waits(member))
                continue;
            bool same = foremost != NULL && generation_has_state(fleet, member) &&
                        !generation_is_ahead(fleet, foremost, member);
            if (same != (pass == 0))
                continue;
            member_enter(member, same);
            fleet->size++;
        }
    uint32_t rank = 0;
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->state == MEMBER_ENTERING)
            fleet->members[i]->rank = rank++;
}

/* `last`: of this member alone, which is to save what it holds; NULL = of all that wait. */
static void generation_form(struct fleet *fleet, struct member *last)
{
    const struct member *foremost = last != NULL ? last : generation_foremost(fleet, MEMBER_STAYS);
    bool held = foremost != NULL;
    fleet->start = (struct fleet_start){.held = held, .step = held ? foremost->step : 0};
    fleet->state = FLEET_FORM;
    if (last == NULL) {
        generation_choose(fleet, foremost);
        return;
    }
    member_enter(last, true);
    last->wish = MEMBER_LAST;
    fleet->size = 1;
}

/* It is of one member that resigned, for its state to be saved. */
static bool generation_is_last(const struct fleet *fleet)
{
    const struct member *only = fleet->size == 1 ? fleet_rank(fleet, 0) : NULL;
    return only != NULL && only->wish == MEMBER_LAST;
}

/* ---- its beginning ---- */

static void generation_sync(struct fleet *fleet)
{
    fleet->state = FLEET_SYNC;
    upload_close(&fleet->upload);
    upload_open(&fleet->upload, fleet->start.held ? NULL : fleet->start.checkpoint);
}

/* The lowest rank that holds the state to begin with; it broadcasts the state to ranks that do not. */
static uint32_t generation_root(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count && fleet->start.held; i++)
        if (fleet->members[i]->state == MEMBER_ENTERING && fleet->members[i]->held)
            return fleet->members[i]->rank;
    return 0;
}

void fleet_begin(struct fleet *fleet)
{
    struct fleet_start *start = &fleet->start;
    bool seed = !start->held && start->checkpoint == NULL, alone = fleet->size == 1;
    start->root = generation_root(fleet);
    fleet->generation++;
    branch_begin(&fleet->branch, fleet->generation, start->step);
    fleet->formed_ms = fleet->meeting_ms = clock_ms();
    fleet->logged_waiting = 0;
    fleet->expected = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->state != MEMBER_ENTERING)
            continue;
        member->source = seed                                ? SOURCE_SEED
                         : start->held && member->held       ? SOURCE_HELD
                         : !start->held && member->rank == 0 ? SOURCE_STATE
                                                             : SOURCE_PEER;
        start->broadcast = start->broadcast || member->source == SOURCE_PEER;
        member->state = alone ? MEMBER_SYNCING : MEMBER_ENTERING;
        member->sent_step = start->step;
        member->due |= DUE_GENERATION;
    }
    fleet->state = FLEET_MEET;
    if (alone)
        generation_sync(fleet);
    if (!fleet_is_embedded(fleet))
        log_event(LOG_INFO, "generation_started",
                  LOG_FIELDS(LOG_COUNT("generation", fleet->generation), LOG_COUNT("workers", fleet->size),
                             LOG_COUNT("step", fleet->start.step), LOG_BOOL("alone", generation_is_last(fleet))),
                  "generation %" PRIu64 ": %u worker%s, from step %" PRIu64, fleet->generation, fleet->size,
                  fleet->size == 1 ? "" : "s", fleet->start.step);
}

/* Once ENDPOINT has come from all, PEERS is due to all. Members are in the order of their ranks. */
static void generation_meet(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->state == MEMBER_ENTERING && fleet->members[i]->endpoint[0] == '\0')
            return;
    buffer_clear(&fleet->peers);
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        const char *key = member->route.key;
        if (member->state != MEMBER_ENTERING)
            continue;
        buffer_format(&fleet->peers, "%s%s%s\n", member->endpoint, key[0] != '\0' ? " " : "", key);
        member->state = MEMBER_SYNCING;
        member->due |= DUE_PEERS;
    }
    generation_sync(fleet);
}

/* Ranks that cannot reach one another wait without end, and each of them is alive: people have to act. */
static void generation_watch_meeting(struct fleet *fleet)
{
    int64_t now = clock_ms();
    size_t unready = fleet->size - generation_count(fleet, 1U << MEMBER_ACTIVE);
    if (fleet_is_embedded(fleet)) /* threads of one process always reach one another */
        return;
    if (fleet->upload.file < TRANSFER_FILES)
        fleet->meeting_ms = now;
    if (now - fleet->meeting_ms < MEETING_MS)
        return;
    fleet->meeting_ms = now;
    log_event(LOG_WARN, "generation_stalled",
              LOG_FIELDS(LOG_COUNT("generation", fleet->generation), LOG_INT("ms", now - fleet->formed_ms),
                         LOG_COUNT("workers", fleet->size), LOG_COUNT("unready", unready)),
              "generation %" PRIu64 " has not begun after %" PRId64
              " ms: %zu of %u workers are not ready; each must reach "
              "the next at the place it names (worker.bind)",
              fleet->generation, now - fleet->formed_ms, unready, fleet->size);
    for (size_t i = 0; i < fleet->count; i++) {
        const struct member *member = fleet->members[i];
        if (member_is_in(member) && member->state != MEMBER_ACTIVE)
            log_event(LOG_WARN, "worker_unready",
                      LOG_FIELDS(LOG_COUNT("worker", member->id), LOG_TEXT("host", member->host),
                                 LOG_TEXT("address", member->endpoint)),
                      "  worker %" PRIu64 " (%s): %s", member->id, member->host, member->endpoint);
    }
}

static void generation_work(struct fleet *fleet)
{
    upload_close(&fleet->upload);
    fleet->state = FLEET_WORK;
    if (!fleet_is_embedded(fleet))
        log_event(LOG_INFO, "generation_active",
                  LOG_FIELDS(LOG_COUNT("generation", fleet->generation), LOG_INT("ms", clock_ms() - fleet->formed_ms),
                             LOG_COUNT("workers", fleet->size), LOG_COUNT("step", fleet->start.step)),
                  "generation %" PRIu64 " is active after %" PRId64 " ms", fleet->generation,
                  clock_ms() - fleet->formed_ms);
}

/* ---- the end ---- */

static void generation_end(struct fleet *fleet)
{
    fleet->state = FLEET_ENDING;
    upload_close(&fleet->upload);
    for (size_t i = 0; i < fleet->count; i++)
        if (member_is_in(fleet->members[i]))
            member_stop(fleet->members[i]);
    if (!fleet_is_embedded(fleet))
        log_fact("generation_ended", LOG_FIELDS(LOG_COUNT("generation", fleet->generation)),
                 "generation %" PRIu64 " ends", fleet->generation);
}

void fleet_end(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member_is_in(member) && member->wish != MEMBER_STAYS)
            member->wish = MEMBER_RELEASED;
    }
    generation_end(fleet);
}

/* DISMISS is due to those on standby that wish to leave. */
static void generation_dismiss(const struct fleet *fleet, enum member_wish wish)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->state == MEMBER_STANDBY && fleet->members[i]->wish == wish)
            member_dismiss(fleet->members[i], "it resigned", false);
}

/* ---- when ---- */

/* No worker came just now: others that were started with it may be on their way. */
static bool generation_settled(const struct fleet *fleet)
{
    int64_t now = clock_ms(), delay = fleet_is_embedded(fleet) ? 0 : fleet->config->cluster_join_delay;
    if (fleet->expected > fleet->count && now < fleet->expected_until)
        return false;
    for (size_t i = 0; i < fleet->count; i++)
        if (generation_waits(fleet->members[i]) && now - fleet->members[i]->joined_ms < delay)
            return false;
    return true;
}

static void generation_gather(struct fleet *fleet, size_t waiting)
{
    struct member *last = generation_last_holder(fleet);
    if (last != NULL) {
        generation_form(fleet, last);
        return;
    }
    generation_dismiss(fleet, MEMBER_RESIGNED);
    if (waiting >= fleet->least) {
        if (generation_settled(fleet))
            generation_form(fleet, NULL);
        return;
    }
    if (!fleet_is_embedded(fleet) && fleet->logged_waiting != waiting + 1)
        log_event(LOG_INFO, "waiting_for_workers",
                  LOG_FIELDS(LOG_COUNT("workers", waiting), LOG_COUNT("least", fleet->least)),
                  "waiting for workers: %zu of at least %u are here", waiting, fleet->least);
    fleet->logged_waiting = waiting + 1;
}

void generation_advance(struct fleet *fleet)
{
    const unsigned in = 1U << MEMBER_ENTERING | 1U << MEMBER_SYNCING | 1U << MEMBER_ACTIVE;
    bool began = fleet->state >= FLEET_MEET && fleet->state <= FLEET_WIND_UP, resigns = false;
    size_t waiting = 0;
    if (began && generation_count(fleet, in) < fleet->size)
        generation_end(fleet); /* one of its members was lost */
    if (fleet->state == FLEET_ENDING && generation_count(fleet, 1U << MEMBER_STOPPING) == 0)
        fleet->state = FLEET_GATHER;
    generation_dismiss(fleet, MEMBER_RELEASED);
    for (size_t i = 0; i < fleet->count; i++) {
        waiting += generation_waits(fleet->members[i]);
        resigns = resigns || (member_is_in(fleet->members[i]) && fleet->members[i]->wish != MEMBER_STAYS);
    }
    if (fleet->state == FLEET_GATHER)
        generation_gather(fleet, waiting);
    if (fleet->state == FLEET_MEET)
        generation_meet(fleet);
    if (fleet->state == FLEET_SYNC && generation_count(fleet, 1U << MEMBER_ACTIVE) == fleet->size)
        generation_work(fleet);
    if (fleet->state == FLEET_MEET || fleet->state == FLEET_SYNC)
        generation_watch_meeting(fleet);
    began = fleet->state >= FLEET_MEET && fleet->state <= FLEET_WIND_UP;
    /* While one saves what it holds, others that hold it too stay: it may die meanwhile. */
    if (began && !generation_is_last(fleet))
        generation_dismiss(fleet, MEMBER_RESIGNED);
    bool joins = waiting > 0 && fleet->size < fleet->most && generation_settled(fleet);
    if (fleet->state == FLEET_WORK && (joins || resigns))
        fleet->state = FLEET_WIND_UP;
}
