/* cmd_train.c - `lstmq train`: a coordinator and its workers in one process.
 *
 * This thread runs the coordinator's loop. Each worker, a function that main.c passes, runs on its own thread. They
 * share only one ZeroMQ context and, with several workers, the hub that sums their gradients. They speak over inproc,
 * so a cluster differs only in its endpoint. */
#include "coordinator/commands.h"
#include "coordinator/conduct.h"
#include "coordinator/run/resume.h"
#include "proto/wire/message.h"
#include "proto/wire/socket.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

/* Open files of a run: at most 24 with one worker and 44 with eight; the rest is a reserve. */
enum { TRAIN_FILES = 28, TRAIN_WORKER_FILES = 4 };

static const char train_endpoint[] = "inproc://lstmq-train";

/* An embedded worker. Its thread writes here until it has raised `ended`; after that, the fields do not change. */
struct embedded {
    struct session *session;
    pthread_t thread;
    _Atomic bool ended; /* its thread has returned */
    bool seen;          /* the loop has noticed */
    bool done;          /* what its function returned */
    struct err err;
};

struct session {
    struct config config;
    struct config own; /* the workers' options: each has its share of the cores */
    struct conduct conduct;
    const struct train_worker *functions;
    void *context, *socket;
    void *hub; /* NULL with one worker */
    int ended; /* eventfd: a worker's thread has returned */
    struct embedded *workers;
    size_t count;
};

static void *train_work(void *context)
{
    struct embedded *worker = context;
    struct session *session = worker->session;
    const uint64_t one = 1;
    worker->done = session->functions->run(session->context, train_endpoint, &session->own, session->hub, &worker->err);
    worker->ended = true;
    ssize_t ignored = write(session->ended, &one, sizeof one);
    (void)ignored;
    return NULL;
}

static bool train_message_waits(const struct session *session)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(session->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

/* A worker's thread has returned. Its last messages are read first; then it counts as lost, unless the run is over. */
static bool train_missed(struct session *session, struct embedded *worker, struct err *err)
{
    worker->seen = true;
    while (trainer_outcome(session->conduct.trainer) == TRAINER_RUNNING && train_message_waits(session))
        if (!trainer_receive(session->conduct.trainer, err))
            return false;
    if (trainer_outcome(session->conduct.trainer) != TRAINER_RUNNING || worker->done)
        return true;
    *err = worker->err;
    return err_context(err, "worker");
}

static bool train_on_worker_ended(void *context, struct err *err)
{
    struct session *session = context;
    uint64_t ignored;
    if (read(session->ended, &ignored, sizeof ignored) != (ssize_t)sizeof ignored)
        return true;
    size_t left = 0;
    for (size_t i = 0; i < session->count; i++) {
        struct embedded *worker = &session->workers[i];
        if (worker->ended && !worker->seen && !train_missed(session, worker, err))
            return false;
        left += !worker->ended;
    }
    if (left == 0 && trainer_outcome(session->conduct.trainer) == TRAINER_RUNNING)
        return err_set(err, ERR_FAILED, "the worker ended before the run did");
    return true;
}

static bool train_open_socket(struct session *session, struct err *err)
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
        zmq_bind(session->socket, train_endpoint) != 0)
        return socket_error(err, train_endpoint);
    return true;
}

static bool train_open(struct session *session, struct err *err)
{
    if (!conduct_open_loop(&session->conduct, err))
        return false;
    session->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (session->ended < 0)
        return err_errno(err, ERR_FAILED, "eventfd");
    return train_open_socket(session, err) &&
           conduct_open_trainer(&session->conduct, session->socket, NULL, NULL, NULL, err) &&
           loop_add_fd(session->conduct.loop, session->ended, train_on_worker_ended, session, err) != 0;
}

/* Share the cores among the workers, unless train.threads is given. */
static int64_t cmd_train_threads(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (config->train_threads != 0 || config->train_workers == 1)
        return config->train_threads;
    return cores > config->train_workers ? cores / config->train_workers : 1;
}

static bool train_start_workers(struct session *session, struct err *err)
{
    size_t count = (size_t)session->config.train_workers;
    session->own = session->config;
    session->own.train_threads = cmd_train_threads(&session->config);
    session->workers = calloc(count, sizeof *session->workers);
    if (session->workers == NULL)
        return err_set(err, ERR_MEMORY, "no memory for %zu workers", count);
    session->hub = count > 1 ? session->functions->hub_new(err) : NULL;
    if (count > 1 && session->hub == NULL)
        return false;
    for (session->count = 0; session->count < count; session->count++) {
        struct embedded *worker = &session->workers[session->count];
        worker->session = session;
        errno = pthread_create(&worker->thread, NULL, train_work, worker);
        if (errno != 0)
            return err_errno(err, ERR_FAILED, "cannot start a worker's thread");
    }
    return true;
}

/* From now on the workers' sockets fail, so their threads end. */
static void train_close(struct session *session)
{
    if (session->count > 0)
        zmq_ctx_shutdown(session->context);
    for (size_t i = 0; i < session->count; i++)
        pthread_join(session->workers[i].thread, NULL);
    if (session->hub != NULL)
        session->functions->hub_destroy(session->hub);
    free(session->workers);
    conduct_close_trainer(&session->conduct);
    if (session->socket != NULL)
        zmq_close(session->socket);
    if (session->context != NULL)
        zmq_ctx_term(session->context);
    if (session->ended >= 0)
        close(session->ended);
}

static bool train_train(struct session *session, int argc, char **argv, struct err *err)
{
    struct config *config = &session->config;
    bool over = false;
    session->ended = -1;
    if (config->train_shards == 0)
        config->train_shards = config->train_workers;
    if (!socket_raise_files(TRAIN_FILES + TRAIN_WORKER_FILES * (int)config->train_workers, err) ||
        !session->functions->check(config, err))
        return false;
    bool done = conduct_prepare(&session->conduct, config, argc, argv, &over, err);
    if (done && !over) {
        done = train_open(session, err) && train_start_workers(session, err) && conduct_run(&session->conduct, err);
        train_close(session);
    }
    conduct_close(&session->conduct);
    return done;
}

bool cmd_train(const struct command *self, int argc, char **argv, const struct train_worker *worker, struct err *err)
{
    bool done = false;
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return err_set(err, ERR_MEMORY, "no memory for training");
    session->functions = worker;
    bool ok = resume_config(self, argc, argv, &session->config, &done, err);
    if (ok && !done) {
        command_outlive_readers();
        ok = train_train(session, argc, argv, err);
    }
    free(session);
    return ok;
}
