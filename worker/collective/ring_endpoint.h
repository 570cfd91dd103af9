/* ring_endpoint.h - where a rank of a ring is to be found: what to bind, and whether a neighbour's place can be reached.
 *
 * Workers of one host meet at abstract local sockets, which cost less than TCP and are no files. Such a name means
 * something only within its network namespace, and its socket lets in its own user alone, so it says whose it is:
 *
 *   ipc://@lstmq-ring-BOOT-NAMESPACE-USER-PROCESS-TIME
 *
 * BOOT is the beginning of the machine's boot id, NAMESPACE the number of the network namespace. Where there is memory
 * beside the socket the name goes on with what finds it (ring_memory.h). Pure functions, but for what they read of this
 * process; any thread. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_ENDPOINT_H
#define LSTMQ_WORKER_COLLECTIVE_RING_ENDPOINT_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* What to bind for ring_options.bind, its wildcards filled in. */
void ring_endpoint_fill(const char *bind, const void *ring, uint64_t generation, char *text, size_t size);

/* Whether rank `rank` of `size` can be in one ring with the others at `endpoints` [size], its own among them. Of two where
 * one cannot reach the other's local socket the younger goes, which has the higher rank, so that nobody is put out by who
 * comes later: ERR_USAGE tells it what to do about it. The older waits for that, as each can tell what the other sees. */
bool ring_endpoint_check(const char *const *endpoints, uint32_t rank, uint32_t size, struct err *err);

#endif
