/* session.c - one function for each message that a worker gets; see session.h and PROTOCOL.md.
 *
 * What comes from the socket was checked by itself (message_check). Here it is checked against where the session
 * stands: a message out of its turn ends it. */
#include "worker/session.h"

#include "proto/base/clock.h"
#include "proto/base/version.h"
#include "proto/wire/message.h"
#include "worker/decode.h"
#include "worker/state.h"
#include "worker/train_step.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

/* Units of work a worker has room for: one to do and one to wait, so that it never waits for the coordinator. */
enum { SESSION_CREDIT = 2 };

/* A state file on its way in. */
struct incoming {
    char *bytes;
    uint64_t total, received;
};

struct session {
    void *socket;
    struct backend *backend;
    struct training training; /* open once `welcomed` */
    struct decoder decoder;
    struct batch batch; /* of validation */
    bool welcomed, ready, dismissed;
    bool told; /* the coordinator said ERROR */
    uint64_t generation, first_step;
    struct incoming incoming[2]; /* by MESSAGE_STATE_MODEL, _OPTIMIZER */
    struct step_result *results; /* [SPAN_STEPS] */
    uint16_t *ids, *lengths;     /* of translations: [rows, limit], [rows] */
    size_t id_capacity, length_capacity;
};

static bool s_send(struct session *session, const struct message *message, struct err *err)
{
    return message_send_wait(session->socket, NULL, message, err);
}

static struct text s_text(const char *text)
{
    return (struct text){.data = text, .size = strlen(text)};
}

static bool s_hello(struct session *session, const struct config *config, struct err *err)
{
    struct backend *backend = session->backend;
    char host[MESSAGE_NAME + 1] = "";
    gethostname(host, MESSAGE_NAME);
    struct message message = {
        .type = MESSAGE_HELLO,
        .hello = {.build = s_text(LSTMQ_VERSION "+" LSTMQ_COMMIT),
                  .backend = s_text(backend->op->name),
                  .backend_version = s_text(backend->op->version(backend)),
                  .isa = s_text(backend->op->isa(backend)),
                  .precision = s_text(config->train_precision == PRECISION_BF16 ? "bf16" : "fp32"),
                  .threads = (uint32_t)backend->op->threads(backend),
                  .host = s_text(host),
                  .pid = (uint32_t)getpid()},
    };
    return s_send(session, &message, err);
}

static bool s_welcome(struct session *session, const struct welcome *welcome, struct err *err)
{
    struct config config;
    config_defaults(&config);
    if (session->welcomed)
        return err_set(err, ERR_PROTOCOL, "WELCOME came twice");
    if (!config_parse(&config, welcome->config.data, welcome->config.size, "WELCOME: config", err))
        return false;
    if (!training_open(&session->training, session->backend, &config, (int)welcome->src_vocab, (int)welcome->tgt_vocab,
                       err))
        return false;
    session->decoder.model = session->decoder.network.model = session->training.model;
    session->batch.backend = session->backend;
    session->welcomed = true;
    return true;
}

static void s_drop_incoming(struct session *session)
{
    for (int file = 0; file < 2; file++) {
        free(session->incoming[file].bytes);
        session->incoming[file] = (struct incoming){0};
    }
}

static bool s_say_ready(struct session *session, struct err *err)
{
    session->ready = true;
    struct message ready = {.type = MESSAGE_READY,
                            .ready = {.generation = session->generation, .step = session->training.step}};
    struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = SESSION_CREDIT}};
    return s_send(session, &ready, err) && s_send(session, &credit, err);
}

static bool s_generation(struct session *session, const struct generation *generation, struct err *err)
{
    if (!session->welcomed)
        return err_set(err, ERR_PROTOCOL, "GENERATION came before WELCOME");
    if (generation->size != 1)
        return err_set(err, ERR_PROTOCOL, "GENERATION of %u ranks: this worker computes alone", generation->size);
    session->generation = generation->generation;
    session->first_step = generation->step;
    session->ready = false;
    s_drop_incoming(session);
    if (generation->source == SOURCE_STATE)
        return true;
    session->training.step = generation->step;
    optimiser_reset(&session->training.optimiser);
    if (!model_init(session->training.model, (uint64_t)session->training.config.train_seed, err))
        return false;
    return s_say_ready(session, err);
}

