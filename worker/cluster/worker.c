/* worker.c - the loop thread; see worker.h.
 *
 * It has two lanes, to the compute thread and from it. A lane has a socket to read and one to write, and holds the one
 * message that the full receiver did not accept. Until a timer can send that message, the lane is not read. So nothing
 * piles up here, and the loop never waits. */
#include "worker/cluster/worker.h"

#include "kernels/backend.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/wire/loop.h"
#include "proto/wire/watch.h"
#include "worker/cluster/roll.h"
#include "worker/cluster/session.h"
#include "worker/link/link.h"
#include "worker/link/parcel.h"
#include "worker/link/reconnect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    RETRY_MS = 1,                /* until a full queue is tried again */
    TICK_MS = 100,               /* between checks of the clock */
    QUEUE = 4096,                /* messages for the compute thread; credit keeps it almost empty */
    RESIGN_MS = 10000,           /* from RESIGN to the end without DISMISS ... */
    UPLOAD_MS = 30000,           /* ... and from the last piece of a state, which a slow line may still carry */
    LAST_MESSAGES_MS = 1000,     /* for the last messages to be delivered */
    RECONNECTS_MOST = 6,         /* reconnections of a working connection ... */
    RECONNECTS_WITHIN_MS = 60000 /* ... within this time, before the worker ends */
};

struct worker_lane {
    struct parcel waiting;
    bool blocked; /* it holds a message, and its source is not read */
    uint64_t source;
};

struct worker {
    const struct worker_options *options;
    struct worker_shared shared;
    struct loop *loop;
    struct link link;
    uint64_t monitor; /* id in the loop */
    void *pair;       /* to the compute thread */
    struct worker_lane inward, outward;
    uint64_t retry;               /* timer of a blocked lane; 0 = none */
    struct generation generation; /* the last one received */
    bool in_generation;           /* one was received on this connection */
    bool welcomed;                /* on this connection */
    unsigned hellos;              /* signalled and not yet sent; only the last one is for this connection */
    int64_t heard_ms;             /* when the coordinator last sent a message */
    struct reconnect_server server;
    struct reconnect reconnect; /* while disconnected */
    int64_t again_ms[RECONNECTS_MOST];
    unsigned reconnects; /* reconnections so far */
    int signals;         /* signalfd, or -1 */
    int64_t resigned_ms; /* when a signal came, later when RESIGN was sent; 0 = no signal */
    bool resigns;        /* RESIGN must be sent on this connection */
    int64_t state_ms;    /* when a piece of a state was last sent; 0 = never */
    pthread_t thread;
    bool started, ended; /* the compute thread */
    bool done;           /* session_run's result; read after the join */
    struct err err;
};

static bool worker_on_link(void *context, struct err *err);
static bool worker_on_session(void *context, struct err *err);

/* ---- lanes ---- */

static bool worker_watch(struct worker *worker, struct worker_lane *lane, struct err *err)
{
    bool inward = lane == &worker->inward;
    lane->source = loop_add_socket(worker->loop, inward ? worker->link.socket : worker->pair,
                                   inward ? worker_on_link : worker_on_session, worker, err);
    return lane->source != 0;
}

/* Send RESIGN as soon as the link's queue has space: a state in transit fills the queue. */
static bool worker_resign(struct worker *worker, struct err *err)
{
    if (!worker->resigns || !worker->welcomed || atomic_load(&worker->shared.parts))
        return true;
    const struct message resign = {.type = MESSAGE_RESIGN, .resign = {.step = atomic_load(&worker->shared.step)}};
    if (!message_send(worker->link.socket, NULL, &resign, err))
        return err->code == ERR_FULL;
    worker->resigns = false;
    worker->resigned_ms = clock_ms();
    return true;
}

