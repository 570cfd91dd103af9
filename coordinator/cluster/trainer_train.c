/* trainer_train.c - spans out to all members, reports back; see trainer_inside.h. */
#include "coordinator/cluster/trainer_inside.h"

#include "proto/base/clock.h"

#include <inttypes.h>

static void train_begin(struct trainer *trainer)
{
    const struct checkpoint_state *state = &trainer->state;
    uint64_t every = (uint64_t)trainer->parts.config->train_checkpoint_every;
    trainer->clock_since = clock_ns();
    trainer->barrier = state->epoch * plan_steps(trainer->parts.plan);
    if (every > 0 && (state->step / every + 1) * every < trainer->barrier)
        trainer->barrier = (state->step / every + 1) * every;
}

/* The step at which all members are to stand. Where the generation is to end before the barrier, it is the highest that
 * was handed out to one of them. */
static uint64_t train_limit(const struct trainer *trainer)
{
    const struct fleet *fleet = &trainer->fleet;
    uint64_t most = trainer->state.step;
    if (trainer->outcome == TRAINER_RUNNING && fleet->state != FLEET_WIND_UP)
        return trainer->barrier;
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->state == MEMBER_ACTIVE && fleet->members[i]->sent_step > most)
            most = fleet->members[i]->sent_step;
    return most;
}

static bool train_send_spans(struct trainer *trainer, struct member *member, uint64_t limit, struct err *err)
{
    struct fleet *fleet = &trainer->fleet;
    struct share share = plan_share(trainer->parts.plan->shards, member->rank, fleet->size);
    for (bool sent = true; sent && member->sent_step < limit && member_can_train(member);) {
        struct message message = {.type = MESSAGE_SPAN};
        struct span *span = &message.span;
        uint64_t most = (uint64_t)trainer->parts.config->train_span;
        if (most > limit - member->sent_step)
            most = limit - member->sent_step;
        if (!span_build(&trainer->builder, member->sent_step, (uint32_t)most, share, span, err))
            return false;
        span->generation = fleet->generation;
        span->span = member->next_span;
        if (!fleet_send(fleet, member, &message, &sent, err))
            return false;
        if (sent)
            member_took_span(member, span);
        if (member->sent_step > fleet->handed)
            fleet->handed = member->sent_step;
    }
    return true;
}

bool trainer_train(struct trainer *trainer, bool *done, struct err *err)
{
    const struct fleet *fleet = &trainer->fleet;
    if (trainer->clock_since == 0)
        train_begin(trainer);
    uint64_t limit = train_limit(trainer);
    *done = true;
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->state != MEMBER_ACTIVE)
            continue;
        if (!train_send_spans(trainer, member, limit, err))
            return false;
        *done = *done && member_is_idle(member) && member->sent_step == limit;
    }
    trainer_show(trainer, "training");
    if (!*done)
        return true;
    trainer->state.train_seconds += trainer_clock_stop(trainer);
    if (limit == trainer->barrier)
        trainer->next = trainer->state.epoch_step < plan_steps(trainer->parts.plan) ? NEXT_SAVE : NEXT_VALIDATE;
    return true;
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

bool trainer_reported(struct trainer *trainer, struct member *member, const struct report *report, struct err *err)
{
    struct flight flight;
    if (report->generation != trainer->fleet.generation)
        return err_set(err, ERR_PROTOCOL, "REPORT of generation %" PRIu64 " came without a span", report->generation);
    return member_reported(member, report, &flight, err) &&
           train_check_hash(trainer, member, flight.first_step + flight.steps, report->hash, err) &&
           fleet_put_results(&trainer->fleet, flight.first_step, report->results, report->steps, err);
}
