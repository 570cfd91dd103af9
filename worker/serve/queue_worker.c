/* queue_worker.c - the loop thread; see queue_worker.h.
 *
 * Handlers of sockets, timer and signals record. queue_worker_advance, once a round, decides whether to connect again,
 * to grant credit, or to leave. */
#include "worker/serve/queue_worker.h"

#include "kernels/backend.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/version.h"
#include "proto/wire/loop.h"
#include "worker/link/link.h"
#include "worker/link/reconnect.h"
#include "worker/serve/batches.h"
#include "worker/serve/loader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum {
    TICK_MS = 50,
    CREDITS = 2,       /* batches: one is computed, one waits */
    SEND_QUEUE = 1024, /* messages that wait for the network; credit keeps it almost empty */
    JOIN_MS = 10000,   /* from JOIN to JOINED */
    LAST_MESSAGES_MS = 1000,
    REJOINS_MOST = 6, /* in a working connection ... */
    REJOINS_WITHIN_MS = 60000,
};

enum queue_worker_state {
    QUEUE_WORKER_APART,     /* no connection */
    QUEUE_WORKER_ANNOUNCED, /* JOIN was sent */
    QUEUE_WORKER_JOINED,    /* JOINED came */
    QUEUE_WORKER_READY,     /* a model is loaded: batches may come */
    QUEUE_WORKER_LOST,      /* the connection must be replaced */
};

struct queue_worker {
    const struct queue_worker_options *options;
    enum queue_worker_state state;
    struct loop *loop;
    struct link link;
    uint64_t link_source, monitor_source; /* ids in the loop */
    struct reconnect_server server;
    struct reconnect reconnect;
    struct lane batches, loader;
    struct models models;
    struct batches batch_work;
    struct loader load_work;
    uint64_t id; /* of the last JOINED; 0 = none */
    int64_t timeout_ms, heard_ms;
    uint32_t credit; /* granted, and no batch came for it yet */
    uint32_t lent;   /* batches of this connection without RESULT */
    int64_t rejoins_ms[REJOINS_MOST];
    unsigned rejoins;
    int signals;  /* signalfd, or -1 */
    bool leaving; /* a signal came */
    char backend[MESSAGE_NAME + 1], isa[MESSAGE_NAME + 1], host[MESSAGE_NAME + 1];
    uint32_t threads;
};

static struct text queue_worker_text(const char *text)
{
    return (struct text){.data = text, .size = strlen(text)};
}

/* ---- to the queue ---- */

/* A queue that does not read is lost: credit keeps the messages few. */
static bool queue_worker_sent(struct queue_worker *worker, bool sent, struct err *err)
{
    if (sent)
        return true;
    if (err->code != ERR_FULL)
        return false;
    log_event(LOG_WARN, "connection_broken", LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint)),
              "the queue reads nothing; connecting again");
    worker->state = QUEUE_WORKER_LOST;
    return true;
}

static bool queue_worker_say(struct queue_worker *worker, const struct message *message, struct err *err)
{
    return queue_worker_sent(worker, message_send(worker->link.socket, NULL, message, err), err);
}

static bool queue_worker_join(struct queue_worker *worker, struct err *err)
{
    const struct message message = {.type = MESSAGE_JOIN,
                                    .join = {.build = queue_worker_text(LSTMQ_VERSION "+" LSTMQ_COMMIT),
                                             .backend = queue_worker_text(worker->backend),
                                             .isa = queue_worker_text(worker->isa),
                                             .host = queue_worker_text(worker->host),
                                             .threads = worker->threads,
                                             .pid = (uint32_t)getpid(),
                                             .worker = worker->id}};
    worker->state = QUEUE_WORKER_ANNOUNCED;
    worker->heard_ms = clock_ms();
    reconnect_done(&worker->reconnect);
    log_event(LOG_INFO, "connected", LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint)),
              "connected to the queue at %s", worker->options->endpoint);
    return queue_worker_say(worker, &message, err);
}

