/* catalog.h - the models of a queue, one for each pair of languages, and the checkpoints of each.
 *
 * A model comes from one --model: a run, whose checkpoints are followed, or one checkpoint, which stays. Its versions
 * are the checkpoints that were offered to workers:
 *
 *   offered > current > old > freed;  offered > failed > freed;  failed > offered, to a worker that joins
 *
 * catalog_look finds a new checkpoint and offers it: it opens all its files, so that workers can fetch them after the
 * run has removed them, and verifies all but the tensors, which workers verify. The current version is the one that new
 * requests get; catalog_promote makes an offered one current when workers have loaded it. A version is old until its
 * last request is over. An offered one that no worker has begun to load is old once there is a newer one. A version
 * that no worker can load has failed, and the one before serves on. If the newest one failed, it is kept and offered to
 * workers that join later.
 *
 * Owned by the broker. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_CATALOG_H
#define LSTMQ_COORDINATOR_SERVE_CATALOG_H

#include "coordinator/serve/counts.h"
#include "coordinator/serve/queue/flow.h"
#include "proto/base/config.h"
#include "proto/store/checkpoint.h"
#include "proto/text/detect.h"
#include "proto/wire/message.h"

#include <stdbool.h>

struct catalog;

/* What the HTTP side sees of a model. */
struct catalog_view {
    char source[MESSAGE_LANGUAGE + 1], target[MESSAGE_LANGUAGE + 1];
    bool ready;                                             /* a worker has loaded its current version */
    uint64_t version, step;                                 /* of the current version; version 0 = none yet */
    const char *path;                                       /* its folder; NULL = none yet */
    char hash[17];                                          /* of its manifest, hex */
    const struct detect_table *src_trigrams, *tgt_trigrams; /* NULL: an older checkpoint without them */
    const struct model_counts *counts;
    uint32_t waiting;  /* sentences */
    int64_t oldest_us; /* since when the oldest of them waits, monotonic clock; 0 = none waits */
};

size_t catalog_count(const struct catalog *catalog);
struct catalog_view catalog_at(const struct catalog *catalog, size_t index);

/* ---- the broker's ---- */

struct version_file {
    uint64_t hash, size;
    int fd;
};

enum version_state {
    VERSION_OFFERED,
    VERSION_CURRENT,
    VERSION_OLD,
    VERSION_FAILED,
};

struct version {
    uint64_t number; /* never reused while the queue runs; newer ones are higher */
    struct served_model *model;
    enum version_state state;
    uint64_t step, manifest; /* XXH3 of manifest.json; both 0 for the echo */
    char source[MESSAGE_LANGUAGE + 1], target[MESSAGE_LANGUAGE + 1];
    char path[CHECKPOINT_PATH];
    char label[128];   /* "en-fr step-5650 0123456789abcdef" */
    uint64_t requests; /* that use it and are not over */
    uint64_t holders;  /* workers that were offered it, and leases */
    uint32_t loaded;   /* of these, have loaded it */
    int64_t loaded_ms; /* when the first one had loaded it; 0 = none has yet */
    struct version_file files[MANIFEST_FILES + 1];
    size_t file_count;
    struct detect_table *src_trigrams, *tgt_trigrams;
    struct version *next; /* an older one */
};

struct served_model {
    const char *path;         /* of --model; NULL = the echo */
    struct version *versions; /* the newest first */
    struct version *current;  /* NULL = none yet */
    struct schedule schedule;
    struct model_counts counts;
    char seen[CHECKPOINT_PATH]; /* the folder of the last look ... */
    uint64_t seen_manifest;     /* ... and its manifest's hash */
    char complaint[ERR_TEXT];   /* the last look's, which is not repeated */
};

struct catalog {
    const struct config *config;
    struct served_model *models; /* [count] */
    size_t count;
    uint64_t numbers;
};

/* ERR_USAGE: no --model, it is neither a run nor a checkpoint, or two translate the same pair of languages. */
bool catalog_open(struct catalog *catalog, const struct config *config, struct err *err);
void catalog_close(struct catalog *catalog);

/* Look for newer checkpoints, and offer them. */
void catalog_look(struct catalog *catalog);

/* The model for these codes; both empty = the first one. NULL: no model translates so. */
struct served_model *catalog_model(const struct catalog *catalog, struct text source, struct text target);

/* The version for new requests: the current one, else the newest that workers are still loading; NULL: neither. */
struct version *catalog_serving(const struct served_model *model);

/* The version becomes its model's current one. */
void catalog_promote(struct version *version);

/* No worker can load it. */
void catalog_fail(struct version *version);

/* Free the versions that are not current, nor the newest, and which no request and no worker uses. */
void catalog_sweep(struct catalog *catalog);

/* The file with that content; NULL: no version has it. */
const struct version_file *catalog_file(const struct catalog *catalog, uint64_t hash);

/* The version with that number; NULL: it does not exist any more. */
struct version *catalog_version(const struct catalog *catalog, uint64_t number);

/* For catalog_*.c: close its files and free it. */
void version_free(struct version *version);

#endif