/* Send to the coordinator; a due RESIGN goes first. */
static bool worker_try(struct worker *worker, struct worker_lane *lane, struct err *err)
{
    bool inward = lane == &worker->inward;
    if (lane->waiting.count == 0)
        return true;
    if (!inward && !worker_resign(worker, err))
        return false;
    bool state = !inward && parcel_type(&lane->waiting) == MESSAGE_STATE;
    if (!parcel_send(inward ? worker->pair : worker->link.socket, &lane->waiting, err))
        return err->code == ERR_FULL;
    if (state)
        worker->state_ms = clock_ms();
    return true;
}

static bool worker_on_retry(void *context, struct err *err)
{
    struct worker *worker = context;
    struct worker_lane *const lanes[] = {&worker->inward, &worker->outward};
    bool blocked = false;
    for (int i = 0; i < 2; i++) {
        struct worker_lane *lane = lanes[i];
        if (!lane->blocked)
            continue;
        if (!worker_try(worker, lane, err))
            return false;
        lane->blocked = lane->waiting.count > 0;
        if (!lane->blocked && !worker_watch(worker, lane, err))
            return false;
        blocked = blocked || lane->blocked;
    }
    if (!blocked) {
        loop_remove(worker->loop, worker->retry);
        worker->retry = 0;
    }
    return true;
}

/* Send the lane's message, or stop reading its source until it can be sent. */
static bool worker_pass(struct worker *worker, struct worker_lane *lane, struct err *err)
{
    if (!worker_try(worker, lane, err))
        return false;
    if (lane->waiting.count == 0 || lane->blocked)
        return true;
    lane->blocked = true;
    loop_remove(worker->loop, lane->source);
    if (worker->retry == 0)
        worker->retry = loop_add_timer(worker->loop, RETRY_MS, RETRY_MS, worker_on_retry, worker, err);
    return worker->retry != 0;
}

/* A signal replaces a waiting message, which belongs to a broken connection or comes too late. */
static bool worker_send_signal(struct worker *worker, enum worker_signal signal, struct err *err)
{
    if (parcel_signalled(&worker->inward.waiting) == SIGNAL_HELLO)
        worker->hellos--;
    parcel_drop(&worker->inward.waiting);
    worker->hellos += signal == SIGNAL_HELLO;
    return parcel_signal(&worker->inward.waiting, (char)signal, err) && worker_pass(worker, &worker->inward, err);
}

/* ---- the connection ---- */

static bool worker_connected(struct worker *worker, struct err *err)
{
    worker->heard_ms = clock_ms();
    reconnect_done(&worker->reconnect);
    if (worker->link.monitor != NULL)
        log_event(LOG_INFO, "connected", LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint)),
                  "connected to the coordinator at %s", worker->options->endpoint);
    return worker_send_signal(worker, SIGNAL_HELLO, err);
}

static bool worker_reconnect(struct worker *worker, struct err *err);

static bool worker_on_monitor(void *context, struct err *err)
{
    struct worker *worker = context;
    enum monitor_news news;
    if (!link_listen(&worker->link, &news, err))
        return false;
    if (news == MONITOR_STANDS)
        return worker_connected(worker, err);
    if (news == MONITOR_UNREACHED || news == MONITOR_SILENT || news == MONITOR_REFUSED)
        reconnect_failed(&worker->reconnect, news, monitor_is_spent(worker->link.monitor));
    if (news != MONITOR_BROKE || atomic_load(&worker->shared.parts))
        return true;
    log_event(LOG_WARN, "connection_broken", LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint)),
              "the connection to the coordinator broke; connecting again");
    return worker_reconnect(worker, err);
}

