/* file.c - whole files and folders, written under temporary names; see file.h. */
#include "proto/store/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MODE = 0666, FOLDER_MODE = 0777, READ_CHUNK = 1 << 16 };

bool path_join(char path[FILE_PATH], const char *folder, const char *name, struct err *err)
{
    int length = snprintf(path, FILE_PATH, "%s/%s", folder, name);
    if (length < 0 || length >= FILE_PATH)
        return err_set(err, ERR_IO, "a path of more than %d bytes: .../%.200s", FILE_PATH - 1, name);
    return true;
}

bool path_parent(char parent[FILE_PATH], const char *path, struct err *err)
{
    size_t length = strlen(path);
    if (length >= FILE_PATH)
        return err_set(err, ERR_IO, "a path of more than %d bytes: %.200s...", FILE_PATH - 1, path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length == 0) {
        strcpy(parent, ".");
    } else {
        memcpy(parent, path, length);
        parent[length] = '\0';
    }
    return true;
}

/* The temporary name of `path` until it is complete: .NAME.partial in the same folder. */
static bool file_partial(char partial[FILE_PATH], const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    int length = snprintf(partial, FILE_PATH, "%.*s.%s.partial", (int)folder, path, path + folder);
    if (length < 0 || length >= FILE_PATH)
        return err_set(err, ERR_IO, "a path of more than %d bytes: %.200s...", FILE_PATH - 1, path);
    return true;
}

