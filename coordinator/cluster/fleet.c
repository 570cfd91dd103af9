/* fleet.c - a fleet's table of members, its beginning and its end; see fleet.h. */
#include "coordinator/cluster/fleet.h"

#include "proto/base/clock.h"

#include <inttypes.h>
#include <stdlib.h>

/* Generations, or workers, that a crash of the host may have taken out of the journal, which is not fsynced when one
 * begins or comes: more than there can be until the system writes the journal. Workers elsewhere remember theirs, take
 * no lower generation, and say which of them they were. */
enum { FORGOTTEN = 1000 };

/* From a restart to a generation without those that have not come back. Workers look for their coordinator every
 * second, and one of them may hold a step more than the others. */
enum { RETURN_MS = 2000 };

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
    const struct journal *journal = fleet->journal;
    fleet->least = (uint32_t)(fleet_is_embedded(fleet) ? config->train_workers : config->train_min_workers);
    fleet->most = (uint32_t)config->train_shards;
    fleet->upload.file = TRANSFER_FILES;
    if (fleet->most < fleet->least)
        return err_set(err, ERR_USAGE,
                       "train.shards is %u but at least %u workers are wanted: a batch can go to as many workers as it "
                       "has shards",
                       fleet->most, fleet->least);
    fleet->run = 1;
    if (fleet_is_embedded(fleet))
        return true;
    uint64_t forgotten = journal->resumed ? FORGOTTEN : 0;
    fleet->run = journal->run;
    fleet->generation = journal->generation + forgotten;
    fleet->ids = journal->workers + forgotten;
    fleet->expected = journal->resumed ? journal->ranks : 0;
    fleet->expected_until = clock_ms() + RETURN_MS;
    fleet->tick_ms = clock_ms() + config->cluster_heartbeat;
    return fleet_check_times(config, err);
}

void fleet_forget(struct fleet *fleet)
{
    message_close(&fleet->heard.message);
    fleet->heard = (struct heard){0};
}

void fleet_close(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        free(fleet->members[i]);
    free(fleet->members);
    fleet_forget(fleet);
    upload_close(&fleet->upload);
    buffer_free(&fleet->peers);
    fleet->members = NULL;
    fleet->count = 0;
}

struct member *fleet_rank(const struct fleet *fleet, uint32_t rank)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (member_is_in(fleet->members[i]) && fleet->members[i]->rank == rank)
            return fleet->members[i];
    return NULL;
}

bool fleet_has_branch(const struct fleet *fleet, uint64_t branch, uint64_t step)
{
    return fleet->config->train_reduce == REDUCE_EXACT ||
           (branch <= fleet->generation && branch_has(&fleet->branch, branch, step));
}

bool fleet_run_error(uint64_t worker, const struct err *fault, struct err *err)
{
    *err = *fault;
    return fault->code != ERR_DIVERGED && err_context(err, "worker %" PRIu64, worker);
}

bool fleet_goes_on(const struct fleet *fleet)
{
    size_t in = 0, standby = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct member *member = fleet->members[i];
        bool stays = member->wish == MEMBER_STAYS;
        in += stays && member_is_in(member);
        standby += stays && member->state == MEMBER_STANDBY;
    }
    return in > 0 && in + standby >= fleet->least;
}

void fleet_dismiss(struct fleet *fleet, enum fleet_state state, const char *reason)
{
    upload_close(&fleet->upload);
    fleet->state = state;
    for (size_t i = 0; i < fleet->count; i++)
        if (member_is_here(fleet->members[i]))
            member_dismiss(fleet->members[i], reason, state == FLEET_ABANDONED);
}

void fleet_see_off(struct fleet *fleet)
{
    fleet->state = FLEET_SEEING_OFF;
    fleet->until_ms = clock_ms() + RETURN_MS;
}

bool fleet_is_empty(const struct fleet *fleet)
{
    return fleet_is_dismissed(fleet) && fleet->count == 0 &&
           (fleet->state != FLEET_SEEING_OFF || clock_ms() >= fleet->until_ms);
}
