/* checkpoint_links.c - restore the two links of a run; see checkpoint_links.h.
 *
 * The link is made beside the folder under its partial name, and the two change places. On a file system that cannot do
 * this, the folder takes the partial name first. So a folder under the partial name is a copy whose link may be
 * missing. */
#include "proto/store/checkpoint_links.h"

#include "proto/base/log.h"
#include "proto/store/checkpoint.h"
#include "proto/store/file.h"
#include "proto/store/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum links_kind { LINKS_ABSENT, LINKS_FOLDER, LINKS_OTHER };

/* A checkpoint in a folder of any name. */
struct links_copy {
    bool whole, has_step;
    uint64_t step;
    bool resumable;
    struct manifest manifest;
    struct err why; /* why it is not valid */
};

static enum links_kind links_kind(const char *path)
{
    struct stat about;
    if (lstat(path, &about) != 0)
        return LINKS_ABSENT;
    return S_ISDIR(about.st_mode) ? LINKS_FOLDER : LINKS_OTHER;
}

/* What the folder holds. For a damaged checkpoint at least its step, if its state is readable. */
static bool links_look(const char *folder, struct links_copy *copy, struct err *err)
{
    struct checkpoint *checkpoint = malloc(sizeof *checkpoint);
    *copy = (struct links_copy){0};
    if (checkpoint == NULL)
        return err_set(err, ERR_MEMORY, "%s: out of memory for a checkpoint", folder);
    copy->whole = checkpoint_open(checkpoint, folder, STEP_LATEST, &copy->why);
    copy->has_step = copy->whole || checkpoint_state_load(&checkpoint->state, folder, NULL);
    copy->step = copy->has_step ? checkpoint->state.step : 0;
    if (copy->whole) {
        copy->resumable = checkpoint->resumable;
        copy->manifest = checkpoint->manifest;
        checkpoint_close(checkpoint);
    }
    free(checkpoint);
    return copy->whole || copy->why.code == ERR_DATA || err_set(err, copy->why.code, "%s", copy->why.text);
}

static bool links_same_file(const struct links_copy *a, const struct links_copy *b, const char *file)
{
    const struct manifest_entry *one = manifest_find(&a->manifest, file), *other = manifest_find(&b->manifest, file);
    return one == NULL || other == NULL || (one->size == other->size && one->xxh3 == other->xxh3);
}

/* Make the checkpoint in `folder` the run's step-N. *moved: the folder was renamed. Otherwise step-N existed already,
 * and the folder is a copy of it. */
static bool links_place(const char *run, const char *folder, const struct links_copy *copy, bool *moved,
                        struct err *err)
{
    char committed[FILE_PATH];
    struct step_folder own = {.step = copy->step, .kind = STEP_COMMITTED};
    struct links_copy held;
    *moved = false;
    step_name(own.name, copy->step, STEP_COMMITTED);
    if (!path_join(committed, run, own.name, err))
        return false;
    if (links_kind(committed) != LINKS_ABSENT) {
        if (!copy->whole)
            return true;
        if (!links_look(committed, &held, err))
            return false;
        if (held.whole && !(links_same_file(copy, &held, "model.safetensors") &&
                            links_same_file(copy, &held, "optimizer.safetensors")))
            return err_set(err, ERR_DATA,
                           "%s and %s are different checkpoints of step %" PRIu64 ": move one of them away", folder,
                           committed, copy->step);
        if (held.whole && (held.resumable || !copy->resumable))
            return true;
        if (!step_retire(run, &own, err))
            return false;
    }
    if (rename(folder, committed) != 0)
        return err_errno(err, ERR_IO, "%s: cannot rename to %s", folder, committed);
    *moved = true;
    return folder_sync(run, err);
}

static bool links_make(const char *path, const char *target, struct err *err)
{
    return symlink(target, path) == 0 || err_errno(err, ERR_IO, "%s: cannot make link", path);
}