/* Both files are whole: they become the state. */
static bool s_adopt(struct session *session, struct err *err)
{
    struct incoming *model = &session->incoming[MESSAGE_STATE_MODEL];
    struct incoming *optimiser = &session->incoming[MESSAGE_STATE_OPTIMIZER];
    bool ok = state_load_model(session->training.model, model->bytes, model->total, "model.safetensors", err) &&
              state_load_optimiser(&session->training.optimiser, optimiser->bytes, optimiser->total,
                                   "optimizer.safetensors", err);
    s_drop_incoming(session);
    session->training.step = session->first_step;
    return ok && s_say_ready(session, err);
}

static bool s_state(struct session *session, const struct state *state, struct err *err)
{
    if (!session->welcomed || session->ready)
        return err_set(err, ERR_PROTOCOL, "STATE came outside the beginning of a generation");
    if (state->step != session->first_step)
        return err_set(err, ERR_PROTOCOL, "STATE of step %" PRIu64 " came in a generation that begins at %" PRIu64,
                       state->step, session->first_step);
    struct incoming *incoming = &session->incoming[state->file];
    /* Moments are two arenas; a header is small beside them, and always below the limit that readers have for it. */
    uint64_t most = 2 * session->training.model->elements * sizeof(float) + STATE_PIECE;
    if (state->total > most)
        return err_set(err, ERR_PROTOCOL, "STATE: total %" PRIu64 " is above the %" PRIu64 " bytes of this model",
                       state->total, most);
    if (incoming->bytes == NULL) {
        incoming->total = state->total;
        incoming->bytes = malloc(state->total);
        if (incoming->bytes == NULL)
            return err_set(err, ERR_MEMORY, "no memory for a state of %" PRIu64 " bytes", state->total);
    }
    if (state->total != incoming->total || state->offset != incoming->received ||
        state->size > incoming->total - incoming->received)
        return err_set(err, ERR_PROTOCOL, "STATE: the piece at %" PRIu64 " does not follow on", state->offset);
    memcpy(incoming->bytes + state->offset, state->bytes, state->size);
    incoming->received += state->size;
    const struct incoming *both = session->incoming;
    bool whole = both[0].bytes != NULL && both[1].bytes != NULL && both[0].received == both[0].total &&
                 both[1].received == both[1].total;
    return !whole || s_adopt(session, err);
}

static bool s_in_generation(const struct session *session, uint64_t generation, const char *name, struct err *err)
{
    if (!session->ready || generation != session->generation)
        return err_set(err, ERR_PROTOCOL, "%s of generation %" PRIu64 " came in generation %" PRIu64 "%s", name,
                       generation, session->generation, session->ready ? "" : ", which is not ready");
    return true;
}

static bool s_return_credit(struct session *session, struct err *err)
{
    struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = 1}};
    return s_send(session, &credit, err);
}

static bool s_span(struct session *session, const struct span *span, struct err *err)
{
    struct training *training = &session->training;
    if (!s_in_generation(session, span->generation, "SPAN", err))
        return false;
    if (span->first_step != training->step)
        return err_set(err, ERR_PROTOCOL, "SPAN begins at step %" PRIu64 ", this worker is at %" PRIu64,
                       span->first_step, training->step);
    int64_t began = clock_ns();
    struct span_cursor at = {0};
    for (uint32_t offset = 0; offset < span->steps; offset++)
        if (!train_step(training, span, offset, &at, &session->results[offset], err))
            return false;
    struct message report = {
        .type = MESSAGE_REPORT,
        .report = {.generation = span->generation,
                   .span = span->span,
                   .rows = at.row,
                   .busy_ns = (uint64_t)(clock_ns() - began),
                   .results = session->results,
                   .steps = span->steps},
    };
    return s_send(session, &report, err) && s_return_credit(session, err);
}

