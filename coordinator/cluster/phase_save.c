/* phase_save.c - a checkpoint: one member sends its state, which is written as it comes; see phase.h. */
#include "coordinator/cluster/phase.h"

#include "proto/base/fault.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <time.h>

/* After a checkpoint, or the failure of one: finish the epoch it belongs to, and go on. */
static bool save_after(struct trainer *trainer, bool saved, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const char *dir = trainer->parts.run->dir;
    struct err failure = {0};
    /* Who came back meanwhile may have told of steps behind the one that was saved. */
    trainer->saved = saved && trainer->download.step == state->step;
    trainer->saver = 0;
    if (saved)
        log_fact("checkpoint_written",
                 LOG_FIELDS(LOG_COUNT("step", trainer->download.step), LOG_COUNT("epochs_done", state->epoch - 1),
                            LOG_TEXT("path", dir)),
                 "checkpoint of step %" PRIu64 " is written", trainer->download.step);
    if (trainer->download.parameters > 0)
        trainer->view.parameters = trainer->download.parameters;
    if (trainer->closing && trainer->best && !saved) {
        tally_stand(state, &trainer->before);
        trainer->best = false;
    }
    trainer_rebase(trainer);
    if (trainer->saved && trainer->parts.journal != NULL)
        journal_restart(trainer->parts.journal, trainer->ledger);
    if (trainer->closing && trainer->best && !checkpoint_mark_best(dir, state->best_step, &failure))
        log_event(LOG_ERROR, "best_link_failed",
                  LOG_FIELDS(LOG_COUNT("step", state->best_step), LOG_TEXT("reason", failure.text)),
                  "%s; training goes on", failure.text);
    if (saved && !checkpoint_sweep(dir, (size_t)trainer->parts.config->train_keep, &failure))
        log_event(LOG_WARN, "sweep_failed", LOG_FIELDS(LOG_TEXT("path", dir), LOG_TEXT("reason", failure.text)), "%s",
                  failure.text);
    if (trainer->closing)
        view_epoch(&trainer->view, &trainer->record, trainer->best);
    trainer->closing = trainer->due = false;
    if (trainer->interrupted || tally_over(state, trainer->parts.config))
        return trainer_dismiss(trainer, err);
    return trainer_resume(trainer, err);
}

static bool save_failed(struct trainer *trainer, const struct err *failure, struct err *err)
{
    log_event(LOG_ERROR, "checkpoint_failed",
              LOG_FIELDS(LOG_COUNT("step", trainer->state.step), LOG_TEXT("reason", failure->text)),
              "the checkpoint of step %" PRIu64 " could not be written: %s; training goes on, the last good one stays",
              trainer->state.step, failure->text);
    return save_after(trainer, false, err);
}

/* The lowest rank. */
static struct member *save_choose(const struct fleet *fleet)
{
    struct member *chosen = NULL;
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        if (member->phase == MEMBER_WORKING && (chosen == NULL || member->rank < chosen->rank))
            chosen = member;
    }
    return chosen;
}

/* SAVE, where its queue had no room for it so far. */
bool phase_save_drive(struct trainer *trainer, struct err *err)
{
    struct fleet *fleet = &trainer->fleet;
    const struct message message = {.type = MESSAGE_SAVE,
                                    .save = {.generation = fleet->generation, .step = trainer->download.step}};
    for (size_t i = 0; i < fleet->count && trainer->unasked; i++) {
        bool sent;
        if (fleet->members[i]->id != trainer->saver)
            continue;
        if (!fleet_send(fleet, fleet->members[i], &message, &sent, err))
            return false;
        trainer->unasked = !sent;
        return true;
    }
    return true;
}

bool phase_save_begin(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const struct dataset *dataset = trainer->parts.dataset;
    struct member *member = save_choose(&trainer->fleet);
    struct err failure = {0};
    struct tm utc;
    time_t now = time(NULL);
    trainer->phase = PHASE_SAVE;
    state->shuffles = state->epoch + (state->epoch_step > 0);
    state->finished = tally_over(state, trainer->parts.config);
    strftime(state->created, sizeof state->created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    trainer_show(trainer, "saving");
    if (!download_open(&trainer->download, trainer->parts.run->dir, state, dataset->src, dataset->tgt, &failure))
        return save_failed(trainer, &failure, err);
    trainer->saver = member->id;
    trainer->unasked = true;
    return phase_save_drive(trainer, err);
}

bool phase_save_state(struct trainer *trainer, const struct member *member, const struct state *piece, struct err *err)
{
    struct err failure = {0};
    if (trainer->phase != PHASE_SAVE || member->id != trainer->saver)
        return err_set(err, ERR_PROTOCOL, "STATE came without SAVE");
    if (!download_piece(&trainer->download, piece, err))
        return false;
    fault_point("save");
    if (!download_whole(&trainer->download))
        return true;
    if (!download_commit(&trainer->download, &failure))
        return save_failed(trainer, &failure, err);
    fault_point("commit");
    return save_after(trainer, true, err);
}

void phase_save_abandon(struct trainer *trainer)
{
    download_abandon(&trainer->download);
    trainer->saver = 0;
}
