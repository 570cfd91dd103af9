/* trainer_validate.c - the requests of an epoch's end, shared out to the members that can take one; see
 * trainer_inside.h. */
#include "coordinator/cluster/trainer_inside.h"

#include "proto/base/clock.h"
#include "proto/base/fault.h"
#include "proto/base/log.h"

#include <inttypes.h>

static void validate_close_epoch(struct trainer *trainer)
{
    struct checkpoint_state *state = &trainer->state;
    const struct config *config = trainer->parts.config;
    double seconds = trainer->validation_seconds;
    tally_record(state, config, &trainer->record);
    validation_record(&trainer->validation, &trainer->record);
    trainer->record.seconds += seconds;
    trainer->view.epoch_overhead = seconds;
    log_fact("validation_done",
             LOG_FIELDS(LOG_COUNT("epoch", trainer->record.epoch), LOG_REAL("val_loss", trainer->record.val_loss),
                        LOG_REAL("val_acc", trainer->record.val_acc), LOG_REAL("bleu", trainer->record.bleu),
                        LOG_REAL("seconds", seconds)),
             "epoch %" PRIu64 " is validated", trainer->record.epoch);
    trainer->before = tally_standing(state);
    tally_best(state, config, &trainer->record, trainer->parts.dataset->valid > 0);
    run_log_epoch(trainer->parts.run, &trainer->record);
    tally_next_epoch(state);
    trainer_rebase(trainer);
    trainer->next = NEXT_CLOSE;
}

/* To the members in turn, so that all have something to do before one has more. *more = false when all are out. */
static bool validate_send_round(struct trainer *trainer, bool *sent_any, bool *more, struct err *err)
{
    struct fleet *fleet = &trainer->fleet;
    *sent_any = false;
    for (size_t i = 0; i < fleet->count && *more; i++) {
        struct member *member = fleet->members[i];
        struct message message = {.type = MESSAGE_VALIDATE};
        bool sent;
        if (!member_can_validate(member))
            continue;
        if (!validation_next(&trainer->validation, &message.validate, more, err))
            return false;
        if (!*more)
            return true;
        message.validate.generation = fleet->generation;
        if (!fleet_send(fleet, member, &message, &sent, err))
            return false;
        if (!sent) {
            validation_unsent(&trainer->validation);
            continue;
        }
        member->credit--;
        member->validations++;
        *sent_any = true;
    }
    return true;
}

static bool validate_is_idle(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->members[i]->state == MEMBER_ACTIVE && !member_is_idle(fleet->members[i]))
            return false;
    return true;
}

bool trainer_validate(struct trainer *trainer, bool *done, struct err *err)
{
    struct validation *validation = &trainer->validation;
    const struct fleet *fleet = &trainer->fleet;
    bool ends = trainer->outcome != TRAINER_RUNNING || fleet->state == FLEET_WIND_UP, more = !ends;
    if (trainer->clock_since == 0) {
        trainer->clock_since = clock_ns();
        if (validation->epoch != trainer->state.epoch) {
            trainer->validation_seconds = 0;
            validation_begin(validation, trainer->state.epoch);
        }
        validation_again(validation);
    }
    for (bool sent = true; sent && more;)
        if (!validate_send_round(trainer, &sent, &more, err))
            return false;
    trainer_show(trainer, "validating");
    *done = validation_done(validation) || (ends && validate_is_idle(fleet));
    if (!*done)
        return true;
    trainer->validation_seconds += trainer_clock_stop(trainer);
    if (validation_done(validation))
        validate_close_epoch(trainer);
    return true;
}

bool trainer_scored(struct trainer *trainer, struct member *member, const struct scored *scored, struct err *err)
{
    if (member->validations == 0)
        return err_set(err, ERR_PROTOCOL, "SCORED came without VALIDATE");
    if (!validation_scored(&trainer->validation, scored, err))
        return false;
    member->validations--;
    fault_point("validate");
    return true;
}
