/* trainer.c - the one place that decides what a run does next; see trainer.h. */
#include "coordinator/cluster/trainer_inside.h"

#include "coordinator/cluster/status.h"
#include "proto/base/clock.h"
#include "proto/base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* For a worker to come by which an interrupted run can be saved. */
enum { STOP_WAITING_MS = 5000 };

/* ---- the end ---- */

static void trainer_dismiss(struct trainer *trainer)
{
    bool over = tally_over(&trainer->state, trainer->parts.config);
    trainer->next = NEXT_DISMISS;
    trainer->outcome = !over ? TRAINER_INTERRUPTED : trainer_saved(trainer) ? TRAINER_FINISHED : TRAINER_UNSAVED;
    fleet_dismiss(&trainer->fleet, FLEET_DISMISSED, over ? "the run is finished" : "the run was interrupted");
}

/* Interrupted while no generation works. The state is saved, unless steps are still on their way in STOPPED. Else any
 * worker that is there will do to save it, but none is waited for long. */
static void trainer_stop_waiting(struct trainer *trainer)
{
    int64_t now = clock_ms();
    if (trainer->stop_ms == 0)
        trainer->stop_ms = now + STOP_WAITING_MS;
    loop_wake(trainer->parts.loop, trainer->stop_ms - now);
    if ((trainer_saved(trainer) && trainer->fleet.state != FLEET_ENDING) || now >= trainer->stop_ms) {
        trainer_dismiss(trainer);
        return;
    }
    trainer->fleet.least = 1;
    trainer->fleet.expected = 0;
}

/* No generation works: what was under way is taken up by the next one. */
static void trainer_put_down(struct trainer *trainer)
{
    double seconds = trainer_clock_stop(trainer);
    if (trainer->next == NEXT_TRAIN)
        trainer->state.train_seconds += seconds;
    else if (trainer->next == NEXT_VALIDATE)
        trainer->validation_seconds += seconds;
    else if (trainer->next == NEXT_PART)
        trainer->next = NEXT_TRAIN;
    download_abandon(&trainer->download);
    trainer->saver = 0;
}

/* Training cannot go on with any worker. */
static void trainer_abandon(struct trainer *trainer)
{
    trainer_put_down(trainer);
    trainer->next = NEXT_DISMISS;
    trainer->outcome = TRAINER_FAILED;
    fleet_dismiss(&trainer->fleet, FLEET_ABANDONED, "training failed");
}

/* ---- the work of a generation ---- */

/* `did` is done, nothing is out, and all members stand at the same step. A closed epoch is saved first. A run that was
 * interrupted, and a generation that is to end, are saved first where no member stays to go on, but not twice. */
static void trainer_go_on(struct trainer *trainer, enum next did)
{
    bool tried = did == NEXT_CLOSE || did == NEXT_SAVE || did == NEXT_PART, saved = trainer_saved(trainer);
    if (trainer->next == NEXT_CLOSE)
        return;
    if (tried && tally_over(&trainer->state, trainer->parts.config))
        trainer_dismiss(trainer);
    else if (trainer->outcome == TRAINER_INTERRUPTED && (saved || tried))
        trainer_dismiss(trainer);
    else if (trainer->outcome == TRAINER_INTERRUPTED)
        trainer->next = NEXT_PART;
    else if (trainer->fleet.state == FLEET_WIND_UP && (saved || did == NEXT_PART || fleet_goes_on(&trainer->fleet)))
        fleet_end(&trainer->fleet);
    else if (trainer->fleet.state == FLEET_WIND_UP)
        trainer->next = NEXT_PART;
}

static bool trainer_work(struct trainer *trainer, struct err *err)
{
    for (bool done = true; done && fleet_works(&trainer->fleet);) {
        enum next did = trainer->next;
        trainer->stop_ms = 0;
        if (did == NEXT_TRAIN && !trainer_train(trainer, &done, err))
            return false;
        if (did == NEXT_VALIDATE && !trainer_validate(trainer, &done, err))
            return false;
        if (did != NEXT_TRAIN && did != NEXT_VALIDATE)
            trainer_save(trainer, &done);
        if (done)
            trainer_go_on(trainer, did);
    }
    return true;
}

/* ---- status ---- */

