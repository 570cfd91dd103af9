/* session_state.c - from GENERATION to READY: the source of a worker's state, and the rendezvous of ranks; see
 * session.h.
 *
 * PEERS (the others' endpoints) and STATE (the worker's own state) arrive in any order. When both are complete the root
 * broadcasts, if GENERATION requires it, and the rank is ready. */
#include "worker/cluster/session.h"

#include "proto/base/fault.h"
#include "proto/base/log.h"
#include "worker/cluster/roll.h"
#include "worker/collective/local.h"
#include "worker/collective/ring.h"
#include "worker/link/link.h"
#include "worker/train/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Units of work that a worker accepts: one to do and one to wait, so that it never waits for the coordinator. */
enum { SESSION_CREDIT = 2 };

void session_forget_incoming(struct session *session)
{
    for (int file = 0; file < 2; file++) {
        free(session->incoming[file].bytes);
        session->incoming[file] = (struct incoming){0};
    }
}

/* The state is now the one after `step` steps, none of which was done here. */
static void session_hold(struct session *session, uint64_t step)
{
    session->held = true;
    session->branch = session->generation.generation;
    session->history_count = 0;
    training_begin(&session->training, step);
    atomic_store(&session->shared->step, step);
}

/* ---- the others ---- */

/* The address where others reach this host: as configured, otherwise the one from which it reaches the coordinator. If
 * that is loopback, all workers are on this host. Local sockets with shared memory then take a third of the time. */
static bool session_bind(const struct session *session, char bind[COLLECTIVE_ENDPOINT], struct err *err)
{
    const char *endpoint = session->options->endpoint, *asked = session->options->config->worker_bind;
    char address[LINK_ADDRESS] = "", here[LINK_ADDRESS + 16];
    if (asked[0] == '\0' && strncmp(endpoint, "tcp://", 6) != 0) {
        snprintf(bind, COLLECTIVE_ENDPOINT, "%s", strncmp(endpoint, "ipc://", 6) == 0 ? "ipc://" : "inproc://");
        return true;
    }
    if (asked[0] == '\0' && !link_local_address(endpoint, address, err))
        return err_context(err, "worker.bind");
    snprintf(here, sizeof here, "tcp://%s:0", address);
    if (asked[0] == '\0' && endpoint_is_local(here)) {
        snprintf(bind, COLLECTIVE_ENDPOINT, "ipc://@");
        return true;
    }
    int length = snprintf(bind, COLLECTIVE_ENDPOINT, "tcp://%s", asked[0] != '\0' ? asked : address);
    return length < COLLECTIVE_ENDPOINT || err_set(err, ERR_USAGE, "worker.bind: %s is too long", asked);
}

/* A collective is opened for the first generation with several members, and kept. */
static bool session_open_collective(struct session *session, struct err *err)
{
    char bind[COLLECTIVE_ENDPOINT];
    if (session->collective != NULL)
        return true;
    if (session->options->hub != NULL) {
        session->collective = local_open(session->options->hub, err);
    } else if (session_bind(session, bind, err)) {
        const struct keyring *keyring = session->options->keyring;
        const struct ring_options ring = {.zmq_context = session->options->zmq_context,
                                          .bind = bind,
                                          .keys = worker_has_keys(session->options) ? &keyring->own : NULL,
                                          .zap = session->shared->zap,
                                          .watch = session->shared->watch};
        session->collective = ring_open(&ring, err);
    }
    pthread_mutex_lock(&session->shared->lock);
    session->shared->collective = session->collective;
    pthread_mutex_unlock(&session->shared->lock);
    return session->collective != NULL;
}

void session_close_collective(struct session *session)
{
    pthread_mutex_lock(&session->shared->lock);
    session->shared->collective = NULL;
    pthread_mutex_unlock(&session->shared->lock);
    collective_close(&session->collective);
}

static bool session_send_endpoint(struct session *session, struct err *err)
{
    char endpoint[COLLECTIVE_ENDPOINT];
    uint64_t generation = session->generation.generation;
    if (!session_open_collective(session, err) ||
        !session->collective->op->listen(session->collective, generation, endpoint, err))
        return session_give_up(session, err);
    fault_point("rendezvous-listen");
    struct message message = {
        .type = MESSAGE_ENDPOINT,
        .endpoint = {.generation = generation, .address = {.data = endpoint, .size = strlen(endpoint)}},
    };
    return session_send(session, &message, err);
}

/* ---- ready ---- */

/* Broadcast the root's parameters and moments. A partly received state is invalid. But a rank that already holds the
 * same state receives equal bytes, and still holds it if the root dies midway. */
static bool session_sync(struct session *session, struct err *err)
{
    const struct generation *generation = &session->generation;
    bool root = generation->rank == generation->root, same = generation->source == SOURCE_HELD;
    session->held = session->held && (root || same);
    if (!state_broadcast(&session->training, generation->root, err))
        return false;
    if (!root && !same)
        session_hold(session, generation->step);
    return true;
}