static bool s_reserve_translations(struct session *session, size_t rows, size_t limit, struct err *err)
{
    if (rows * limit > session->id_capacity) {
        free(session->ids);
        session->ids = malloc(rows * limit * sizeof *session->ids);
        session->id_capacity = session->ids != NULL ? rows * limit : 0;
    }
    if (rows > session->length_capacity) {
        free(session->lengths);
        session->lengths = malloc(rows * sizeof *session->lengths);
        session->length_capacity = session->lengths != NULL ? rows : 0;
    }
    if (session->id_capacity < rows * limit || session->length_capacity < rows)
        return err_set(err, ERR_MEMORY, "no memory for %zu translations", rows);
    return true;
}

/* Translate, and with VALIDATE_FREE score the decoder's own path. Ids are closed up to what SCORED wants. */
static bool s_validate_free(struct session *session, const struct validate *validate, struct scored *scored,
                            struct err *err)
{
    size_t limit = (size_t)session->training.config.data_length, rows = validate->rows.count, used = 0;
    if (!s_reserve_translations(session, rows, limit, err))
        return false;
    struct decode_result result = {.ids = session->ids, .lengths = session->lengths};
    bool ok =
        decoder_pack(&session->decoder, err) && decode_greedy(&session->decoder, &session->batch, (int)limit,
                                                              (validate->what & VALIDATE_FREE) != 0, &result, err);
    decoder_unpack(&session->decoder);
    if (!ok)
        return false;
    scored->free_loss_sum = result.loss_sum;
    scored->free_correct = result.correct;
    if ((validate->what & VALIDATE_FREE) != 0)
        scored->tokens = result.tokens;
    if ((validate->what & VALIDATE_TRANSLATE) == 0)
        return true;
    for (size_t r = 0; r < rows; r++) {
        memmove(session->ids + used, session->ids + r * limit, session->lengths[r] * sizeof *session->ids);
        used += session->lengths[r];
    }
    scored->rows = (uint32_t)rows;
    scored->lengths = session->lengths;
    scored->ids = session->ids;
    scored->id_count = used;
    return true;
}

static bool s_validate(struct session *session, const struct validate *validate, struct err *err)
{
    struct training *training = &session->training;
    const struct model_shape *shape = &training->model->shape;
    if (!s_in_generation(session, validate->generation, "VALIDATE", err))
        return false;
    if (!batch_pack(&session->batch, &validate->rows, 0, validate->rows.count, 0, batch_padding(&training->config),
                    shape->src_vocab, shape->tgt_vocab, err))
        return err_context(err, "validation");
    struct message message = {.type = MESSAGE_SCORED, .scored = {.request = validate->request}};
    struct scored *scored = &message.scored;
    if ((validate->what & VALIDATE_FORCED) != 0) {
        struct network_result result;
        if (!network_run(&training->network, &session->batch, NULL, false, &result, err))
            return false;
        scored->tokens = result.tokens;
        scored->forced_loss_sum = result.loss_sum;
        scored->forced_correct = result.correct;
    }
    if ((validate->what & (VALIDATE_FREE | VALIDATE_TRANSLATE)) != 0 &&
        !s_validate_free(session, validate, scored, err))
        return false;
    return s_send(session, &message, err) && s_return_credit(session, err);
}

static bool s_send_piece(void *context, int file, uint64_t offset, uint64_t total, const void *bytes, size_t size,
                         struct err *err)
{
    struct session *session = context;
    struct message piece = {
        .type = MESSAGE_STATE,
        .state = {.step = session->training.step,
                  .file = (uint32_t)file,
                  .offset = offset,
                  .total = total,
                  .bytes = bytes,
                  .size = size},
    };
    return s_send(session, &piece, err);
}

static bool s_save(struct session *session, const struct save *save, struct err *err)
{
    if (!s_in_generation(session, save->generation, "SAVE", err))
        return false;
    if (save->step != session->training.step)
        return err_set(err, ERR_PROTOCOL, "SAVE of step %" PRIu64 ", this worker is at %" PRIu64, save->step,
                       session->training.step);
    return state_save(&session->training, s_send_piece, session, err);
}