void trainer_status(const struct trainer *trainer, bool detail, struct buffer *out)
{
    static const char *const names[NEXTS] = {
        [NEXT_TRAIN] = "training", [NEXT_VALIDATE] = "validating", [NEXT_CLOSE] = "saving", [NEXT_SAVE] = "saving",
        [NEXT_PART] = "saving",    [NEXT_DISMISS] = "ending",      [NEXT_OVER] = "over"};
    bool waits = trainer->next < NEXT_DISMISS && !fleet_works(&trainer->fleet);
    const struct status_facts facts = {.phase = waits ? "waiting" : names[trainer->next],
                                       .state = &trainer->state,
                                       .train_seconds = trainer_train_seconds(trainer),
                                       .epoch_steps = plan_steps(trainer->parts.plan),
                                       .saved_step = trainer->kept_step,
                                       .fleet = &trainer->fleet,
                                       .dir = trainer->parts.run->dir,
                                       .metric =
                                           tally_metric(trainer->parts.config, trainer->parts.dataset->valid > 0)};
    status_write(&facts, detail, out);
}

static void trainer_answer_status(struct trainer *trainer)
{
    struct fleet *fleet = &trainer->fleet;
    struct buffer json = {0};
    struct err ignored;
    if (fleet->heard.message.type != MESSAGE_ASK || fleet->heard.member != NULL)
        return;
    trainer_status(trainer, fleet->heard.message.ask.detail != 0, &json);
    const struct message message = {.type = MESSAGE_STATUS, .status = {.json = {json.data, json.size}}};
    if (buffer_ok(&json, NULL))
        message_send(fleet->socket, &fleet->heard.from, &message, &ignored);
    buffer_free(&json);
}

/* ---- what comes in, and what follows from it ---- */

/* A failure that every worker would have ends the run once all are dismissed, where they are not threads of this
 * process. Any other ends the run at once. */
static bool trainer_fail(struct trainer *trainer, struct err *failure, struct err *err)
{
    if (failure->code == ERR_DIVERGED) /* while a closed epoch is saved, the state is in the next one */
        err_context(failure, "epoch %" PRIu64, trainer->state.epoch - (trainer->next == NEXT_CLOSE));
    if (fleet_is_embedded(&trainer->fleet) || !fleet_is_of_all(failure) || trainer->next >= NEXT_DISMISS) {
        *err = *failure;
        return false;
    }
    trainer->failure = *failure;
    return true;
}

/* One message a call, so that a busy worker keeps no other source of the loop waiting. */
bool trainer_receive(void *context, struct err *err)
{
    struct trainer *trainer = context;
    return trainer->next == NEXT_OVER || fleet_receive(&trainer->fleet, err);
}

/* Record this turn's message where it is an active member's answer to work. */
static bool trainer_take(struct trainer *trainer, struct err *err)
{
    const struct message *message = &trainer->fleet.heard.message;
    struct member *member = trainer->fleet.heard.member;
    struct err failure = {0};
    if (member == NULL || member->state != MEMBER_ACTIVE)
        return true;
    if (message->type == MESSAGE_REPORT   ? trainer_reported(trainer, member, &message->report, &failure)
        : message->type == MESSAGE_SCORED ? trainer_scored(trainer, member, &message->scored, &failure)
        : message->type == MESSAGE_STATE  ? trainer_stored(trainer, member, &message->state, &failure)
                                          : true)
        return true;
    if (failure.code == ERR_PROTOCOL) {
        member_lose(member, failure.code, failure.text);
        return true;
    }
    *err = failure;
    return false;
}

static bool trainer_turn(struct trainer *trainer, struct err *err)
{
    struct fleet *fleet = &trainer->fleet;
    if (!fleet_take(fleet, err) || !trainer_take(trainer, err) || !trainer_count(trainer, err))
        return false;
    /* A state that is whole is kept, even if its sender is found dead in this turn. */
    if (trainer->saver != 0 && download_whole(&trainer->download) && !trainer_work(trainer, err))
        return false;
    uint64_t known = ledger_end(trainer->ledger), epoch_end = trainer_epoch_end(trainer);
    fleet->known_first = trainer->ledger->first;
    fleet->known_last = known < epoch_end ? known : epoch_end;
    fleet->unsaved = !trainer_saved(trainer);
    if (trainer->next < NEXT_DISMISS && trainer->failure.code != ERR_NONE)
        trainer_abandon(trainer);
    else if (trainer->next < NEXT_DISMISS && trainer->outcome == TRAINER_INTERRUPTED && !fleet_works(fleet))
        trainer_stop_waiting(trainer);
    if (!fleet_advance(fleet, err))
        return false;
    if (!fleet_works(fleet) && trainer->next < NEXT_DISMISS)
        trainer_put_down(trainer);
    if (fleet->state == FLEET_FORM) {
        if (!trainer_begin(trainer, &fleet->start, err))
            return false;
        fleet_begin(fleet);
    }
    if (!trainer_work(trainer, err))
        return false;
    trainer_answer_status(trainer);
    if (!fleet_say(fleet, err))
        return false;
    if (trainer->next == NEXT_DISMISS && fleet_is_empty(fleet)) {
        trainer->next = NEXT_OVER;
        loop_stop(trainer->parts.loop);
    }
    return true;
}