/* Replace the folder `path` by a link to its copy, `target`. */
static bool links_exchange(const char *run, const char *path, const char *partial, const char *target, struct err *err)
{
    if (!links_make(partial, target, err))
        return false;
    if (renameat2(AT_FDCWD, partial, AT_FDCWD, path, RENAME_EXCHANGE) != 0) {
        if (errno != EINVAL && errno != ENOSYS)
            return err_errno(err, ERR_IO, "%s: cannot exchange with a link", path);
        if (unlink(partial) != 0)
            return err_errno(err, ERR_IO, "%s: cannot remove", partial);
        if (rename(path, partial) != 0)
            return err_errno(err, ERR_IO, "%s: cannot rename to %s", path, partial);
        if (!links_make(path, target, err))
            return false;
    }
    return folder_sync(run, err) && folder_remove(partial, err);
}

/* Settle a folder under the partial name: an earlier call was killed, or `cp -rL` copied a partial link. */
static bool links_settle_partial(const char *run, const char *path, const char *partial, struct err *err)
{
    char target[STEP_NAME];
    struct links_copy copy;
    bool moved = false;
    if (!links_look(partial, &copy, err))
        return false;
    if (copy.whole) {
        struct err why = {0};
        step_name(target, copy.step, STEP_COMMITTED);
        /* ERR_DATA: step-N is another checkpoint, and this one never had the name. */
        bool placed = links_place(run, partial, &copy, &moved, &why);
        if (!placed && why.code != ERR_DATA)
            return err_set(err, why.code, "%s", why.text);
        if (placed && links_kind(path) == LINKS_ABSENT && !(links_make(path, target, err) && folder_sync(run, err)))
            return false;
    }
    return moved || folder_remove(partial, err);
}

static bool links_settle_one(const char *run, const char *name, struct err *err)
{
    char path[FILE_PATH], partial[FILE_PATH], hidden[STEP_NAME], target[STEP_NAME];
    struct links_copy copy;
    bool moved;
    snprintf(hidden, sizeof hidden, ".%s.partial", name);
    if (!path_join(path, run, name, err) || !path_join(partial, run, hidden, err))
        return false;
    enum links_kind left = links_kind(partial);
    if (left == LINKS_OTHER && unlink(partial) != 0)
        return err_errno(err, ERR_IO, "%s: cannot remove", partial);
    if (left == LINKS_FOLDER && !links_settle_partial(run, path, partial, err))
        return false;
    if (links_kind(path) != LINKS_FOLDER)
        return true;
    if (!links_look(path, &copy, err))
        return false;
    step_name(target, copy.step, STEP_COMMITTED);
    char committed[FILE_PATH];
    if (!path_join(committed, run, target, err))
        return false;
    if (!copy.whole && (!copy.has_step || links_kind(committed) == LINKS_ABSENT))
        return err_set(err, ERR_DATA, "%s: a folder in the place of a link, and damaged: move it away (%s)", path,
                       copy.why.text);
    if (!links_place(run, path, &copy, &moved, err))
        return false;
    if (!(moved ? link_replace(path, target, err) : links_exchange(run, path, partial, target, err)))
        return false;
    log_event(LOG_INFO, "link_restored", LOG_FIELDS(LOG_TEXT("path", path), LOG_TEXT("target", target)),
              "%s is a link to %s again: a copy of the run had replaced it by a folder", path, target);
    return true;
}

bool links_settle(const char *run, struct err *err)
{
    return links_settle_one(run, STEP_LATEST, err) && links_settle_one(run, STEP_BEST, err);
}

bool links_restore(const char *run, uint64_t latest, uint64_t best, struct err *err)
{
    char path[FILE_PATH], name[STEP_NAME];
    struct err why = {0};
    step_name(name, latest, STEP_COMMITTED);
    if (!path_join(path, run, STEP_LATEST, err) || (links_kind(path) == LINKS_ABSENT && !link_replace(path, name, err)))
        return false;
    step_name(name, best, STEP_COMMITTED);
    if (best == 0 || step_is_linked(run, STEP_BEST, name) || checkpoint_mark_best(run, best, &why))
        return true;
    if (why.code != ERR_FAILED)
        return err_set(err, why.code, "%s", why.text);
    log_event(LOG_WARN, "best_missing", LOG_FIELDS(LOG_TEXT("path", run), LOG_COUNT("step", best)),
              "%s has no %s, its best checkpoint: %s waits for a better one", run, name, STEP_BEST);
    return true;
}
