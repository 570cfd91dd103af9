/* checkpoint_read.c - find checkpoints and verify them; see checkpoint.h. */
#include "proto/store/checkpoint.h"

#include "proto/base/log.h"
#include "proto/store/file.h"
#include "proto/store/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static const char checkpoint_model[] = "model.safetensors", checkpoint_moments[] = CHECKPOINT_MOMENTS;
static const char *const checkpoint_required[] = {checkpoint_model, "state.json", "src.vocab", "tgt.vocab"};

enum { SCAN_BYTES = 1 << 16 };

static const char *checkpoint_last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Whether FOLDER/NAME exists, as any kind of file. */
static bool checkpoint_holds(const char *folder, const char *name)
{
    char path[FILE_PATH];
    struct stat about;
    return path_join(path, folder, name, NULL) && lstat(path, &about) == 0;
}

bool checkpoint_file(const struct checkpoint *checkpoint, const char *file, struct buffer *out, struct err *err)
{
    char path[FILE_PATH];
    const struct manifest_entry *entry = manifest_find(&checkpoint->manifest, file);
    if (entry == NULL)
        return err_set(err, ERR_DATA, "%s: has no %s", checkpoint->path, file);
    size_t begin = out->size;
    if (!path_join(path, checkpoint->path, file, err) || !file_read(path, (size_t)entry->size, out, err))
        return false;
    size_t size = out->size - begin;
    if (size != entry->size || XXH3_64bits(size > 0 ? out->data + begin : "", size) != entry->xxh3)
        return err_set(err, ERR_DATA, "%s: changed since its checksum was verified", path);
    return true;
}

bool checkpoint_map(const struct checkpoint *checkpoint, const char *file, const void **bytes, size_t *size,
                    struct err *err)
{
    char path[FILE_PATH];
    const struct manifest_entry *entry = manifest_find(&checkpoint->manifest, file);
    *bytes = NULL;
    *size = 0;
    if (entry == NULL)
        return err_set(err, ERR_DATA, "%s: has no %s", checkpoint->path, file);
    if (!path_join(path, checkpoint->path, file, err) || !file_map(path, bytes, size, err))
        return false;
    if (*size == entry->size && XXH3_64bits(*size > 0 ? *bytes : "", *size) == entry->xxh3)
        return true;
    file_unmap(*bytes, *size);
    *bytes = NULL;
    return err_set(err, ERR_DATA, "%s: changed since its checksum was verified", path);
}

static bool checkpoint_read_state(struct checkpoint *checkpoint, struct err *err)
{
    char path[FILE_PATH];
    struct buffer text = {0};
    bool ok = path_join(path, checkpoint->path, "state.json", err) &&
              checkpoint_file(checkpoint, "state.json", &text, err) &&
              checkpoint_state_read(text.data == NULL ? "" : text.data, text.size, path, &checkpoint->state, err);
    buffer_free(&text);
    if (!ok)
        return false;
    struct step_folder folder;
    if (step_parse(checkpoint_last_part(checkpoint->path), &folder) && folder.step != checkpoint->state.step)
        return err_set(err, ERR_DATA, "%s: is of step %" PRIu64 ", which its folder is not", path,
                       checkpoint->state.step);
    return true;
}

static struct vocab *checkpoint_read_vocab(const struct checkpoint *checkpoint, const char *file, struct err *err)
{
    char path[FILE_PATH];
    struct buffer text = {0};
    struct vocab *vocab = NULL;
    if (path_join(path, checkpoint->path, file, err) && checkpoint_file(checkpoint, file, &text, err))
        vocab = vocab_read(text.data == NULL ? "" : text.data, text.size, path, err);
    buffer_free(&text);
    return vocab;
}

/* The first `most` bytes of a file, or all of it, appended to `out`. */
static bool checkpoint_read_head(int fd, const char *path, size_t most, struct buffer *out, struct err *err)
{
    while (out->size < most) {
        char *end = buffer_reserve(out, most - out->size);
        if (end == NULL)
            return buffer_ok(out, err) || err_context(err, "%s", path);
        size_t got;
        if (!file_read_some(fd, path, end, most - out->size, &got, err))
            return false;
        if (got == 0)
            break;
        out->size += got;
    }
    return true;
}

