/* checkpoint.h - a state of training on disk, complete or not there at all.
 *
 *   RUN/step-00001200/model.safetensors       parameters, F32
 *   RUN/step-00001200/optimizer.safetensors   moments, F32
 *   RUN/step-00001200/state.json              struct checkpoint_state
 *   RUN/step-00001200/src.vocab, tgt.vocab
 *   RUN/step-00001200/manifest.json           size and xxh3 of each file above, see manifest.h; written last
 *   RUN/latest, RUN/best                      relative links to such folders, changed atomically; links.h
 *
 * Life: checkpoint_begin makes RUN/.step-00001200.partial; checkpoint_write puts bytes into its files, in order, as
 * they arrive; checkpoint_commit writes the manifest, fsyncs each file and the folder, renames the folder and fsyncs
 * RUN. checkpoint_abandon removes what was begun. A crash at any point leaves only a *.partial folder, which the next
 * checkpoint_begin or checkpoint_sweep removes. Where the step was there already (a resumed run does it again) the two
 * folders change places; a file system that cannot do that keeps the old one as step-00001200.replaced for the moment
 * between two renames, and readers know it by that name too. Files that are not in the manifest are nobody's: they are
 * ignored. Only state.json may hold a date, path or host name: equal weights are equal files. The writer belongs to one
 * thread; readers open what was committed.
 *
 * optimizer.safetensors may be deleted to save space: the checkpoint translates without it, but training cannot go on
 * from it. Parameters that are NaN or infinite are damage. */
#ifndef LSTMQ_PROTO_STORE_CHECKPOINT_H
#define LSTMQ_PROTO_STORE_CHECKPOINT_H

#include "proto/base/config.h"
#include "proto/store/manifest.h"
#include "proto/store/safetensors.h"
#include "proto/text/vocab.h"

#include <stdint.h>

enum { CHECKPOINT_PATH = 4096 };

/* Everything but tensors and words. A plain struct; state.json is its text. */
struct checkpoint_state {
    uint64_t step;       /* steps done                                                        */
    uint64_t epoch;      /* the epoch that the next step belongs to, counted from 1           */
    uint64_t epoch_step; /* steps of that epoch already done                                  */
    uint64_t shuffles;   /* shuffles drawn from the run's MT19937 stream, the pairs' included */
    /* sums over the steps of the epoch already done */
    double loss_sum;          /* of tokens' losses              */
    double batch_loss_sum;    /* of batch means                 */
    uint64_t tokens, correct; /* target positions, right answers */
    double train_seconds;     /* training wall time of the epoch so far */
    /* the run so far */
    bool has_best;
    double best_score; /* of the metric train.keep_best    */
    uint64_t best_epoch, best_step;
    uint64_t stale_epochs; /* since the last better one        */
    bool finished;         /* the run ended by itself          */
    char dataset[17];      /* xxh3 of the encoded dataset, hex */
    char created[32];      /* UTC                              */
    char version[64];      /* of lstmq                         */
    struct config config;
};

void checkpoint_state_write(const struct checkpoint_state *state, struct buffer *out);
/* ERR_DATA with "NAME: " for what is missing, mistyped or out of range, and for keys that are not known, of the state
 * or of the configuration. A configuration key that is missing keeps its default: an older lstmq did not have it. */
bool checkpoint_state_read(const char *text, size_t size, const char *name, struct checkpoint_state *state,
                           struct err *err);
/* The same of FOLDER/state.json, without its checksum: of a damaged checkpoint too. ERR_IO: it cannot be read. */
bool checkpoint_state_load(struct checkpoint_state *state, const char *folder, struct err *err);

struct checkpoint_writer;

struct checkpoint_writer *checkpoint_begin(const char *run, uint64_t step, struct err *err);
/* Append bytes to a file of the checkpoint ("model.safetensors"); at most MANIFEST_FILES files. After a failure only
 * abandon is allowed. */
bool checkpoint_write(struct checkpoint_writer *writer, const char *file, const void *bytes, size_t size,
                      struct err *err);
/* Commits and destroys the writer; on failure it is abandoned. RUN/latest then names the new checkpoint. */
bool checkpoint_commit(struct checkpoint_writer **writer, struct err *err);
void checkpoint_abandon(struct checkpoint_writer **writer);

/* RUN/best := the committed checkpoint of `step`. */
bool checkpoint_mark_best(const char *run, uint64_t step, struct err *err);

/* Remove *.partial folders and all but the newest `keep` checkpoints; what best and latest name always stays. Not while
 * a writer is open on that run. */
bool checkpoint_sweep(const char *run, size_t keep, struct err *err);

/* A checkpoint that was read and proven whole: manifest, sizes, hashes. Files are read on demand by the caller through
 * checkpoint_file. */
struct checkpoint {
    char path[CHECKPOINT_PATH]; /* of the folder, links resolved */
    struct manifest manifest;
    struct checkpoint_state state;
    bool resumable;          /* the moments are there: training can go on from it */
    struct vocab *src, *tgt; /* owned */
};

/* `path` is a checkpoint, or a run (then RUN/`link`, "best" or "latest"; best falls back on latest). Verifies
 * everything. ERR_DATA names file and reason, and, where there is one, the newest older checkpoint beside it that is
 * whole. */
bool checkpoint_open(struct checkpoint *checkpoint, const char *path, const char *link, struct err *err);
void checkpoint_close(struct checkpoint *checkpoint);

/* Append a whole file of an open checkpoint to `out`, its hash compared once more with the manifest's. ERR_DATA when
 * the checkpoint has no such file or it has changed since. */
bool checkpoint_file(const struct checkpoint *checkpoint, const char *file, struct buffer *out, struct err *err);

/* The table of tensors of FOLDER/FILE; only its header is read. The caller frees it with safetensors_free. */
bool checkpoint_tensors(const char *folder, const char *file, struct safetensors *tensors, struct err *err);

/* The folder that `path` and `link` stand for, as checkpoint_open finds it, nothing read or verified. */
bool checkpoint_locate(char folder[CHECKPOINT_PATH], const char *path, const char *link, struct err *err);

/* The newest checkpoint of a run that training can go on from: whole, its moments included. Walks back over others,
 * which are logged. False with ERR_DATA when there are only others; true with *found = false when the run has no
 * checkpoint. */
bool checkpoint_latest(struct checkpoint *checkpoint, const char *run, bool *found, struct err *err);

/* The state of a run's newest checkpoint whose state.json is whole, whatever its other files are. False with
 * ERR_DATA when there are checkpoints but no such one; true with *found = false when there is no checkpoint. */
bool checkpoint_latest_state(struct checkpoint_state *state, const char *run, bool *found, struct err *err);

#endif
