/* fetching.c - request pieces, write them, go on to the next file; see fetching.h. */
#include "worker/serve/fetching.h"

#include "proto/store/checkpoint.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { FETCHING_MANIFEST_MOST = 65536 };

/* Open FOLDER/NAME and request it from its beginning. */
static bool fetching_open(struct fetching *fetching, const char *name, uint64_t hash, uint64_t size, struct err *err)
{
    char path[FILE_PATH];
    if (!path_join(path, fetching->folder, name, err))
        return false;
    fetching->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fetching->fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot create", path);
    fetching->hash = hash;
    fetching->size = size;
    fetching->stride = fetching->next = fetching->received = 0;
    fetching->awaited_count = 0;
    return true;
}

static bool fetching_close(struct fetching *fetching, struct err *err)
{
    int fd = fetching->fd;
    fetching->fd = -1;
    return fd < 0 || close(fd) == 0 || err_errno(err, ERR_IO, "%s: cannot write", fetching->folder);
}

/* Open the next file that has bytes; without one the checkpoint is complete. */
static bool fetching_advance(struct fetching *fetching, struct err *err)
{
    for (; fetching->file < fetching->manifest.count; fetching->file++) {
        const struct manifest_entry *entry = &fetching->manifest.entries[fetching->file];
        if (strcmp(entry->name, CHECKPOINT_MOMENTS) == 0)
            continue;
        if (!fetching_open(fetching, entry->name, entry->xxh3, entry->size, err))
            return false;
        if (entry->size > 0)
            return true;
        if (!fetching_close(fetching, err))
            return false;
    }
    fetching->state = FETCHING_DONE;
    return true;
}

/* The manifest is here: read which files there are. */
static bool fetching_read_manifest(struct fetching *fetching, struct err *err)
{
    char text[FETCHING_MANIFEST_MOST];
    ssize_t size = pread(fetching->fd, text, sizeof text, 0);
    if (size < 0 || !fetching_close(fetching, err))
        return err_errno(err, ERR_IO, "%s: cannot read", fetching->folder);
    if (XXH3_64bits(text, (size_t)size) != fetching->hash)
        return err_set(err, ERR_DATA, "the queue's %s %016" PRIx64 " has another hash", MANIFEST_FILE, fetching->hash);
    fetching->state = FETCHING_FILES;
    fetching->file = 0;
    return manifest_read(text, (size_t)size, MANIFEST_FILE, &fetching->manifest, err) &&
           fetching_advance(fetching, err);
}

bool fetching_begin(struct fetching *fetching, const char *folder, uint64_t manifest, struct err *err)
{
    *fetching = (struct fetching){.state = FETCHING_MANIFEST, .fd = -1};
    strcpy(fetching->folder, folder);
    return folder_remove(folder, err) && folder_make(folder, err) &&
           fetching_open(fetching, MANIFEST_FILE, manifest, 0, err);
}

bool fetching_next(struct fetching *fetching, struct fetch *request)
{
    if (fetching->state == FETCHING_IDLE || fetching->fd < 0 || fetching->awaited_count == FETCHING_PIECES)
        return false;
    /* The size of a piece is known after the first. */
    if (fetching->next > 0 && (fetching->stride == 0 || fetching->next >= fetching->size))
        return false;
    if (fetching->next == 0 && fetching->awaited_count > 0)
        return false;
    *request = (struct fetch){.hash = fetching->hash, .offset = fetching->next};
    fetching->awaited[fetching->awaited_count++] = fetching->next;
    fetching->next += fetching->stride;
    return true;
}

/* Its place among those that are due; awaited_count = it is not due. */
static unsigned fetching_place(const struct fetching *fetching, const struct file_piece *piece)
{
    unsigned i = 0;
    while (i < fetching->awaited_count && (piece->hash != fetching->hash || fetching->awaited[i] != piece->offset))
        i++;
    return i;
}

bool fetching_awaits(const struct fetching *fetching, const struct file_piece *piece)
{
    return fetching_place(fetching, piece) < fetching->awaited_count;
}

/* Whether the piece was requested and has the size that it must have. */
static bool fetching_fits(struct fetching *fetching, const struct file_piece *piece, struct err *err)
{
    unsigned place = fetching_place(fetching, piece);
    if (place == fetching->awaited_count)
        return err_set(err, ERR_PROTOCOL, "PIECE came without a FETCH for it");
    fetching->awaited[place] = fetching->awaited[--fetching->awaited_count];
    if (piece->total == 0)
        return err_set(err, ERR_DATA, "the queue does not have the file %016" PRIx64, piece->hash);
    if (fetching->state == FETCHING_MANIFEST && piece->offset == 0)
        fetching->size = piece->total <= FETCHING_MANIFEST_MOST ? piece->total : 0;
    if (piece->total != fetching->size)
        return err_set(err, ERR_DATA,
                       "the queue's file %016" PRIx64 " has %" PRIu64 " bytes, its manifest says %" PRIu64, piece->hash,
                       piece->total, fetching->size);
    if (fetching->stride == 0) {
        fetching->stride = piece->size;
        fetching->next = piece->size;
    }
    uint64_t left = fetching->size - piece->offset;
    return (piece->size > 0 && piece->size == (left < fetching->stride ? left : fetching->stride)) ||
           err_set(err, ERR_PROTOCOL, "PIECE: %zu bytes where the pieces before had %" PRIu64, piece->size,
                   fetching->stride);
}

bool fetching_take(struct fetching *fetching, const struct file_piece *piece, struct err *err)
{
    if (!fetching_fits(fetching, piece, err))
        return false;
    const char *bytes = piece->bytes;
    for (size_t done = 0; done < piece->size;) {
        ssize_t wrote = pwrite(fetching->fd, bytes + done, piece->size - done, (off_t)(piece->offset + done));
        if (wrote <= 0)
            return err_errno(err, ERR_IO, "%s: cannot write", fetching->folder);
        done += (size_t)wrote;
    }
    fetching->received += piece->size;
    fetching->bytes += piece->size;
    if (fetching->received < fetching->size)
        return true;
    if (fetching->state == FETCHING_MANIFEST)
        return fetching_read_manifest(fetching, err);
    fetching->file++;
    return fetching_close(fetching, err) && fetching_advance(fetching, err);
}

void fetching_abandon(struct fetching *fetching)
{
    if (fetching->state == FETCHING_IDLE)
        return;
    fetching_close(fetching, NULL);
    if (fetching->state != FETCHING_DONE)
        folder_remove(fetching->folder, NULL);
    *fetching = (struct fetching){.state = FETCHING_IDLE, .fd = -1};
}