bool checkpoint_tensors(const char *folder, const char *file, struct safetensors *tensors, struct err *err)
{
    char path[FILE_PATH];
    struct stat about;
    *tensors = (struct safetensors){0};
    if (!path_join(path, folder, file, err))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open", path);
    struct buffer head = {0};
    bool ok = fstat(fd, &about) == 0 || err_errno(err, ERR_IO, "%s: cannot stat", path);
    uint64_t size = ok ? (uint64_t)about.st_size : 0;
    ok = ok && checkpoint_read_head(fd, path, SAFETENSORS_LENGTH, &head, err);
    if (ok && head.size == SAFETENSORS_LENGTH) {
        uint64_t header = safetensors_header_size(head.data);
        /* The parser reports an impossible length. */
        if (header <= size && header <= SAFETENSORS_HEADER_MOST)
            ok = checkpoint_read_head(fd, path, (size_t)header, &head, err);
    }
    ok = ok && safetensors_parse(head.data == NULL ? "" : head.data, head.size, size, path, tensors, err);
    buffer_free(&head);
    close(fd);
    return ok;
}

/* Index of the first of `count` float32 that is NaN or, with `infinite`, infinite; `count` when all are finite. */
static size_t checkpoint_first_bad(const unsigned char *bytes, size_t count, bool infinite)
{
    const uint32_t infinity = 0x7f800000;
    uint32_t least_bad = infinite ? infinity : infinity + 1;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
        if ((bits & 0x7fffffff) >= least_bad)
            return i;
    }
    return count;
}

/* Check one tensor; `fd` stands at its first byte. Moments may be infinite: a square that overflows float32 freezes one
 * parameter and does no other harm. NaN spreads to everything. */
static bool checkpoint_scan_tensor(int fd, const char *path, const struct tensor_entry *tensor, bool infinite,
                                   struct err *err)
{
    unsigned char chunk[SCAN_BYTES];
    size_t held = 0;
    for (uint64_t done = 0; done < tensor->size;) {
        uint64_t left = tensor->size - done - held;
        size_t got, wanted = left < sizeof chunk - held ? (size_t)left : sizeof chunk - held;
        if (!file_read_some(fd, path, chunk + held, wanted, &got, err))
            return false;
        if (got == 0)
            return err_set(err, ERR_DATA, "%s: tensor %s: cut short", path, tensor->name);
        held += got;
        size_t count = held / sizeof(float), bad = checkpoint_first_bad(chunk, count, infinite);
        if (bad < count)
            return err_set(err, ERR_DATA,
                           "%s: tensor %s: element %" PRIu64 " is not a finite number: training diverged before this "
                           "checkpoint; use an older one, or train again with a lower train.lr",
                           path, tensor->name, done / sizeof(float) + bad);
        done += count * sizeof(float);
        held -= count * sizeof(float);
        memmove(chunk, chunk + count * sizeof(float), held);
    }
    return true;
}

/* A diverged run has valid files full of NaN, which translate to empty lines. */
static bool checkpoint_scan(const char *path, const struct safetensors *tensors, bool infinite, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open", path);
    bool ok = true;
    for (size_t i = 0; ok && i < tensors->count; i++) {
        const struct tensor_entry *tensor = &tensors->tensors[i];
        if (strcmp(tensor->dtype, "F32") != 0)
            continue;
        ok = lseek(fd, (off_t)(tensors->header_size + tensor->offset), SEEK_SET) >= 0
                 ? checkpoint_scan_tensor(fd, path, tensor, infinite, err)
                 : err_errno(err, ERR_IO, "%s: cannot read", path);
    }
    close(fd);
    return ok;
}

/* The checksum shows that the bytes are as written; the parser shows that they are a tensor file. */
static bool checkpoint_check_tensors(const struct checkpoint *checkpoint, const char *file, struct err *err)
{
    char path[FILE_PATH];
    const char *suffix = strrchr(file, '.');
    struct safetensors tensors;
    if (suffix == NULL || strcmp(suffix, ".safetensors") != 0)
        return true;
    bool ok = path_join(path, checkpoint->path, file, err) && checkpoint_tensors(checkpoint->path, file, &tensors, err);
    if (ok) {
        ok = checkpoint_scan(path, &tensors, strcmp(file, checkpoint_moments) != 0, err);
        safetensors_free(&tensors);
    }
    return ok;
}

/* With `moments`, those too. */
static bool checkpoint_verify(struct checkpoint *checkpoint, bool moments, struct err *err)
{
    const struct manifest *manifest = &checkpoint->manifest;
    if (!manifest_load(&checkpoint->manifest, checkpoint->path, err))
        return false;
    for (size_t i = 0; i < sizeof checkpoint_required / sizeof *checkpoint_required; i++) {
        if (manifest_find(manifest, checkpoint_required[i]) == NULL)
            return err_set(err, ERR_DATA, "%s/%s: does not list %s", checkpoint->path, MANIFEST_FILE,
                           checkpoint_required[i]);
    }
    checkpoint->resumable =
        manifest_find(manifest, checkpoint_moments) != NULL && checkpoint_holds(checkpoint->path, checkpoint_moments);
    for (size_t i = 0; i < manifest->count; i++) {
        const char *name = manifest->entries[i].name;
        if ((!checkpoint->resumable || !moments) && strcmp(name, checkpoint_moments) == 0)
            continue;
        if (!manifest_check(&manifest->entries[i], checkpoint->path, err) ||
            !checkpoint_check_tensors(checkpoint, name, err))
            return false;
    }
    return true;
}