static bool worker_connect(struct worker *worker, struct err *err)
{
    const struct worker_options *options = worker->options;
    struct socket_options socket = {.context = options->zmq_context};
    if (worker_has_keys(options)) {
        socket.keys = &options->keyring->own;
        socket.server_key = options->keyring->server.key;
    }
    reconnect_begin(&worker->reconnect);
    if (!link_open(&worker->link, socket, options->endpoint, err))
        return false;
    if (!worker->inward.blocked && !worker_watch(worker, &worker->inward, err))
        return false;
    if (worker->link.monitor != NULL &&
        (worker->monitor =
             loop_add_socket(worker->loop, monitor_socket(worker->link.monitor), worker_on_monitor, worker, err)) == 0)
        return false;
    return !worker->link.stands || worker_connected(worker, err);
}

/* Stop current work, close the connection with all messages in it, and open another. */
static bool worker_reconnect(struct worker *worker, struct err *err)
{
    if (worker->in_generation)
        shared_stop(&worker->shared, worker->generation.generation);
    worker->in_generation = worker->welcomed = false;
    worker->resigns = worker->resigned_ms != 0;
    parcel_drop(&worker->outward.waiting);
    if (parcel_signalled(&worker->inward.waiting) == 0)
        parcel_drop(&worker->inward.waiting);
    if (!worker->inward.blocked)
        loop_remove(worker->loop, worker->inward.source);
    loop_remove(worker->loop, worker->monitor);
    link_close(&worker->link, LAST_MESSAGES_MS);
    return worker_connect(worker, err);
}

/* Reconnect although the connection works. This must not repeat without end. */
static bool worker_restart_connection(struct worker *worker, const struct err *why, struct err *err)
{
    int64_t now = clock_ms(), *oldest = &worker->again_ms[worker->reconnects % RECONNECTS_MOST];
    if (worker->reconnects >= RECONNECTS_MOST && now - *oldest < RECONNECTS_WITHIN_MS) {
        *err = *why;
        return err_context(err, "stopped after %d reconnections in a minute", RECONNECTS_MOST);
    }
    *oldest = now;
    worker->reconnects++;
    return worker_reconnect(worker, err);
}

/* ---- from the coordinator ---- */

static bool worker_decode(struct parcel *parcel, struct message *message)
{
    struct frame frames[MESSAGE_FRAMES];
    return message_decode(frames, parcel_frames(parcel, frames), message, NULL);
}

static void worker_pong(struct worker *worker, const struct ping *ping)
{
    struct message pong = {.type = MESSAGE_PONG, .pong = {.time = ping->time}};
    struct err ignored; /* a full queue also shows that the coordinator is connected */
    message_send(worker->link.socket, NULL, &pong, &ignored);
}

/* Accept the previous rank on the ring's socket. The session refuses a bad message. */
static void worker_accept_predecessor(struct worker *worker, const struct peers *peers)
{
    uint32_t rank = worker->generation.rank, size = worker->generation.size;
    struct roll roll;
    if (worker->shared.zap == NULL || !worker->in_generation || peers->generation != worker->generation.generation)
        return;
    if (roll_read(&roll, peers, size, NULL))
        zap_set_ring(worker->shared.zap, roll.keys[(rank + size - 1) % size]);
    roll_free(&roll);
}

/* Do what cannot wait for the compute thread. *mine: the compute thread does not need it. *forgotten: the coordinator
 * no longer knows this worker. */
static void worker_look(struct worker *worker, struct parcel *parcel, bool *mine, struct err *forgotten)
{
    enum message_type type = parcel_type(parcel);
    struct message message;
    bool matters = type == MESSAGE_PING || type == MESSAGE_STOP || type == MESSAGE_GENERATION ||
                   type == MESSAGE_PEERS || type == MESSAGE_WELCOME || type == MESSAGE_ERROR;
    /* The session refuses what cannot be decoded. */
    if (!matters || !worker_decode(parcel, &message))
        return;
    if (type == MESSAGE_PING) {
        worker_pong(worker, &message.ping);
        *mine = true;
    } else if (type == MESSAGE_STOP) {
        shared_stop(&worker->shared, message.stop.generation);
    } else if (type == MESSAGE_GENERATION) {
        worker->generation = message.generation;
        worker->in_generation = true;
    } else if (type == MESSAGE_PEERS) {
        worker_accept_predecessor(worker, &message.peers);
    } else if (type == MESSAGE_WELCOME) {
        worker->welcomed = true;
        log_event(worker->link.monitor != NULL ? LOG_INFO : LOG_DEBUG, "joined",
                  LOG_FIELDS(LOG_COUNT("worker", message.welcome.worker)), "joined as worker %" PRIu64,
                  message.welcome.worker);
    } else if (message.error.code == ERR_PROTOCOL && worker->welcomed && worker->link.monitor != NULL) {
        *mine = true;
        err_set(forgotten, ERR_FAILED, "the coordinator: %.*s", (int)message.error.text.size, message.error.text.data);
    }
    message_close(&message);
}