static bool session_ready(struct session *session, struct err *err)
{
    const struct generation *generation = &session->generation;
    bool alone = generation->size == 1;
    if (session->peers_due || session->state_due)
        return true;
    training_forget_outcome(&session->training);
    reducer_join(&session->training.reducer, alone ? NULL : session->collective, generation->rank, generation->size);
    if (!alone && !reducer_meet(&session->training.reducer, err))
        return session_give_up(session, err);
    if (!alone && generation->broadcast != 0 && !session_sync(session, err))
        return session_give_up(session, err);
    session->ready = true;
    struct message ready = {.type = MESSAGE_READY,
                            .ready = {.generation = generation->generation, .step = session->training.step}};
    struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = SESSION_CREDIT}};
    return session_send(session, &ready, err) && session_send(session, &credit, err);
}

bool session_peers(struct session *session, const struct peers *peers, struct err *err)
{
    const struct generation *generation = &session->generation;
    if (!session->peers_due || peers->generation != generation->generation)
        return err_set(err, ERR_PROTOCOL, "PEERS of generation %" PRIu64 " came at the wrong time", peers->generation);
    struct roll roll;
    bool read = roll_read(&roll, peers, generation->size, err), connected = false;
    if (read) {
        const struct collective_group group = {.generation = generation->generation,
                                               .rank = generation->rank,
                                               .size = generation->size,
                                               .endpoints = roll.endpoints,
                                               .public_keys = roll.keys[0] != NULL ? roll.keys : NULL};
        connected = session->collective->op->connect(session->collective, &group, err);
    }
    roll_free(&roll);
    if (!connected)
        return session_give_up(session, err);
    fault_point("rendezvous-connect");
    session->peers_due = false;
    return session_ready(session, err);
}

/* ---- the state ---- */

/* The state drawn from the configuration's seed. */
static bool session_seed(struct session *session, struct err *err)
{
    struct training *training = &session->training;
    session->held = false;
    optimizer_reset(&training->optimizer);
    if (!model_init(training->model, (uint64_t)training->config.train_seed, err))
        return false;
    session_hold(session, session->generation.step);
    return true;
}

bool session_generation(struct session *session, const struct generation *generation, struct err *err)
{
    if (session->run == 0 || session->greeted)
        return err_set(err, ERR_PROTOCOL, "GENERATION came before WELCOME");
    log_event(LOG_DEBUG, "generation_entered",
              LOG_FIELDS(LOG_COUNT("generation", generation->generation), LOG_COUNT("rank", generation->rank),
                         LOG_COUNT("workers", generation->size), LOG_COUNT("step", generation->step)),
              "generation %" PRIu64 ": rank %u of %u, from step %" PRIu64, generation->generation, generation->rank,
              generation->size, generation->step);
    session_unpack(session);
    session->generation = *generation;
    session->ready = false;
    session->peers_due = generation->size > 1;
    session->state_due = generation->source == SOURCE_STATE;
    session_forget_incoming(session);
    if (generation->source == SOURCE_HELD && (!session->held || session->training.step != generation->step))
        return err_set(err, ERR_PROTOCOL,
                       "GENERATION needs the state of step %" PRIu64 ", which this worker does not hold",
                       generation->step);
    if (generation->source == SOURCE_HELD)
        session->branch = generation->generation;
    if (generation->source == SOURCE_SEED && !session_seed(session, err))
        return false;
    return session->peers_due ? session_send_endpoint(session, err) : session_ready(session, err);
}

/* Both files are complete: they become the state. */
static bool session_adopt(struct session *session, struct err *err)
{
    struct incoming *model = &session->incoming[MESSAGE_STATE_MODEL];
    struct incoming *optimizer = &session->incoming[MESSAGE_STATE_OPTIMIZER];
    session->held = false;
    bool ok = model_load(session->training.model, model->bytes, model->total, "model.safetensors", err) &&
              state_load_optimizer(&session->training.optimizer, optimizer->bytes, optimizer->total,
                                   "optimizer.safetensors", err);
    session_forget_incoming(session);
    if (!ok)
        return false;
    session_hold(session, session->generation.step);
    session->state_due = false;
    return session_ready(session, err);
}

bool session_state(struct session *session, const struct state *state, struct err *err)
{
    if (!session->state_due)
        return err_set(err, ERR_PROTOCOL, "STATE came outside the beginning of a generation");
    if (state->step != session->generation.step)
        return err_set(err, ERR_PROTOCOL, "STATE of step %" PRIu64 " came in a generation that begins at %" PRIu64,
                       state->step, session->generation.step);
    struct incoming *incoming = &session->incoming[state->file];
    /* Moments are two arenas. A header is small beside them, and below every reader's limit. */
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
        return err_set(err, ERR_PROTOCOL, "STATE: the piece at %" PRIu64 " does not follow the previous one",
                       state->offset);
    memcpy(incoming->bytes + state->offset, state->bytes, state->size);
    incoming->received += state->size;
    const struct incoming *both = session->incoming;
    bool whole = both[0].bytes != NULL && both[1].bytes != NULL && both[0].received == both[0].total &&
                 both[1].received == both[1].total;
    return !whole || session_adopt(session, err);
}
