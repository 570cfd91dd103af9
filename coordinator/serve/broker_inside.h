/* broker_inside.h - the broker's own parts: see broker.h. Only broker*.c include it.
 *
 *   broker_receive.c  messages and submitted requests, recorded
 *   broker_admit.c    a request is accepted or refused; it is over
 *   broker_advance.c  once a turn: all decisions
 *   broker_say.c      once a turn: what is due is sent */
#ifndef LSTMQ_COORDINATOR_SERVE_BROKER_INSIDE_H
#define LSTMQ_COORDINATOR_SERVE_BROKER_INSIDE_H

#include "coordinator/serve/broker.h"
#include "coordinator/serve/queue/deadlines.h"
#include "coordinator/serve/queue/peers.h"
#include "coordinator/serve/queue/pool.h"
#include "coordinator/serve/queue/requests.h"

enum broker_state {
    BROKER_SERVES,
    BROKER_DRAINS, /* accepts requests until drain_ms    */
    BROKER_ENDS,   /* refuses requests until over_ms     */
    BROKER_OVER,
};

enum { BROKER_DOORS = 2, BROKER_DEAD = 16, RATE_SECONDS = 5 };

/* Sentences done in each of the last seconds. */
struct rate {
    int64_t second; /* the current one, monotonic clock */
    uint32_t done[RATE_SECONDS];
};

struct broker {
    const struct config *config;
    struct loop *loop;
    struct allow *allow;
    enum broker_state state;
    int64_t drain_ms, over_ms; /* BROKER_DRAINS, BROKER_ENDS until then */
    struct door doors[BROKER_DOORS];
    uint64_t sources[BROKER_DOORS + 1]; /* of the loop */
    struct catalog catalog;
    struct sentences sentences;
    struct flows flows;
    struct requests requests;
    struct deadlines deadlines;
    struct peer_table peers;
    struct pool pool;
    struct request_list orphans;        /* their client's connection has ended; it may repeat them */
    struct request_list http, finished; /* of HTTP: not over; over */
    struct rate rate;
    struct broker_counts counts;
    int64_t now_us;    /* of this turn */
    int64_t ready_ms;  /* a worker that could serve was seen last, or the queue began */
    int64_t tick_ms;   /* the next heartbeat is due */
    int64_t look_ms;   /* the next look for checkpoints */
    int64_t sweep_ms;  /* the next clean-up of flows and kept requests */
    size_t model_turn; /* the model that gets the next batch */
    struct buffer scratch;
    bool caught_up;             /* all messages that had arrived before this turn were received */
    uint32_t dead[BROKER_DEAD]; /* processes for broker_dead_process */
    size_t dead_count;
    uint64_t strangers; /* refused so far */
    int64_t complained_ms;
};

static inline int64_t broker_ms(const struct broker *broker)
{
    return broker->now_us / 1000;
}

/* broker_admit.c */

/* A new request, which arrived at broker->now_us: it waits, or is over at once. `peer` NULL = HTTP. NULL: no memory. */
struct request *broker_admit(struct broker *broker, const struct request_terms *terms, struct peer *peer);

/* It is over: its parts leave their sentences. */
void broker_finish(struct broker *broker, struct request *request, enum request_outcome outcome);

/* The same without an answer; `why` is for the client. */
void broker_reject(struct broker *broker, struct request *request, enum request_outcome outcome, uint32_t retry_ms,
                   const char *why);

/* A sentence's answer is here: it is done, and so may be requests. */
void broker_settle(struct broker *broker, struct sentence *sentence, uint64_t computed_us);

/* Sentences a second that the workers compute when they are busy; 0 = not known yet. */
double broker_rate(const struct broker *broker);
/* Sentences a second that were computed in the last seconds. */
double broker_throughput(const struct broker *broker);
uint32_t broker_waiting(const struct broker *broker);

/* broker_receive.c */
bool broker_receive(struct broker *broker, struct door *door, struct err *err);

/* broker_advance.c */
void broker_advance(struct broker *broker);
/* Whether a worker has loaded the current version of a model. */
bool broker_can_serve(const struct broker *broker);

/* broker_say.c */
bool broker_say(struct broker *broker, struct err *err);
void broker_say_error(const struct door *door, const struct route *to, enum err_code code, const char *text);

#endif
