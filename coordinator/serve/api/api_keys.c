/* api_keys.c - see api_keys.h. */
#include "coordinator/serve/api/api_keys.h"

#include "proto/base/log.h"
#include "proto/store/file.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

enum { KEYS_FILE = 16 << 20, KEYS_KEY = 512, KEYS_EVERY_MS = 100 };

struct api_keys {
    const char *path;
    uint64_t seed;
    struct buffer text; /* the file */
    struct buffer of;   /* struct api_key each, in order of id */
    struct stat seen;   /* of the file that was read or refused last */
    int64_t checked_ms;
};

static struct api_key *keys_at(const struct buffer *of, size_t index)
{
    return (struct api_key *)(void *)of->data + index;
}

static size_t keys_count(const struct buffer *of)
{
    return of->size / sizeof(struct api_key);
}

static int keys_order(const void *one, const void *other)
{
    uint64_t first = ((const struct api_key *)one)->id, second = ((const struct api_key *)other)->id;
    return first < second ? -1 : first > second;
}

/* The next word of a line; its size, 0 at the end. */
static size_t keys_word(const char **at, const char *end)
{
    while (*at < end && isspace((unsigned char)**at))
        ++*at;
    size_t size = 0;
    while (*at + size < end && !isspace((unsigned char)(*at)[size]))
        size++;
    return size;
}

/* Take a number or "-" at *at; `none` is what an absent one means. */
static bool keys_number(const char **at, const char *end, int64_t none, int64_t *value)
{
    size_t size = keys_word(at, end);
    *value = none;
    if (size == 0 || (size == 1 && **at == '-')) {
        *at += size;
        return true;
    }
    *value = 0;
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)(*at)[i]) || i == 9)
            return false;
        *value = *value * 10 + ((*at)[i] - '0');
    }
    *at += size;
    return true;
}

static bool keys_line(const struct api_keys *keys, const char *text, const char *line, const char *end,
                      struct buffer *of, struct err *err)
{
    struct api_key key = {0};
    int64_t requests;
    key.size = keys_word(&line, end);
    if (key.size == 0 || *line == '#')
        return true;
    for (size_t i = 0; i < key.size; i++)
        if (!isgraph((unsigned char)line[i]))
            return err_set(err, ERR_DATA, "a key must be of ASCII letters, digits and signs");
    if (key.size > KEYS_KEY)
        return err_set(err, ERR_DATA, "a key has at most %d bytes", KEYS_KEY);
    key.at = (size_t)(line - text);
    key.id = XXH3_64bits_withSeed(line, key.size, keys->seed);
    line += key.size;
    if (!keys_number(&line, end, 0, &requests) || !keys_number(&line, end, -1, &key.characters))
        return err_set(err, ERR_DATA, "a limit must be a whole number below 1000000000, or -");
    key.requests = (uint32_t)requests;
    size_t size = keys_word(&line, end);
    if (size > API_KEY_NAME)
        return err_set(err, ERR_DATA, "a name has at most %d bytes", API_KEY_NAME);
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)line[i]) && !strchr("-_.@", line[i]))
            return err_set(err, ERR_DATA, "a name must be of ASCII letters, digits and - _ . @");
    snprintf(key.name, sizeof key.name, "%.*s", (int)size, line);
    if (size == 0)
        snprintf(key.name, sizeof key.name, "%08x", (unsigned)(key.id >> 32));
    line += size;
    if (keys_word(&line, end) > 0)
        return err_set(err, ERR_DATA, "a line is KEY [REQUESTS] [CHARACTERS] [NAME]");
    buffer_append(of, &key, sizeof key);
    return true;
}

