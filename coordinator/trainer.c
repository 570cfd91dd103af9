/* trainer.c - the phases of a run and the messages that move it; see trainer.h. */
#include "coordinator/trainer.h"

#include "coordinator/member.h"
#include "coordinator/span_builder.h"
#include "coordinator/tally.h"
#include "coordinator/transfer.h"
#include "coordinator/validation.h"
#include "coordinator/view.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum phase {
    PHASE_GATHER,   /* nobody said HELLO yet                          */
    PHASE_SYNC,     /* state is on its way to the worker; READY is due */
    PHASE_TRAIN,    /* spans are out                                   */
    PHASE_VALIDATE, /* requests are out                                */
    PHASE_SAVE,     /* the worker sends its state                      */
    PHASE_DISMISS,  /* LEAVE is due                                    */
    PHASE_OVER,
};

enum { RETRY_MS = 2 }; /* until a full queue is tried again */

struct trainer {
    struct trainer_parts parts;
    enum phase phase;
    enum trainer_outcome outcome;
    bool interrupted;
    struct member member;
    uint64_t generation;
    uint64_t members; /* ids given so far */
    uint64_t retry;   /* timer, 0 = none  */

    struct checkpoint_state state; /* moved by reports and epochs' ends only                      */
    bool saved;                    /* `state` as it is now needs no checkpoint                    */
    uint64_t sent_step;            /* steps handed out; state.step of them were reported          */
    uint64_t barrier;              /* where spans end: epoch's end, or a checkpoint               */
    int64_t clock_since;           /* ns; when training or validation began, 0 = clock is stopped */

    struct epoch_record record; /* of the epoch that is being closed              */
    bool closing;               /* the save under way is that of an epoch's end   */
    bool best;                  /* and the epoch is the best so far               */
    struct standing before;     /* it                                             */

    struct span_builder builder;
    struct validation validation;
    struct upload upload;
    struct download download;
    struct view view;
};

static bool s_drive_training(struct trainer *trainer, struct err *err);
static bool s_drive_validation(struct trainer *trainer, struct err *err);

static bool s_send(struct trainer *trainer, const struct message *message, struct err *err)
{
    return message_send(trainer->parts.socket, &trainer->member.route, message, err) ||
           err_context(err, "worker %" PRIu64, trainer->member.id);
}

static double s_clock_stop(struct trainer *trainer)
{
    double seconds = trainer->clock_since == 0 ? 0 : (double)(clock_ns() - trainer->clock_since) / 1e9;
    trainer->clock_since = 0;
    return seconds;
}

static void s_show(struct trainer *trainer, const char *doing)
{
    double running = trainer->phase == PHASE_TRAIN && trainer->clock_since != 0
                         ? (double)(clock_ns() - trainer->clock_since) / 1e9
                         : 0;
    view_moment(&trainer->view, doing, trainer->state.train_seconds + running);
}

static bool s_dismiss(struct trainer *trainer, struct err *err)
{
    static const char finished[] = "the run is finished", interrupted[] = "the run was interrupted";
    bool over = tally_over(&trainer->state, trainer->parts.config);
    const char *reason = over ? finished : interrupted;
    struct message message = {.type = MESSAGE_DISMISS, .dismiss = {.reason = {reason, strlen(reason)}}};
    trainer->phase = PHASE_DISMISS;
    trainer->outcome = !over ? TRAINER_INTERRUPTED : trainer->saved ? TRAINER_FINISHED : TRAINER_UNSAVED;
    upload_close(&trainer->upload);
    return s_send(trainer, &message, err);
}

static bool s_leave(struct trainer *trainer, const struct leave *leave, struct err *err)
{
    if (trainer->phase != PHASE_DISMISS)
        return err_set(err, ERR_FAILED, "worker %" PRIu64 " left at step %" PRIu64 ", before the end of the run",
                       trainer->member.id, leave->step);
    trainer->phase = PHASE_OVER;
    trainer->member = (struct member){0};
    loop_stop(trainer->parts.loop);
    return true;
}

