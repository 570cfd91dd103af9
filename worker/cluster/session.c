/* session.c - HELLO and WELCOME, STOP, DISMISS, and the handler of each message; see session.h and PROTOCOL.md.
 *
 * message_check has checked each message alone. Here it is checked against the session's state: a message at the wrong
 * time ends the session. */
#include "worker/cluster/session.h"

#include "proto/base/log.h"
#include "proto/base/version.h"
#include "worker/link/parcel.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Messages that wait for the loop thread, which waits for the network. */
enum { SESSION_QUEUE = 16 };

bool session_send(struct session *session, const struct message *message, struct err *err)
{
    return message_send_wait(session->socket, NULL, message, err);
}

static struct text session_text(const char *text)
{
    return (struct text){.data = text, .size = strlen(text)};
}

static bool session_signal(struct session *session, enum worker_signal signal, struct err *err)
{
    const char byte = (char)signal;
    return zmq_send(session->socket, &byte, 1, 0) == 1 || socket_error(err, "cannot signal");
}

/* Forget the generation and everything that is due in it. */
static void session_leave_generation(struct session *session)
{
    session->ready = session->peers_due = session->state_due = false;
    session_forget_incoming(session);
}

/* The collective failed, and this rank cannot know which rank is to blame. It disconnects and connects again as a new
 * worker, with the state it holds. */
static bool session_reconnect(struct session *session, const struct err *why, struct err *err)
{
    struct message message = {.type = MESSAGE_ERROR, .error = {.code = ERR_FAILED, .text = session_text(why->text)}};
    log_event(LOG_WARN, "joining_again",
              LOG_FIELDS(LOG_TEXT("reason", why->text), LOG_COUNT("generation", session->generation.generation)),
              "%s; joining again", why->text);
    session_leave_generation(session);
    /* Waiting work belongs to the connection that ends. */
    shared_stop(session->shared, session->generation.generation);
    return session_send(session, &message, err) && session_signal(session, SIGNAL_AGAIN, err);
}

bool session_give_up(struct session *session, struct err *err)
{
    if (err->code == ERR_ABORTED) {
        session_leave_generation(session);
        return true;
    }
    const struct err why = *err;
    return session->training.reducer.failed && session->options->hub == NULL && session_reconnect(session, &why, err);
}

/* ---- HELLO, WELCOME ---- */

uint32_t session_history(struct session *session, uint32_t most)
{
    uint32_t count = session->history_count < most ? session->history_count : most;
    uint64_t first = session->training.read - count;
    for (uint32_t i = 0; i < count; i++)
        session->results[i] = session->history[(first + i) % SESSION_HISTORY];
    return count;
}

static bool session_hello(struct session *session, struct err *err)
{
    struct backend *backend = session->backend;
    char host[MESSAGE_NAME + 1] = "";
    gethostname(host, MESSAGE_NAME);
    session_leave_generation(session);
    session->greeted = true;
    struct message message = {
        .type = MESSAGE_HELLO,
        .hello = {.build = session_text(LSTMQ_VERSION "+" LSTMQ_COMMIT),
                  .backend = session_text(backend->op->name),
                  .backend_version = session_text(backend->op->version(backend)),
                  .isa = session_text(backend->op->isa(backend)),
                  .arithmetic = session_text(backend->op->arithmetic(backend)),
                  .threads = (uint32_t)backend->op->threads(backend),
                  .host = session_text(host),
                  .pid = (uint32_t)getpid(),
                  .run = session->run,
                  .worker = session->worker,
                  .held = session->held,
                  .step = session->held ? session->training.step : 0,
                  .branch = session->held ? session->branch : 0,
                  .steps = session->held ? session_history(session, SESSION_HISTORY) : 0,
                  .results = session->results},
    };
    return session_send(session, &message, err);
}

static void session_close_run(struct session *session)
{
    session_close_collective(session);
    if (session->run != 0) {
        decoder_free(&session->decoder);
        batch_free(&session->batch);
        training_close(&session->training);
    }
    session->run = 0;
    session->held = false;
    session->history_count = 0;
}

/* Begin another run than the last one: results and generation numbers of that one no longer count. */
static bool session_open_run(struct session *session, const struct welcome *welcome, struct err *err)
{
    struct config config;
    config_defaults(&config);
    session_close_run(session);
    shared_begin(session->shared);
    if (!config_parse(&config, welcome->config.data, welcome->config.size, "WELCOME: config", NULL, err) ||
        !training_open(&session->training, session->backend, &config, (int)welcome->src_vocab, (int)welcome->tgt_vocab,
                       err))
        return false;
    session->decoder.model = session->decoder.network.model = session->training.model;
    session->batch.backend = session->backend;
    session->run = welcome->run;
    return true;
}

static bool session_welcome(struct session *session, const struct welcome *welcome, struct err *err)
{
    if (!session->greeted)
        return err_set(err, ERR_PROTOCOL, "WELCOME came without a HELLO before it");
    session->greeted = false;
    if (welcome->run != session->run && !session_open_run(session, welcome, err))
        return false;
    const struct model_shape *shape = &session->training.model->shape;
    if (welcome->src_vocab != (uint32_t)shape->src_vocab || welcome->tgt_vocab != (uint32_t)shape->tgt_vocab)
        return err_set(err, ERR_PROTOCOL, "WELCOME: the run's vocabularies have changed");
    session->worker = welcome->worker;
    return true;
}

/* ---- the end of a generation, of a run, of the session ---- */

static bool session_stop(struct session *session, const struct stop *stop, struct err *err)
{
    session_leave_generation(session);
    struct message message = {
        .type = MESSAGE_STOPPED,
        .stopped = {.generation = stop->generation,
                    .held = session->held,
                    .step = session->held ? session->training.step : 0,
                    .branch = session->held ? session->branch : 0,
                    .steps = session->held ? session_history(session, SESSION_HISTORY) : 0,
                    .results = session->results},
    };
    return session_send(session, &message, err);
}

