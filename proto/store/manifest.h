/* manifest.h - which files a checkpoint has, and what their bytes must be.
 *
 *   {"format": 1,
 *    "files": {
 *     "model.safetensors": {"size": 18393120, "xxh3": "16 lower-case hex digits"},
 *     ...},
 *    "xxh3": "16 lower-case hex digits"}
 *
 * Hashes are XXH3, 64 bits, seed 0. The last one covers every byte before its key, and the reader compares the rest
 * letter by letter. So no byte of a checkpoint can change unnoticed. Files are listed in the order they were begun. A
 * struct manifest is plain memory that its caller owns. Any thread. */
#ifndef LSTMQ_PROTO_STORE_MANIFEST_H
#define LSTMQ_PROTO_STORE_MANIFEST_H

#include "proto/base/buffer.h"

#include <stdint.h>

enum { MANIFEST_FILES = 8, MANIFEST_NAME = 64 };

#define MANIFEST_FILE "manifest.json"

struct manifest_entry {
    char name[MANIFEST_NAME];
    uint64_t size; /* bytes */
    uint64_t xxh3;
};

struct manifest {
    struct manifest_entry entries[MANIFEST_FILES];
    size_t count;
};

/* Whether a manifest can list a file of that name: letters, digits and ._- only, no leading dot, not the manifest
 * itself. */
bool manifest_name_ok(const char *name);

/* NULL: the manifest does not list the file. */
const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *name);

/* Append the manifest's text to `out`. */
void manifest_write(const struct manifest *manifest, struct buffer *out);

/* ERR_DATA with "NAME: " for any text that manifest_write does not write. */
bool manifest_read(const char *text, size_t size, const char *name, struct manifest *manifest, struct err *err);

/* Read FOLDER/manifest.json. ERR_DATA: it is missing. */
bool manifest_load(struct manifest *manifest, const char *folder, struct err *err);

/* Compare size and hash of FOLDER/NAME with the entry. ERR_DATA names the file and the difference. */
bool manifest_check(const struct manifest_entry *entry, const char *folder, struct err *err);

#endif