static bool s_begin_training(struct trainer *trainer, struct err *err)
{
    const struct checkpoint_state *state = &trainer->state;
    uint64_t every = (uint64_t)trainer->parts.config->train_checkpoint_every;
    trainer->phase = PHASE_TRAIN;
    trainer->clock_since = clock_ns();
    trainer->sent_step = state->step;
    trainer->barrier = state->epoch * plan_steps(trainer->parts.plan);
    if (every > 0 && (state->step / every + 1) * every < trainer->barrier)
        trainer->barrier = (state->step / every + 1) * every;
    return s_drive_training(trainer, err);
}

/* After a checkpoint, or the failure of one: close the epoch it belongs to, and go on. */
static bool s_after_save(struct trainer *trainer, bool saved, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const struct config *config = trainer->parts.config;
    const char *dir = trainer->parts.run->dir;
    struct err failure = {0};
    trainer->saved = saved;
    if (trainer->download.parameters > 0)
        trainer->view.parameters = trainer->download.parameters;
    if (trainer->closing && trainer->best && !saved) {
        tally_stand(state, &trainer->before);
        trainer->best = false;
    }
    if (trainer->closing && trainer->best && !checkpoint_mark_best(dir, state->best_step, &failure))
        log_error("%s; training goes on", failure.text);
    if (saved && !checkpoint_sweep(dir, (size_t)config->train_keep, &failure))
        log_warn("%s", failure.text);
    if (trainer->closing)
        view_epoch(&trainer->view, &trainer->record, trainer->best);
    trainer->closing = false;
    if (trainer->interrupted || tally_over(state, config))
        return s_dismiss(trainer, err);
    return s_begin_training(trainer, err);
}

static bool s_save_failed(struct trainer *trainer, const struct err *failure, struct err *err)
{
    log_error("the checkpoint of step %" PRIu64 " could not be written: %s; training goes on, the last good one stays",
              trainer->state.step, failure->text);
    return s_after_save(trainer, false, err);
}

