/* inspect.h - the findings of `lstmq inspect`, separate from how they are shown.
 *
 * inspect_read reads a checkpoint file by file and continues after damage, so that the valid parts can still be shown.
 * For a run it reads each of its checkpoints. `reason` is "" when nothing is wrong. Filled once, then read-only; the
 * caller ends it with inspect_free. One thread at a time. Only the inspect files use it. */
#ifndef LSTMQ_PROTO_STORE_INSPECT_H
#define LSTMQ_PROTO_STORE_INSPECT_H

#include "proto/base/buffer.h"
#include "proto/base/err.h"
#include "proto/store/checkpoint.h"
#include "proto/store/steps.h"

struct inspect_file {
    struct manifest_entry entry;
    bool absent;           /* deleted, and not needed to translate */
    char reason[ERR_TEXT]; /* "" = valid, or absent */
};

/* One checkpoint of a run. */
struct inspect_row {
    char name[STEP_NAME];
    uint64_t size; /* bytes of all files together; 0 when damaged */
    uint64_t step, epoch;
    bool latest, best;     /* the run's link names it */
    char reason[ERR_TEXT]; /* "" = valid */
};

struct inspection {
    char folder[CHECKPOINT_PATH]; /* of the checkpoint, links resolved */
    char run[CHECKPOINT_PATH];    /* "" when the path was a checkpoint */
    struct inspect_row *rows;     /* of the run, newest first */
    size_t row_count;
    struct inspect_file files[MANIFEST_FILES];
    size_t file_count;
    char reason[ERR_TEXT]; /* the checkpoint's first fault, "" = valid */
    bool resumable;        /* training can continue from it */
    bool has_state;
    struct checkpoint_state state;
    struct safetensors model; /* no tensors when it cannot be read */
    uint64_t parameters;
    size_t src_words, tgt_words; /* 0 when they cannot be read */
};

/* False only when `path` holds neither a run nor a checkpoint. Damage is a finding, in `reason`. */
bool inspect_read(struct inspection *found, const char *path, struct err *err);
void inspect_free(struct inspection *found);

/* The first damage of the checkpoint, or of another checkpoint of its run; "" = none. */
const char *inspect_damage(const struct inspection *found);

uint64_t inspect_elements(const struct tensor_entry *tensor);

/* Append the findings to `out`, in one of two forms. */
void inspect_text(const struct inspection *found, struct buffer *out);
void inspect_json(const struct inspection *found, struct buffer *out);

#endif
