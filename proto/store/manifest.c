/* manifest.c - the list of a checkpoint's files and their checksums; see manifest.h. */
#include "proto/store/manifest.h"

#include "proto/store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_MOST = 1 << 16, /* bytes; eight entries need far fewer */
    HASH_DIGITS = 16,
    TAIL = sizeof "\"xxh3\": \"0123456789abcdef\"}\n" - 1,
    CHECK_CHUNK = 1 << 20,
};

bool manifest_name_ok(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length >= MANIFEST_NAME || name[0] == '.' || strcmp(name, MANIFEST_FILE) == 0)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length;
}

const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->count; i++) {
        if (strcmp(manifest->entries[i].name, name) == 0)
            return &manifest->entries[i];
    }
    return NULL;
}

static void manifest_tail(char tail[TAIL + 1], const void *body, size_t size)
{
    snprintf(tail, TAIL + 1, "\"xxh3\": \"%016" PRIx64 "\"}\n", (uint64_t)XXH3_64bits(body, size));
}

void manifest_write(const struct manifest *manifest, struct buffer *out)
{
    size_t begin = out->size;
    buffer_format(out, "{\"format\": %d,\n \"files\": {", MANIFEST_FORMAT);
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        buffer_format(out, "%s\n  \"%s\": {\"size\": %" PRIu64 ", \"xxh3\": \"%016" PRIx64 "\"}", i > 0 ? "," : "",
                      entry->name, entry->size, entry->xxh3);
    }
    buffer_text(out, "},\n ");
    if (out->failed)
        return;
    char tail[TAIL + 1];
    manifest_tail(tail, out->data + begin, out->size - begin);
    buffer_text(out, tail);
}

static bool manifest_hash_text(const char *text, uint64_t *hash)
{
    if (strlen(text) != HASH_DIGITS || strspn(text, "0123456789abcdef") != HASH_DIGITS)
        return false;
    *hash = strtoull(text, NULL, 16);
    return true;
}

static bool manifest_entry_read(const char *file, json_t *about, const char *name, struct manifest *manifest,
                                struct err *err)
{
    if (!manifest_name_ok(file))
        return err_set(err, ERR_DATA, "%s: \"%.80s\" is not the name of a checkpoint's file", name, file);
    if (manifest->count == MANIFEST_FILES)
        return err_set(err, ERR_DATA, "%s: more than %d files", name, MANIFEST_FILES);
    struct manifest_entry *entry = &manifest->entries[manifest->count];
    json_t *size = json_object_get(about, "size");
    const char *hash = json_string_value(json_object_get(about, "xxh3"));
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return err_set(err, ERR_DATA, "%s: %s: \"size\" is not a number of bytes", name, file);
    if (hash == NULL || !manifest_hash_text(hash, &entry->xxh3))
        return err_set(err, ERR_DATA, "%s: %s: \"xxh3\" is not 16 hexadecimal digits", name, file);
    strcpy(entry->name, file);
    entry->size = (uint64_t)json_integer_value(size);
    manifest->count++;
    return true;
}

static bool manifest_files_read(json_t *root, const char *name, struct manifest *manifest, struct err *err)
{
    json_t *format = json_object_get(root, "format");
    json_t *files = json_object_get(root, "files");
    if (!json_is_integer(format) || json_integer_value(format) != MANIFEST_FORMAT)
        return err_set(err, ERR_DATA, "%s: \"format\" is not %d (a newer lstmq may have written this)", name,
                       MANIFEST_FORMAT);
    if (!json_is_object(files))
        return err_set(err, ERR_DATA, "%s: \"files\" is missing or not an object", name);
    const char *file;
    json_t *about;
    json_object_foreach(files, file, about)
    {
        if (!manifest_entry_read(file, about, name, manifest, err))
            return false;
    }
    return true;
}