static bool worker_on_link(void *context, struct err *err)
{
    struct worker *worker = context;
    struct parcel *parcel = &worker->inward.waiting;
    struct err forgotten = {0};
    bool mine = false;
    if (!parcel_receive(worker->link.socket, false, parcel, err))
        return false;
    if (parcel->count == 0)
        return true;
    worker->heard_ms = clock_ms();
    if (parcel_signalled(parcel) != 0) { /* the compute thread would take it for a signal of this thread */
        parcel_drop(parcel);
        return err_set(err, ERR_PROTOCOL, "the coordinator sent one byte, which is no message");
    }
    worker_look(worker, parcel, &mine, &forgotten);
    if (!mine)
        return worker_pass(worker, &worker->inward, err);
    parcel_drop(parcel);
    if (forgotten.code == ERR_NONE || atomic_load(&worker->shared.parts))
        return true;
    log_event(LOG_WARN, "joining_again",
              LOG_FIELDS(LOG_TEXT("reason", forgotten.text),
                         LOG_COUNT("generation", worker->in_generation ? worker->generation.generation : 0)),
              "%s; joining again", forgotten.text);
    return worker_restart_connection(worker, &forgotten, err);
}

/* ---- from the compute thread ---- */

static bool worker_ended(struct worker *worker)
{
    worker->ended = true;
    loop_stop(worker->loop);
    return true;
}

/* Whether a message may be sent: not if it was meant for a broken connection. */
static bool worker_may_send(struct worker *worker, struct parcel *parcel)
{
    if (worker->hellos > 0 && parcel_type(parcel) == MESSAGE_HELLO)
        return --worker->hellos == 0 && worker->link.stands;
    return worker->hellos == 0 && worker->link.stands;
}

static bool worker_on_session(void *context, struct err *err)
{
    struct worker *worker = context;
    struct parcel *parcel = &worker->outward.waiting;
    if (!parcel_receive(worker->pair, false, parcel, err))
        return false;
    if (parcel->count == 0)
        return true;
    char signal = parcel_signalled(parcel);
    if (signal == 0 && worker_may_send(worker, parcel))
        return worker_pass(worker, &worker->outward, err);
    parcel_drop(parcel);
    if (signal == SIGNAL_ENDED)
        return worker_ended(worker);
    if (signal != SIGNAL_AGAIN || !worker->link.stands || worker->hellos > 0)
        return true;
    struct err why;
    err_set(&why, ERR_FAILED, "the other workers cannot be reached");
    return worker_restart_connection(worker, &why, err);
}

/* ---- time and signals ---- */

/* Whether a resigning worker stops waiting: no coordinator can dismiss it, or none did in time. */
static bool worker_waited(const struct worker *worker, int64_t now)
{
    if (!worker->link.stands)
        return true;
    bool uploads = worker->state_ms != 0 && now - worker->state_ms <= UPLOAD_MS;
    if (uploads || now - worker->resigned_ms <= RESIGN_MS)
        return false;
    log_event(LOG_WARN, "leaving_unanswered", LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint)),
              "leaving without an answer from the coordinator");
    return true;
}