/* Fill `checkpoint` from the folder. On failure it stays empty. */
static bool checkpoint_load(struct checkpoint *checkpoint, const char *folder, bool moments, struct err *err)
{
    *checkpoint = (struct checkpoint){0};
    int length = snprintf(checkpoint->path, sizeof checkpoint->path, "%s", folder);
    if (length < 0 || (size_t)length >= sizeof checkpoint->path)
        return err_set(err, ERR_IO, "a path of more than %d bytes: %.200s...", CHECKPOINT_PATH - 1, folder);
    if (!checkpoint_verify(checkpoint, moments, err) || !checkpoint_read_state(checkpoint, err))
        goto fail;
    checkpoint->src = checkpoint_read_vocab(checkpoint, "src.vocab", err);
    if (checkpoint->src == NULL)
        goto fail;
    checkpoint->tgt = checkpoint_read_vocab(checkpoint, "tgt.vocab", err);
    if (checkpoint->tgt == NULL)
        goto fail;
    return true;

fail:
    checkpoint_close(checkpoint);
    return false;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    vocab_destroy(&checkpoint->src);
    vocab_destroy(&checkpoint->tgt);
    *checkpoint = (struct checkpoint){0};
}

/* The target of RUN/LINK. *found = false: the link does not exist. */
static bool checkpoint_follow(char folder[CHECKPOINT_PATH], const char *run, const char *link, bool *found,
                              struct err *err)
{
    char path[FILE_PATH], target[FILE_PATH], replaced[2 * FILE_PATH];
    *found = checkpoint_holds(run, link);
    if (!*found)
        return true;
    if (!path_join(path, run, link, err))
        return false;
    if (realpath(path, folder) != NULL)
        return true;
    int saved = errno;
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = '\0';
    /* Between two renames the folder has its replaced name; see steps.h. */
    snprintf(replaced, sizeof replaced, "%s/%s.replaced", run, target);
    if (saved == ENOENT && length > 0 && realpath(replaced, folder) != NULL)
        return true;
    if (saved == ENOENT)
        return err_set(err, ERR_DATA, "%s: names %s, which does not exist", path, target);
    errno = saved;
    return err_errno(err, ERR_IO, "%s: cannot follow", path);
}