/* Accept only the text that manifest_write produces, so that each byte has one meaning. */
static bool manifest_compare_written(const char *text, size_t size, const char *name, const struct manifest *manifest,
                                     struct err *err)
{
    struct buffer written = {0};
    manifest_write(manifest, &written);
    bool ok = buffer_ok(&written, err) || err_context(err, "%s", name);
    if (ok && (written.size != size || memcmp(written.data, text, size) != 0))
        ok = err_set(err, ERR_DATA, "%s: its text does not have the form of a checkpoint's manifest", name);
    buffer_free(&written);
    return ok;
}

bool manifest_read(const char *text, size_t size, const char *name, struct manifest *manifest, struct err *err)
{
    char tail[TAIL + 1];
    *manifest = (struct manifest){0};
    if (size < TAIL)
        return err_set(err, ERR_DATA, "%s: cut short: %zu bytes", name, size);
    manifest_tail(tail, text, size - TAIL);
    if (memcmp(text + size - TAIL, tail, TAIL) != 0)
        return err_set(err, ERR_DATA, "%s: damaged: it does not end with the checksum of its own content", name);
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return err_set(err, ERR_DATA, "%s:%d: %s", name, error.line, error.text);
    bool ok =
        manifest_files_read(root, name, manifest, err) && manifest_compare_written(text, size, name, manifest, err);
    json_decref(root);
    return ok;
}

bool manifest_load(struct manifest *manifest, const char *folder, struct err *err)
{
    char path[FILE_PATH];
    if (!path_join(path, folder, MANIFEST_FILE, err))
        return false;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return err_set(err, ERR_DATA, "%s: missing", path);
    struct buffer text = {0};
    bool ok = file_read(path, MANIFEST_MOST, &text, err) &&
              manifest_read(text.data == NULL ? "" : text.data, text.size, path, manifest, err);
    buffer_free(&text);
    return ok;
}

/* Hash the rest of the file, and return its size. */
static bool manifest_hash_file(int fd, const char *path, uint64_t *hash, uint64_t *size, struct err *err)
{
    XXH3_state_t *state = XXH3_createState();
    char *chunk = malloc(CHECK_CHUNK);
    bool ok = state != NULL && chunk != NULL && XXH3_64bits_reset(state) == XXH_OK;
    if (!ok)
        err_set(err, ERR_MEMORY, "%s: out of memory for its checksum", path);
    *size = 0;
    while (ok) {
        size_t got;
        ok = file_read_some(fd, path, chunk, CHECK_CHUNK, &got, err);
        if (!ok || got == 0)
            break;
        XXH3_64bits_update(state, chunk, got);
        *size += got;
    }
    if (ok)
        *hash = XXH3_64bits_digest(state);
    free(chunk);
    XXH3_freeState(state);
    return ok;
}

static bool manifest_check_open(int fd, const char *path, const struct manifest_entry *entry, struct err *err)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return err_errno(err, ERR_IO, "%s: cannot stat", path);
    if (!S_ISREG(about.st_mode))
        return err_set(err, ERR_DATA, "%s: not a plain file", path);
    uint64_t size = (uint64_t)about.st_size;
    uint64_t hash = 0;
    if (size == entry->size && !manifest_hash_file(fd, path, &hash, &size, err))
        return false;
    if (size != entry->size)
        return err_set(err, ERR_DATA, "%s: damaged: %" PRIu64 " bytes instead of %" PRIu64, path, size, entry->size);
    if (hash != entry->xxh3)
        return err_set(err, ERR_DATA, "%s: damaged: checksum %016" PRIx64 " instead of %016" PRIx64, path, hash,
                       entry->xxh3);
    return true;
}

bool manifest_check(const struct manifest_entry *entry, const char *folder, struct err *err)
{
    char path[FILE_PATH];
    if (!path_join(path, folder, entry->name, err))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: a FIFO under that name must not block the
                                                             * reader */
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_DATA, "%s: missing", path);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open", path);
    bool ok = manifest_check_open(fd, path, entry, err);
    close(fd);
    return ok;
}
