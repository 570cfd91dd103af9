/* cache.h - the folder in which a host keeps checkpoints that were fetched from a queue.
 *
 *   CACHE/0123456789abcdef/             a checkpoint, under the XXH3 of its manifest.json
 *   CACHE/.0123456789abcdef.PID.partial one that a worker is fetching
 *
 * Workers of a host share it without a lock: a checkpoint gets its name by a rename. Of two workers that fetch the same
 * one, the second drops its copy. A user verifies an entry when it opens it, as any checkpoint. The newest CACHE_KEEP
 * entries stay; one that was opened counts as new. An entry that is removed while another worker opens it is fetched
 * again. Keeps no state; loader thread. */
#ifndef LSTMQ_WORKER_SERVE_CACHE_H
#define LSTMQ_WORKER_SERVE_CACHE_H

#include "proto/store/file.h"

enum { CACHE_KEEP = 4 };

/* `option` is serve.cache; "" = lstmq in the user's cache folder. ERR_USAGE: the user has no such folder. */
bool cache_locate(char folder[FILE_PATH], const char *option, struct err *err);

/* The path of an entry, and of the folder in which this process prepares it. */
bool cache_entry(char path[FILE_PATH], const char *folder, uint64_t manifest, struct err *err);
bool cache_partial(char path[FILE_PATH], const char *folder, uint64_t manifest, struct err *err);

/* Give the prepared checkpoint its name, and remove what is old. */
bool cache_keep(const char *folder, uint64_t manifest, struct err *err);

/* Count an entry as new. False: it does not exist. */
bool cache_use(const char *path);

#endif
