/* view.c - show a run; see view.h. */
#include "coordinator/run/view.h"

#include "coordinator/run/report.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Time for the remaining steps at the newest speed, and a validation for each remaining epoch. */
static double view_eta(const struct view *view)
{
    const struct checkpoint_state *state = view->state;
    uint64_t epochs = (uint64_t)view->config->train_epochs;
    if (view->seconds_per_step <= 0 || state->epoch > epochs)
        return NAN;
    uint64_t left = (epochs - state->epoch + 1) * view->epoch_steps - state->epoch_step;
    return (double)left * view->seconds_per_step + (double)(epochs - state->epoch + 1) * view->epoch_overhead;
}

void view_step(struct view *view, const struct step_result *result, double train_seconds)
{
    const struct checkpoint_state *state = view->state;
    uint64_t every = (uint64_t)view->config->log_every;
    struct view_window *window = &view->window;
    if (state->epoch_step == 1)
        *window = (struct view_window){0};
    window->steps++;
    window->tokens += result->tokens;
    window->loss_sum += result->loss_sum;
    window->batch_loss_sum += result->loss_sum / (double)result->tokens;
    if (every == 0 || state->epoch_step % every != 0)
        return;
    double loss = view->config->train_loss_mean == MEAN_BATCH ? window->batch_loss_sum / (double)window->steps
                                                              : window->loss_sum / (double)window->tokens;
    double speed = train_seconds > 0 ? (double)state->tokens / train_seconds : (double)NAN;
    char shown[32] = "-";
    if (isfinite(speed))
        snprintf(shown, sizeof shown, "%.0f", speed);
    *window = (struct view_window){0};
    if (state->step <= view->logged_step)
        return;
    view->logged_step = state->step;
    log_event(LOG_INFO, "steps_done",
              LOG_FIELDS(LOG_COUNT("epoch", state->epoch), LOG_COUNT("epoch_step", state->epoch_step),
                         LOG_COUNT("step", state->step), LOG_REAL("loss", loss), LOG_REAL("tgt_tok_per_s", speed),
                         LOG_REAL("lr", view->config->train_lr)),
              "epoch %" PRIu64 ", step %" PRIu64 " of %" PRIu64 ": loss %.4f, %s tokens/s, learning rate %g",
              state->epoch, state->epoch_step, view->epoch_steps, loss, shown, view->config->train_lr);
}

void view_back(struct view *view, uint64_t logged)
{
    view->window = (struct view_window){0};
    view->logged_step = logged;
}

void view_moment(struct view *view, const char *doing, double train_seconds)
{
    const struct checkpoint_state *state = view->state;
    bool known = state->epoch_step > 0, over = state->epoch > (uint64_t)view->config->train_epochs;
    if (known && train_seconds > 0)
        view->seconds_per_step = train_seconds / (double)state->epoch_step;
    double loss = view->config->train_loss_mean == MEAN_BATCH ? state->batch_loss_sum / (double)state->epoch_step
                                                              : state->loss_sum / (double)state->tokens;
    struct progress_moment moment = {
        .epoch = over ? state->epoch - 1 : state->epoch,
        .epoch_step = over ? view->epoch_steps : state->epoch_step,
        .epoch_steps = view->epoch_steps,
        .loss = known ? loss : (double)NAN,
        .accuracy = known ? (double)state->correct / (double)state->tokens : (double)NAN,
        .tokens_per_second = known && train_seconds > 0 ? (double)state->tokens / train_seconds : (double)NAN,
        .eta_seconds = view_eta(view),
        .doing = doing,
    };
    progress_moment(view->display, &moment);
}

void view_report(struct view *view, const char *status)
{
    struct err err = {0};
    const char *slash = strrchr(view->run->dir, '/');
    struct report_facts facts = {
        .config = view->config,
        .title = slash != NULL && slash[1] != '\0' ? slash + 1 : view->run->dir,
        .train_pairs = view->dataset->train,
        .valid_pairs = view->dataset->valid,
        .src_vocab = vocab_size(view->dataset->src),
        .tgt_vocab = vocab_size(view->dataset->tgt),
        .parameters = view->parameters,
        .best_epoch = view->state->has_best ? view->state->best_epoch : 0,
        .status = status,
        .command = view->command,
        .samples = view->samples->shown,
        .sample_count = view->samples->translations[0] != NULL ? view->samples->count : 0,
    };
    if (report_write(view->run->dir, &facts, &err))
        view->has_report = true;
    else
        log_event(LOG_ERROR, "report_failed",
                  LOG_FIELDS(LOG_TEXT("path", view->run->dir), LOG_TEXT("reason", err.text)), "%s; training continues",
                  err.text);
}

void view_epoch(struct view *view, const struct epoch_record *record, bool best)
{
    progress_epoch(view->display, record, best);
    log_fact("epoch_done",
             LOG_FIELDS(LOG_COUNT("epoch", record->epoch), LOG_COUNT("step", record->step),
                        LOG_REAL("train_loss", record->train_loss), LOG_REAL("val_loss", record->val_loss),
                        LOG_REAL("bleu", record->bleu), LOG_REAL("seconds", record->seconds), LOG_BOOL("best", best)),
             "epoch %" PRIu64 " is done at step %" PRIu64, record->epoch, record->step);
    view_report(view, "training");
}

void view_end(struct view *view, const char *status)
{
    const struct checkpoint_state *state = view->state;
    struct metrics metrics = {0};
    struct err err = {0};
    char latest[CHECKPOINT_PATH + 16];
    struct stat found;
    if (!metrics_read(&metrics, view->run->metrics.path, &err))
        log_event(LOG_WARN, "metrics_unreadable",
                  LOG_FIELDS(LOG_TEXT("path", view->run->metrics.path), LOG_TEXT("reason", err.text)), "%s", err.text);
    view_report(view, status);
    snprintf(latest, sizeof latest, "%s/latest", view->run->dir);
    struct progress_summary summary = {
        .dir = view->run->dir,
        .status = status,
        .epochs_done = state->epoch - 1,
        .steps = state->step,
        .tgt_tok_per_s = metrics_speed(&metrics),
        .seconds = metrics_seconds(&metrics) + state->train_seconds,
        .best = state->has_best ? metrics_of(&metrics, state->best_epoch) : NULL,
        .has_checkpoint = stat(latest, &found) == 0,
        .has_report = view->has_report,
    };
    progress_summary(view->display, &summary);
    metrics_free(&metrics);
}