static bool s_dismiss(struct session *session, struct err *err)
{
    struct message leave = {.type = MESSAGE_LEAVE, .leave = {.step = session->training.step}};
    session->dismissed = true;
    return s_send(session, &leave, err);
}

static bool s_handle(struct session *session, const struct message *message, struct err *err)
{
    switch (message->type) {
    case MESSAGE_WELCOME:
        return s_welcome(session, &message->welcome, err);
    case MESSAGE_GENERATION:
        return s_generation(session, &message->generation, err);
    case MESSAGE_STATE:
        return s_state(session, &message->state, err);
    case MESSAGE_SPAN:
        return s_span(session, &message->span, err);
    case MESSAGE_VALIDATE:
        return s_validate(session, &message->validate, err);
    case MESSAGE_SAVE:
        return s_save(session, &message->save, err);
    case MESSAGE_DISMISS:
        return s_dismiss(session, err);
    case MESSAGE_ERROR:
        session->told = true;
        return err_set(err, ERR_FAILED, "the coordinator: %.*s", (int)message->error.text.size,
                       message->error.text.data);
    default:
        return err_set(err, ERR_PROTOCOL, "%s is not for a worker", message_name(message->type));
    }
}

static bool s_converse(struct session *session, const struct config *config, struct err *err)
{
    if (!s_hello(session, config, err))
        return false;
    while (!session->dismissed) {
        struct message message;
        bool got;
        if (!message_receive(session->socket, NULL, true, &message, &got, err))
            return false;
        bool ok = s_handle(session, &message, err);
        message_close(&message);
        if (!ok)
            return false;
    }
    return true;
}

/* The coordinator should know why, unless it was the one to say so; it may be gone. */
static void s_say_error(struct session *session, const struct err *why)
{
    struct message message = {.type = MESSAGE_ERROR, .error = {.code = (uint32_t)why->code, .text = s_text(why->text)}};
    struct err ignored;
    message_send(session->socket, NULL, &message, &ignored);
}

static bool s_open(struct session *session, void *zmq_context, const char *endpoint, struct err *err)
{
    session->results = calloc(SPAN_STEPS, sizeof *session->results);
    if (session->results == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a worker");
    session->socket = zmq_socket(zmq_context, ZMQ_DEALER);
    if (session->socket == NULL)
        return socket_error(err, "cannot open a socket");
    /* What was said is delivered, however soon the socket is closed: LEAVE and ERROR are last words. */
    int linger = 1000;
    if (zmq_setsockopt(session->socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_connect(session->socket, endpoint) != 0)
        return socket_error(err, endpoint);
    return true;
}

static void s_close(struct session *session)
{
    if (session->welcomed) {
        decoder_free(&session->decoder);
        batch_free(&session->batch);
        training_close(&session->training);
    }
    s_drop_incoming(session);
    free(session->results);
    free(session->ids);
    free(session->lengths);
    if (session->socket != NULL)
        zmq_close(session->socket);
}

static struct backend *s_backend(const struct config *config, struct err *err)
{
    return backend_open(config->train_device, (int)config->train_threads, (enum precision)config->train_precision, err);
}

bool worker_check(const struct config *config, struct err *err)
{
    struct backend *backend = s_backend(config, err);
    if (backend == NULL)
        return false;
    backend_close(&backend);
    return true;
}

bool worker_run(void *zmq_context, const char *endpoint, const struct config *config, struct err *err)
{
    struct session session = {0};
    bool ok = s_open(&session, zmq_context, endpoint, err);
    if (ok) {
        session.backend = s_backend(config, err);
        ok = session.backend != NULL && s_converse(&session, config, err);
        if (!ok && !session.told)
            s_say_error(&session, err);
    }
    s_close(&session);
    if (session.backend != NULL)
        backend_close(&session.backend);
    return ok;
}