bool trainer_advance(void *context, struct err *err)
{
    struct trainer *trainer = context;
    struct err failure = {0};
    if (trainer->next == NEXT_OVER || trainer_turn(trainer, &failure))
        return true;
    fleet_forget(&trainer->fleet);
    if (!trainer_fail(trainer, &failure, err))
        return false;
    if (trainer_turn(trainer, err))
        return true;
    *err = trainer->failure; /* the first failure is the reason */
    return false;
}

void trainer_interrupt(struct trainer *trainer)
{
    if (trainer->outcome == TRAINER_RUNNING)
        trainer->outcome = TRAINER_INTERRUPTED;
}

void trainer_see_off(struct trainer *trainer)
{
    trainer->next = NEXT_DISMISS;
    trainer->outcome = TRAINER_FINISHED;
    fleet_see_off(&trainer->fleet);
}

/* ---- life ---- */

static bool trainer_open(struct trainer *trainer, const struct trainer_parts *parts, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    struct fleet *fleet = &trainer->fleet;
    trainer->parts = *parts;
    trainer->checkpoint = parts->checkpoint;
    *state = (struct checkpoint_state){.epoch = 1, .shuffles = 1};
    if (parts->checkpoint != NULL)
        *state = parts->checkpoint->state;
    state->config = *parts->config;
    snprintf(state->version, sizeof state->version, "%s", LSTMQ_VERSION);
    snprintf(state->dataset, sizeof state->dataset, "%s", parts->dataset->fingerprint);
    trainer->base = *state;
    trainer->kept_step = state->step;
    trainer->kept_epoch = state->epoch;
    trainer->ledger = parts->ledger != NULL ? parts->ledger : &trainer->own;
    if (parts->ledger == NULL)
        ledger_begin(&trainer->own, state->step);
    trainer->journalled = ledger_end(trainer->ledger);
    trainer->view = (struct view){.config = parts->config,
                                  .dataset = parts->dataset,
                                  .run = parts->run,
                                  .samples = parts->samples,
                                  .state = state,
                                  .display = parts->display,
                                  .command = parts->command,
                                  .epoch_steps = plan_steps(parts->plan),
                                  .logged_step = ledger_end(trainer->ledger)};
    *fleet = (struct fleet){.config = parts->config,
                            .dataset = parts->dataset,
                            .loop = parts->loop,
                            .socket = parts->socket,
                            .watch = parts->watch,
                            .journal = parts->journal,
                            .ledger = trainer->ledger};
    if (!trainer_check(parts->config, err) || !tally_fits(state, plan_steps(parts->plan), err) ||
        !span_builder_open(&trainer->builder, parts->dataset, parts->plan, err) ||
        !validation_open(&trainer->validation, parts->config, parts->dataset, parts->samples, err) ||
        !fleet_open(fleet, err))
        return false;
    trainer->first_generation = fleet->generation;
    /* A coordinator that was killed may have handed out more than its journal tells: as much as a HELLO can tell of. */
    fleet->handed = ledger_end(trainer->ledger) + (parts->journal != NULL && parts->journal->resumed ? SPAN_STEPS : 0);
    trainer->turn = loop_add_turn(parts->loop, trainer_advance, trainer, err);
    return trainer->turn != 0 && trainer_count(trainer, err);
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
    loop_remove((*trainer)->parts.loop, (*trainer)->turn);
    fleet_close(&(*trainer)->fleet);
    download_abandon(&(*trainer)->download);
    if ((*trainer)->checkpoint == &(*trainer)->reopened)
        checkpoint_close(&(*trainer)->reopened);
    validation_close(&(*trainer)->validation);
    span_builder_close(&(*trainer)->builder);
    ledger_free(&(*trainer)->own);
    free(*trainer);
    *trainer = NULL;
}

enum trainer_outcome trainer_outcome(const struct trainer *trainer)
{
    return trainer->next == NEXT_OVER ? trainer->outcome : TRAINER_RUNNING;
}

const struct err *trainer_failure(const struct trainer *trainer)
{
    return &trainer->failure;
}

void trainer_show_end(struct trainer *trainer)
{
    const struct config *config = trainer->parts.config;
    bool early = trainer->state.epoch <= (uint64_t)config->train_epochs;
    bool failed = trainer->outcome == TRAINER_FAILED || trainer->next < NEXT_DISMISS;
    const char *status = failed                                    ? "failed"
                         : trainer->outcome == TRAINER_INTERRUPTED ? "interrupted"
                         : early                                   ? "stopped early"
                                                                   : "finished";
    view_end(&trainer->view, status);
}
