/* inspect.h - what `lstmq inspect` found out, apart from how it is shown.
 *
 * inspect_read looks at a checkpoint file by file and goes on after damage, so that what is whole can still be shown;
 * for a run it looks at each of its checkpoints too. `reason` is "" where nothing is wrong. Filled once, then
 * read-only; inspect_free gives it back. Used by the inspect files alone. */
#ifndef LSTMQ_PROTO_STORE_INSPECT_H
#define LSTMQ_PROTO_STORE_INSPECT_H

#include "proto/cli/command.h"
#include "proto/store/checkpoint.h"
#include "proto/store/steps.h"

struct inspect_file {
    struct manifest_entry entry;
    bool absent;           /* deleted, and not needed to translate */
    char reason[ERR_TEXT]; /* "" = whole, or absent                */
};

/* A checkpoint of a run, in one line. */
struct inspect_row {
    char name[STEP_NAME];
    uint64_t size; /* bytes, all files together; 0 where damaged */
    uint64_t step, epoch;
    bool latest, best;     /* the run's links name it   */
    char reason[ERR_TEXT]; /* "" = whole                */
};

struct inspection {
    char folder[CHECKPOINT_PATH]; /* of the checkpoint, links resolved                        */
    char run[CHECKPOINT_PATH];    /* "" where the path was that of a checkpoint               */
    struct inspect_row *rows;     /* of the run, newest first                                 */
    size_t row_count;
    struct inspect_file files[MANIFEST_FILES];
    size_t file_count;
    char reason[ERR_TEXT]; /* the first thing that is wrong with the checkpoint, "" = whole */
    bool resumable;        /* training can go on from it */
    bool has_state;
    struct checkpoint_state state;
    struct safetensors model; /* no tensors where it cannot be read                       */
    uint64_t parameters;
    size_t src_words, tgt_words; /* 0 where they cannot be read                              */
};

/* False only when there is nothing to look at; damage is a finding, in `reason`. */
bool inspect_read(struct inspection *found, const char *path, struct err *err);
void inspect_free(struct inspection *found);

/* The first damage found, of the checkpoint or of another one of its run; "" = none. */
const char *inspect_damage(const struct inspection *found);

uint64_t inspect_elements(const struct tensor_entry *tensor);

/* The two ways to show it, appended to `out`. */
void inspect_text(const struct inspection *found, struct buffer *out);
void inspect_json(const struct inspection *found, struct buffer *out);

#endif
