/* trainer_save.c - a checkpoint: one member sends its state, which is written as it arrives; see trainer_inside.h. */
#include "coordinator/cluster/trainer_inside.h"

#include "proto/base/fault.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <time.h>

static void save_committed(struct trainer *trainer)
{
    const char *dir = trainer->parts.run->dir;
    struct err failure = {0};
    fault_point("commit");
    trainer->kept_step = trainer->download.step; /* workers may have reported later steps meanwhile */
    trainer->kept_epoch = trainer->state.epoch;
    log_fact("checkpoint_written",
             LOG_FIELDS(LOG_COUNT("step", trainer->download.step), LOG_COUNT("epochs_done", trainer->state.epoch - 1),
                        LOG_TEXT("path", dir)),
             "checkpoint of step %" PRIu64 " is written", trainer->download.step);
    trainer_rebase(trainer);
    if (trainer_saved(trainer) && trainer->parts.journal != NULL)
        journal_restart(trainer->parts.journal, trainer->ledger);
    if (trainer->next == NEXT_CLOSE && trainer->state.best_epoch == trainer->record.epoch &&
        !checkpoint_mark_best(dir, trainer->state.best_step, &failure))
        log_event(LOG_ERROR, "best_link_failed",
                  LOG_FIELDS(LOG_COUNT("step", trainer->state.best_step), LOG_TEXT("reason", failure.text)),
                  "%s; training goes on", failure.text);
    if (!checkpoint_sweep(dir, (size_t)trainer->parts.config->train_keep, &failure))
        log_event(LOG_WARN, "sweep_failed", LOG_FIELDS(LOG_TEXT("path", dir), LOG_TEXT("reason", failure.text)), "%s",
                  failure.text);
}

/* Training goes on, and the last good checkpoint stays. */
static void save_failed(struct trainer *trainer, const struct err *failure)
{
    log_event(LOG_ERROR, "checkpoint_failed",
              LOG_FIELDS(LOG_COUNT("step", trainer->state.step), LOG_TEXT("reason", failure->text)),
              "the checkpoint of step %" PRIu64 " could not be written: %s; training goes on, the last good one stays",
              trainer->state.step, failure->text);
    if (trainer->next == NEXT_CLOSE)
        tally_stand(&trainer->state, &trainer->before);
    trainer_rebase(trainer);
}

/* After a checkpoint, or the failure of one: finish the epoch that it belongs to. */
static void save_end(struct trainer *trainer)
{
    struct checkpoint_state *state = &trainer->state;
    trainer->saver = 0;
    if (trainer->download.parameters > 0)
        trainer->view.parameters = trainer->download.parameters;
    if (trainer->next == NEXT_CLOSE)
        view_epoch(&trainer->view, &trainer->record, state->best_epoch == trainer->record.epoch);
    trainer->next = state->epoch_step == plan_steps(trainer->parts.plan) ? NEXT_VALIDATE : NEXT_TRAIN;
}

/* SAVE is due to the lowest rank. */
static bool save_begin(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const struct dataset *dataset = trainer->parts.dataset;
    struct member *member = fleet_rank(&trainer->fleet, 0);
    struct tm utc;
    time_t now = time(NULL);
    state->shuffles = state->epoch + (state->epoch_step > 0);
    state->finished = tally_over(state, trainer->parts.config);
    strftime(state->created, sizeof state->created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    trainer_show(trainer, "saving");
    trainer->saver = member->id;
    trainer->fleet.save_step = state->step;
    if (!download_open(&trainer->download, trainer->parts.run->dir, state, dataset, err))
        return false;
    member->due |= DUE_SAVE;
    return true;
}

void trainer_save(struct trainer *trainer, bool *done)
{
    struct err failure = {0};
    bool good = trainer->saver != 0 || save_begin(trainer, &failure);
    *done = !good || download_whole(&trainer->download);
    if (!*done)
        return;
    if (good && download_commit(&trainer->download, &failure))
        save_committed(trainer);
    else
        save_failed(trainer, &failure);
    save_end(trainer);
}

bool trainer_stored(struct trainer *trainer, const struct member *member, const struct state *piece, struct err *err)
{
    if (member->id != trainer->saver || (member->due & DUE_SAVE) != 0)
        return err_set(err, ERR_PROTOCOL, "STATE came without SAVE");
    if (!download_piece(&trainer->download, piece, err))
        return false;
    fault_point("save");
    return true;
}
