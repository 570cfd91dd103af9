/* roll.h - a parsed PEERS message: each rank's endpoint and public key.
 *
 * Plain memory of the caller, which ends it with roll_free. Any thread. */
#ifndef LSTMQ_WORKER_CLUSTER_ROLL_H
#define LSTMQ_WORKER_CLUSTER_ROLL_H

#include "proto/wire/message.h"

struct roll {
    const char **endpoints; /* [size] */
    const char **keys;      /* [size] Z85; NULL = the line has none */
    char *text;             /* the memory of both */
};

/* ERR_PROTOCOL: not the lines of `size` ranks, or only some have keys. Call roll_free in any case. */
bool roll_read(struct roll *roll, const struct peers *peers, uint32_t size, struct err *err);

void roll_free(struct roll *roll);

#endif
