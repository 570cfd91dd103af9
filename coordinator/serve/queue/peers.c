/* peers.c - two tables of peers: by the ROUTER's id, and by the watch's number of the connection; see peers.h. */
#include "coordinator/serve/queue/peers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static size_t peers_chain_id(const struct door *door, const struct route *route)
{
    return XXH3_64bits_withSeed(route->id, route->size, (uint64_t)(uintptr_t)door) % PEER_CHAINS;
}

static size_t peers_chain_connection(uint64_t connection)
{
    return connection % PEER_CHAINS;
}

struct peer *peers_find(const struct peer_table *peers, const struct door *door, const struct route *route)
{
    struct peer *peer = peers->by_id[peers_chain_id(door, route)];
    while (peer != NULL && (peer->door != door || peer->route.size != route->size ||
                            memcmp(peer->route.id, route->id, route->size) != 0))
        peer = peer->same_id;
    return peer;
}

struct peer *peers_connection(const struct peer_table *peers, const struct door *door, uint64_t connection)
{
    struct peer *peer = connection == 0 ? NULL : peers->by_connection[peers_chain_connection(connection)];
    while (peer != NULL && (peer->door != door || peer->connection != connection))
        peer = peer->same_connection;
    return peer;
}

struct peer *peers_add(struct peer_table *peers, const struct door *door, const struct route *route,
                       enum peer_state state)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->state = state;
    peers->clients += state == PEER_CLIENT;
    peer->door = door;
    peer->route = *route;
    peer->key = route->key[0] == '\0' ? 0 : XXH3_64bits(route->key, strlen(route->key));
    peer->connection = door->watch != NULL ? watch_number(door->watch, route) : 0;
    snprintf(peer->flow, sizeof peer->flow, "connection:%" PRIu64, ++peers->numbers);
    struct peer **chain = &peers->by_id[peers_chain_id(door, route)];
    peer->same_id = *chain;
    *chain = peer;
    if (peer->connection != 0) {
        chain = &peers->by_connection[peers_chain_connection(peer->connection)];
        peer->same_connection = *chain;
        *chain = peer;
    }
    return peer;
}

void peers_list(struct peer_table *peers, struct peer *peer)
{
    if (peer->listed)
        return;
    peer->listed = true;
    peer->next_due = peers->due;
    peers->due = peer;
}

void peers_lose(struct peer_table *peers, struct peer *peer)
{
    if (peer_is_gone(peer))
        return;
    peers->clients -= peer->state == PEER_CLIENT;
    peer->state = PEER_GONE;
    peer->next_gone = peers->gone;
    peers->gone = peer;
}

void peers_remove(struct peer_table *peers, struct peer *peer)
{
    struct peer **at = &peers->by_id[peers_chain_id(peer->door, &peer->route)];
    while (*at != peer)
        at = &(*at)->same_id;
    *at = peer->same_id;
    if (peer->connection != 0) {
        at = &peers->by_connection[peers_chain_connection(peer->connection)];
        while (*at != peer)
            at = &(*at)->same_connection;
        *at = peer->same_connection;
    }
    free(peer);
}

void peers_close(struct peer_table *peers)
{
    for (size_t i = 0; i < PEER_CHAINS; i++)
        while (peers->by_id[i] != NULL)
            peers_remove(peers, peers->by_id[i]);
}
