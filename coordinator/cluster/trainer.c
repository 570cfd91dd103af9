/* trainer.c - what holds the phases of a run together; see trainer.h. */
#include "coordinator/cluster/phase.h"

#include "coordinator/cluster/status.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For a worker to come by whom an interrupted run can be saved. */
enum { STOP_WAITING_MS = 5000 };

double trainer_clock_stop(struct trainer *trainer)
{
    double seconds = trainer->clock_since == 0 ? 0 : (double)(clock_ns() - trainer->clock_since) / 1e9;
    trainer->clock_since = 0;
    return seconds;
}

static double trainer_train_seconds(const struct trainer *trainer)
{
    double running = trainer->phase == PHASE_TRAIN && trainer->clock_since != 0
                         ? (double)(clock_ns() - trainer->clock_since) / 1e9
                         : 0;
    return trainer->state.train_seconds + running;
}

void trainer_show(struct trainer *trainer, const char *doing)
{
    view_moment(&trainer->view, doing, trainer_train_seconds(trainer));
}

/* ---- what is known of the steps ---- */

void trainer_rebase(struct trainer *trainer)
{
    trainer->base = trainer->state;
    ledger_begin(trainer->ledger, trainer->state.step);
}

static uint64_t trainer_epoch_end(const struct trainer *trainer)
{
    return trainer->base.epoch * plan_steps(trainer->parts.plan);
}

/* Count what the ledger has and the state does not: no further than the epoch's end, where it is closed first. The
 * steps of a span come at once: each gets an equal part of the time since the last ones. */
static bool trainer_advance(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const struct ledger *ledger = trainer->ledger;
    uint64_t first = state->step, logged = (uint64_t)trainer->parts.config->log_steps;
    uint64_t end = ledger_end(ledger) < trainer_epoch_end(trainer) ? ledger_end(ledger) : trainer_epoch_end(trainer);
    bool in_epoch = state->epoch_step > 0 && trainer->view.stepped_seconds > state->train_seconds;
    double before = in_epoch ? trainer->view.stepped_seconds : state->train_seconds;
    double seconds = trainer_train_seconds(trainer), each = (seconds - before) / (double)(end - first);
    while (state->step < end) {
        const struct step_result *result = &ledger->results[state->step - ledger->first];
        if (!tally_step(state, result, err))
            return false;
        view_step(&trainer->view, result, before + each * (double)(state->step - first));
    }
    if (state->step == first)
        return true;
    trainer->view.stepped_seconds = seconds;
    const struct step_result *fresh = &ledger->results[first - ledger->first];
    uint64_t count = state->step - first;
    trainer->saved = false;
    if (first < logged)
        run_log_steps(trainer->parts.run, first, fresh, (uint32_t)(count < logged - first ? count : logged - first));
    return true;
}

bool trainer_results(struct trainer *trainer, uint64_t first_step, const struct step_result *results, uint32_t steps,
                     struct err *err)
{
    size_t before = trainer->ledger->count;
    for (uint32_t i = 0; i < steps; i++)
        if (results[i].tokens == 0)
            return err_set(err, ERR_PROTOCOL, "results count no tokens in step %" PRIu64, first_step + i + 1);
    if (!ledger_put(trainer->ledger, first_step, results, steps, err))
        return false;
    if (trainer->parts.journal != NULL && trainer->ledger->count > before)
        journal_results(trainer->parts.journal, trainer->ledger->first + before, &trainer->ledger->results[before],
                        trainer->ledger->count - before);
    return trainer_advance(trainer, err);
}

/* Results from `step` on count no more, and will come again. */
static void trainer_take_back(struct trainer *trainer, uint64_t step)
{
    if (step >= ledger_end(trainer->ledger))
        return;
    ledger_cut(trainer->ledger, step);
    if (trainer->parts.journal != NULL)
        journal_cut(trainer->parts.journal, step);
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
    trainer->validating = trainer->due = false;
    return trainer_advance(trainer, err);
}

/* ---- what the fleet asks and tells ---- */

static bool trainer_from_disk(struct trainer *trainer, struct err *err)
{
    struct checkpoint found = {0};
    bool any;
    if (!checkpoint_latest(&found, trainer->parts.run->dir, &any, err))
        return false;
    if (trainer->has_reopened)
        checkpoint_close(&trainer->reopened);
    trainer->has_reopened = any;
    if (any) {
        trainer->reopened = found;
        trainer->state = found.state;
        trainer->state.config = *trainer->parts.config;
    } else {
        trainer->state = (struct checkpoint_state){.epoch = 1, .shuffles = 1, .config = *trainer->parts.config};
        snprintf(trainer->state.version, sizeof trainer->state.version, "%s", LSTMQ_VERSION);
        snprintf(trainer->state.dataset, sizeof trainer->state.dataset, "%s", trainer->parts.dataset->fingerprint);
    }
    return true;
}

