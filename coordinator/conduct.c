/* conduct.c - a run from its data to its end; see conduct.h. */
#include "coordinator/conduct.h"

#include "coordinator/run/resume.h"
#include "coordinator/run/tally.h"
#include "proto/base/log.h"
#include "proto/store/checkpoint_links.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static bool conduct_on_signal(void *context, struct err *err)
{
    struct conduct *conduct = context;
    int signal = loop_signal_take(conduct->signals);
    if (signal == 0 || conduct->signalled)
        return true;
    conduct->signalled = true;
    log_event(LOG_INFO, "stopping", LOG_FIELDS(LOG_TEXT("signal", loop_signal_name(signal))),
              "%s: finishing the steps in flight and writing a checkpoint; a second signal ends it at once",
              loop_signal_cause(signal));
    trainer_interrupt(conduct->trainer);
    return loop_signal_yield(conduct->loop, err);
}

/* A word quoted for a shell. */
static void conduct_quote(const char *word, struct buffer *out)
{
    bool plain = word[0] != '\0' && word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                      "0123456789-_./=:,+@%")] == '\0';
    buffer_text(out, plain ? " " : " '");
    for (const char *c = word; *c != '\0'; c++)
        buffer_text(out, *c == '\'' ? "'\\''" : (char[]){*c, '\0'});
    buffer_text(out, plain ? "" : "'");
}

static bool conduct_interrupted(const struct conduct *conduct, struct err *err)
{
    struct buffer folder = {0};
    conduct_quote(conduct->run.dir, &folder);
    bool whole = buffer_ok(&folder, err);
    if (whole)
        err_set(err, ERR_INTERRUPTED, "interrupted%s; continue with: lstmq %s --run.dir%s --resume%s",
                trainer_saved(conduct->trainer) ? "" : ", and the last checkpoint could not be written",
                conduct->argv[0], folder.data, conduct->config->curve_insecure ? " --insecure" : "");
    buffer_free(&folder);
    return false;
}

static void conduct_log_end(const struct conduct *conduct, const char *result)
{
    log_fact("run_ended", LOG_FIELDS(LOG_TEXT("path", conduct->run.dir), LOG_TEXT("result", result)),
             "%s: the run ended (%s)", conduct->run.dir, result);
}

static bool conduct_outcome(struct conduct *conduct, struct err *err)
{
    enum trainer_outcome outcome = trainer_outcome(conduct->trainer);
    trainer_show_end(conduct->trainer);
    bool flushed = run_flushed(&conduct->run);
    conduct_log_end(conduct, outcome == TRAINER_INTERRUPTED ? "interrupted"
                             : outcome == TRAINER_UNSAVED   ? "unsaved"
                             : outcome == TRAINER_FAILED    ? "failed"
                                                            : "finished");
    if (outcome == TRAINER_FAILED) {
        *err = *trainer_failure(conduct->trainer);
        return false;
    }
    if (outcome == TRAINER_INTERRUPTED)
        return conduct_interrupted(conduct, err);
    if (outcome == TRAINER_UNSAVED)
        return err_set(err, ERR_IO,
                       "%s: training is done, but its last state could not be saved: free some space there, then add "
                       "--resume to train again from the last valid checkpoint",
                       conduct->run.dir);
    if (!flushed)
        return err_set(err, ERR_IO, "%s: training is done, but its last records could not be written",
                       conduct->run.dir);
    return true;
}

static void conduct_log_loss(const struct pairs_loss *loss, const char *side)
{
    char text[PAIRS_LOSS_TEXT];
    if (loss->count.removed > 0)
        log_event(LOG_WARN, "letters_lost",
                  LOG_FIELDS(LOG_TEXT("side", side), LOG_COUNT("removed", loss->count.removed),
                             LOG_COUNT("letters", loss->count.letters), LOG_TEXT("first", loss->first)),
                  "%s; data.normalise nfc keeps them", pairs_loss_show(loss, side, text, sizeof text));
}