static bool session_dismiss(struct session *session, struct err *err)
{
    struct message leave = {.type = MESSAGE_LEAVE, .leave = {.step = session->training.step}};
    session->dismissed = true;
    atomic_store(&session->shared->parts, true);
    return session_send(session, &leave, err);
}

static bool session_error(struct session *session, const struct failure *failure, struct err *err)
{
    session->error_received = true;
    return err_set(err, failure->code == ERR_DIVERGED ? ERR_DIVERGED : ERR_FAILED, "the coordinator: %.*s",
                   (int)failure->text.size, failure->text.data);
}

/* ---- messages ---- */

/* Whether the message belongs to a generation that ended while the message waited. */
static bool session_is_too_late(const struct session *session, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_GENERATION:
        return shared_is_over(session->shared, message->generation.generation);
    case MESSAGE_PEERS:
        return shared_is_over(session->shared, message->peers.generation);
    case MESSAGE_STATE:
        return session_is_over(session);
    case MESSAGE_SPAN:
        return shared_is_over(session->shared, message->span.generation);
    case MESSAGE_VALIDATE:
        return shared_is_over(session->shared, message->validate.generation);
    case MESSAGE_SAVE:
        return shared_is_over(session->shared, message->save.generation);
    default:
        return false;
    }
}

static bool session_handle(struct session *session, const struct message *message, struct err *err)
{
    if (session_is_too_late(session, message))
        return true;
    switch (message->type) {
    case MESSAGE_WELCOME:
        return session_welcome(session, &message->welcome, err);
    case MESSAGE_GENERATION:
        return session_generation(session, &message->generation, err);
    case MESSAGE_PEERS:
        return session_peers(session, &message->peers, err);
    case MESSAGE_STATE:
        return session_state(session, &message->state, err);
    case MESSAGE_SPAN:
        return session_span(session, &message->span, err);
    case MESSAGE_VALIDATE:
        return session_validate(session, &message->validate, err);
    case MESSAGE_SAVE:
        return session_save(session, &message->save, err);
    case MESSAGE_STOP:
        return session_stop(session, &message->stop, err);
    case MESSAGE_DISMISS:
        return session_dismiss(session, err);
    case MESSAGE_ERROR:
        return session_error(session, &message->error, err);
    default:
        return err_set(err, ERR_PROTOCOL, "%s is not for a worker", message_name(message->type));
    }
}

/* A parcel from the loop thread: its signal, or a message that it forwarded. */
static bool session_open_parcel(struct session *session, struct parcel *parcel, struct err *err)
{
    struct frame frames[MESSAGE_FRAMES];
    struct message message;
    char signal = parcel_signalled(parcel);
    if (signal == SIGNAL_END)
        session->ended = true;
    if (signal != 0)
        return signal != SIGNAL_HELLO || session_hello(session, err);
    if (!message_decode(frames, parcel_frames(parcel, frames), &message, err))
        return false;
    bool handled = session_handle(session, &message, err);
    message_close(&message);
    return handled;
}

static bool session_converse(struct session *session, struct err *err)
{
    while (!session->dismissed && !session->ended) {
        struct parcel parcel = {.count = 0};
        if (!parcel_receive(session->socket, true, &parcel, err))
            return false;
        bool ok = session_open_parcel(session, &parcel, err);
        parcel_drop(&parcel);
        if (!ok)
            return false;
    }
    return true;
}

/* Tell the coordinator why, unless the coordinator ended it. Best effort: the coordinator may have disconnected. */
static void session_send_error(struct session *session, const struct err *why)
{
    atomic_store(&session->shared->parts, true);
    struct message message = {.type = MESSAGE_ERROR,
                              .error = {.code = (uint32_t)why->code, .text = session_text(why->text)}};
    struct err ignored;
    session_send(session, &message, &ignored);
}

/* ---- life ---- */

static bool session_open(struct session *session, const char *endpoint, struct err *err)
{
    const struct config *config = session->options->config;
    const int queue = SESSION_QUEUE;
    session->history = calloc(SESSION_HISTORY, sizeof *session->history);
    session->results = calloc(SESSION_HISTORY, sizeof *session->results);
    if (session->history == NULL || session->results == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a worker");
    session->socket = zmq_socket(session->options->zmq_context, ZMQ_PAIR);
    if (session->socket == NULL || zmq_setsockopt(session->socket, ZMQ_SNDHWM, &queue, sizeof queue) != 0 ||
        zmq_connect(session->socket, endpoint) != 0)
        return socket_error(err, "cannot join the worker's threads");
    session->backend =
        backend_open(config->train_device, (int)config->train_threads, (enum precision)config->train_precision, err);
    return session->backend != NULL;
}

static void session_close(struct session *session)
{
    struct err ignored;
    session_close_run(session);
    session_forget_incoming(session);
    free(session->history);
    free(session->results);
    free(session->ids);
    free(session->lengths);
    if (session->backend != NULL)
        backend_close(&session->backend);
    if (session->socket != NULL) {
        session_signal(session, SIGNAL_ENDED, &ignored);
        zmq_close(session->socket);
    }
}

bool session_run(const struct worker_options *options, struct worker_shared *shared, const char *endpoint,
                 struct err *err)
{
    struct session session = {.options = options, .shared = shared};
    bool ok = session_open(&session, endpoint, err) && session_converse(&session, err);
    if (!ok && !session.error_received && session.socket != NULL)
        session_send_error(&session, err);
    session_close(&session);
    return ok;
}
