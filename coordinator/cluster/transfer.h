/* transfer.h - a model's state between a worker and a checkpoint, in pieces.
 *
 * An upload sends the model and optimizer files of a checkpoint to a worker that joins. A download puts what a worker
 * sends after SAVE into a new checkpoint. Pieces of a file come in order and have no gaps; the two files may come in
 * any order. A disk that fails in the middle of a download does not break the conversation: the remaining pieces are
 * taken and dropped, and download_commit reports the failure.
 *
 * The fleet owns the upload, from upload_open to upload_close; the trainer owns the download, from download_open to
 * download_commit or download_abandon. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_TRANSFER_H
#define LSTMQ_COORDINATOR_CLUSTER_TRANSFER_H

#include "coordinator/data/dataset.h"
#include "proto/store/checkpoint.h"
#include "proto/wire/message.h"

enum { TRANSFER_FILES = 2 }; /* MESSAGE_STATE_MODEL, MESSAGE_STATE_OPTIMIZER */

struct upload {
    const struct checkpoint *checkpoint; /* NULL when there is nothing to send */
    uint32_t file;                       /* being sent; TRANSFER_FILES at the end */
    struct buffer bytes;                 /* of that file, whole                   */
    size_t offset;                       /* sent of it                            */
    size_t piece;                        /* bytes of the piece that is due        */
    size_t way, ahead;                   /* bytes sent and not known to have arrived; how many may be */
    uint64_t ping_ns;                    /* time of the PING behind them; 0 = none was sent */
};

/* The receiver sets the pace of an upload, so that no other message waits long behind it, least of all PING. A few
 * bytes are sent, then a PING. When its PONG arrives, more are sent: the sooner it arrives, the more. A line must carry
 * UPLOAD_LEAST within cluster.heartbeat_timeout, or the receiver seems to be silent: 44 KB/s where that is 1.5 s. */
enum {
    UPLOAD_LEAST = 64 << 10, /* bytes on the way, at first and on the slowest line */
    UPLOAD_MOST = 16 << 20,
    UPLOAD_SOON_MS = 100, /* PONG within that: twice as many */
    UPLOAD_LATE_MS = 400, /* PONG after that: half as many */
};

void upload_open(struct upload *upload, const struct checkpoint *checkpoint);
void upload_close(struct upload *upload);

/* The next piece; *more = false when all were sent. It is valid, and stays the next, until upload_sent. ERR_DATA or
 * ERR_IO when the checkpoint's file can no longer be read. */
bool upload_piece(struct upload *upload, struct state *piece, bool *more, struct err *err);
/* That piece was sent. */
void upload_sent(struct upload *upload);

/* Whether another piece may be sent before those on the way have arrived. */
bool upload_may_send(const struct upload *upload);

/* All that was on the way arrived, within `ns` nanoseconds. */
void upload_arrived(struct upload *upload, uint64_t ns);

struct download {
    uint64_t step;
    struct checkpoint_writer *writer;                    /* NULL after a failure */
    struct err failure;                                  /* of the disk          */
    uint64_t got[TRANSFER_FILES], total[TRANSFER_FILES]; /* bytes; a total of 0 is not known yet */
    uint64_t parameters; /* F32 elements of the model file; 0 until its first piece came */
};

/* Begin a checkpoint: its state and what comes from the dataset are written at once. */
bool download_open(struct download *download, const char *run, const struct checkpoint_state *state,
                   const struct dataset *dataset, struct err *err);

/* Take a piece. ERR_PROTOCOL when it does not continue the pieces before; a failure of the disk is kept for
 * download_commit. */
bool download_piece(struct download *download, const struct state *piece, struct err *err);

/* Both files are complete. */
bool download_whole(const struct download *download);

/* Commit the checkpoint. ERR_IO and the like when any part of it could not be written; nothing is left of it then. */
bool download_commit(struct download *download, struct err *err);

/* Drop a download in any state; nothing happens when none is open. */
void download_abandon(struct download *download);

#endif