/* ---- the connection ---- */

static bool queue_worker_on_monitor(void *context, struct err *err)
{
    struct queue_worker *worker = context;
    enum monitor_news news;
    if (!link_listen(&worker->link, &news, err))
        return false;
    if (news == MONITOR_STANDS)
        return queue_worker_join(worker, err);
    if (news == MONITOR_UNREACHED || news == MONITOR_SILENT || news == MONITOR_REFUSED)
        reconnect_failed(&worker->reconnect, news, monitor_is_spent(worker->link.monitor));
    if (news == MONITOR_BROKE) {
        log_event(LOG_WARN, "connection_broken", LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint)),
                  "the connection to the queue broke; connecting again");
        worker->state = QUEUE_WORKER_LOST;
    }
    return true;
}

static bool queue_worker_on_link(void *context, struct err *err);

static bool queue_worker_connect(struct queue_worker *worker, struct err *err)
{
    const struct keyring *keyring = worker->options->keyring;
    struct socket_options socket = {.context = worker->options->zmq_context, .queue = SEND_QUEUE};
    if (keyring->used) {
        socket.keys = &keyring->own;
        socket.server_key = keyring->server.key;
    }
    worker->state = QUEUE_WORKER_APART;
    worker->credit = worker->lent = 0;
    reconnect_begin(&worker->reconnect);
    return link_open(&worker->link, socket, worker->options->endpoint, err) &&
           (worker->link_source =
                loop_add_socket(worker->loop, worker->link.socket, queue_worker_on_link, worker, err)) != 0 &&
           (worker->monitor_source = loop_add_socket(worker->loop, monitor_socket(worker->link.monitor),
                                                     queue_worker_on_monitor, worker, err)) != 0;
}

/* Drop all that belongs to the old connection, and open another. */
static bool queue_worker_reconnect(struct queue_worker *worker, struct err *err)
{
    struct lane *const lanes[] = {&worker->batches, &worker->loader};
    loop_remove(worker->loop, worker->link_source);
    loop_remove(worker->loop, worker->monitor_source);
    link_close(&worker->link, LAST_MESSAGES_MS);
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
        if (!lane_signal(lanes[i], LANE_FRESH, err))
            return false;
        lanes[i]->outdated++;
    }
    return queue_worker_connect(worker, err);
}

/* The queue no longer knows this worker, which joins again. This must not repeat without end. */
static bool queue_worker_rejoin(struct queue_worker *worker, const struct failure *failure, struct err *err)
{
    int64_t now = clock_ms(), *oldest = &worker->rejoins_ms[worker->rejoins % REJOINS_MOST];
    bool often = worker->rejoins >= REJOINS_MOST && now - *oldest < REJOINS_WITHIN_MS;
    err_set(err, ERR_FAILED, "the queue: %.*s", (int)failure->text.size, failure->text.data);
    if (failure->code != ERR_PROTOCOL || worker->state < QUEUE_WORKER_JOINED)
        return false;
    if (often)
        return err_context(err, "stopped after joining %d times in a minute", REJOINS_MOST);
    log_event(LOG_WARN, "joining_again", LOG_FIELDS(LOG_TEXT("reason", err->text)), "%s; joining again", err->text);
    *oldest = now;
    worker->rejoins++;
    worker->state = QUEUE_WORKER_LOST;
    return true;
}

/* ---- from the queue ---- */

static bool queue_worker_joined(struct queue_worker *worker, const struct joined *joined, struct err *err)
{
    if (worker->state != QUEUE_WORKER_ANNOUNCED)
        return err_set(err, ERR_PROTOCOL, "JOINED came without a JOIN before it");
    worker->state = QUEUE_WORKER_JOINED;
    worker->id = joined->worker;
    worker->timeout_ms = joined->timeout_ms;
    log_event(LOG_INFO, "joined", LOG_FIELDS(LOG_COUNT("worker", joined->worker)), "joined as worker %" PRIu64,
              joined->worker);
    return true;
}