/* Nobody holds a state that the results known reach up to: the newest checkpoint is where the run stands. */
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
    trainer->saved = true;
    trainer->validating = trainer->closing = trainer->due = false;
    trainer_rebase(trainer);
    if (trainer->parts.journal != NULL)
        journal_restart(trainer->parts.journal, trainer->ledger);
    return true;
}

/* The ledger reaches up to the state, and the epoch that it is in is not closed. */
static bool trainer_knows(void *context, uint64_t step)
{
    const struct trainer *trainer = context;
    return step >= trainer->ledger->first && step <= ledger_end(trainer->ledger) && step <= trainer_epoch_end(trainer);
}

static bool trainer_unsaved(void *context)
{
    return !((const struct trainer *)context)->saved;
}

static bool trainer_begin(void *context, bool held, uint64_t step, struct fleet_start *start, struct err *err)
{
    struct trainer *trainer = context;
    memset(trainer->hashes, 0, sizeof trainer->hashes);
    trainer->parted = false;
    if (held) {
        *start = (struct fleet_start){.step = step, .held = true};
        return trainer_go_back(trainer, step, err);
    }
    /* The first generation begins where the run was opened: at its checkpoint, or at the seed. */
    bool fresh = trainer->saved && !trainer->has_reopened && trainer->state.step == trainer->base.step &&
                 trainer->fleet.generation == trainer->first_generation;
    if (!fresh && !trainer_rewind(trainer, err))
        return false;
    trainer_take_back(trainer, trainer->state.step);
    const struct checkpoint *checkpoint = trainer->has_reopened ? &trainer->reopened : trainer->parts.checkpoint;
    *start =
        (struct fleet_start){.step = trainer->state.step, .checkpoint = trainer->state.step > 0 ? checkpoint : NULL};
    return true;
}

static bool trainer_work(void *context, struct err *err)
{
    return trainer_resume(context, err);
}

static bool trainer_wind_up(void *context, struct err *err)
{
    struct trainer *trainer = context;
    if (trainer->phase == PHASE_TRAIN)
        return phase_train_drive(trainer, err);
    if (trainer->phase == PHASE_VALIDATE)
        return phase_validate_drive(trainer, err);
    return trainer->phase != PHASE_SAVE || phase_save_drive(trainer, err);
}

static bool trainer_on_stop_waiting(void *context, struct err *err)
{
    struct trainer *trainer = context;
    trainer->stop_timer = 0;
    return trainer->phase != PHASE_GATHER || trainer_dismiss(trainer, err);
}

/* Interrupted, with a state that only workers hold: any that is there will do to save it, but none is waited for long. */
static bool trainer_interrupt_gather(struct trainer *trainer, struct err *err)
{
    if (trainer->stop_timer == 0)
        trainer->stop_timer =
            loop_add_timer(trainer->parts.loop, STOP_WAITING_MS, 0, trainer_on_stop_waiting, trainer, err);
    return trainer->stop_timer != 0 && fleet_take_any(&trainer->fleet, err);
}

static bool trainer_over(void *context, struct err *err)
{
    struct trainer *trainer = context;
    if (trainer->phase == PHASE_TRAIN)
        trainer->state.train_seconds += trainer_clock_stop(trainer);
    else if (trainer->phase == PHASE_VALIDATE)
        trainer->validation_seconds += trainer_clock_stop(trainer);
    else if (trainer->phase == PHASE_SAVE)
        phase_save_abandon(trainer);
    trainer->phase = PHASE_GATHER;
    return !trainer->interrupted || trainer_interrupt_gather(trainer, err);
}

static bool trainer_answer(void *context, struct member *member, const struct message *message, struct err *err)
{
    struct trainer *trainer = context;
    switch (message->type) {
    case MESSAGE_REPORT:
        return phase_train_report(trainer, member, &message->report, err);
    case MESSAGE_SCORED:
        return phase_validate_scored(trainer, member, &message->scored, err);
    case MESSAGE_STATE:
        return phase_save_state(trainer, member, &message->state, err);
    default:
        return trainer_wind_up(trainer, err);
    }
}

static bool trainer_take_results(void *context, uint64_t first_step, const struct step_result *results, uint32_t steps,
                                 struct err *err)
{
    return trainer_results(context, first_step, results, steps, err);
}

