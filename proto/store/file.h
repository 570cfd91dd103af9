/* file.h - whole files, written so that a crash leaves the old one or the new one.
 *
 * A file or folder is written under a temporary name beside its final one, fsynced, renamed, and its parent fsynced. A
 * failed fsync is a failed write: the temporary is removed and the error names it. The temporary of NAME is
 * .NAME.partial: one writer at a time for a path, and what a crash left there is written over. Any thread. */
#ifndef LSTMQ_PROTO_STORE_FILE_H
#define LSTMQ_PROTO_STORE_FILE_H

#include "proto/base/buffer.h"

#include <stdint.h>

enum { FILE_PATH = 4096 }; /* longest path, its NUL included */

/* "FOLDER/NAME" into `path`. ERR_IO when it does not fit. */
bool path_join(char path[FILE_PATH], const char *folder, const char *name, struct err *err);

/* The folder part of a path: "." where it has none. */
bool path_parent(char parent[FILE_PATH], const char *path, struct err *err);

/* Write all of `bytes` to a descriptor, however often write(2) stops short. errno is set on failure. */
bool file_write_all(int fd, const void *bytes, size_t size);

/* fsync and close, both checked; the descriptor is closed in any case. errno is set on failure. */
bool file_sync_close(int fd);

/* Up to `size` bytes of a descriptor, as read(2) gives them; *got is 0 at the end. ERR_IO names `path`. */
bool file_read_some(int fd, const char *path, void *bytes, size_t size, size_t *got, struct err *err);

/* Append a whole file to `out`. ERR_IO when it cannot be read, ERR_DATA when it is larger than `most` bytes. */
bool file_read(const char *path, size_t most, struct buffer *out, struct err *err);

/* Write `bytes` to `path` as described above. */
bool file_write_atomic(const char *path, const void *bytes, size_t size, struct err *err);

/* Append to a log-like file (metrics.jsonl) and fsync it. When the bytes do not all fit, none of them stay. */
bool file_append(const char *path, const void *bytes, size_t size, struct err *err);

/* mkdir -p. */
bool folder_make(const char *path, struct err *err);

/* fsync a folder, so that names made or renamed in it are durable. */
bool folder_sync(const char *path, struct err *err);

/* Remove a folder and the files and folders in it. A folder that is not there is no error. */
bool folder_remove(const char *path, struct err *err);

/* Point the symbolic link `path` at `target` (relative) atomically. */
bool link_replace(const char *path, const char *target, struct err *err);

#endif
