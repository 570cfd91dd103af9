/* ring_endpoint.h - the endpoint of a rank of a ring: what to bind, and whether a neighbour's endpoint can be reached.
 *
 * Workers of one host meet at abstract local sockets, which cost less than TCP and are not files. Such a name is valid
 * only within its network namespace, and its socket accepts only its own user, so it names both:
 *
 *   ipc://@lstmq-ring-BOOT-NAMESPACE-USER-PROCESS-TIME
 *
 * BOOT is the beginning of the machine's boot id, NAMESPACE the number of the network namespace. With shared memory the
 * name also tells where to find that (ring_memory.h). Functions read facts of this process and keep no state; any
 * thread. */
#ifndef LSTMQ_WORKER_COLLECTIVE_RING_ENDPOINT_H
#define LSTMQ_WORKER_COLLECTIVE_RING_ENDPOINT_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* What to bind for ring_options.bind, its wildcards filled in. */
void ring_endpoint_fill(const char *bind, const void *ring, uint64_t generation, char *text, size_t size);

/* Whether rank `rank` of `size` can be in one ring with the others at `endpoints` [size], its own among them. If one of
 * two ranks cannot reach the other's local socket, the younger leaves, which has the higher rank, so that a late worker
 * removes no earlier one. ERR_USAGE says what to do. The older waits for that, because each can tell what the other
 * sees. */
bool ring_endpoint_check(const char *const *endpoints, uint32_t rank, uint32_t size, struct err *err);

#endif