static bool trainer_empty(void *context, struct err *err)
{
    struct trainer *trainer = context;
    (void)err;
    trainer->phase = PHASE_OVER;
    loop_stop(trainer->parts.loop);
    return true;
}

static void trainer_status(void *context, bool detail, struct buffer *out)
{
    static const char *const phases[] = {"waiting", "training", "validating", "saving", "ending", "over"};
    const struct trainer *trainer = context;
    status_write(
        &(struct status_facts){.phase = phases[trainer->phase],
                               .state = &trainer->state,
                               .train_seconds = trainer_train_seconds(trainer),
                               .epoch_steps = plan_steps(trainer->parts.plan),
                               .saved_step = trainer->base.step,
                               .fleet = &trainer->fleet,
                               .dir = trainer->parts.run->dir,
                               .metric = tally_metric(trainer->parts.config, trainer->parts.dataset->valid > 0)},
        detail, out);
}

/* ---- the phases ---- */

bool trainer_resume(struct trainer *trainer, struct err *err)
{
    if (trainer->closing)
        return phase_save_begin(trainer, err);
    if (trainer->interrupted)
        return trainer_stop(trainer, err);
    if (trainer->state.epoch_step == plan_steps(trainer->parts.plan))
        return phase_validate_begin(trainer, err);
    if (trainer->due)
        return phase_save_begin(trainer, err);
    return phase_train_begin(trainer, err);
}

bool trainer_part(struct trainer *trainer, struct err *err)
{
    bool save = !trainer->saved && !trainer->parted && !fleet_goes_on(&trainer->fleet);
    trainer->parted = trainer->parted || save;
    return save ? phase_save_begin(trainer, err) : fleet_end(&trainer->fleet, err);
}

bool trainer_stop(struct trainer *trainer, struct err *err)
{
    return trainer->saved ? trainer_dismiss(trainer, err) : phase_save_begin(trainer, err);
}

bool trainer_dismiss(struct trainer *trainer, struct err *err)
{
    bool over = tally_over(&trainer->state, trainer->parts.config);
    trainer->phase = PHASE_DISMISS;
    trainer->outcome = !over ? TRAINER_INTERRUPTED : trainer->saved ? TRAINER_FINISHED : TRAINER_UNSAVED;
    return fleet_dismiss(&trainer->fleet, over ? "the run is finished" : "the run was interrupted", err);
}

/* Training cannot go on with any worker: dismiss them all. */
static bool trainer_fail(struct trainer *trainer, const struct err *failure, struct err *err)
{
    trainer->failure = *failure;
    trainer->outcome = TRAINER_FAILED;
    trainer->phase = PHASE_DISMISS;
    phase_save_abandon(trainer);
    return fleet_abandon(&trainer->fleet, "training failed", err);
}

/* One message a call, so that a busy worker keeps nobody else on the loop waiting. */
bool trainer_receive(void *context, struct err *err)
{
    struct trainer *trainer = context;
    struct err failure = {0};
    bool got;
    if (trainer->phase == PHASE_OVER || fleet_receive(&trainer->fleet, &got, &failure))
        return true;
    if (failure.code == ERR_DIVERGED) /* while a closed epoch is saved, the state is in the next one */
        err_context(&failure, "epoch %" PRIu64, trainer->state.epoch - trainer->closing);
    if (!trainer->fleet.embedded && (failure.code == ERR_DIVERGED || failure.code == ERR_DATA))
        return trainer_fail(trainer, &failure, err);
    *err = failure;
    return false;
}

bool trainer_interrupt(struct trainer *trainer, struct err *err)
{
    if (trainer->interrupted)
        return true;
    trainer->interrupted = true;
    if (trainer->phase == PHASE_GATHER)
        return trainer->saved ? trainer_dismiss(trainer, err) : trainer_interrupt_gather(trainer, err);
    return trainer_wind_up(trainer, err); /* in the other phases, the save or the dismissal under way ends it */
}

bool trainer_see_off(struct trainer *trainer, struct err *err)
{
    trainer->phase = PHASE_DISMISS;
    trainer->outcome = TRAINER_FINISHED;
    return fleet_see_off(&trainer->fleet, err);
}

/* ---- life ---- */

