/* steps.c - build and parse the names of checkpoints; see steps.h. */
#include "proto/store/steps.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void step_name(char name[STEP_NAME], uint64_t step, enum step_kind kind)
{
    const char *before = kind == STEP_PARTIAL ? "." : "";
    const char *after = kind == STEP_PARTIAL ? ".partial" : kind == STEP_REPLACED ? ".replaced" : "";
    snprintf(name, STEP_NAME, "%sstep-%08" PRIu64 "%s", before, step, after);
}

bool step_parse(const char *name, struct step_folder *folder)
{
    const char *digits = strstr(name, "step-");
    if (digits == NULL)
        return false;
    digits += strlen("step-");
    if (*digits < '0' || *digits > '9')
        return false;
    errno = 0;
    uint64_t step = strtoull(digits, NULL, 10);
    if (errno != 0)
        return false;
    for (int kind = STEP_COMMITTED; kind <= STEP_PARTIAL; kind++) {
        step_name(folder->name, step, (enum step_kind)kind);
        if (strcmp(folder->name, name) == 0) {
            folder->step = step;
            folder->kind = (enum step_kind)kind;
            return true;
        }
    }
    return false;
}

bool step_path(char path[FILE_PATH], const char *run, uint64_t step, enum step_kind kind, struct err *err)
{
    char name[STEP_NAME];
    step_name(name, step, kind);
    return path_join(path, run, name, err);
}

bool step_retire(const char *run, const struct step_folder *folder, struct err *err)
{
    char path[FILE_PATH], partial[FILE_PATH];
    if (!path_join(path, run, folder->name, err) || !step_path(partial, run, folder->step, STEP_PARTIAL, err))
        return false;
    if (folder->kind != STEP_PARTIAL) {
        if (!folder_remove(partial, err))
            return false;
        if (rename(path, partial) != 0)
            return err_errno(err, ERR_IO, "%s: cannot rename", path);
    }
    return folder_remove(partial, err);
}

/* In any form of the link: relative, absolute, with a trailing slash. */
bool step_is_linked(const char *run, const char *link, const char *name)
{
    char path[FILE_PATH], folder[FILE_PATH];
    struct stat itself, leads_to, own;
    return path_join(path, run, link, NULL) && path_join(folder, run, name, NULL) && lstat(path, &itself) == 0 &&
           S_ISLNK(itself.st_mode) && stat(path, &leads_to) == 0 && stat(folder, &own) == 0 &&
           leads_to.st_dev == own.st_dev && leads_to.st_ino == own.st_ino;
}

static int steps_newest_first(const void *a, const void *b)
{
    const struct step_folder *one = a, *other = b;
    if (one->step != other->step)
        return one->step > other->step ? -1 : 1;
    return (int)one->kind - (int)other->kind;
}

static bool steps_add(struct step_folder **folders, size_t *count, size_t *capacity, const struct step_folder *folder)
{
    if (*count == *capacity) {
        size_t more = *capacity == 0 ? 16 : *capacity * 2;
        struct step_folder *grown = realloc(*folders, more * sizeof *grown);
        if (grown == NULL)
            return false;
        *folders = grown;
        *capacity = more;
    }
    (*folders)[(*count)++] = *folder;
    return true;
}

bool steps_list(const char *run, struct step_folder **folders, size_t *count, struct err *err)
{
    *folders = NULL;
    *count = 0;
    DIR *open_run = opendir(run);
    if (open_run == NULL && errno == ENOENT)
        return true;
    if (open_run == NULL)
        return err_errno(err, ERR_IO, "%s: cannot read folder", run);
    size_t capacity = 0;
    bool ok = true;
    while (ok) {
        errno = 0;
        struct dirent *entry = readdir(open_run);
        if (entry == NULL) {
            if (errno != 0)
                ok = err_errno(err, ERR_IO, "%s: cannot read folder", run);
            break;
        }
        struct step_folder folder;
        if (step_parse(entry->d_name, &folder) && !steps_add(folders, count, &capacity, &folder))
            ok = err_set(err, ERR_MEMORY, "%s: out of memory for its %zu checkpoints", run, *count);
    }
    closedir(open_run);
    if (!ok) {
        free(*folders);
        *folders = NULL;
        *count = 0;
        return false;
    }
    if (*count > 0)
        qsort(*folders, *count, sizeof **folders, steps_newest_first);
    return true;
}
