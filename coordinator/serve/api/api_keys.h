/* api_keys.h - the API keys of a server, with their limits.
 *
 * They come from a file: `KEY [REQUESTS] [CHARACTERS] [NAME]` on a line, where REQUESTS is a limit for each minute,
 * CHARACTERS one for each text, and "-" leaves a value out. Lines that begin with # are comments. The file is looked at
 * ten times a second at most, when requests arrive, so changes take effect at once. A change that cannot be read is
 * logged once, and the keys stay as they were. Keys themselves are never logged; a key is called by its NAME or by a
 * number that differs at each start. Owned by the API. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_API_KEYS_H
#define LSTMQ_COORDINATOR_SERVE_API_API_KEYS_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { API_KEY_NAME = 32 };

struct api_keys;

struct api_key {
    uint64_t id;                 /* a hash with the server's own seed */
    char name[API_KEY_NAME + 1]; /* for people */
    uint32_t requests;           /* within a minute; 0 = no limit */
    int64_t characters;          /* of a text; 0 = no limit, -1 = as without a key */
    size_t at, size;             /* where the key is */
};

/* ERR_IO: the file cannot be read. ERR_USAGE: other users can write to it. ERR_DATA with "FILE:LINE: ": not such a
 * line. */
struct api_keys *api_keys_open(const char *path, uint64_t seed, struct err *err);
void api_keys_close(struct api_keys **keys);

/* Read the file again if it has changed. */
void api_keys_refresh(struct api_keys *keys, int64_t now_ms);

/* The entry of a key; NULL: unknown. Valid until the next refresh. */
const struct api_key *api_keys_find(const struct api_keys *keys, const char *key, size_t size);

#endif