static bool worker_on_tick(void *context, struct err *err)
{
    struct worker *worker = context;
    int64_t now = clock_ms(), silence_ms = worker->options->config->worker_heartbeat_timeout;
    bool replace;
    if (!worker_resign(worker, err))
        return false;
    if (worker->resigned_ms != 0 && worker_waited(worker, now)) {
        loop_stop(worker->loop);
        return true;
    }
    if (worker->link.monitor == NULL || atomic_load(&worker->shared.parts))
        return true;
    if (!worker->link.stands)
        return reconnect_tick(&worker->reconnect, &replace, err) && (!replace || worker_reconnect(worker, err));
    if (silence_ms > 0 && now - worker->heard_ms > silence_ms) {
        log_event(LOG_WARN, "coordinator_silent",
                  LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint), LOG_INT("ms", now - worker->heard_ms)),
                  "no message from the coordinator for %" PRId64 " ms (worker.heartbeat_timeout); connecting again",
                  now - worker->heard_ms);
        return worker_reconnect(worker, err);
    }
    return true;
}

static bool worker_on_signal(void *context, struct err *err)
{
    struct worker *worker = context;
    int signal = loop_signal_take(worker->signals);
    if (signal == 0 || worker->resigned_ms != 0)
        return true;
    worker->resigned_ms = clock_ms();
    log_event(LOG_INFO, "leaving", LOG_FIELDS(LOG_TEXT("signal", loop_signal_name(signal))),
              "%s: leaving once the steps in flight are done; a second signal ends it at once",
              loop_signal_cause(signal));
    worker->resigns = true;
    if (!worker->welcomed)
        loop_stop(worker->loop);
    return worker_resign(worker, err) && loop_signal_yield(worker->loop, err);
}

/* ---- life ---- */

enum { PAIR_NAME = 64 };

static void worker_name_pair(const struct worker *worker, char name[PAIR_NAME])
{
    snprintf(name, PAIR_NAME, "inproc://lstmq-worker-%p", (const void *)worker);
}

static void *worker_compute(void *context)
{
    struct worker *worker = context;
    char endpoint[PAIR_NAME];
    worker_name_pair(worker, endpoint);
    worker->done = session_run(worker->options, &worker->shared, endpoint, &worker->err);
    return NULL;
}

