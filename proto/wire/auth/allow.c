/* allow.c - the allow-list: read completely, sorted by key, read again when names, sizes or times have changed. */
#include "proto/wire/auth/allow.h"

#include "proto/base/buffer.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_MOST = 4096, FILE_MOST = 16 << 20, KEYS_MOST = 100000, LOOKS_A_SECOND = 10 };

/* A file may change twice without a new time stamp: some file systems count in steps of 2 s. So a file that changed
 * this recently is read again. */
enum { FRESH_S = 3 };

struct keys {
    struct curve_public *all; /* sorted by key after reading */
    size_t count, capacity;
};

struct allow {
    char path[PATH_MOST];
    struct keys keys;
    uint64_t state;    /* of the files at the last reading, even if it failed */
    bool fresh;        /* the files had changed less than FRESH_S before */
    int64_t second_ms; /* when the current second of looks began, monotonic clock */
    unsigned looks;    /* in that second */
};

/* ---- reading ---- */

static bool allow_add(struct keys *keys, const struct curve_public *public, struct err *err)
{
    if (keys->count == KEYS_MOST)
        return err_set(err, ERR_DATA, "more than %d keys", KEYS_MOST);
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity == 0 ? 16 : keys->capacity * 2;
        struct curve_public *all = realloc(keys->all, capacity * sizeof *all);
        if (all == NULL)
            return err_set(err, ERR_MEMORY, "out of memory for %zu keys", capacity);
        keys->all = all;
        keys->capacity = capacity;
    }
    keys->all[keys->count++] = *public;
    return true;
}

static bool allow_parse(const char *path, char *text, struct keys *keys, struct err *err)
{
    for (size_t number = 1; text != NULL; number++) {
        char *line = text, *end = strpbrk(text, "\r\n");
        text = end == NULL ? NULL : end + (end[0] == '\r' && end[1] == '\n' ? 2 : 1);
        if (end != NULL)
            *end = '\0';
        line += strspn(line, " \t\r");
        struct curve_public public;
        if (*line == '\0' || *line == '#')
            continue;
        if (!curve_check_public(path, line, err) || !curve_parse_public(line, &public, err) ||
            !allow_add(keys, &public, err))
            return err_context(err, "line %zu", number);
    }
    return true;
}

/* A list that other users can write to protects nothing. */
static bool allow_safe(const char *path, const struct stat *about, struct err *err)
{
    if ((about->st_mode & S_IWOTH) == 0)
        return true;
    return err_set(err, ERR_USAGE, "%s: other users can write to it; run: chmod o-w %s", path, path);
}

/* Read a whole regular file as a string. */
static bool allow_slurp(int fd, const char *path, struct buffer *text, struct err *err)
{
    struct stat about;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size > FILE_MOST)
        return err_set(err, ERR_DATA, "%s: not a file of keys", path);
    if (!allow_safe(path, &about, err))
        return false;
    size_t space = (size_t)about.st_size + 1;
    char *bytes = buffer_reserve(text, space);
    ssize_t got = bytes == NULL ? 0 : read(fd, bytes, space);
    if (got < 0)
        return err_errno(err, ERR_IO, "%s: cannot read", path);
    text->size = (size_t)got;
    buffer_text(text, "");
    if (!buffer_ok(text, err))
        return err_context(err, "%s", path);
    return strlen(text->data) == text->size || err_set(err, ERR_DATA, "%s: not a file of keys", path);
}

static bool allow_read_file(const char *path, struct keys *keys, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, ERR_USAGE, "%s: cannot open", path);
    struct buffer text = {0};
    bool ok =
        allow_slurp(fd, path, &text, err) && (allow_parse(path, text.data, keys, err) || err_context(err, "%s", path));
    close(fd);
    buffer_free(&text);
    return ok;
}

static int allow_is_public(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return entry->d_name[0] != '.' && size > 4 && strcmp(entry->d_name + size - 4, ".pub") == 0;
}