static bool s_begin_save(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const struct dataset *dataset = trainer->parts.dataset;
    struct err failure = {0};
    struct tm utc;
    time_t now = time(NULL);
    trainer->phase = PHASE_SAVE;
    state->shuffles = state->epoch + (state->epoch_step > 0);
    state->finished = tally_over(state, trainer->parts.config);
    strftime(state->created, sizeof state->created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    s_show(trainer, "saving");
    if (!download_open(&trainer->download, trainer->parts.run->dir, state, dataset->src, dataset->tgt, &failure))
        return s_save_failed(trainer, &failure, err);
    struct message message = {.type = MESSAGE_SAVE, .save = {.generation = trainer->generation, .step = state->step}};
    return s_send(trainer, &message, err);
}

static bool s_state(struct trainer *trainer, const struct state *piece, struct err *err)
{
    struct err failure = {0};
    if (trainer->phase != PHASE_SAVE)
        return err_set(err, ERR_PROTOCOL, "STATE came without SAVE");
    if (!download_piece(&trainer->download, piece, err))
        return false;
    if (!download_whole(&trainer->download))
        return true;
    if (!download_commit(&trainer->download, &failure))
        return s_save_failed(trainer, &failure, err);
    return s_after_save(trainer, true, err);
}

/* Everything that was out is back after an interruption. */
static bool s_stop(struct trainer *trainer, struct err *err)
{
    return trainer->saved ? s_dismiss(trainer, err) : s_begin_save(trainer, err);
}

static bool s_begin_validation(struct trainer *trainer, struct err *err)
{
    trainer->phase = PHASE_VALIDATE;
    trainer->clock_since = clock_ns();
    validation_begin(&trainer->validation);
    return s_drive_validation(trainer, err);
}

static bool s_close_epoch(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    const struct config *config = trainer->parts.config;
    double seconds = s_clock_stop(trainer);
    tally_record(state, config, &trainer->record);
    validation_record(&trainer->validation, &trainer->record);
    trainer->record.seconds += seconds;
    trainer->view.epoch_overhead = seconds;
    trainer->before = tally_standing(state);
    trainer->best = tally_best(state, config, &trainer->record, trainer->parts.dataset->valid > 0);
    run_log_epoch(trainer->parts.run, &trainer->record);
    tally_next_epoch(state);
    trainer->closing = true;
    trainer->saved = false;
    return s_begin_save(trainer, err);
}

static bool s_drive_validation(struct trainer *trainer, struct err *err)
{
    struct member *member = &trainer->member;
    bool more = !trainer->interrupted;
    while (more && member->credit > 0 && member->validations < MEMBER_FLIGHTS) {
        struct message message = {.type = MESSAGE_VALIDATE};
        if (!validation_next(&trainer->validation, &message.validate, &more, err))
            return false;
        message.validate.generation = trainer->generation;
        if (more && !s_send(trainer, &message, err))
            return false;
        if (more) {
            member->credit--;
            member->validations++;
        }
    }
    s_show(trainer, "validating");
    if (validation_done(&trainer->validation))
        return s_close_epoch(trainer, err);
    if (!trainer->interrupted || !member_is_idle(member))
        return true;
    s_clock_stop(trainer);
    return s_stop(trainer, err);
}

static bool s_scored(struct trainer *trainer, const struct scored *scored, struct err *err)
{
    if (trainer->phase != PHASE_VALIDATE)
        return err_set(err, ERR_PROTOCOL, "SCORED came without VALIDATE");
    if (!validation_scored(&trainer->validation, scored, err))
        return false;
    trainer->member.validations--;
    return s_drive_validation(trainer, err);
}

static bool s_send_spans(struct trainer *trainer, struct err *err)
{
    struct member *member = &trainer->member;
    while (trainer->sent_step < trainer->barrier && member_has_room(member)) {
        struct message message = {.type = MESSAGE_SPAN};
        struct span *span = &message.span;
        uint64_t most = (uint64_t)trainer->parts.config->train_span;
        if (most > trainer->barrier - trainer->sent_step)
            most = trainer->barrier - trainer->sent_step;
        struct share share = plan_share(trainer->parts.plan->shards, member->rank, 1);
        if (!span_build(&trainer->builder, trainer->sent_step, (uint32_t)most, share, false, span, err))
            return false;
        span->generation = trainer->generation;
        span->span = member->next_span;
        if (!s_send(trainer, &message, err))
            return false;
        member_took_span(member, span);
        trainer->sent_step += span->steps;
    }
    return true;
}

static bool s_drive_training(struct trainer *trainer, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    if (!trainer->interrupted && !s_send_spans(trainer, err))
        return false;
    if (!member_is_idle(&trainer->member) || (!trainer->interrupted && trainer->sent_step < trainer->barrier))
        return true;
    state->train_seconds += s_clock_stop(trainer);
    if (trainer->interrupted)
        return s_stop(trainer, err);
    if (state->epoch_step == plan_steps(trainer->parts.plan))
        return s_begin_validation(trainer, err);
    return s_begin_save(trainer, err);
}

static bool s_report(struct trainer *trainer, const struct report *report, struct err *err)
{
    struct flight flight;
    if (trainer->phase != PHASE_TRAIN || report->generation != trainer->generation)
        return err_set(err, ERR_PROTOCOL, "REPORT of generation %" PRIu64 " came without a span", report->generation);
    if (!member_reported(&trainer->member, report, &flight, err))
        return false;
    for (uint32_t i = 0; i < report->steps; i++)
        if (!tally_step(&trainer->state, &report->results[i], err))
            return false;
    trainer->saved = false;
    uint64_t logged = (uint64_t)trainer->parts.config->log_steps;
    if (flight.first_step < logged) {
        uint64_t count = logged - flight.first_step;
        run_log_steps(trainer->parts.run, flight.first_step, report->results,
                      count < report->steps ? (uint32_t)count : report->steps);
    }
    s_show(trainer, "training");
    return s_drive_training(trainer, err);
}

/* Credit from before READY was granted to an earlier generation. */
static bool s_credit(struct trainer *trainer, const struct credit *credit, struct err *err)
{
    if (!trainer->member.ready)
        return true;
    trainer->member.credit += credit->units;
    if (trainer->phase == PHASE_TRAIN)
        return s_drive_training(trainer, err);
    if (trainer->phase == PHASE_VALIDATE)
        return s_drive_validation(trainer, err);
    return true;
}

static bool s_send_state(struct trainer *trainer, struct err *err);

static bool s_on_retry(void *context, struct err *err)
{
    struct trainer *trainer = context;
    trainer->retry = 0;
    return trainer->phase != PHASE_SYNC || s_send_state(trainer, err);
}

/* Pieces are many; what the socket has no room for now is sent a little later. */
static bool s_send_state(struct trainer *trainer, struct err *err)
{
    for (;;) {
        struct message message = {.type = MESSAGE_STATE};
        struct err full = {0};
        bool more;
        if (!upload_piece(&trainer->upload, &message.state, &more, err))
            return false;
        if (!more)
            return true;
        if (s_send(trainer, &message, &full)) {
            upload_sent(&trainer->upload);
            continue;
        }
        if (full.code != ERR_FULL) {
            *err = full;
            return false;
        }
        if (trainer->retry == 0)
            trainer->retry = loop_add_timer(trainer->parts.loop, RETRY_MS, 0, s_on_retry, trainer, err);
        return trainer->retry != 0;
    }
}

static bool s_welcome(struct trainer *trainer, struct err *err)
{
    struct buffer text = {0};
    config_dump(trainer->parts.config, &text);
    struct message message = {.type = MESSAGE_WELCOME,
                              .welcome = {.run = 1,
                                          .worker = trainer->member.id,
                                          .config = {text.data, text.size},
                                          .src_vocab = (uint32_t)vocab_size(trainer->parts.dataset->src),
                                          .tgt_vocab = (uint32_t)vocab_size(trainer->parts.dataset->tgt)}};
    bool done = buffer_ok(&text, err) && s_send(trainer, &message, err);
    buffer_free(&text);
    return done;
}

static bool s_begin_generation(struct trainer *trainer, struct err *err)
{
    const struct checkpoint *checkpoint = trainer->parts.checkpoint;
    trainer->generation++;
    trainer->phase = PHASE_SYNC;
    struct message message = {.type = MESSAGE_GENERATION,
                              .generation = {.generation = trainer->generation,
                                             .rank = trainer->member.rank,
                                             .size = 1,
                                             .step = trainer->state.step,
                                             .source = checkpoint != NULL ? SOURCE_STATE : SOURCE_SEED}};
    upload_open(&trainer->upload, checkpoint);
    return s_send(trainer, &message, err) && s_send_state(trainer, err);
}

static bool s_hello(struct trainer *trainer, const struct route *from, const struct hello *hello, struct err *err)
{
    if (trainer->phase != PHASE_GATHER)
        return err_set(err, ERR_PROTOCOL, "HELLO came again");
    trainer->member = (struct member){.id = ++trainer->members, .route = *from};
    log_debug("worker %" PRIu64 ": %.*s, backend %.*s %.*s, %.*s, %.*s, %u threads", trainer->member.id,
              (int)hello->build.size, hello->build.data, (int)hello->backend.size, hello->backend.data,
              (int)hello->backend_version.size, hello->backend_version.data, (int)hello->isa.size, hello->isa.data,
              (int)hello->precision.size, hello->precision.data, hello->threads);
    return s_welcome(trainer, err) && s_begin_generation(trainer, err);
}

static bool s_ready(struct trainer *trainer, const struct ready *ready, struct err *err)
{
    if (trainer->phase == PHASE_DISMISS)
        return true;
    if (trainer->phase != PHASE_SYNC || ready->generation != trainer->generation || ready->step != trainer->state.step)
        return err_set(err, ERR_PROTOCOL, "READY for generation %" PRIu64 ", step %" PRIu64 " was not asked for",
                       ready->generation, ready->step);
    upload_close(&trainer->upload);
    trainer->member.ready = true;
    return s_begin_training(trainer, err);
}

static bool s_worker_error(const struct trainer *trainer, const struct failure *failure, struct err *err)
{
    bool known = failure->code > ERR_NONE && failure->code <= ERR_DIVERGED;
    return err_set(err, known ? (enum err_code)failure->code : ERR_FAILED, "worker %" PRIu64 ": %.*s",
                   trainer->member.id, (int)failure->text.size, failure->text.data);
}

static bool s_handle(struct trainer *trainer, const struct route *from, const struct message *message, struct err *err)
{
    switch (message->type) {
    case MESSAGE_HELLO:
        return s_hello(trainer, from, &message->hello, err);
    case MESSAGE_STATE:
        return s_state(trainer, &message->state, err);
    case MESSAGE_READY:
        return s_ready(trainer, &message->ready, err);
    case MESSAGE_CREDIT:
        return s_credit(trainer, &message->credit, err);
    case MESSAGE_REPORT:
        return s_report(trainer, &message->report, err);
    case MESSAGE_SCORED:
        return s_scored(trainer, &message->scored, err);
    case MESSAGE_LEAVE:
        return s_leave(trainer, &message->leave, err);
    case MESSAGE_ERROR:
        return s_worker_error(trainer, &message->error, err);
    default:
        return err_set(err, ERR_PROTOCOL, "%s is not for a coordinator", message_name(message->type));
    }
}

/* A peer should know why it is not heard; it may be gone, or deaf. */
static void s_say_error(struct trainer *trainer, const struct route *to, const struct err *why)
{
    struct err ignored;
    struct message message = {.type = MESSAGE_ERROR,
                              .error = {.code = (uint32_t)why->code, .text = {why->text, strlen(why->text)}}};
    message_send(trainer->parts.socket, to, &message, &ignored);
}

/* Somebody who is not of the run, and may not disturb it. */
static void s_refuse(struct trainer *trainer, const struct route *from, const struct err *why)
{
    log_warn("a stranger was refused: %s", why->text);
    s_say_error(trainer, from, why);
}

/* Take one message. *got = false when none waits. */
static bool s_receive(struct trainer *trainer, bool *got, struct err *err)
{
    struct message message;
    struct route from = {.size = 0};
    bool taken = message_receive(trainer->parts.socket, &from, false, &message, got, err);
    if (taken && !*got)
        return true;
    bool joins = taken && message.type == MESSAGE_HELLO && trainer->member.id == 0;
    bool stranger = !joins && !member_is(&trainer->member, &from);
    bool done = taken;
    if (taken && stranger)
        done = err_set(err, ERR_PROTOCOL, "%s came from somebody who is not in this run, which has its worker",
                       message_name(message.type));
    else if (taken)
        done = s_handle(trainer, &from, &message, err);
    bool told = taken && !stranger && message.type == MESSAGE_ERROR;
    if (taken)
        message_close(&message);
    if (done)
        return true;
    if (stranger && err->code == ERR_PROTOCOL) {
        s_refuse(trainer, &from, err);
        *got = true;
        return true;
    }
    if (!told)
        s_say_error(trainer, &from, err);
    return false;
}

/* One message a call, so that a busy worker keeps nobody else on the loop waiting. */
bool trainer_receive(void *context, struct err *err)
{
    struct trainer *trainer = context;
    struct err failure = {0};
    bool got;
    if (trainer->phase == PHASE_OVER || s_receive(trainer, &got, &failure))
        return true;
    *err = failure;
    return false;
}

bool trainer_interrupt(struct trainer *trainer, struct err *err)
{
    if (trainer->interrupted)
        return true;
    trainer->interrupted = true;
    switch (trainer->phase) {
    case PHASE_GATHER:
        trainer->outcome = TRAINER_INTERRUPTED;
        trainer->phase = PHASE_OVER;
        loop_stop(trainer->parts.loop);
        return true;
    case PHASE_SYNC:
        return s_dismiss(trainer, err);
    case PHASE_TRAIN:
        return s_drive_training(trainer, err);
    case PHASE_VALIDATE:
        return s_drive_validation(trainer, err);
    default: /* the save or the dismissal under way ends it */
        return true;
    }
}

static bool s_open(struct trainer *trainer, const struct trainer_parts *parts, struct err *err)
{
    struct checkpoint_state *state = &trainer->state;
    trainer->parts = *parts;
    trainer->saved = true;
    trainer->upload.file = TRANSFER_FILES;
    if (parts->checkpoint != NULL)
        *state = parts->checkpoint->state;
    else
        *state = (struct checkpoint_state){.epoch = 1, .shuffles = 1};
    state->config = *parts->config;
    snprintf(state->version, sizeof state->version, "%s", LSTMQ_VERSION);
    snprintf(state->dataset, sizeof state->dataset, "%s", parts->dataset->fingerprint);
    trainer->view = (struct view){.config = parts->config,
                                  .dataset = parts->dataset,
                                  .run = parts->run,
                                  .samples = parts->samples,
                                  .state = state,
                                  .display = parts->display,
                                  .epoch_steps = plan_steps(parts->plan),
                                  .began_ns = clock_ns()};
    return trainer_check(parts->config, err) && tally_fits(state, plan_steps(parts->plan), err) &&
           span_builder_open(&trainer->builder, parts->dataset, parts->plan, err) &&
           validation_open(&trainer->validation, parts->config, parts->dataset, parts->samples, err);
}

bool trainer_check(const struct config *config, struct err *err)
{
    if (config->train_keep_best == KEEP_BLEU && !config->train_bleu)
        return err_set(err, ERR_USAGE, "train.keep_best is bleu but train.bleu is false: give --train.bleu");
    return true;
}

struct trainer *trainer_new(const struct trainer_parts *parts, struct err *err)
{
    struct trainer *trainer = calloc(1, sizeof *trainer);
    if (trainer == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a trainer");
        return NULL;
    }
    if (!s_open(trainer, parts, err))
        trainer_destroy(&trainer);
    return trainer;
}

void trainer_destroy(struct trainer **trainer)
{
    if (*trainer == NULL)
        return;
    if ((*trainer)->retry != 0)
        loop_remove((*trainer)->parts.loop, (*trainer)->retry);
    download_abandon(&(*trainer)->download);
    upload_close(&(*trainer)->upload);
    validation_close(&(*trainer)->validation);
    span_builder_close(&(*trainer)->builder);
    free(*trainer);
    *trainer = NULL;
}

enum trainer_outcome trainer_outcome(const struct trainer *trainer)
{
    return trainer->phase == PHASE_OVER ? trainer->outcome : TRAINER_RUNNING;
}

bool trainer_saved(const struct trainer *trainer)
{
    return trainer->saved;
}

void trainer_show_end(struct trainer *trainer)
{
    const struct config *config = trainer->parts.config;
    bool early = trainer->state.epoch <= (uint64_t)config->train_epochs;
    const char *status = trainer->outcome == TRAINER_INTERRUPTED ? "interrupted" : early ? "stopped early" : "finished";
    view_end(&trainer->view, status);
}
