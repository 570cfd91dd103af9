/* session.h - a worker's side of the protocol: the compute thread.
 *
 * A session sends HELLO when the loop thread signals a connection. It receives the run's configuration; draws, keeps or
 * receives the state of each generation; does units of work in order; and stops work of a generation that has ended. It
 * keeps no files and no dataset. Across generations and connections it keeps the state and the results of the last
 * steps.
 *
 * Life, in PROTOCOL.md's words: HELLO, WELCOME, (GENERATION, ENDPOINT, PEERS, STATE..., READY, work..., STOPPED)*,
 * DISMISS, LEAVE.
 *
 * One function handles each message: in session.c those of the connection, in session_state.c from GENERATION to READY,
 * in session_work.c the work. All of it belongs to the compute thread, except `shared`. */
#ifndef LSTMQ_WORKER_CLUSTER_SESSION_H
#define LSTMQ_WORKER_CLUSTER_SESSION_H

#include "worker/cluster/options.h"
#include "worker/cluster/shared.h"
#include "worker/model/greedy.h"
#include "worker/train/train_step.h"

/* Results of the last steps that HELLO and STOPPED carry. */
enum { SESSION_HISTORY = 1024 };

/* A state file that is being received. */
struct incoming {
    char *bytes;
    uint64_t total, received;
};

struct session {
    const struct worker_options *options;
    struct worker_shared *shared;
    void *socket; /* PAIR to the loop thread */
    struct backend *backend;

    /* Of the connection. */
    uint64_t run, worker; /* of the last WELCOME; 0 = none */
    bool greeted;         /* HELLO was sent, WELCOME is due */
    bool dismissed;
    bool error_received; /* the coordinator sent ERROR */
    bool ended;          /* the loop thread signalled the end */

    /* Of the run; open after the first WELCOME. */
    struct training training;
    struct decoder decoder;
    struct collective *collective; /* NULL until a generation has several members */
    bool held;                     /* the parameters are the state after training.step steps */
    uint64_t branch;               /* the last generation that began with this state or computed it */
    struct step_result *history;   /* [SESSION_HISTORY]; step s at index s modulo length */
    uint32_t history_count;        /* steps before training.read in it */

    /* Of the generation. */
    struct generation generation;
    bool peers_due, state_due; /* PEERS, the remaining STATE messages */
    bool ready;
    struct incoming incoming[2]; /* by MESSAGE_STATE_MODEL, _OPTIMIZER */

    /* Reused memory. */
    struct batch batch;          /* of validation */
    bool packed;                 /* the decoder is packed, by the first validation after a step */
    struct step_result *results; /* [SESSION_HISTORY] of a span, or the history in order */
    uint16_t *ids, *lengths;     /* of translations: [rows, limit], [rows] */
    size_t id_capacity, length_capacity;
};

/* Run a session over the pair at `endpoint` of the options' context, to its end. Its last message is SIGNAL_ENDED. */
bool session_run(const struct worker_options *options, struct worker_shared *shared, const char *endpoint,
                 struct err *err);

/* ---- between the session's files ---- */

bool session_send(struct session *session, const struct message *message, struct err *err);

/* Whether a failure only means that the generation is over. Then its work is stopped, and true is returned. */
bool session_give_up(struct session *session, struct err *err);

/* Whether the current generation is over, so that its messages must not be sent. */
static inline bool session_is_over(const struct session *session)
{
    return shared_is_over(session->shared, session->generation.generation);
}

/* Put the results of the last steps into session->results, in order: at most `most`. Returns their number. */
uint32_t session_history(struct session *session, uint32_t most);

/* session_state.c */
bool session_generation(struct session *session, const struct generation *generation, struct err *err);
bool session_peers(struct session *session, const struct peers *peers, struct err *err);
bool session_state(struct session *session, const struct state *state, struct err *err);
void session_forget_incoming(struct session *session);
void session_close_collective(struct session *session);

/* session_work.c */
/* The parameters are about to change. */
void session_unpack(struct session *session);
bool session_span(struct session *session, const struct span *span, struct err *err);
bool session_validate(struct session *session, const struct validate *validate, struct err *err);
bool session_save(struct session *session, const struct save *save, struct err *err);

#endif
