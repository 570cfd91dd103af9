/* peers.h - the connections of a queue's sockets that have sent a valid message: clients and workers.
 *
 * A peer is born with its first message, which decides what it is. It ends when its connection has ended (the watch
 * reports that, or a message cannot be sent) and all that it sent was received. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_QUEUE_PEERS_H
#define LSTMQ_COORDINATOR_SERVE_QUEUE_PEERS_H

#include "coordinator/serve/queue/flow.h"
#include "coordinator/serve/request.h"
#include "proto/wire/watch.h"

struct pool_worker;

/* One of the queue's ROUTERs. */
struct door {
    void *socket;
    struct watch *watch; /* over it; NULL = none */
    bool workers_only;   /* of embedded workers */
};

enum peer_state {
    PEER_CLIENT, /* it sent TRANSLATE, CANCEL or ASK    */
    PEER_WORKER, /* it sent JOIN                        */
    PEER_GONE,   /* its connection has ended; what it sent may be unread */
    PEER_OVER,   /* all that it sent was received, and it has neither requests nor worker: it is removed */
};

struct peer {
    enum peer_state state;
    const struct door *door;
    struct route route;
    uint64_t connection; /* the watch's number; 0 = unknown                 */
    uint64_t key;        /* hash of its key                                 */
    char flow[FLOW_NAME];
    struct request_list open, due; /* its requests: not over; over, and to be sent    */
    struct pool_worker *worker;    /* of PEER_WORKER; NULL = it was declared dead     */
    int64_t full_ms;               /* its queue is full since then; 0 = it is not     */
    bool status_due;               /* it sent ASK, and STATUS was not sent yet        */
    bool listed;                   /* in peers->due                                   */
    struct peer *next_due;
    struct peer *next_gone;
    struct peer *same_id, *same_connection; /* in the tables' chains */
};

enum { PEER_CHAINS = 4096 };
struct peer_table {
    struct peer *by_id[PEER_CHAINS], *by_connection[PEER_CHAINS];
    struct peer *due;  /* to which something is to be sent */
    struct peer *gone; /* to be removed */
    size_t clients;
    uint64_t numbers;
};

static inline bool peer_is_gone(const struct peer *peer)
{
    return peer->state >= PEER_GONE;
}

/* NULL: unknown. */
struct peer *peers_find(const struct peer_table *peers, const struct door *door, const struct route *route);
struct peer *peers_connection(const struct peer_table *peers, const struct door *door, uint64_t connection);

/* `state` is PEER_CLIENT or PEER_WORKER. NULL: no memory. */
struct peer *peers_add(struct peer_table *peers, const struct door *door, const struct route *route,
                       enum peer_state state);

/* Something is to be sent to it. */
void peers_list(struct peer_table *peers, struct peer *peer);

/* Its connection has ended. */
void peers_lose(struct peer_table *peers, struct peer *peer);

/* Free it. It is in neither list, and has no requests and no worker. */
void peers_remove(struct peer_table *peers, struct peer *peer);

void peers_close(struct peer_table *peers);

#endif