static bool queue_worker_pong(struct queue_worker *worker, const struct ping *ping)
{
    const struct message pong = {.type = MESSAGE_PONG, .pong = {.time = ping->time}};
    struct err ignored; /* a full queue also shows that the worker lives */
    message_send(worker->link.socket, NULL, &pong, &ignored);
    return true;
}

/* What the loop thread answers itself. */
static bool queue_worker_handle(struct queue_worker *worker, struct parcel *parcel, struct err *err)
{
    struct frame frames[MESSAGE_FRAMES];
    struct message message;
    if (!message_decode(frames, parcel_frames(parcel, frames), &message, err))
        return false;
    bool ok;
    if (message.type == MESSAGE_PING)
        ok = queue_worker_pong(worker, &message.ping);
    else if (message.type == MESSAGE_JOINED)
        ok = queue_worker_joined(worker, &message.joined, err);
    else if (message.type == MESSAGE_ERROR)
        ok = queue_worker_rejoin(worker, &message.error, err);
    else
        ok = err_set(err, ERR_PROTOCOL, "%s is not for a translation worker", message_name(message.type));
    message_close(&message);
    return ok;
}

static bool queue_worker_forward(struct queue_worker *worker, struct parcel *parcel, enum message_type type,
                                 struct err *err)
{
    if (worker->state < QUEUE_WORKER_JOINED)
        return err_set(err, ERR_PROTOCOL, "%s came before JOINED", message_name(type));
    if (type != MESSAGE_BATCH)
        return lane_send(&worker->loader, parcel, err);
    if (worker->credit == 0)
        return err_set(err, ERR_PROTOCOL, "BATCH came without credit");
    worker->credit--;
    worker->lent++;
    return lane_send(&worker->batches, parcel, err);
}

static bool queue_worker_on_link(void *context, struct err *err)
{
    struct queue_worker *worker = context;
    struct parcel parcel = {.count = 0};
    if (worker->state == QUEUE_WORKER_LOST)
        return true;
    if (!parcel_receive(worker->link.socket, false, &parcel, err))
        return false;
    if (parcel.count == 0)
        return true;
    worker->heard_ms = clock_ms();
    enum message_type type = parcel_type(&parcel);
    bool forward = type == MESSAGE_BATCH || type == MESSAGE_MODEL || type == MESSAGE_RETIRE || type == MESSAGE_PIECE;
    bool ok = forward ? queue_worker_forward(worker, &parcel, type, err) : queue_worker_handle(worker, &parcel, err);
    parcel_drop(&parcel);
    return ok;
}

/* ---- from the lanes ---- */

/* A lane could not do what the queue wants, and says so in ERROR. */
static bool queue_worker_lane_failed(struct parcel *parcel, struct err *err)
{
    struct frame frames[MESSAGE_FRAMES];
    struct message message;
    if (!message_decode(frames, parcel_frames(parcel, frames), &message, err))
        return false;
    err_set(err, (enum err_code)message.error.code, "%.*s", (int)message.error.text.size, message.error.text.data);
    message_close(&message);
    return false;
}

/* Whether a LOADED says that batches may come. */
static bool queue_worker_loaded(struct parcel *parcel)
{
    struct frame frames[MESSAGE_FRAMES];
    struct message message;
    if (!message_decode(frames, parcel_frames(parcel, frames), &message, NULL))
        return false;
    bool ok = message.loaded.ok == 1;
    message_close(&message);
    return ok;
}

