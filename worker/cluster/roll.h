/* roll.h - what PEERS says, taken apart: where each rank of a generation is, and its public key.
 *
 * Plain memory of whoever reads it; any thread. */
#ifndef LSTMQ_WORKER_CLUSTER_ROLL_H
#define LSTMQ_WORKER_CLUSTER_ROLL_H

#include "proto/wire/message.h"

struct roll {
    const char **endpoints; /* [size] */
    const char **keys;      /* [size] Z85; NULL where the line has none */
    char *text;             /* what they point into */
};

/* ERR_PROTOCOL where they are not the lines of `size` ranks, or some have keys and others not. Ends with roll_free in any
 * case. */
bool roll_read(struct roll *roll, const struct peers *peers, uint32_t size, struct err *err);

void roll_free(struct roll *roll);

#endif
