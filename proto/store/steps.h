/* steps.h - the names that a run gives to its checkpoints.
 *
 *   step-00001200             committed
 *   .step-00001200.partial    being written or removed; a crash leaves it, the next writer removes it
 *   step-00001200.replaced    committed, and soon replaced by a newer one of the same step
 *
 * Used by the writer and the readers of checkpoints, and by code that must tell a run's files from others. Keeps no
 * state; any thread. */
#ifndef LSTMQ_PROTO_STORE_STEPS_H
#define LSTMQ_PROTO_STORE_STEPS_H

#include "proto/store/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STEP_NAME = 64 };

#define STEP_LATEST "latest"
#define STEP_BEST   "best"

enum step_kind { STEP_COMMITTED, STEP_REPLACED, STEP_PARTIAL };

struct step_folder {
    char name[STEP_NAME];
    uint64_t step;
    enum step_kind kind;
};

void step_name(char name[STEP_NAME], uint64_t step, enum step_kind kind);

/* False: step_name does not make such a name. */
bool step_parse(const char *name, struct step_folder *folder);

/* Its path in `run`. */
bool step_path(char path[FILE_PATH], const char *run, uint64_t step, enum step_kind kind, struct err *err);

/* Remove a checkpoint. It loses its name first, so that no reader sees half of it. */
bool step_retire(const char *run, const struct step_folder *folder, struct err *err);

/* Whether RUN/LINK is a link to that folder. */
bool step_is_linked(const char *run, const char *link, const char *name);

/* The checkpoint folders in `run`, newest step first; within a step, the committed one before the replaced one. The
 * caller frees *folders. A missing run has none. */
bool steps_list(const char *run, struct step_folder **folders, size_t *count, struct err *err);

#endif