static bool queue_worker_on_lane(struct queue_worker *worker, struct lane *lane, struct err *err)
{
    struct parcel parcel = {.count = 0};
    if (!parcel_receive(lane->socket, false, &parcel, err))
        return false;
    if (parcel.count == 0)
        return true;
    enum message_type type = parcel_type(&parcel);
    bool ok = true, fits = lane->outdated == 0 && worker->state != QUEUE_WORKER_LOST;
    if (parcel_signalled(&parcel) == LANE_FRESH) {
        lane->outdated--;
    } else if (fits && type == MESSAGE_ERROR) {
        ok = queue_worker_lane_failed(&parcel, err);
    } else if (fits && type == MESSAGE_RETIRE) { /* it waits its turn behind the batches */
        ok = lane_send(&worker->batches, &parcel, err);
    } else if (fits) {
        worker->lent -= type == MESSAGE_RESULT;
        if (type == MESSAGE_LOADED && worker->state == QUEUE_WORKER_JOINED && queue_worker_loaded(&parcel))
            worker->state = QUEUE_WORKER_READY;
        ok = queue_worker_sent(worker, parcel_send(worker->link.socket, &parcel, err), err);
    }
    parcel_drop(&parcel);
    return ok;
}

static bool queue_worker_on_batches(void *context, struct err *err)
{
    struct queue_worker *worker = context;
    return queue_worker_on_lane(worker, &worker->batches, err);
}

static bool queue_worker_on_loader(void *context, struct err *err)
{
    struct queue_worker *worker = context;
    return queue_worker_on_lane(worker, &worker->loader, err);
}

/* ---- time, signals, decisions ---- */

static bool queue_worker_on_tick(void *context, struct err *err)
{
    struct queue_worker *worker = context;
    int64_t silent_ms = clock_ms() - worker->heard_ms;
    bool replace;
    if (worker->state == QUEUE_WORKER_APART) {
        if (!reconnect_tick(&worker->reconnect, &replace, err))
            return false;
        if (replace)
            worker->state = QUEUE_WORKER_LOST;
    } else if (silent_ms > (worker->state == QUEUE_WORKER_ANNOUNCED ? JOIN_MS : worker->timeout_ms)) {
        log_event(LOG_WARN, "queue_silent",
                  LOG_FIELDS(LOG_TEXT("address", worker->options->endpoint), LOG_INT("ms", silent_ms)),
                  "no message from the queue for %" PRId64 " ms; connecting again", silent_ms);
        worker->state = QUEUE_WORKER_LOST;
    }
    return true;
}

static bool queue_worker_on_signal(void *context, struct err *err)
{
    struct queue_worker *worker = context;
    int signal = loop_signal_take(worker->signals);
    if (signal == 0 || worker->leaving)
        return true;
    worker->leaving = true;
    log_event(LOG_INFO, "leaving", LOG_FIELDS(LOG_TEXT("signal", loop_signal_name(signal))),
              "%s: leaving once %u batches are done; a second signal ends it at once", loop_signal_cause(signal),
              worker->lent);
    return loop_signal_yield(worker->loop, err);
}

static bool queue_worker_goodbye(struct queue_worker *worker, struct err *err)
{
    const struct message goodbye = {.type = MESSAGE_GOODBYE, .goodbye = {.worker = worker->id}};
    loop_stop(worker->loop);
    return worker->state < QUEUE_WORKER_JOINED || message_send(worker->link.socket, NULL, &goodbye, err) ||
           err->code == ERR_FULL;
}

static bool queue_worker_advance(void *context, struct err *err)
{
    struct queue_worker *worker = context;
    if (worker->leaving && (worker->lent == 0 || worker->state == QUEUE_WORKER_LOST)) {
        if (worker->state == QUEUE_WORKER_LOST)
            loop_stop(worker->loop);
        else
            return queue_worker_goodbye(worker, err);
        return true;
    }
    if (worker->state == QUEUE_WORKER_LOST)
        return queue_worker_reconnect(worker, err);
    uint32_t due = CREDITS - worker->credit - worker->lent;
    if (worker->state != QUEUE_WORKER_READY || worker->leaving || due == 0)
        return true;
    const struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = due}};
    worker->credit += due;
    return queue_worker_say(worker, &credit, err);
}

/* ---- life ---- */

