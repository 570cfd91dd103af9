/* cmd_train.c - `lstmq train`: a coordinator and its worker in one process.
 *
 * This thread runs the coordinator's loop; the worker that main.c handed in runs on a thread of its own. They share
 * nothing but one ZeroMQ context and speak over inproc, so a cluster differs in the endpoint alone. The first SIGINT or
 * SIGTERM ends the run in good order; soon after they have their default meaning again, so a second one ends the
 * process at once. */
#include "coordinator/commands.h"
#include "coordinator/dataset.h"
#include "coordinator/plan.h"
#include "coordinator/progress.h"
#include "coordinator/run.h"
#include "coordinator/samples.h"
#include "coordinator/tally.h"
#include "coordinator/trainer.h"
#include "proto/base/log.h"
#include "proto/wire/message.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

enum { SAME_SIGNAL_MS = 500 }; /* signals this close together are one */

static const char s_endpoint[] = "inproc://lstmq-train";

/* The embedded worker: written by its thread until `ended` can be read, then by nobody. */
struct embedded {
    const struct train_worker *functions;
    void *context;
    const struct config *config;
    pthread_t thread;
    bool started;
    int ended; /* eventfd: the thread is done */
    bool done; /* what it returned            */
    struct err err;
};

struct session {
    struct config config;
    struct mt19937 stream;
    struct dataset dataset;
    struct plan plan;
    struct samples samples;
    struct run run;
    struct checkpoint checkpoint;
    bool found; /* checkpoint is open */
    struct display display;
    void *context, *socket;
    struct loop *loop;
    struct trainer *trainer;
    int signals;    /* signalfd */
    bool signalled; /* the first signal came */
    struct embedded worker;
};

static void *s_work(void *context)
{
    struct embedded *worker = context;
    const uint64_t one = 1;
    worker->done = worker->functions->run(worker->context, s_endpoint, worker->config, NULL, &worker->err);
    ssize_t ignored = write(worker->ended, &one, sizeof one);
    (void)ignored;
    return NULL;
}

static bool s_message_waits(const struct session *session)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(session->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

/* The worker's thread has ended. What it said before that comes first; then it is missed, unless the run is over. */
static bool s_on_worker_ended(void *context, struct err *err)
{
    struct session *session = context;
    uint64_t count;
    if (read(session->worker.ended, &count, sizeof count) != (ssize_t)sizeof count)
        return true;
    while (trainer_outcome(session->trainer) == TRAINER_RUNNING && s_message_waits(session))
        if (!trainer_receive(session->trainer, err))
            return false;
    if (trainer_outcome(session->trainer) != TRAINER_RUNNING)
        return true;
    if (session->worker.done)
        return err_set(err, ERR_FAILED, "the worker ended before the run did");
    *err = session->worker.err;
    return err_context(err, "worker");
}

/* From now on a signal does what it does to any process. */
static bool s_on_second_chance(void *context, struct err *err)
{
    (void)context, (void)err;
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &both, NULL);
    return true;
}

/* The first signal; those that follow at its heels are the same one, told to the process and to its group by a
 * supervisor. */
static bool s_on_signal(void *context, struct err *err)
{
    struct session *session = context;
    struct signalfd_siginfo info;
    if (read(session->signals, &info, sizeof info) != (ssize_t)sizeof info || session->signalled)
        return true;
    session->signalled = true;
    log_info("%s: finishing the steps in flight and writing a checkpoint; once more ends at once",
             info.ssi_signo == SIGINT ? "interrupted" : "told to end");
    return loop_add_timer(session->loop, SAME_SIGNAL_MS, 0, s_on_second_chance, session, err) != 0 &&
           trainer_interrupt(session->trainer, err);
}