static bool keys_read_lines(const struct api_keys *keys, const struct buffer *text, struct buffer *of, struct err *err)
{
    const char *line = text->data, *end = line ? line + text->size : NULL;
    for (unsigned number = 1; line < end; number++) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        if (!line_end)
            line_end = end;
        if (!keys_line(keys, text->data, line, line_end, of, err))
            return err_context(err, "%s:%u", keys->path, number);
        line = line_end + 1;
    }
    if (!buffer_ok(of, err))
        return false;
    if (of->size > 0)
        qsort(of->data, keys_count(of), sizeof(struct api_key), keys_order);
    for (size_t i = 1; i < keys_count(of); i++)
        if (keys_at(of, i - 1)->id == keys_at(of, i)->id)
            return err_set(err, ERR_DATA, "%s: the key %s is there twice", keys->path, keys_at(of, i)->name);
    return true;
}

static bool keys_read(struct api_keys *keys, struct err *err)
{
    struct buffer text = {0}, of = {0};
    if (stat(keys->path, &keys->seen) != 0)
        return err_errno(err, ERR_IO, "%s", keys->path);
    if (keys->seen.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(err, ERR_USAGE, "%s: other users can write to it; chmod go-w", keys->path);
    if (!file_read(keys->path, KEYS_FILE, &text, err) || !keys_read_lines(keys, &text, &of, err)) {
        buffer_free(&text);
        buffer_free(&of);
        return false;
    }
    buffer_free(&keys->text);
    buffer_free(&keys->of);
    keys->text = text;
    keys->of = of;
    return true;
}

struct api_keys *api_keys_open(const char *path, uint64_t seed, struct err *err)
{
    struct api_keys *keys = calloc(1, sizeof *keys);
    if (!keys) {
        err_set(err, ERR_MEMORY, "out of memory for API keys");
        return NULL;
    }
    keys->path = path;
    keys->seed = seed;
    if (!keys_read(keys, err))
        api_keys_close(&keys);
    return keys;
}

void api_keys_close(struct api_keys **keys)
{
    if (*keys) {
        buffer_free(&(*keys)->text);
        buffer_free(&(*keys)->of);
    }
    free(*keys);
    *keys = NULL;
}

static bool keys_changed(const struct api_keys *keys, const struct stat *now)
{
    const struct stat *seen = &keys->seen;
    return now->st_ino != seen->st_ino || now->st_size != seen->st_size || now->st_mode != seen->st_mode ||
           now->st_mtim.tv_sec != seen->st_mtim.tv_sec || now->st_mtim.tv_nsec != seen->st_mtim.tv_nsec;
}

void api_keys_refresh(struct api_keys *keys, int64_t now_ms)
{
    struct stat now;
    struct err err = {0};
    if (now_ms - keys->checked_ms < KEYS_EVERY_MS)
        return;
    keys->checked_ms = now_ms;
    if (stat(keys->path, &now) == 0 && !keys_changed(keys, &now))
        return;
    bool was_there = keys->seen.st_ino != 0;
    if (keys_read(keys, &err)) {
        log_event(LOG_INFO, "api_keys_read", LOG_FIELDS(LOG_COUNT("keys", keys_count(&keys->of))),
                  "read %zu API keys of %s", keys_count(&keys->of), keys->path);
        return;
    }
    if (stat(keys->path, &now) != 0) {
        keys->seen = (struct stat){0};
        if (!was_there)
            return;
    }
    log_event(LOG_WARN, "api_keys_refused", LOG_FIELDS(LOG_TEXT("reason", err.text)), "API keys stay as they were: %s",
              err.text);
}

const struct api_key *api_keys_find(const struct api_keys *keys, const char *key, size_t size)
{
    struct api_key wanted = {.id = XXH3_64bits_withSeed(key, size, keys->seed)};
    const struct api_key *found =
        keys->of.size > 0 ? bsearch(&wanted, keys->of.data, keys_count(&keys->of), sizeof wanted, keys_order) : NULL;
    if (!found || found->size != size)
        return NULL;
    /* The time of the comparison does not depend on the bytes. */
    unsigned char differs = 0;
    for (size_t i = 0; i < size; i++)
        differs |= (unsigned char)(keys->text.data[found->at + i] ^ key[i]);
    return differs ? NULL : found;
}