/* What JOIN says of this machine. ERR_USAGE: it has not the device or the precision. */
static bool queue_worker_describe(struct queue_worker *worker, struct err *err)
{
    const struct config *config = worker->options->config;
    struct backend *backend =
        backend_open(config->train_device, (int)config->train_threads, (enum precision)config->train_precision, err);
    if (backend == NULL)
        return false;
    snprintf(worker->backend, sizeof worker->backend, "%s", backend->op->name);
    snprintf(worker->isa, sizeof worker->isa, "%s", backend->op->isa(backend));
    worker->threads = (uint32_t)backend->op->threads(backend);
    gethostname(worker->host, MESSAGE_NAME);
    backend_close(&backend);
    return true;
}

static bool queue_worker_open_lanes(struct queue_worker *worker, struct err *err)
{
    void *context = worker->options->zmq_context;
    worker->batch_work = (struct batches){.models = &worker->models, .lane = &worker->batches};
    worker->batches = (struct lane){.context = &worker->batch_work, .handle = batches_handle};
    worker->load_work =
        (struct loader){.models = &worker->models, .lane = &worker->loader, .config = worker->options->config};
    worker->loader = (struct lane){.context = &worker->load_work, .handle = loader_handle};
    return lane_open(&worker->batches, context, "batches", err) && lane_open(&worker->loader, context, "loader", err) &&
           loop_add_socket(worker->loop, worker->batches.socket, queue_worker_on_batches, worker, err) != 0 &&
           loop_add_socket(worker->loop, worker->loader.socket, queue_worker_on_loader, worker, err) != 0;
}

static bool queue_worker_open(struct queue_worker *worker, struct err *err)
{
    if (!queue_worker_describe(worker, err) || (worker->signals = loop_signal_fd(err)) < 0)
        return false;
    worker->loop = loop_new(err);
    return worker->loop != NULL && queue_worker_open_lanes(worker, err) && queue_worker_connect(worker, err) &&
           loop_add_timer(worker->loop, TICK_MS, TICK_MS, queue_worker_on_tick, worker, err) != 0 &&
           loop_add_fd(worker->loop, worker->signals, queue_worker_on_signal, worker, err) != 0 &&
           loop_add_turn(worker->loop, queue_worker_advance, worker, err) != 0;
}

/* Best effort: the queue may have disconnected. */
static void queue_worker_send_error(struct queue_worker *worker, const struct err *why)
{
    const struct message message = {.type = MESSAGE_ERROR,
                                    .error = {.code = (uint32_t)why->code, .text = queue_worker_text(why->text)}};
    struct err ignored;
    if (worker->link.stands)
        message_send(worker->link.socket, NULL, &message, &ignored);
}

static void queue_worker_close(struct queue_worker *worker)
{
    atomic_store(&worker->load_work.ending, true);
    lane_close(&worker->batches);
    lane_close(&worker->loader);
    batches_close(&worker->batch_work);
    loader_close(&worker->load_work);
    models_close(&worker->models);
    link_close(&worker->link, LAST_MESSAGES_MS);
    if (worker->loop != NULL)
        loop_destroy(&worker->loop);
    if (worker->signals >= 0)
        close(worker->signals);
}

bool queue_worker_run(const struct queue_worker_options *options, struct err *err)
{
    struct queue_worker worker = {.options = options,
                                  .signals = -1,
                                  .server = {.kind = RECONNECT_QUEUE,
                                             .endpoint = options->endpoint,
                                             .keys = options->keyring->used,
                                             .timeout_s = options->config->serve_reconnect_timeout,
                                             .option = "serve.reconnect_timeout"}};
    worker.reconnect.server = &worker.server;
    models_open(&worker.models);
    struct err why = {0};
    bool ok = queue_worker_open(&worker, &why) && loop_run(worker.loop, &why);
    if (!ok && why.code != ERR_FAILED) /* then the queue said so, or cannot be reached */
        queue_worker_send_error(&worker, &why);
    queue_worker_close(&worker);
    if (!ok && err != NULL)
        *err = why;
    return ok;
}