static bool s_open_socket(struct session *session, struct err *err)
{
    const int mandatory = 1, linger = 0;
    session->context = zmq_ctx_new();
    if (session->context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    session->socket = zmq_socket(session->context, ZMQ_ROUTER);
    if (session->socket == NULL)
        return socket_error(err, "cannot open a socket");
    if (zmq_setsockopt(session->socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory) != 0 ||
        zmq_setsockopt(session->socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_bind(session->socket, s_endpoint) != 0)
        return socket_error(err, s_endpoint);
    return true;
}

/* Signals are blocked from here on, before any thread is started, so that the loop alone hears them. */
static bool s_open_loop(struct session *session, struct err *err)
{
    session->signals = loop_signal_fd(err);
    if (session->signals < 0)
        return false;
    session->worker.ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (session->worker.ended < 0)
        return err_errno(err, ERR_FAILED, "eventfd");
    session->loop = loop_new(err);
    if (session->loop == NULL || !s_open_socket(session, err))
        return false;
    const struct trainer_parts parts = {
        .config = &session->config,
        .dataset = &session->dataset,
        .plan = &session->plan,
        .samples = &session->samples,
        .run = &session->run,
        .display = &session->display,
        .loop = session->loop,
        .socket = session->socket,
        .checkpoint = session->found ? &session->checkpoint : NULL,
    };
    session->trainer = trainer_new(&parts, err);
    return session->trainer != NULL &&
           loop_add_socket(session->loop, session->socket, trainer_receive, session->trainer, err) != 0 &&
           loop_add_fd(session->loop, session->worker.ended, s_on_worker_ended, session, err) != 0 &&
           loop_add_fd(session->loop, session->signals, s_on_signal, session, err) != 0;
}

static bool s_start_worker(struct session *session, const struct train_worker *functions, struct err *err)
{
    struct embedded *worker = &session->worker;
    worker->functions = functions;
    worker->context = session->context;
    worker->config = &session->config;
    errno = pthread_create(&worker->thread, NULL, s_work, worker);
    if (errno != 0)
        return err_errno(err, ERR_FAILED, "cannot start the worker's thread");
    worker->started = true;
    return true;
}

/* Whatever the worker waits for on its socket fails from now on, so its thread ends. */
static void s_close_loop(struct session *session)
{
    if (session->worker.started) {
        zmq_ctx_shutdown(session->context);
        pthread_join(session->worker.thread, NULL);
    }
    trainer_destroy(&session->trainer);
    loop_destroy(&session->loop);
    if (session->socket != NULL)
        zmq_close(session->socket);
    if (session->context != NULL)
        zmq_ctx_term(session->context);
    if (session->worker.ended >= 0)
        close(session->worker.ended);
    if (session->signals >= 0)
        close(session->signals);
}

/* A word as a shell takes it. */
static void s_quote(const char *word, struct buffer *out)
{
    bool plain = word[0] != '\0' && word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                      "0123456789-_./=:,+@%")] == '\0';
    buffer_text(out, plain ? " " : " '");
    for (const char *c = word; *c != '\0'; c++)
        buffer_text(out, *c == '\'' ? "'\\''" : (char[]){*c, '\0'});
    buffer_text(out, plain ? "" : "'");
}

/* The command that goes on with this run, from the words of this one: the same, but that it resumes and does not begin
 * anew. */
static void s_command(const struct config *config, int argc, char **argv, struct buffer *out)
{
    bool overwrite = config->run_overwrite;
    buffer_text(out, "lstmq");
    for (int i = 0; i < argc; i++) {
        bool bare = strcmp(argv[i], "--run.overwrite") == 0;
        if (!bare && strcmp(argv[i], "--run.overwrite=true") != 0) {
            s_quote(argv[i], out);
            continue;
        }
        overwrite = false;
        i += bare && i + 1 < argc && strcmp(argv[i + 1], "true") == 0;
    }
    buffer_text(out, overwrite ? " --no-run.overwrite" : "");
    buffer_text(out, config->run_resume ? "" : " --resume");
}

static bool s_interrupted(const struct session *session, int argc, char **argv, struct err *err)
{
    struct buffer command = {0};
    s_command(&session->config, argc, argv, &command);
    bool whole = buffer_ok(&command, err);
    if (whole)
        err_set(err, ERR_INTERRUPTED, "interrupted%s; continue with: %s",
                trainer_saved(session->trainer) ? "" : ", and the last checkpoint could not be written", command.data);
    buffer_free(&command);
    return false;
}

static bool s_outcome(struct session *session, int argc, char **argv, struct err *err)
{
    enum trainer_outcome outcome = trainer_outcome(session->trainer);
    trainer_show_end(session->trainer);
    bool flushed = run_flushed(&session->run);
    if (outcome == TRAINER_INTERRUPTED)
        return s_interrupted(session, argc, argv, err);
    if (outcome == TRAINER_UNSAVED)
        return err_set(err, ERR_IO,
                       "%s: training is done, but its last state could not be saved: make room there, then add "
                       "--resume to train again from the last good checkpoint",
                       session->run.dir);
    if (!flushed)
        return err_set(err, ERR_IO, "%s: training is done, but its last records could not be written",
                       session->run.dir);
    return true;
}

