/* steps.h - the names that a run gives to its checkpoints.
 *
 *   step-00001200             committed
 *   .step-00001200.partial    being written, or on its way out; a crash leaves it, the next writer removes it
 *   step-00001200.replaced    committed, and about to give way to a newer one of the same step
 *
 * Shared by the writer and the readers of checkpoints, and by whoever has to tell a run's files from others. */
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

/* False when `name` is not one that step_name makes. */
bool step_parse(const char *name, struct step_folder *folder);

/* Its path in `run`. */
bool step_path(char path[FILE_PATH], const char *run, uint64_t step, enum step_kind kind, struct err *err);

/* Remove a checkpoint. It loses its name first, so that no reader sees half of it. */
bool step_retire(const char *run, const struct step_folder *folder, struct err *err);

/* Whether RUN/LINK is a link and names that folder. */
bool step_is_linked(const char *run, const char *link, const char *name);

/* The folders of that naming in `run`: newest step first, and of one step the committed before the replaced. The caller
 * frees *folders. A run that is not there holds none. */
bool steps_list(const char *run, struct step_folder **folders, size_t *count, struct err *err);

#endif