static bool trainer_open(struct trainer *trainer, const struct trainer_parts *parts, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    trainer->parts = *parts;
    trainer->saved = true;
    if (parts->checkpoint != NULL)
        *state = parts->checkpoint->state;
    else
        *state = (struct checkpoint_state){.epoch = 1, .shuffles = 1};
    state->config = *parts->config;
    snprintf(state->version, sizeof state->version, "%s", LSTMQ_VERSION);
    snprintf(state->dataset, sizeof state->dataset, "%s", parts->dataset->fingerprint);
    trainer->base = *state;
    trainer->ledger = parts->ledger != NULL ? parts->ledger : &trainer->own;
    if (parts->ledger == NULL)
        ledger_begin(&trainer->own, state->step);
    trainer->view = (struct view){.config = parts->config,
                                  .dataset = parts->dataset,
                                  .run = parts->run,
                                  .samples = parts->samples,
                                  .state = state,
                                  .display = parts->display,
                                  .command = parts->command,
                                  .epoch_steps = plan_steps(parts->plan),
                                  .logged_step = ledger_end(trainer->ledger)};
    trainer->fleet = (struct fleet){.config = parts->config,
                                    .dataset = parts->dataset,
                                    .loop = parts->loop,
                                    .socket = parts->socket,
                                    .watch = parts->watch,
                                    .journal = parts->journal,
                                    .embedded = parts->journal == NULL,
                                    .owner = {.context = trainer,
                                              .begin = trainer_begin,
                                              .work = trainer_work,
                                              .wind_up = trainer_wind_up,
                                              .over = trainer_over,
                                              .answer = trainer_answer,
                                              .results = trainer_take_results,
                                              .empty = trainer_empty,
                                              .knows = trainer_knows,
                                              .unsaved = trainer_unsaved,
                                              .status = trainer_status}};
    if (!trainer_check(parts->config, err) || !tally_fits(state, plan_steps(parts->plan), err) ||
        !span_builder_open(&trainer->builder, parts->dataset, parts->plan, err) ||
        !validation_open(&trainer->validation, parts->config, parts->dataset, parts->samples, err) ||
        !fleet_open(&trainer->fleet, err))
        return false;
    trainer->first_generation = trainer->fleet.generation;
    /* A coordinator that was killed may have handed out more than its journal tells: as much as a HELLO can tell of. */
    trainer->fleet.handed =
        ledger_end(trainer->ledger) + (parts->journal != NULL && parts->journal->resumed ? SPAN_STEPS : 0);
    return trainer_advance(trainer, err);
}

bool trainer_check(const struct config *config, struct err *err)
{
    bool wants_bleu = config->train_keep_best == KEEP_BLEU || config->train_keep_best == KEEP_BLEU_NORMALISED;
    if (wants_bleu && !config->train_bleu)
        return err_set(err, ERR_USAGE, "train.keep_best is bleu%s but train.bleu is false: give --train.bleu",
                       config->train_keep_best == KEEP_BLEU ? "" : "_normalised");
    return true;
}

struct trainer *trainer_new(const struct trainer_parts *parts, struct err *err)
{
    struct trainer *trainer = calloc(1, sizeof *trainer);
    if (trainer == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a trainer");
        return NULL;
    }
    if (!trainer_open(trainer, parts, err))
        trainer_destroy(&trainer);
    return trainer;
}

void trainer_destroy(struct trainer **trainer)
{
    if (*trainer == NULL)
        return;
    if ((*trainer)->stop_timer != 0)
        loop_remove((*trainer)->parts.loop, (*trainer)->stop_timer);
    fleet_close(&(*trainer)->fleet);
    phase_save_abandon(*trainer);
    if ((*trainer)->has_reopened)
        checkpoint_close(&(*trainer)->reopened);
    validation_close(&(*trainer)->validation);
    span_builder_close(&(*trainer)->builder);
    ledger_free(&(*trainer)->own);
    free(*trainer);
    *trainer = NULL;
}

enum trainer_outcome trainer_outcome(const struct trainer *trainer)
{
    return trainer->phase == PHASE_OVER ? trainer->outcome : TRAINER_RUNNING;
}

const struct err *trainer_failure(const struct trainer *trainer)
{
    return &trainer->failure;
}

bool trainer_saved(const struct trainer *trainer)
{
    return trainer->saved;
}

void trainer_show_end(struct trainer *trainer)
{
    const struct config *config = trainer->parts.config;
    bool early = trainer->state.epoch <= (uint64_t)config->train_epochs;
    bool failed = trainer->outcome == TRAINER_FAILED || trainer->outcome == TRAINER_RUNNING;
    const char *status = trainer->outcome == TRAINER_INTERRUPTED ? "interrupted"
                         : failed                                ? "failed"
                         : early                                 ? "stopped early"
                                                                 : "finished";
    view_end(&trainer->view, status);
}