bool file_write_all(int fd, const void *bytes, size_t size)
{
    const char *from = bytes;
    while (size > 0) {
        ssize_t written = write(fd, from, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        from += written;
        size -= (size_t)written;
    }
    return true;
}

static bool file_sync(int fd)
{
    while (fsync(fd) != 0) {
        if (errno != EINTR)
            return false;
    }
    return true;
}

bool file_sync_close(int fd)
{
    bool synced = file_sync(fd);
    int saved = errno;
    bool closed = close(fd) == 0;
    if (!synced)
        errno = saved;
    return synced && closed;
}

bool file_read_some(int fd, const char *path, void *bytes, size_t size, size_t *got, struct err *err)
{
    ssize_t result;
    do
        result = read(fd, bytes, size);
    while (result < 0 && errno == EINTR);
    *got = result < 0 ? 0 : (size_t)result;
    return result >= 0 || err_errno(err, ERR_IO, "%s: cannot read", path);
}

bool file_read(const char *path, size_t most, struct buffer *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open", path);
    struct stat about;
    size_t before = out->size;
    size_t chunk = READ_CHUNK;
    if (fstat(fd, &about) == 0 && about.st_size > 0 && (uint64_t)about.st_size <= most)
        chunk = (size_t)about.st_size + 1;
    bool ok = true;
    for (;;) {
        char *end = buffer_reserve(out, chunk);
        if (end == NULL) {
            ok = buffer_ok(out, err) || err_context(err, "%s", path);
            break;
        }
        size_t got;
        ok = file_read_some(fd, path, end, chunk, &got, err);
        if (!ok || got == 0)
            break;
        out->size += got;
        out->data[out->size] = '\0';
        chunk = READ_CHUNK;
        if (out->size - before > most) {
            ok = err_set(err, ERR_DATA, "%s: larger than %zu bytes", path, most);
            break;
        }
    }
    close(fd);
    return ok;
}

bool file_map(const char *path, const void **bytes, size_t *size, struct err *err)
{
    struct stat about;
    *bytes = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open", path);
    bool ok = fstat(fd, &about) == 0;
    if (ok && about.st_size > 0) {
        void *mapped = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
        ok = mapped != MAP_FAILED;
        *bytes = ok ? mapped : NULL;
        *size = ok ? (size_t)about.st_size : 0;
    }
    close(fd);
    return ok || err_errno(err, ERR_IO, "%s: cannot map", path);
}

void file_unmap(const void *bytes, size_t size)
{
    if (bytes != NULL)
        munmap((void *)(uintptr_t)bytes, size);
}

bool file_write_atomic(const char *path, const void *bytes, size_t size, struct err *err)
{
    char partial[FILE_PATH], parent[FILE_PATH];
    if (!file_partial(partial, path, err) || !path_parent(parent, path, err))
        return false;
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot create", partial);
    if (!file_write_all(fd, bytes, size)) {
        err_errno(err, ERR_IO, "%s: cannot write", path);
        close(fd);
        goto remove;
    }
    if (!file_sync_close(fd)) {
        err_errno(err, ERR_IO, "%s: cannot make durable", path);
        goto remove;
    }
    if (rename(partial, path) != 0) {
        err_errno(err, ERR_IO, "%s: cannot rename %s to it", path, partial);
        goto remove;
    }
    return folder_sync(parent, err);

remove:
    unlink(partial);
    return false;
}

bool file_append(const char *path, const void *bytes, size_t size, struct err *err)
{
    char parent[FILE_PATH];
    if (!path_parent(parent, path, err))
        return false;
    bool fresh = access(path, F_OK) != 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open", path);
    struct stat about;
    bool sized = fstat(fd, &about) == 0;
    if (!file_write_all(fd, bytes, size)) {
        err_errno(err, ERR_IO, "%s: cannot append", path);
        /* Half a line would damage the next one. */
        if (sized && S_ISREG(about.st_mode) && ftruncate(fd, about.st_size) != 0)
            err_context(err, "%s is left with part of a line", path);
        close(fd);
        return false;
    }
    if (!file_sync_close(fd))
        return err_errno(err, ERR_IO, "%s: cannot make durable", path);
    return !fresh || folder_sync(parent, err);
}

bool folder_sync(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open folder", path);
    bool synced = file_sync(fd);
    /* EINVAL: the file system has no fsync for folders. */
    if (!synced && errno == EINVAL)
        synced = true;
    if (!synced)
        err_errno(err, ERR_IO, "%s: cannot make folder durable", path);
    close(fd);
    return synced;
}

static bool file_make_one(const char *path, struct err *err)
{
    char parent[FILE_PATH];
    if (mkdir(path, FOLDER_MODE) == 0)
        return path_parent(parent, path, err) && folder_sync(parent, err);
    int saved = errno;
    struct stat about;
    if (stat(path, &about) == 0) {
        if (S_ISDIR(about.st_mode))
            return true;
        return err_set(err, ERR_IO, "%s: is there and is not a folder", path);
    }
    errno = saved;
    return err_errno(err, ERR_IO, "%s: cannot make folder", path);
}

bool folder_make(const char *path, struct err *err)
{
    char part[FILE_PATH];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return err_set(err, ERR_IO, "a folder needs a name of 1 to %d bytes", FILE_PATH - 1);
    for (size_t end = 1; end <= length; end++) {
        if (path[end] != '/' && path[end] != '\0')
            continue;
        if (path[end - 1] == '/')
            continue;
        memcpy(part, path, end);
        part[end] = '\0';
        if (!file_make_one(part, err))
            return false;
    }
    return true;
}

/* Remove everything in the folder `fd` and close it. Errors name `path`. */
static bool file_empty(int fd, const char *path, struct err *err)
{
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        err_errno(err, ERR_IO, "%s: cannot read folder", path);
        close(fd);
        return false;
    }
    bool ok = true;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            if (errno != 0)
                ok = err_errno(err, ERR_IO, "%s: cannot read folder", path);
            break;
        }
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        int inner = openat(dirfd(folder), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        bool is_folder = inner >= 0;
        if (is_folder && !file_empty(inner, path, err)) {
            ok = false;
            break;
        }
        if (unlinkat(dirfd(folder), name, is_folder ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT) {
            ok = err_errno(err, ERR_IO, "%s/%s: cannot remove", path, name);
            break;
        }
    }
    closedir(folder);
    return ok;
}

bool folder_remove(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot open folder", path);
    if (!file_empty(fd, path, err))
        return false;
    if (rmdir(path) != 0 && errno != ENOENT)
        return err_errno(err, ERR_IO, "%s: cannot remove folder", path);
    return true;
}

bool link_replace(const char *path, const char *target, struct err *err)
{
    char partial[FILE_PATH], parent[FILE_PATH];
    if (!file_partial(partial, path, err) || !path_parent(parent, path, err))
        return false;
    if (unlink(partial) != 0 && errno != ENOENT)
        return err_errno(err, ERR_IO, "%s: cannot remove", partial);
    if (symlink(target, partial) != 0)
        return err_errno(err, ERR_IO, "%s: cannot make link", partial);
    if (rename(partial, path) != 0) {
        err_errno(err, ERR_IO, "%s: cannot rename %s to it", path, partial);
        unlink(partial);
        return false;
    }
    return folder_sync(parent, err);
}
