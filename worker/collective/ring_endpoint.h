/* ring_endpoint.h - the endpoint of a rank: what to bind, and whether a neighbour's endpoint can be reached.
 *
 * Workers of one host meet at abstract local sockets, which cost less than TCP and are no files. Such a name is valid
 * within its network namespace only, and the socket accepts its own user only, so the name says where it belongs:
 *
 *   ipc://@lstmq-ring-BOOT-NAMESPACE-USER-PROCESS-TIME
 *
 * BOOT is the beginning of the machine's boot id, NAMESPACE the number of the network namespace. Where there is shared
 * memory, the name goes on with what finds it (ring_memory.h). Pure functions, but they read facts of this process; any
 * thread. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_ENDPOINT_H
#define LSTMQ_WORKER_COLLECTIVE_RING_ENDPOINT_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* The endpoint to bind for ring_options.bind, its wildcards filled in. */
void ring_endpoint_fill(const char *bind, const void *ring, uint64_t generation, char *text, size_t size);

/* Whether rank `rank` of `size` can be in one ring with the ranks at `endpoints` [size], its own included. Where one of
 * two cannot reach the other's local socket, the one with the higher rank joined later and must leave, so that no rank
 * is removed by a newcomer: ERR_USAGE says how to start it. The other rank waits for that: each can tell what the other
 * sees. */
bool ring_endpoint_check(const char *const *endpoints, uint32_t rank, uint32_t size, struct err *err);

#endif