static bool worker_open_pair(struct worker *worker, struct err *err)
{
    const int linger = 0, queue = QUEUE, one = 1;
    char endpoint[PAIR_NAME];
    worker_name_pair(worker, endpoint);
    worker->pair = zmq_socket(worker->options->zmq_context, ZMQ_PAIR);
    if (worker->pair == NULL || zmq_setsockopt(worker->pair, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_setsockopt(worker->pair, ZMQ_SNDHWM, &queue, sizeof queue) != 0 ||
        zmq_setsockopt(worker->pair, ZMQ_RCVHWM, &one, sizeof one) != 0 || zmq_bind(worker->pair, endpoint) != 0)
        return socket_error(err, "cannot join the worker's threads");
    errno = pthread_create(&worker->thread, NULL, worker_compute, worker);
    worker->started = errno == 0;
    return worker->started || err_errno(err, ERR_FAILED, "cannot start the compute thread");
}

/* The loop thread checks which peers connect to the ring's socket and what they send. Within a process there are no
 * foreign peers. */
static bool worker_open_guards(struct worker *worker, struct err *err)
{
    const struct worker_options *options = worker->options;
    if (strncmp(options->endpoint, "inproc://", 9) == 0)
        return true;
    worker->shared.zap = zap_new(options->zmq_context, worker->loop, NULL, err);
    if (worker->shared.zap != NULL)
        worker->shared.watch = watch_new(options->zmq_context, worker->loop, err);
    return worker->shared.watch != NULL;
}

static bool worker_open(struct worker *worker, struct err *err)
{
    if (worker->options->signals && (worker->signals = loop_signal_fd(err)) < 0)
        return false;
    worker->loop = loop_new(err);
    if (worker->loop == NULL || !worker_open_guards(worker, err))
        return false;
    return worker_open_pair(worker, err) && worker_watch(worker, &worker->outward, err) &&
           worker_connect(worker, err) &&
           loop_add_timer(worker->loop, TICK_MS, TICK_MS, worker_on_tick, worker, err) != 0 &&
           (worker->signals < 0 || loop_add_fd(worker->loop, worker->signals, worker_on_signal, worker, err) != 0);
}

/* The compute thread sends its own failures; this is for the loop's. Best effort: the coordinator may have
 * disconnected. */
static void worker_send_error(struct worker *worker, const struct err *why)
{
    const struct message message = {.type = MESSAGE_ERROR,
                                    .error = {.code = (uint32_t)why->code, .text = {why->text, strlen(why->text)}}};
    struct err ignored;
    if (worker->link.stands)
        message_send(worker->link.socket, NULL, &message, &ignored);
}

/* Let the compute thread end, whatever it does now, and receive its messages: it may wait for space in the queue. */
static void worker_end_compute(struct worker *worker)
{
    struct err failure = {0};
    shared_stop(&worker->shared, UINT64_MAX);
    parcel_drop(&worker->inward.waiting);
    bool asked = false, open = worker->started && !worker->ended;
    while (open) {
        struct parcel heard = {.count = 0};
        zmq_pollitem_t item = {.socket = worker->pair, .events = ZMQ_POLLIN};
        if (!asked && parcel_signal(&worker->inward.waiting, SIGNAL_END, &failure))
            asked = parcel_send(worker->pair, &worker->inward.waiting, &failure);
        parcel_drop(&worker->inward.waiting);
        open = zmq_poll(&item, 1, asked ? -1 : TICK_MS) >= 0 || zmq_errno() == EINTR;
        open =
            open && parcel_receive(worker->pair, false, &heard, &failure) && parcel_signalled(&heard) != SIGNAL_ENDED;
        parcel_drop(&heard);
    }
    if (worker->started)
        pthread_join(worker->thread, NULL);
}

static void worker_close(struct worker *worker)
{
    parcel_drop(&worker->outward.waiting);
    link_close(&worker->link, LAST_MESSAGES_MS);
    if (worker->pair != NULL)
        zmq_close(worker->pair);
    watch_destroy(&worker->shared.watch);
    if (worker->shared.zap != NULL)
        zap_destroy(&worker->shared.zap);
    if (worker->loop != NULL)
        loop_destroy(&worker->loop);
    if (worker->signals >= 0)
        close(worker->signals);
    pthread_mutex_destroy(&worker->shared.lock);
}

bool worker_check(const struct config *config, struct err *err)
{
    struct backend *backend =
        backend_open(config->train_device, (int)config->train_threads, (enum precision)config->train_precision, err);
    if (backend == NULL)
        return false;
    backend_close(&backend);
    return true;
}

bool worker_run(const struct worker_options *options, struct err *err)
{
    struct worker worker = {.options = options,
                            .signals = -1,
                            .server = {.endpoint = options->endpoint,
                                       .keys = worker_has_keys(options),
                                       .timeout_s = (double)options->config->worker_reconnect_timeout,
                                       .option = "worker.reconnect_timeout"}};
    worker.reconnect.server = &worker.server;
    pthread_mutex_init(&worker.shared.lock, NULL);
    struct err why = {0};
    bool ok = worker_open(&worker, &why) && loop_run(worker.loop, &why);
    if (!ok)
        worker_send_error(&worker, &why);
    worker_end_compute(&worker);
    worker_close(&worker);
    if (ok && worker.ended && !worker.done) {
        why = worker.err;
        ok = false;
    }
    if (!ok && err != NULL)
        *err = why;
    return ok;
}