/* The newest committed checkpoint by name, for a crash between the rename of a run's first checkpoint and its link. */
static bool checkpoint_newest_name(char folder[CHECKPOINT_PATH], const char *run, bool *found, struct err *err)
{
    struct step_folder *folders;
    size_t count;
    *found = false;
    if (!steps_list(run, &folders, &count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && !*found && i < count; i++) {
        char path[FILE_PATH];
        if (folders[i].kind == STEP_PARTIAL)
            continue;
        ok = path_join(path, run, folders[i].name, err);
        *found = ok && realpath(path, folder) != NULL;
    }
    free(folders);
    return ok;
}

bool checkpoint_locate(char folder[CHECKPOINT_PATH], const char *path, const char *link, struct err *err)
{
    struct stat about;
    struct step_folder step;
    char real[FILE_PATH];
    if (stat(path, &about) != 0 || realpath(path, real) == NULL)
        return err_errno(err, ERR_IO, "%s: no checkpoint and no run", path);
    if (!S_ISDIR(about.st_mode))
        return err_set(err, ERR_DATA, "%s: not a folder: neither a checkpoint nor a run", path);
    if (checkpoint_holds(path, MANIFEST_FILE) || step_parse(checkpoint_last_part(real), &step)) {
        memcpy(folder, real, sizeof real);
        return true;
    }
    bool found;
    if (!checkpoint_follow(folder, path, link, &found, err))
        return false;
    if (!found && strcmp(link, STEP_LATEST) != 0 && !checkpoint_follow(folder, path, STEP_LATEST, &found, err))
        return false;
    if (!found && !checkpoint_newest_name(folder, path, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_DATA, "%s: neither a checkpoint (no %s) nor a run with one (no %s, no %s)", path,
                       MANIFEST_FILE, STEP_BEST, STEP_LATEST);
    return true;
}

/* Append to err the newest valid checkpoint that is older than `folder`. */
static void checkpoint_offer_older(const char *folder, struct err *err)
{
    char run[FILE_PATH], path[FILE_PATH];
    struct step_folder own, *folders;
    size_t count;
    struct checkpoint *other = err == NULL ? NULL : malloc(sizeof *other);
    if (other == NULL)
        return;
    if (step_parse(checkpoint_last_part(folder), &own) && path_parent(run, folder, NULL) &&
        steps_list(run, &folders, &count, NULL)) {
        for (size_t i = 0; i < count; i++) {
            if (folders[i].kind == STEP_PARTIAL || folders[i].step >= own.step ||
                !path_join(path, run, folders[i].name, NULL) || !checkpoint_load(other, path, true, NULL))
                continue;
            checkpoint_close(other);
            size_t used = strlen(err->text);
            snprintf(err->text + used, sizeof err->text - used, "; the newest valid older one: %.*s", ERR_TEXT / 2,
                     path);
            break;
        }
        free(folders);
    }
    free(other);
}

static bool checkpoint_open_with(struct checkpoint *checkpoint, const char *path, const char *link, bool moments,
                                 struct err *err)
{
    char folder[CHECKPOINT_PATH], again[CHECKPOINT_PATH];
    *checkpoint = (struct checkpoint){0};
    if (!checkpoint_locate(folder, path, link, err))
        return false;
    for (;;) {
        struct err why = {0};
        if (checkpoint_load(checkpoint, folder, moments, &why))
            return true;
        /* While this one was read, a training run may have moved the link and removed the folder. */
        if (checkpoint_locate(again, path, link, NULL) && strcmp(again, folder) != 0) {
            memcpy(folder, again, sizeof folder);
            continue;
        }
        if (why.code == ERR_DATA)
            checkpoint_offer_older(folder, &why);
        return err_set(err, why.code, "%s", why.text);
    }
}

bool checkpoint_open(struct checkpoint *checkpoint, const char *path, const char *link, struct err *err)
{
    return checkpoint_open_with(checkpoint, path, link, true, err);
}

bool checkpoint_open_model(struct checkpoint *checkpoint, const char *path, const char *link, struct err *err)
{
    return checkpoint_open_with(checkpoint, path, link, false, err);
}

static bool checkpoint_load_resumable(struct checkpoint *checkpoint, const char *folder, struct err *err)
{
    if (!checkpoint_load(checkpoint, folder, true, err))
        return false;
    if (checkpoint->resumable)
        return true;
    checkpoint_close(checkpoint);
    return err_set(err, ERR_DATA,
                   "%s/%s: missing: the checkpoint translates, but training cannot continue from it; copy the file "
                   "back, or begin again with --run.overwrite or in another --run.dir",
                   folder, checkpoint_moments);
}

bool checkpoint_latest(struct checkpoint *checkpoint, const char *run, bool *found, struct err *err)
{
    struct step_folder *folders;
    struct err why = {0};
    char path[FILE_PATH];
    size_t count, damaged = 0;
    *checkpoint = (struct checkpoint){0};
    *found = false;
    if (!steps_list(run, &folders, &count, err))
        return false;
    for (size_t i = 0; !*found && why.code != ERR_MEMORY && i < count; i++) {
        if (folders[i].kind == STEP_PARTIAL)
            continue;
        *found = path_join(path, run, folders[i].name, &why) && checkpoint_load_resumable(checkpoint, path, &why);
        if (*found)
            break;
        damaged++;
        log_event(LOG_WARN, "checkpoint_damaged", LOG_FIELDS(LOG_TEXT("reason", why.text)), "checkpoint skipped: %s",
                  why.text);
    }
    free(folders);
    if (*found || damaged == 0)
        return true;
    if (why.code == ERR_MEMORY)
        return err_set(err, why.code, "%s", why.text);
    return err_set(err, ERR_DATA,
                   "%s: training can continue from none of its checkpoints (%zu tried); the last one: %s", run, damaged,
                   why.text);
}

bool checkpoint_latest_state(struct checkpoint_state *state, const char *run, bool *found, struct err *err)
{
    struct step_folder *folders;
    struct err why = {0};
    struct checkpoint checkpoint;
    size_t count, damaged = 0;
    *found = false;
    if (!steps_list(run, &folders, &count, err))
        return false;
    for (size_t i = 0; !*found && i < count; i++) {
        if (folders[i].kind == STEP_PARTIAL)
            continue;
        checkpoint = (struct checkpoint){0};
        *found = path_join(checkpoint.path, run, folders[i].name, &why) &&
                 manifest_load(&checkpoint.manifest, checkpoint.path, &why) && checkpoint_read_state(&checkpoint, &why);
        damaged += !*found;
    }
    free(folders);
    if (*found)
        *state = checkpoint.state;
    return *found || damaged == 0 ||
           err_set(err, ERR_DATA, "%s: none of its checkpoints has a valid state (%zu tried); the last one: %s", run,
                   damaged, why.text);
}
