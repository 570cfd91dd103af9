/* cache.c - names, renames, and the removal of old checkpoints; see cache.h. */
#include "worker/serve/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CACHE_NAME = 64,
    CACHE_HASH = 16,             /* digits */
    CACHE_FOUND = 1024,          /* entries looked at */
    CACHE_STALE_S = 24 * 60 * 60 /* a partial folder that no worker still fills */
};

struct cache_entry {
    char name[CACHE_NAME];
    struct timespec used;
};

bool cache_locate(char folder[FILE_PATH], const char *option, struct err *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length;
    if (option[0] != '\0')
        length = snprintf(folder, FILE_PATH, "%s", option);
    else if (cache != NULL && cache[0] == '/')
        length = snprintf(folder, FILE_PATH, "%s/lstmq", cache);
    else if (home != NULL && home[0] == '/')
        length = snprintf(folder, FILE_PATH, "%s/.cache/lstmq", home);
    else
        return err_set(err, ERR_USAGE,
                       "no folder for checkpoints from the queue: this user has no home; give "
                       "--serve.cache FOLDER");
    return length < FILE_PATH || err_set(err, ERR_USAGE, "serve.cache: a path of more than %d bytes", FILE_PATH - 1);
}

bool cache_entry(char path[FILE_PATH], const char *folder, uint64_t manifest, struct err *err)
{
    char name[CACHE_NAME];
    snprintf(name, sizeof name, "%016" PRIx64, manifest);
    return path_join(path, folder, name, err);
}

bool cache_partial(char path[FILE_PATH], const char *folder, uint64_t manifest, struct err *err)
{
    char name[CACHE_NAME];
    snprintf(name, sizeof name, ".%016" PRIx64 ".%ld.partial", manifest, (long)getpid());
    return path_join(path, folder, name, err);
}

static bool cache_is_entry(const char *name)
{
    return strlen(name) == CACHE_HASH && strspn(name, "0123456789abcdef") == CACHE_HASH;
}

static bool cache_is_partial(const char *name)
{
    size_t length = strlen(name), suffix = strlen(".partial");
    return name[0] == '.' && length > CACHE_HASH + suffix && strspn(name + 1, "0123456789abcdef") == CACHE_HASH &&
           strcmp(name + length - suffix, ".partial") == 0;
}

static int cache_by_use(const void *a, const void *b)
{
    const struct timespec *x = &((const struct cache_entry *)a)->used, *y = &((const struct cache_entry *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? 1 : -1;
    return x->tv_nsec == y->tv_nsec ? 0 : x->tv_nsec < y->tv_nsec ? 1 : -1;
}

static void cache_remove(const char *folder, const char *name)
{
    char path[FILE_PATH];
    if (path_join(path, folder, name, NULL))
        folder_remove(path, NULL);
}

/* Best effort: what cannot be removed now is tried again with the next checkpoint. */
static void cache_sweep(const char *folder)
{
    struct cache_entry *found = calloc(CACHE_FOUND, sizeof *found);
    DIR *open = found != NULL ? opendir(folder) : NULL;
    size_t count = 0;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (struct dirent *entry; open != NULL && count < CACHE_FOUND && (entry = readdir(open)) != NULL;) {
        struct stat about;
        bool partial = cache_is_partial(entry->d_name);
        if ((!partial && !cache_is_entry(entry->d_name)) || strlen(entry->d_name) >= CACHE_NAME ||
            fstatat(dirfd(open), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (partial && now.tv_sec - about.st_mtim.tv_sec > CACHE_STALE_S)
            cache_remove(folder, entry->d_name);
        if (partial)
            continue;
        strcpy(found[count].name, entry->d_name);
        found[count++].used = about.st_mtim;
    }
    if (open != NULL)
        closedir(open);
    if (count > 0)
        qsort(found, count, sizeof *found, cache_by_use);
    for (size_t i = CACHE_KEEP; i < count; i++)
        cache_remove(folder, found[i].name);
    free(found);
}

bool cache_use(const char *path)
{
    return utimensat(AT_FDCWD, path, NULL, 0) == 0;
}

bool cache_keep(const char *folder, uint64_t manifest, struct err *err)
{
    char partial[FILE_PATH], entry[FILE_PATH];
    if (!cache_partial(partial, folder, manifest, err) || !cache_entry(entry, folder, manifest, err))
        return false;
    if (rename(partial, entry) != 0) {
        if (errno != EEXIST && errno != ENOTEMPTY)
            return err_errno(err, ERR_IO, "%s: cannot rename to %s", partial, entry);
        folder_remove(partial, NULL); /* another worker was faster */
    }
    cache_use(entry);
    cache_sweep(folder);
    return true;
}
