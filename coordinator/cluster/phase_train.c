/* phase_train.c - spans out to all members, reports back; see phase.h. */
#include "coordinator/cluster/phase.h"

#include "proto/base/clock.h"

#include <inttypes.h>

bool phase_train_begin(struct trainer *trainer, struct err *err)
{
    const struct checkpoint_state *state = &trainer->state;
    uint64_t every = (uint64_t)trainer->parts.config->train_checkpoint_every;
    trainer->phase = PHASE_TRAIN;
    trainer->clock_since = clock_ns();
    trainer->barrier = state->epoch * plan_steps(trainer->parts.plan);
    if (every > 0 && (state->step / every + 1) * every < trainer->barrier)
        trainer->barrier = (state->step / every + 1) * every;
    return phase_train_drive(trainer, err);
}

/* Where the members are to come to stand. When the generation is to end before the barrier, it is where the one who was
 * handed most will be. */
static uint64_t train_limit(const struct trainer *trainer)
{
    const struct fleet *fleet = &trainer->fleet;
    uint64_t most = trainer->state.step;
    if (!trainer->interrupted && !fleet_winds_up(fleet))
        return trainer->barrier;
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->phase == MEMBER_WORKING && fleet->members[i]->sent_step > most)
            most = fleet->members[i]->sent_step;
    return most;
}

static bool train_send_spans(struct trainer *trainer, struct member *member, uint64_t limit, struct err *err)
{
    const struct fleet *fleet = &trainer->fleet;
    struct share share = plan_share(trainer->parts.plan->shards, member->rank, fleet->size);
    for (bool sent = true; sent && member->sent_step < limit && member_has_room(member);) {
        struct message message = {.type = MESSAGE_SPAN};
        struct span *span = &message.span;
        uint64_t most = (uint64_t)trainer->parts.config->train_span;
        if (most > limit - member->sent_step)
            most = limit - member->sent_step;
        if (!span_build(&trainer->builder, member->sent_step, (uint32_t)most, share, span, err))
            return false;
        span->generation = fleet->generation;
        span->span = member->next_span;
        if (!fleet_send(&trainer->fleet, member, &message, &sent, err))
            return false;
        if (sent)
            member_took_span(member, span);
        if (member->sent_step > fleet->handed)
            trainer->fleet.handed = member->sent_step;
    }
    return true;
}

bool phase_train_drive(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    struct fleet *fleet = &trainer->fleet;
    uint64_t limit = train_limit(trainer);
    bool done = true;
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->phase != MEMBER_WORKING)
            continue;
        if (!train_send_spans(trainer, member, limit, err))
            return false;
        done = done && member_is_idle(member) && member->sent_step == limit;
    }
    if (!done)
        return true;
    state->train_seconds += trainer_clock_stop(trainer);
    trainer->due = limit == trainer->barrier && state->epoch_step < plan_steps(trainer->parts.plan);
    if (fleet_winds_up(fleet) && !trainer->interrupted)
        return trainer_part(trainer, err);
    return trainer_resume(trainer, err);
}

/* Members that stand at the same step hold the same parameters. */
static bool train_check_hash(struct trainer *trainer, const struct member *member, uint64_t step, uint64_t hash,
                             struct err *err)
{
    struct seen_hash *seen = &trainer->hashes[step % SEEN_HASHES];
    if (hash == 0)
        return true;
    if (seen->step == step && seen->hash != 0 && seen->hash != hash)
        return err_set(err, ERR_FAILED,
                       "worker %" PRIu64 " holds other parameters after step %" PRIu64
                       " than the others (hash %016" PRIx64 ", theirs %016" PRIx64
                       "): its memory or its build is not to be trusted",
                       member->id, step, hash, seen->hash);
    *seen = (struct seen_hash){step, hash};
    return true;
}

bool phase_train_report(struct trainer *trainer, struct member *member, const struct report *report, struct err *err)
{
    struct flight flight;
    if (trainer->phase != PHASE_TRAIN || report->generation != trainer->fleet.generation)
        return err_set(err, ERR_PROTOCOL, "REPORT of generation %" PRIu64 " came without a span", report->generation);
    if (!member_reported(member, report, &flight, err))
        return false;
    member->steps += report->steps;
    member->rows += report->rows;
    member->busy_ns += report->busy_ns;
    member->waited_ns += report->waited_ns;
    if (!train_check_hash(trainer, member, flight.first_step + flight.steps, report->hash, err) ||
        !trainer_results(trainer, flight.first_step, report->results, report->steps, err))
        return false;
    trainer_show(trainer, "training");
    return phase_train_drive(trainer, err);
}
