/* checkpoint.h - a training state on disk: complete, or absent.
 *
 *   RUN/step-00001200/model.safetensors       parameters, F32
 *   RUN/step-00001200/optimizer.safetensors   moments, F32
 *   RUN/step-00001200/state.json              struct checkpoint_state
 *   RUN/step-00001200/src.vocab, tgt.vocab
 *   RUN/step-00001200/trigrams.bin            proto/text/detect.h; not in checkpoints of an older lstmq
 *   RUN/step-00001200/manifest.json           size and xxh3 of each file above, see manifest.h; written last
 *   RUN/latest, RUN/best                      relative links to such folders, changed atomically; checkpoint_links.h
 *
 * Life: checkpoint_begin makes RUN/.step-00001200.partial. checkpoint_write appends bytes to its files as they arrive.
 * checkpoint_commit writes the manifest, syncs each file and the folder, renames the folder and syncs RUN.
 * checkpoint_abandon removes an unfinished checkpoint. A crash at any point leaves only a *.partial folder, which the
 * next checkpoint_begin or checkpoint_sweep removes.
 *
 * A resumed run may write a step again. Then the old and the new folder change places. A file system that cannot do
 * this keeps the old one as step-00001200.replaced between two renames; readers find it by that name too.
 *
 * Files that the manifest does not list are ignored. Only state.json may hold a date, path or host name: equal weights
 * are equal files. The writer belongs to one thread. Readers open committed checkpoints only.
 *
 * optimizer.safetensors may be deleted to save space: the checkpoint still translates, but training cannot continue
 * from it. Parameters that are NaN or infinite count as damage. */
#ifndef LSTMQ_PROTO_STORE_CHECKPOINT_H
#define LSTMQ_PROTO_STORE_CHECKPOINT_H

#include "proto/base/config.h"
#include "proto/store/manifest.h"
#include "proto/store/safetensors.h"
#include "proto/text/vocab.h"

#include <stdint.h>

enum { CHECKPOINT_PATH = 4096 };

/* The file that only training needs. */
#define CHECKPOINT_MOMENTS "optimizer.safetensors"

/* Everything except tensors and words. Plain memory; state.json is its text form. */
struct checkpoint_state {
    uint64_t step;       /* steps done */
    uint64_t epoch;      /* epoch of the next step, counted from 1 */
    uint64_t epoch_step; /* steps of that epoch already done */
    uint64_t shuffles;   /* shuffles drawn from the run's MT19937 stream, the pairs' included */
    /* sums over the finished steps of the epoch */
    double loss_sum;          /* of token losses */
    double batch_loss_sum;    /* of batch means */
    uint64_t tokens, correct; /* target positions, correct predictions */
    double train_seconds;     /* training wall time of the epoch so far */
    /* the run so far */
    bool has_best;
    double best_score; /* of the metric train.keep_best */
    uint64_t best_epoch, best_step;
    uint64_t stale_epochs; /* epochs since the last better score */
    bool finished;         /* the run reached its end */
    char dataset[17];      /* xxh3 of the encoded dataset, hex */
    char created[32];      /* UTC */
    char version[64];      /* of lstmq */
    struct config config;
};

void checkpoint_state_write(const struct checkpoint_state *state, struct buffer *out);
/* ERR_DATA with "NAME: " for a key that is missing, mistyped, out of range or unknown, in the state or its
 * configuration. A missing configuration key keeps its default: an older lstmq did not have the option. */
bool checkpoint_state_read(const char *text, size_t size, const char *name, struct checkpoint_state *state,
                           struct err *err);
/* Read FOLDER/state.json without checking its checksum, so that a damaged checkpoint can be shown. ERR_IO: it cannot be
 * read. */
bool checkpoint_state_load(struct checkpoint_state *state, const char *folder, struct err *err);

struct checkpoint_writer;

struct checkpoint_writer *checkpoint_begin(const char *run, uint64_t step, struct err *err);
/* Append bytes to a file of the checkpoint ("model.safetensors"); at most MANIFEST_FILES files. After a failure, call
 * only checkpoint_abandon. */
bool checkpoint_write(struct checkpoint_writer *writer, const char *file, const void *bytes, size_t size,
                      struct err *err);
/* Commits and destroys the writer; on failure it is abandoned. RUN/latest then names the new checkpoint. */
bool checkpoint_commit(struct checkpoint_writer **writer, struct err *err);
void checkpoint_abandon(struct checkpoint_writer **writer);

/* Point RUN/best at the committed checkpoint of `step`. */
bool checkpoint_mark_best(const char *run, uint64_t step, struct err *err);

/* Remove *.partial folders and all but the newest `keep` checkpoints. The targets of best and latest always stay. Do
 * not call it while a writer is open on that run. */
bool checkpoint_sweep(const char *run, size_t keep, struct err *err);

/* A checkpoint that was read and verified: manifest, sizes, hashes. The caller reads its files with checkpoint_file. */
struct checkpoint {
    char path[CHECKPOINT_PATH]; /* of the folder, links resolved */
    struct manifest manifest;
    struct checkpoint_state state;
    bool resumable;          /* it has its moments, so training can continue from it */
    struct vocab *src, *tgt; /* owned */
};

/* `path` is a checkpoint, or a run (then RUN/`link`, "best" or "latest"; best falls back on latest). Verifies
 * everything. ERR_DATA names file and reason, and the newest older valid checkpoint beside it, if one exists. */
bool checkpoint_open(struct checkpoint *checkpoint, const char *path, const char *link, struct err *err);

/* The same without the moments, which are neither read nor verified: most of the bytes, and of no use to a translator.
 * `resumable` only says that they are there. */
bool checkpoint_open_model(struct checkpoint *checkpoint, const char *path, const char *link, struct err *err);
void checkpoint_close(struct checkpoint *checkpoint);

/* Append a whole file of an open checkpoint to `out`, after comparing its hash with the manifest again. ERR_DATA: the
 * checkpoint has no such file, or the file has changed. */
bool checkpoint_file(const struct checkpoint *checkpoint, const char *file, struct buffer *out, struct err *err);

/* Map a file of an open checkpoint, and compare its hash again, as checkpoint_file does. The caller ends it with
 * file_unmap. */
bool checkpoint_map(const struct checkpoint *checkpoint, const char *file, const void **bytes, size_t *size,
                    struct err *err);

/* The tensor table of FOLDER/FILE; reads its header only. The caller frees it with safetensors_free. */
bool checkpoint_tensors(const char *folder, const char *file, struct safetensors *tensors, struct err *err);

/* The folder that checkpoint_open would open for `path` and `link`. Reads and verifies nothing. */
bool checkpoint_locate(char folder[CHECKPOINT_PATH], const char *path, const char *link, struct err *err);

/* The newest checkpoint of a run from which training can continue: valid, with its moments. Logs and skips others.
 * ERR_DATA: the run has only others. True with *found = false: the run has no checkpoint. */
bool checkpoint_latest(struct checkpoint *checkpoint, const char *run, bool *found, struct err *err);

/* The state of a run's newest checkpoint that has a valid state.json, even if its other files are damaged. ERR_DATA: no
 * checkpoint has one. True with *found = false: the run has no checkpoint. */
bool checkpoint_latest_state(struct checkpoint_state *state, const char *run, bool *found, struct err *err);

#endif
