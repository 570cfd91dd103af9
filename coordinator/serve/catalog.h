/* catalog.h - the models of a queue, one for each pair of languages, and the checkpoints of each.
 *
 * A model comes from one --model: a run, whose checkpoints are followed, or one checkpoint. Its versions are the
 * checkpoints that were offered to workers. The current version is the one that new requests get; it changes when
 * workers have loaded the next one. Owned by the broker. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_CATALOG_H
#define LSTMQ_COORDINATOR_SERVE_CATALOG_H

#include "proto/text/detect.h"
#include "proto/wire/message.h"

#include <stdbool.h>

struct catalog;

/* What the HTTP side sees of a model. */
struct catalog_view {
    char source[MESSAGE_LANGUAGE + 1], target[MESSAGE_LANGUAGE + 1];
    bool ready;                                             /* a worker has loaded its current version */
    uint64_t version, step;                                 /* of the current version; version 0 = none yet */
    char hash[17];                                          /* of its manifest, hex */
    const struct detect_table *src_trigrams, *tgt_trigrams; /* NULL: an older checkpoint without them */
};

size_t catalog_count(const struct catalog *catalog);
struct catalog_view catalog_at(const struct catalog *catalog, size_t index);

#endif
