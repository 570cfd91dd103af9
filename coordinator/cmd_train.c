/* cmd_train.c - `lstmq train`: a coordinator and its workers in one process.
 *
 * This thread runs the coordinator's loop. Each worker, a function that main.c passes, runs on its own thread. They
 * share only one ZeroMQ context and, with several workers, the hub that sums their gradients. They speak over inproc,
 * so a cluster differs only in its endpoint. */
#include "coordinator/conduct.h"
#include "coordinator/train.h"
#include "proto/cli/commands.h"
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

/* An embedded worker. Its thread writes `done` and `err` until it sets `ended`; nothing changes after that. */
struct train_thread {
    struct train_run *run;
    pthread_t thread;
    _Atomic bool ended;
    bool done; /* what the worker returned */
    struct err err;
};

struct train_run {
    struct config config;
    struct config own; /* the workers' options: each has its share of the cores */
    struct conduct conduct;
    const struct train_worker *functions;
    void *context, *socket;
    void *hub; /* NULL with one worker */
    int ended; /* eventfd: a worker's thread has returned */
    struct train_thread *workers;
    size_t count;
};

static void *train_work(void *context)
{
    struct train_thread *worker = context;
    struct train_run *run = worker->run;
    const uint64_t one = 1;
    worker->done = run->functions->run(run->context, train_endpoint, &run->own, run->hub, &worker->err);
    worker->ended = true;
    ssize_t ignored = write(run->ended, &one, sizeof one);
    (void)ignored;
    return NULL;
}

static bool train_message_waits(const struct train_run *run)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(run->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

static bool train_on_worker_ended(void *context, struct err *err)
{
    const struct train_run *run = context;
    uint64_t ignored;
    (void)err;
    return read(run->ended, &ignored, sizeof ignored) != 0; /* the turn looks at all workers */
}

/* After the trainer's turn: a worker whose thread has ended is missed, unless the run is over. What it sent before
 * comes first. */
static bool train_miss_workers(void *context, struct err *err)
{
    struct train_run *run = context;
    const struct train_thread *failed = NULL;
    size_t left = 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct train_thread *worker = &run->workers[i];
        left += !worker->ended;
        if (worker->ended && !worker->done)
            failed = worker;
    }
    if ((failed == NULL && left > 0) || trainer_outcome(run->conduct.trainer) != TRAINER_RUNNING ||
        train_message_waits(run))
        return true;
    if (failed == NULL)
        return err_set(err, ERR_FAILED, "the worker ended before the run did");
    *err = failed->err;
    return err_context(err, "worker");
}

static bool train_open_socket(struct train_run *run, struct err *err)
{
    const int mandatory = 1, linger = 0;
    run->context = zmq_ctx_new();
    if (run->context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    run->socket = zmq_socket(run->context, ZMQ_ROUTER);
    if (run->socket == NULL)
        return socket_error(err, "cannot open a socket");
    if (zmq_setsockopt(run->socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory) != 0 ||
        zmq_setsockopt(run->socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_bind(run->socket, train_endpoint) != 0)
        return socket_error(err, train_endpoint);
    return true;
}

static bool train_open(struct train_run *run, struct err *err)
{
    if (!conduct_open_loop(&run->conduct, err))
        return false;
    run->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (run->ended < 0)
        return err_errno(err, ERR_FAILED, "eventfd");
    return train_open_socket(run, err) && conduct_open_trainer(&run->conduct, run->socket, NULL, NULL, NULL, err) &&
           loop_add_fd(run->conduct.loop, run->ended, train_on_worker_ended, run, err) != 0 &&
           loop_add_turn(run->conduct.loop, train_miss_workers, run, err) != 0;
}

/* Share the cores among the workers, unless train.threads is given. */
static int64_t cmd_train_threads(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (config->train_threads != 0 || config->train_workers == 1)
        return config->train_threads;
    return cores > config->train_workers ? cores / config->train_workers : 1;
}

static bool train_start_workers(struct train_run *run, struct err *err)
{
    size_t count = (size_t)run->config.train_workers;
    run->own = run->config;
    run->own.train_threads = cmd_train_threads(&run->config);
    run->workers = calloc(count, sizeof *run->workers);
    if (run->workers == NULL)
        return err_set(err, ERR_MEMORY, "no memory for %zu workers", count);
    run->hub = count > 1 ? run->functions->hub_new(err) : NULL;
    if (count > 1 && run->hub == NULL)
        return false;
    for (run->count = 0; run->count < count; run->count++) {
        struct train_thread *worker = &run->workers[run->count];
        worker->run = run;
        errno = pthread_create(&worker->thread, NULL, train_work, worker);
        if (errno != 0)
            return err_errno(err, ERR_FAILED, "cannot start a worker's thread");
    }
    return true;
}

/* From now on the workers' sockets fail, so their threads end. */
static void train_close(struct train_run *run)
{
    if (run->count > 0)
        zmq_ctx_shutdown(run->context);
    for (size_t i = 0; i < run->count; i++)
        pthread_join(run->workers[i].thread, NULL);
    if (run->hub != NULL)
        run->functions->hub_destroy(run->hub);
    free(run->workers);
    conduct_close_trainer(&run->conduct);
    if (run->socket != NULL)
        zmq_close(run->socket);
    if (run->context != NULL)
        zmq_ctx_term(run->context);
    if (run->ended >= 0)
        close(run->ended);
}

static bool train_train(struct train_run *run, int argc, char **argv, struct err *err)
{
    struct config *config = &run->config;
    bool over = false;
    run->ended = -1;
    if (config->train_shards == 0)
        config->train_shards = config->train_workers;
    if (!socket_raise_files(TRAIN_FILES + TRAIN_WORKER_FILES * (int)config->train_workers, err) ||
        !run->functions->check(config, err))
        return false;
    bool done = conduct_prepare(&run->conduct, config, argc, argv, &over, err);
    if (done && !over) {
        done = train_open(run, err) && train_start_workers(run, err) && conduct_run(&run->conduct, err);
        train_close(run);
    }
    conduct_close(&run->conduct);
    return done;
}

bool cmd_train(const struct command_call *call, const struct train_worker *worker, struct err *err)
{
    struct train_run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return err_set(err, ERR_MEMORY, "no memory for training");
    run->functions = worker;
    run->config = *call->config;
    bool ok = train_train(run, call->argc, call->argv, err);
    free(run);
    return ok;
}
