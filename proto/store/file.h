/* file.h - whole files, written so that a crash leaves the old one or the new one.
 *
 * A file or folder is written under a temporary name beside its final one, synced, and renamed; then its parent is
 * synced. A failed fsync is a failed write: the temporary file is removed and the error names it. The temporary name of
 * NAME is .NAME.partial, so a path has one writer at a time. The next write replaces what a crash left there. Keeps no
 * state; any thread. */
#ifndef LSTMQ_PROTO_STORE_FILE_H
#define LSTMQ_PROTO_STORE_FILE_H

#include "proto/base/buffer.h"

#include <stdint.h>

enum { FILE_PATH = 4096 }; /* longest path, its NUL included */

/* Write "FOLDER/NAME" into `path`. ERR_IO: it does not fit. */
bool path_join(char path[FILE_PATH], const char *folder, const char *name, struct err *err);

/* The folder part of a path; "." if it has none. */
bool path_parent(char parent[FILE_PATH], const char *path, struct err *err);

/* Write all of `bytes` to a descriptor, with as many calls of write(2) as that takes. Sets errno on failure. */
bool file_write_all(int fd, const void *bytes, size_t size);

/* fsync and close, both checked. Always closes the descriptor. Sets errno on failure. */
bool file_sync_close(int fd);

/* Read up to `size` bytes of a descriptor; *got is 0 at the end. ERR_IO names `path`. */
bool file_read_some(int fd, const char *path, void *bytes, size_t size, size_t *got, struct err *err);

/* Append a whole file to `out`. ERR_IO: it cannot be read. ERR_DATA: it is larger than `most` bytes. */
bool file_read(const char *path, size_t most, struct buffer *out, struct err *err);

/* Map a whole file for reading. Processes that map it share its memory. It must not be truncated meanwhile: files that
 * are replaced by a rename never are. *bytes is NULL for an empty file. Ends with file_unmap. */
bool file_map(const char *path, const void **bytes, size_t *size, struct err *err);
void file_unmap(const void *bytes, size_t size);

/* Write `bytes` to `path` through a temporary file. */
bool file_write_atomic(const char *path, const void *bytes, size_t size, struct err *err);

/* Append to a log-like file (metrics.jsonl) and sync it. If the bytes do not all fit, none of them stays. */
bool file_append(const char *path, const void *bytes, size_t size, struct err *err);

/* mkdir -p. */
bool folder_make(const char *path, struct err *err);

/* Sync a folder, so that its new names are durable. */
bool folder_sync(const char *path, struct err *err);

/* Remove a folder with all its files and folders. A missing folder is no error. */
bool folder_remove(const char *path, struct err *err);

/* Point the symbolic link `path` at `target` (relative) atomically. */
bool link_replace(const char *path, const char *target, struct err *err);

#endif