static void conduct_log_dataset(const struct conduct *conduct)
{
    const struct dataset *dataset = &conduct->dataset;
    log_event(
        LOG_INFO, "dataset_read",
        LOG_FIELDS(LOG_COUNT("lines", dataset->lines), LOG_COUNT("pairs", dataset->kept),
                   LOG_COUNT("train", dataset->train), LOG_COUNT("valid", dataset->valid),
                   LOG_COUNT("src_vocab", vocab_size(dataset->src)), LOG_COUNT("tgt_vocab", vocab_size(dataset->tgt))),
        "%" PRIu64 " lines, %" PRIu64 " pairs of %" PRId64 " to %" PRId64 " tokens; training on %u, validating on %u; "
        "vocabularies %zu and %zu",
        dataset->lines, dataset->kept, conduct->config->data_min_tokens, conduct->config->data_max_tokens,
        dataset->train, dataset->valid, vocab_size(dataset->src), vocab_size(dataset->tgt));
    if (dataset->held_out > 0)
        log_event(LOG_INFO, "pairs_held_out", LOG_FIELDS(LOG_COUNT("pairs", dataset->held_out)),
                  "%" PRIu64 " training pairs were left out because their source is held out (data.split source)",
                  dataset->held_out);
    if (dataset->bad > 0)
        log_event(LOG_WARN, "bad_lines_skipped",
                  LOG_FIELDS(LOG_COUNT("lines", dataset->bad), LOG_TEXT("first", dataset->first_bad)),
                  "%" PRIu64 " bad lines were skipped (data.on_bad_line skip); the first: %s", dataset->bad,
                  dataset->first_bad);
    conduct_log_loss(&dataset->src_loss, "sources");
    conduct_log_loss(&dataset->tgt_loss, "targets");
    conduct_log_loss(&dataset->valid_src_loss, "validation sources");
    conduct_log_loss(&dataset->valid_tgt_loss, "validation targets");
}

/* Clean up after a crash here, if no further checkpoint will do so. */
static void conduct_tidy(const struct conduct *conduct)
{
    struct err failure = {0};
    if (!checkpoint_sweep(conduct->run.dir, SIZE_MAX, &failure))
        log_event(LOG_WARN, "sweep_failed",
                  LOG_FIELDS(LOG_TEXT("path", conduct->run.dir), LOG_TEXT("reason", failure.text)), "%s", failure.text);
}

/* Log why nothing is left to do, and which options to raise to continue. */
static void conduct_log_over(const struct conduct *conduct)
{
    const struct config *config = conduct->config;
    const struct checkpoint_state *state = &conduct->checkpoint.state;
    const char *dir = conduct->run.dir;
    uint64_t done = state->epoch - 1;
    bool all = done >= (uint64_t)config->train_epochs, stale = tally_stale(state, config);
    const struct log_field *fields = LOG_FIELDS(LOG_TEXT("path", dir), LOG_COUNT("epochs_done", done),
                                                LOG_TEXT("reason", stale ? "train.patience" : "train.epochs"));
    if (!stale)
        log_event(LOG_INFO, "run_complete", fields,
                  "%s is finished after %" PRIu64 " epochs: nothing is left to do (more with --train.epochs)", dir,
                  done);
    else
        log_event(LOG_INFO, "run_complete", fields,
                  "%s is finished after %" PRIu64 " epochs, stopped by train.patience %" PRId64
                  ": raise it to go on%s (epochs without a better score: %" PRIu64 ")",
                  dir, done, config->train_patience, all ? ", and train.epochs too" : "", state->stale_epochs);
}

/* Find the run's position. *over: nothing is left to do. */
static bool conduct_find_start(struct conduct *conduct, bool *over, struct err *err)
{
    const struct config *config = conduct->config;
    const struct checkpoint_state *state = &conduct->checkpoint.state;
    *over = false;
    if (config->run_resume &&
        !run_resume(&conduct->run, config, conduct->dataset.fingerprint, &conduct->checkpoint, &conduct->found, err))
        return false;
    if (!conduct->found) {
        if (config->run_resume)
            log_event(LOG_INFO, "checkpoint_missing", LOG_FIELDS(LOG_TEXT("path", conduct->run.dir)),
                      "%s holds no checkpoint: training begins at step 0", conduct->run.dir);
        run_rewind(&conduct->run, 1, 0);
        return true;
    }
    run_rewind(&conduct->run, state->epoch, state->step);
    /* A crash may have come between the commit of the best checkpoint and its link, or the run is a copy without
     * links. */
    if (!links_restore(conduct->run.dir, state->step, state->has_best ? state->best_step : 0, err))
        return false;
    *over = tally_over(state, config);
    if (*over) {
        conduct_tidy(conduct);
        conduct_log_over(conduct);
    } else {
        log_event(LOG_INFO, "run_resumed",
                  LOG_FIELDS(LOG_TEXT("path", conduct->run.dir), LOG_COUNT("step", state->step),
                             LOG_COUNT("epoch", state->epoch), LOG_INT("epochs", config->train_epochs)),
                  "continuing from step %" PRIu64 ", in epoch %" PRIu64 " of %" PRId64, state->step, state->epoch,
                  config->train_epochs);
    }
    return true;
}

