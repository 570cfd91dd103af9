/* trainer_steps.c - what is known of the steps: the ledger, the state that is counted from it, and the way back; see
 * trainer_inside.h. */
#include "coordinator/cluster/trainer_inside.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static double trainer_clock(const struct trainer *trainer)
{
    return trainer->clock_since == 0 ? 0 : (double)(clock_ns() - trainer->clock_since) / 1e9;
}

double trainer_clock_stop(struct trainer *trainer)
{
    double seconds = trainer_clock(trainer);
    trainer->clock_since = 0;
    return seconds;
}

double trainer_train_seconds(const struct trainer *trainer)
{
    return trainer->state.train_seconds + (trainer->next == NEXT_TRAIN ? trainer_clock(trainer) : 0);
}

void trainer_show(struct trainer *trainer, const char *doing)
{
    view_moment(&trainer->view, doing, trainer_train_seconds(trainer));
}

bool trainer_saved(const struct trainer *trainer)
{
    return trainer->state.step == trainer->kept_step && trainer->state.epoch == trainer->kept_epoch;
}

uint64_t trainer_epoch_end(const struct trainer *trainer)
{
    return trainer->base.epoch * plan_steps(trainer->parts.plan);
}

/* New results go into the journal before anything follows from them. */
static void trainer_journal(struct trainer *trainer)
{
    const struct ledger *ledger = trainer->ledger;
    uint64_t end = ledger_end(ledger);
    if (trainer->parts.journal != NULL && end > trainer->journalled)
        journal_results(trainer->parts.journal, trainer->journalled,
                        &ledger->results[trainer->journalled - ledger->first], (size_t)(end - trainer->journalled));
    trainer->journalled = end;
}

/* The steps of a span come at once: each gets an equal part of the time since the last ones. */
bool trainer_count(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const struct ledger *ledger = trainer->ledger;
    trainer_journal(trainer);
    uint64_t first = state->step, logged = (uint64_t)trainer->parts.config->log_steps;
    uint64_t end = ledger_end(ledger) < trainer_epoch_end(trainer) ? ledger_end(ledger) : trainer_epoch_end(trainer);
    if (first >= end)
        return true;
    bool in_epoch = state->epoch_step > 0 && trainer->view.stepped_seconds > state->train_seconds;
    double before = in_epoch ? trainer->view.stepped_seconds : state->train_seconds;
    double seconds = trainer_train_seconds(trainer), each = (seconds - before) / (double)(end - first);
    while (state->step < end) {
        const struct step_result *result = &ledger->results[state->step - ledger->first];
        if (!tally_step(state, result, err))
            return false;
        view_step(&trainer->view, result, before + each * (double)(state->step - first));
    }
    trainer->view.stepped_seconds = seconds;
    const struct step_result *fresh = &ledger->results[first - ledger->first];
    uint64_t count = end - first;
    if (first < logged)
        run_log_steps(trainer->parts.run, first, fresh, (uint32_t)(count < logged - first ? count : logged - first));
    return true;
}

void trainer_rebase(struct trainer *trainer)
{
    trainer->base = trainer->state;
    ledger_begin(trainer->ledger, trainer->state.step);
    trainer->journalled = trainer->state.step;
}

/* ---- the way back ---- */

/* Results from `step` on count no more, and will come again. */
static void trainer_take_back(struct trainer *trainer, uint64_t step)
{
    if (step >= ledger_end(trainer->ledger))
        return;
    ledger_cut(trainer->ledger, step);
    trainer->journalled = ledger_end(trainer->ledger);
    if (trainer->parts.journal != NULL)
        journal_cut(trainer->parts.journal, step);
}

/* Validation, and a checkpoint that was due, were of a state that is no more. */
static void trainer_forget(struct trainer *trainer)
{
    validation_forget(&trainer->validation);
    trainer->next = NEXT_TRAIN;
}

/* Back to `step`, not before the ledger's first. */
static bool trainer_go_back(struct trainer *trainer, uint64_t step, struct err *err)
{
    double seconds = trainer->state.train_seconds;
    trainer_take_back(trainer, step);
    if (step >= trainer->state.step)
        return true;
    run_rewind(trainer->parts.run, trainer->base.epoch, trainer->base.step);
    trainer->state = trainer->base;
    trainer->state.train_seconds = seconds;
    view_back(&trainer->view, trainer->view.logged_step);
    trainer_forget(trainer);
    return trainer_count(trainer, err);
}

static bool trainer_from_disk(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    struct checkpoint found = {0};
    bool any;
    if (!checkpoint_latest(&found, trainer->parts.run->dir, &any, err))
        return false;
    if (trainer->checkpoint == &trainer->reopened)
        checkpoint_close(&trainer->reopened);
    trainer->checkpoint = any ? &trainer->reopened : NULL;
    if (any) {
        trainer->reopened = found;
        *state = found.state;
    } else {
        *state = (struct checkpoint_state){.epoch = 1, .shuffles = 1};
        snprintf(state->version, sizeof state->version, "%s", LSTMQ_VERSION);
        snprintf(state->dataset, sizeof state->dataset, "%s", trainer->parts.dataset->fingerprint);
    }
    state->config = *trainer->parts.config;
    return true;
}

/* No worker holds a state that the known results reach: the newest checkpoint is where the run stands. */
static bool trainer_rewind(struct trainer *trainer, struct err *err)
{
    uint64_t lost = trainer->state.step;
    if (!trainer_from_disk(trainer, err))
        return false;
    run_rewind(trainer->parts.run, trainer->state.epoch, trainer->state.step);
    view_back(&trainer->view, trainer->state.step);
    if (trainer->state.step < lost)
        log_event(LOG_WARN, "step_back",
                  LOG_FIELDS(LOG_COUNT("from", lost), LOG_COUNT("step", trainer->state.step),
                             LOG_COUNT("epoch", trainer->state.epoch)),
                  "no worker holds the state of step %" PRIu64
                  ": training goes back to the checkpoint of step %" PRIu64,
                  lost, trainer->state.step);
    trainer->kept_step = trainer->state.step;
    trainer->kept_epoch = trainer->state.epoch;
    trainer_forget(trainer);
    trainer_rebase(trainer);
    if (trainer->parts.journal != NULL)
        journal_restart(trainer->parts.journal, trainer->ledger);
    return true;
}

bool trainer_begin(struct trainer *trainer, struct fleet_start *start, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    memset(trainer->hashes, 0, sizeof trainer->hashes);
    /* The first generation begins where the run was opened: at its checkpoint, or at the seed. */
    bool fresh = trainer_saved(trainer) && trainer->checkpoint == trainer->parts.checkpoint &&
                 state->step == trainer->base.step && trainer->fleet.generation == trainer->first_generation;
    if (start->held ? !trainer_go_back(trainer, start->step, err) : !fresh && !trainer_rewind(trainer, err))
        return false;
    if (!start->held) {
        trainer_take_back(trainer, state->step);
        start->step = state->step;
        start->checkpoint = state->step > 0 ? trainer->checkpoint : NULL;
    }
    if (trainer->next == NEXT_TRAIN || trainer->next == NEXT_VALIDATE)
        trainer->next = state->epoch_step == plan_steps(trainer->parts.plan) ? NEXT_VALIDATE : NEXT_TRAIN;
    return true;
}
