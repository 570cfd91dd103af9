/* session.h - a worker's side of the conversation with a coordinator: the compute thread.
 *
 * A session says HELLO when the loop thread signals that there is a connection, is told the run's configuration, takes,
 * builds or receives the state of each generation, does units of work in the order they come, and gives up what is of a
 * generation that is over. It keeps no files and no dataset, but over generations and connections the state and what
 * the last steps came to. Life, in PROTOCOL.md's words: HELLO, WELCOME, (GENERATION, ENDPOINT, PEERS, STATE..., READY,
 * work..., STOPPED)*, DISMISS, LEAVE.
 *
 * One function for each message: session.c has those of the conversation as a whole, session_state.c what leads from
 * GENERATION to READY, session_work.c the work. All belongs to the compute thread, `shared` excepted. */
#ifndef LSTMQ_SESSION_H
#define LSTMQ_SESSION_H

#include "worker/cluster/shared.h"
#include "worker/cluster/worker.h"
#include "worker/model/greedy.h"
#include "worker/train/train_step.h"

/* Results of the last steps that a HELLO and a STOPPED tell. */
enum { SESSION_HISTORY = 1024 };

/* A state file on its way in. */
struct incoming {
    char *bytes;
    uint64_t total, received;
};

struct session {
    const struct worker_options *options;
    struct worker_shared *shared;
    void *socket; /* PAIR to the loop thread */
    struct backend *backend;

    /* Of the conversation. */
    uint64_t run, worker; /* of the last WELCOME; 0 = there was none       */
    bool greeted;         /* HELLO was said, WELCOME is due                */
    bool dismissed;
    bool told;  /* the coordinator said ERROR                     */
    bool ended; /* the loop thread said so                        */

    /* Of the run; open once there was a WELCOME. */
    struct training training;
    struct decoder decoder;
    struct collective *collective; /* NULL until a generation has others in it       */
    bool held;                     /* the parameters are the state after training.step steps */
    uint64_t branch;               /* the last generation that began with that state or computed it */
    struct step_result *history;   /* [SESSION_HISTORY] of step s at s modulo length */
    uint32_t history_count;        /* steps before training.step that it has         */

    /* Of the generation. */
    struct generation generation;
    bool peers_due, state_due; /* PEERS, the rest of the STATE messages          */
    bool ready;
    struct incoming incoming[2]; /* by MESSAGE_STATE_MODEL, _OPTIMIZER             */

    /* Memory for work, kept. */
    struct batch batch;          /* of validation                                  */
    bool packed;                 /* the decoder, by the first validation after a step: parameters stay the same */
    struct step_result *results; /* [SESSION_HISTORY] of a span, or the history in order */
    uint16_t *ids, *lengths;     /* of translations: [rows, limit], [rows]         */
    size_t id_capacity, length_capacity;
};

/* Converse over the pair at `endpoint` of the options' context, until the end. Its last word is SIGNAL_ENDED. */
bool session_run(const struct worker_options *options, struct worker_shared *shared, const char *endpoint,
                 struct err *err);

/* ---- between the session's files ---- */

bool session_send(struct session *session, const struct message *message, struct err *err);

/* Whether a failure only means that the generation is over: then it is given up and true is returned. */
bool session_give_up(struct session *session, struct err *err);

/* Whether to leave a message of the generation out, since that one is over. */
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
