/* fetching.h - a checkpoint on its way from the queue to this host, file by file, in pieces.
 *
 * fetching_begin makes the folder that cache.h names. Then the owner sends each FETCH that fetching_next gives, and
 * hands over each PIECE. First comes the manifest, then the files that it lists, without the optimizer's: translating
 * needs none. Of a file several pieces are on their way at a time; all have the size of the first. When it is done, the
 * folder is complete, and the owner moves it to its name (cache_keep). fetching_abandon removes an unfinished one.
 *
 * The manifest's hash is compared here. Those of the other files are compared when the checkpoint is opened. Loader
 * thread. */
#ifndef LSTMQ_WORKER_SERVE_FETCHING_H
#define LSTMQ_WORKER_SERVE_FETCHING_H

#include "proto/store/file.h"
#include "proto/store/manifest.h"
#include "proto/wire/message.h"

enum { FETCHING_PIECES = 4 /* on their way at a time */ };

enum fetching_state { FETCHING_IDLE, FETCHING_MANIFEST, FETCHING_FILES, FETCHING_DONE };

struct fetching {
    enum fetching_state state;
    char folder[FILE_PATH];
    struct manifest manifest;
    size_t file; /* of the manifest's: on its way now */
    int fd;      /* of that file; -1 = not open */
    /* Of the file on its way. */
    uint64_t hash, size, stride; /* stride: bytes of a piece; 0 = not known yet */
    uint64_t next, received;     /* first byte not requested; bytes that are here */
    uint64_t awaited[FETCHING_PIECES];
    unsigned awaited_count;
    uint64_t bytes; /* received, of all files */
};

/* Begin to fill `folder`, which must not exist in another use. */
bool fetching_begin(struct fetching *fetching, const char *folder, uint64_t manifest, struct err *err);

/* The next FETCH to send; false: none now. */
bool fetching_next(struct fetching *fetching, struct fetch *request);

/* Whether the piece was requested and is due. */
bool fetching_awaits(const struct fetching *fetching, const struct file_piece *piece);

/* ERR_PROTOCOL: the piece was not requested, or is not as its file is. ERR_DATA: the queue does not have the file, or
 * the manifest is damaged. ERR_IO: it cannot be written. After a failure, abandon it. */
bool fetching_take(struct fetching *fetching, const struct file_piece *piece, struct err *err);

static inline bool fetching_is_done(const struct fetching *fetching)
{
    return fetching->state == FETCHING_DONE;
}

/* Close what is open, and remove the folder unless it is done. The struct is idle again. */
void fetching_abandon(struct fetching *fetching);

#endif