/* Call `each` on the path of every .pub file of the folder, in order of name; or on `path`, if it is a file. */
static bool allow_walk(const char *path, bool (*each)(const char *path, void *context, struct err *err), void *context,
                       struct err *err)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return err_errno(err, ERR_USAGE, "%s: cannot read the list of keys", path);
    if (!S_ISDIR(about.st_mode))
        return each(path, context, err);
    struct dirent **entries;
    int count = allow_safe(path, &about, err) ? scandir(path, &entries, allow_is_public, alphasort) : -2;
    if (count < 0)
        return count == -1 ? err_errno(err, ERR_IO, "%s: cannot read the list of keys", path) : false;
    bool ok = true;
    for (int i = 0; i < count; i++) {
        char file[PATH_MOST];
        int length = snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        ok = ok &&
             (length < PATH_MOST ? each(file, context, err) : err_set(err, ERR_USAGE, "%s: too long a path", path));
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static bool allow_read_each(const char *path, void *keys, struct err *err)
{
    return allow_read_file(path, keys, err);
}

static int allow_by_key(const void *a, const void *b)
{
    return strcmp(((const struct curve_public *)a)->key, ((const struct curve_public *)b)->key);
}

static bool allow_read(const char *path, struct keys *keys, struct err *err)
{
    *keys = (struct keys){0};
    bool ok = allow_walk(path, allow_read_each, keys, err);
    if (ok && keys->count > 0)
        qsort(keys->all, keys->count, sizeof *keys->all, allow_by_key);
    for (size_t i = 1; ok && i < keys->count; i++) {
        const struct curve_public *a = &keys->all[i - 1], *b = &keys->all[i];
        if (strcmp(a->key, b->key) == 0 && a->role != b->role)
            ok = err_set(err, ERR_DATA, "%s: one key is listed as %s (role %s) and as %s (role %s)", path, a->name,
                         curve_role_name(a->role), b->name, curve_role_name(b->role));
    }
    if (!ok)
        free(keys->all);
    return ok;
}

/* ---- what has changed ---- */

/* Names, sizes and times of all files. */
struct traits {
    uint64_t state; /* as one number; 0 = the list does not exist */
    time_t newest;  /* time of the last change */
};

/* FNV-1a (Fowler, Noll, Vo). */
static void allow_mix(uint64_t *state, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *state = (*state ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
}

static bool allow_mix_each(const char *path, void *context, struct err *err)
{
    struct traits *found = context;
    struct stat about;
    (void)err;
    allow_mix(&found->state, path, strlen(path) + 1);
    if (stat(path, &about) != 0)
        return true;
    const int64_t traits[] = {(int64_t)about.st_ino, about.st_size,        about.st_mtim.tv_sec,
                              about.st_mtim.tv_nsec, about.st_ctim.tv_sec, about.st_ctim.tv_nsec};
    allow_mix(&found->state, traits, sizeof traits);
    if (about.st_ctim.tv_sec > found->newest)
        found->newest = about.st_ctim.tv_sec;
    return true;
}

static struct traits allow_traits(const char *path)
{
    struct traits found = {.state = 0xcbf29ce484222325};
    return allow_walk(path, allow_mix_each, &found, NULL) ? found : (struct traits){0};
}

/* Note the files' traits before reading them, so that a change during the reading is read again. */
static void allow_note(struct allow *allow, const struct traits *found)
{
    allow->state = found->state;
    allow->fresh = found->newest + FRESH_S >= time(NULL);
}

static bool allow_same(const struct keys *a, const struct keys *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->all[i].key, b->all[i].key) != 0 || strcmp(a->all[i].name, b->all[i].name) != 0 ||
            a->all[i].role != b->all[i].role)
            return false;
    return a->count == b->count;
}

void allow_refresh(struct allow *allow)
{
    struct traits found = allow_traits(allow->path);
    bool changed = found.state != allow->state;
    if (!changed && !allow->fresh)
        return;
    allow_note(allow, &found);
    struct keys keys;
    struct err err = {0};
    if (!allow_read(allow->path, &keys, &err)) {
        if (changed)
            log_event(LOG_WARN, "keys_unreadable",
                      LOG_FIELDS(LOG_TEXT("path", allow->path), LOG_TEXT("reason", err.text)),
                      "%s; the list of keys stays as it was", err.text);
        return;
    }
    changed = changed || !allow_same(&keys, &allow->keys);
    free(allow->keys.all);
    allow->keys = keys;
    if (changed)
        log_event(LOG_INFO, "keys_read", LOG_FIELDS(LOG_TEXT("path", allow->path), LOG_COUNT("keys", keys.count)),
                  "%s: read again, %zu keys", allow->path, keys.count);
}

/* allow_refresh, at most LOOKS_A_SECOND times a second. */
static void allow_look(struct allow *allow)
{
    int64_t now = clock_ms();
    if (now - allow->second_ms >= 1000) {
        allow->second_ms = now;
        allow->looks = 0;
    }
    if (allow->looks++ < LOOKS_A_SECOND)
        allow_refresh(allow);
}

/* ---- public ---- */

struct allow *allow_open(const char *path, struct err *err)
{
    struct allow *allow = calloc(1, sizeof *allow);
    if (allow == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for a list of keys");
        return NULL;
    }
    int length = snprintf(allow->path, sizeof allow->path, "%s", path);
    bool ok = length < PATH_MOST || err_set(err, ERR_USAGE, "a path of more than %d bytes", PATH_MOST - 1);
    struct traits found = ok ? allow_traits(path) : (struct traits){0};
    allow_note(allow, &found);
    if (!ok || !allow_read(path, &allow->keys, err)) {
        free(allow);
        return NULL;
    }
    allow->second_ms = clock_ms();
    return allow;
}

void allow_close(struct allow **allow)
{
    if (*allow == NULL)
        return;
    free((*allow)->keys.all);
    free(*allow);
    *allow = NULL;
}

static const struct curve_public *allow_find_key(const struct allow *allow, const char *key)
{
    struct curve_public wanted;
    if (allow->keys.count == 0 || strlen(key) >= CURVE_KEY)
        return NULL;
    snprintf(wanted.key, sizeof wanted.key, "%s", key);
    return bsearch(&wanted, allow->keys.all, allow->keys.count, sizeof wanted, allow_by_key);
}

const struct curve_public *allow_find(struct allow *allow, const char *key)
{
    allow_look(allow);
    return allow_find_key(allow, key);
}

bool allow_has(const struct allow *allow, const char *key, const char *role)
{
    const struct curve_public *known = allow_find_key(allow, key);
    return known != NULL && strcmp(curve_role_name(known->role), role) == 0;
}

size_t allow_count(const struct allow *allow)
{
    return allow->keys.count;
}