static bool s_train(struct session *session, int argc, char **argv, const struct train_worker *worker, struct err *err)
{
    progress_open(&session->display, (enum progress)session->config.run_progress,
                  (uint64_t)session->config.train_epochs);
    session->signals = session->worker.ended = -1;
    bool done = s_open_loop(session, err) && s_start_worker(session, worker, err) && loop_run(session->loop, err) &&
                s_outcome(session, argc, argv, err);
    s_close_loop(session);
    progress_close(&session->display);
    return done;
}

static void s_log_dataset(const struct session *session)
{
    const struct dataset *dataset = &session->dataset;
    log_info("%" PRIu64 " lines, %" PRIu64 " pairs of %" PRId64 " to %" PRId64
             " tokens; training on %u, validating on %u; "
             "vocabularies %zu and %zu",
             dataset->lines, dataset->kept, session->config.data_min_tokens, session->config.data_max_tokens,
             dataset->train, dataset->valid, vocab_size(dataset->src), vocab_size(dataset->tgt));
    if (dataset->held_out > 0)
        log_info("%" PRIu64 " training pairs were left out because their source is held out (data.split source)",
                 dataset->held_out);
    if (dataset->bad > 0)
        log_warn("%" PRIu64 " bad lines were skipped (data.on_bad_line skip); the first: %s", dataset->bad,
                 dataset->first_bad);
}

/* What a crash left half done is settled by the next checkpoint; where none will come, here. */
static void s_tidy(const struct session *session)
{
    struct err failure = {0};
    if (!checkpoint_sweep(session->run.dir, SIZE_MAX, &failure))
        log_warn("%s", failure.text);
}

/* Where the run stands: *over when there is nothing left to do. */
static bool s_find_start(struct session *session, bool *over, struct err *err)
{
    const struct config *config = &session->config;
    const struct checkpoint_state *state = &session->checkpoint.state;
    *over = false;
    if (config->run_resume &&
        !run_resume(&session->run, config, session->dataset.fingerprint, &session->checkpoint, &session->found, err))
        return false;
    if (!session->found) {
        if (config->run_resume)
            log_info("%s holds no checkpoint: training begins at step 0", session->run.dir);
        return run_rewind(&session->run, 1, 0, err);
    }
    if (!run_rewind(&session->run, state->epoch, state->step, err))
        return false;
    /* A crash between the commit of the best checkpoint and its link. */
    if (state->has_best && state->best_step == state->step &&
        !checkpoint_mark_best(session->run.dir, state->best_step, err))
        return false;
    *over = tally_over(state, config);
    if (*over)
        s_tidy(session);
    if (*over)
        log_info("%s is finished after %" PRIu64 " epochs: nothing is left to do (more with --train.epochs)",
                 session->run.dir, state->epoch - 1);
    else
        log_info("going on from step %" PRIu64 ", in epoch %" PRIu64 " of %" PRId64, state->step, state->epoch,
                 config->train_epochs);
    return true;
}

static bool s_prepare(struct session *session, const struct train_worker *worker, bool *over, struct err *err)
{
    struct config *config = &session->config;
    if (config->train_shards == 0)
        config->train_shards = config->train_workers;
    mt19937_seed(&session->stream, (uint64_t)config->train_seed);
    if (!trainer_check(config, err) || !worker->check(config, err) ||
        !dataset_read(&session->dataset, config, &session->stream, err))
        return false;
    s_log_dataset(session);
    return samples_open(&session->samples, &session->dataset, config, err) &&
           plan_open(&session->plan, session->dataset.train, (uint32_t)config->train_batch,
                     (uint32_t)config->train_shards, &session->stream, err) &&
           run_open(&session->run, config, err) && s_find_start(session, over, err);
}

bool cmd_train(const struct command *self, int argc, char **argv, const struct train_worker *worker, struct err *err)
{
    bool done = false, over = false;
    int words;
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return err_set(err, ERR_MEMORY, "no memory for training");
    session->run.lock = -1;
    bool ok = command_config(self, argc, argv, &session->config, &words, &done, err);
    if (ok && !done)
        ok = s_prepare(session, worker, &over, err) && (over || s_train(session, argc, argv, worker, err));
    if (session->found)
        checkpoint_close(&session->checkpoint);
    run_close(&session->run);
    plan_close(&session->plan);
    samples_close(&session->samples);
    dataset_free(&session->dataset);
    free(session);
    return ok;
}