bool conduct_prepare(struct conduct *conduct, const struct config *config, int argc, char **argv, bool *over,
                     struct err *err)
{
    *conduct = (struct conduct){.config = config, .argc = argc, .argv = argv, .signals = -1, .run = {.lock = -1}};
    mt19937_seed(&conduct->stream, (uint64_t)config->train_seed);
    if (!trainer_check(config, err) || !dataset_read(&conduct->dataset, config, &conduct->stream, err))
        return false;
    conduct_log_dataset(conduct);
    if (!samples_open(&conduct->samples, &conduct->dataset, config, err) ||
        !plan_open(&conduct->plan, conduct->dataset.train, (uint32_t)config->train_batch,
                   (uint32_t)config->train_shards, &conduct->stream, err) ||
        !run_open(&conduct->run, config, err) || !resume_may_record(config, err))
        return false;
    return conduct_find_start(conduct, over, err);
}

bool conduct_open_loop(struct conduct *conduct, struct err *err)
{
    progress_open(&conduct->display, (enum progress)conduct->config->run_progress,
                  (uint64_t)conduct->config->train_epochs);
    conduct->signals = loop_signal_fd(err);
    if (conduct->signals < 0)
        return false;
    conduct->loop = loop_new(err);
    return conduct->loop != NULL;
}

bool conduct_open_trainer(struct conduct *conduct, void *socket, struct watch *watch, struct journal *journal,
                          struct ledger *ledger, struct err *err)
{
    buffer_text(&conduct->command, "lstmq");
    for (int i = 0; i < conduct->argc; i++)
        conduct_quote(conduct->argv[i], &conduct->command);
    if (!buffer_ok(&conduct->command, err))
        return false;
    const struct trainer_parts parts = {
        .command = conduct->command.data,
        .config = conduct->config,
        .dataset = &conduct->dataset,
        .plan = &conduct->plan,
        .samples = &conduct->samples,
        .run = &conduct->run,
        .display = &conduct->display,
        .loop = conduct->loop,
        .socket = socket,
        .watch = watch,
        .checkpoint = conduct->found ? &conduct->checkpoint : NULL,
        .journal = journal,
        .ledger = ledger,
    };
    conduct->trainer = trainer_new(&parts, err);
    return conduct->trainer != NULL &&
           loop_add_socket(conduct->loop, socket, trainer_receive, conduct->trainer, err) != 0 &&
           loop_add_fd(conduct->loop, conduct->signals, conduct_on_signal, conduct, err) != 0;
}

bool conduct_run(struct conduct *conduct, struct err *err)
{
    const struct checkpoint_state *state = conduct->found ? &conduct->checkpoint.state : NULL;
    resume_record(conduct->config);
    log_fact("run_started",
             LOG_FIELDS(LOG_TEXT("path", conduct->run.dir), LOG_COUNT("step", state != NULL ? state->step : 0),
                        LOG_COUNT("epoch", state != NULL ? state->epoch : 1),
                        LOG_INT("epochs", conduct->config->train_epochs)),
             "%s: the run starts", conduct->run.dir);
    if (loop_run(conduct->loop, err))
        return conduct_outcome(conduct, err);
    trainer_show_end(conduct->trainer);
    conduct_log_end(conduct, "failed");
    return false;
}

void conduct_close_trainer(struct conduct *conduct)
{
    trainer_destroy(&conduct->trainer);
    loop_destroy(&conduct->loop);
    if (conduct->signals >= 0)
        close(conduct->signals);
    conduct->signals = -1;
    progress_close(&conduct->display);
}

void conduct_close(struct conduct *conduct)
{
    if (conduct->found)
        checkpoint_close(&conduct->checkpoint);
    run_close(&conduct->run);
    plan_close(&conduct->plan);
    samples_close(&conduct->samples);
    dataset_free(&conduct->dataset);
    buffer_free(&conduct->command);
}
