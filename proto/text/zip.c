/* zip.c - directory, entry, text; see zip.h.
 *
 * The layout is PKWARE's APPNOTE.TXT, all numbers little-endian:
 *
 *   entry      "PK\3\4"  ... 26 name's size, 28 extra's size, 30 name, extra, data
 *   directory  "PK\1\2"  8 flags, 10 method, 16 CRC, 20 packed size, 24 size, 28 name's size, 30 extra's size,
 *                        32 comment's size, 42 offset of the entry, 46 name, extra, comment; one for each entry
 *   end        "PK\5\6"  4 this disk, 8 entries on it, 10 entries, 12 directory's size, 16 its offset,
 *                        20 comment's size, 22 comment
 *
 * The directory is authoritative. An entry's own header may be incomplete, so only its sizes of name and extra are
 * read. */
#include "proto/text/zip.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    ENTRY_BYTES = 30,
    ROW_BYTES = 46, /* of the directory */
    END_BYTES = 22,
    TAIL_MOST = END_BYTES + 0xFFFF, /* the end with the longest comment */
    NAME_MOST = 256,                /* bytes of a name that are kept */
    SOURCE_BYTES = 64 * 1024,
    FLAG_ENCRYPTED = 1,
    METHOD_STORED = 0,
    METHOD_DEFLATED = 8,
    ZIP64_COUNT = 0xFFFF
};

static const uint32_t zip_zip64_size = UINT32_MAX;

struct row {
    unsigned flags, method;
    uint32_t crc;
    uint64_t packed, size, offset;
    char name[NAME_MOST + 1];
};

struct zip {
    int fd;
    const char *path;
    struct row row;
    uint64_t at, left; /* offset and size of the unread packed bytes */
    uint64_t seen;     /* bytes of text so far */
    uint32_t crc;      /* of them */
    bool ended;
    bool inflating; /* `inflater` needs inflateEnd */
    z_stream inflater;
    unsigned char source[SOURCE_BYTES];
};

static unsigned zip_two(const unsigned char *bytes)
{
    return (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
}

static uint32_t zip_four(const unsigned char *bytes)
{
    return zip_two(bytes) | (uint32_t)zip_two(bytes + 2) << 16;
}

static bool zip_damaged(const struct zip *zip, const char *how, struct err *err)
{
    return err_set(err, ERR_DATA, "%s: damaged zip archive (%s); check it with unzip -t and get it again", zip->path,
                   how);
}

static bool zip_read_at(const struct zip *zip, uint64_t at, void *bytes, size_t size, struct err *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(zip->fd, (char *)bytes + done, size - done, (off_t)(at + done));
        if (got < 0 && errno != EINTR)
            return err_errno(err, ERR_IO, "%s: cannot read", zip->path);
        if (got == 0)
            return zip_damaged(zip, "it ends too early", err);
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Copy the archive's end record and return its offset. */
static bool zip_find_end(const struct zip *zip, uint64_t size, unsigned char end[END_BYTES], uint64_t *at,
                         struct err *err)
{
    size_t tail = size < TAIL_MOST ? (size_t)size : TAIL_MOST;
    unsigned char *bytes = malloc(tail + 1);
    if (bytes == NULL)
        return err_set(err, ERR_MEMORY, "%s: out of memory", zip->path);
    bool ok = zip_read_at(zip, size - tail, bytes, tail, err), found = false;
    for (size_t i = tail; ok && !found && i >= END_BYTES; i--) {
        const unsigned char *from = bytes + i - END_BYTES;
        found = memcmp(from, "PK\5\6", 4) == 0 && zip_two(from + 20) <= tail - i;
        if (found) {
            memcpy(end, from, END_BYTES);
            *at = size - tail + i - END_BYTES;
        }
    }
    free(bytes);
    return ok && (found || zip_damaged(zip, "it ends too early", err));
}

/* Not a text to read: a folder, a page about the archive, or a file that desktops add. */
static bool zip_is_beside(const char *name)
{
    const char *slash = strrchr(name, '/'), *last = slash == NULL ? name : slash + 1;
    return *last == '\0' || *last == '.' || strcmp(last, "_about.txt") == 0 || strncmp(name, "__MACOSX/", 9) == 0;
}

/* Read the directory's row at *at, and move *at behind it. */
static bool zip_read_row(const struct zip *zip, uint64_t *at, uint64_t end, struct row *row, struct err *err)
{
    unsigned char bytes[ROW_BYTES];
    if (*at + ROW_BYTES > end)
        return zip_damaged(zip, "its directory is cut", err);
    if (!zip_read_at(zip, *at, bytes, sizeof bytes, err))
        return false;
    size_t name = zip_two(bytes + 28), rest = (size_t)zip_two(bytes + 30) + zip_two(bytes + 32);
    if (memcmp(bytes, "PK\1\2", 4) != 0 || *at + ROW_BYTES + name + rest > end)
        return zip_damaged(zip, "its directory is unreadable", err);
    *row = (struct row){.flags = zip_two(bytes + 8),
                        .method = zip_two(bytes + 10),
                        .crc = zip_four(bytes + 16),
                        .packed = zip_four(bytes + 20),
                        .size = zip_four(bytes + 24),
                        .offset = zip_four(bytes + 42)};
    if (!zip_read_at(zip, *at + ROW_BYTES, row->name, name < NAME_MOST ? name : NAME_MOST, err))
        return false;
    /* A folder's name ends in "/", which a truncated name would lose. */
    if (name > NAME_MOST && !zip_read_at(zip, *at + ROW_BYTES + name - 1, row->name + NAME_MOST - 1, 1, err))
        return false;
    *at += ROW_BYTES + name + rest;
    return true;
}

static bool zip_zip64(const struct zip *zip, struct err *err)
{
    return err_set(err, ERR_DATA, "%s: a zip64 archive, which is not read here; unpack it with unzip", zip->path);
}

/* Find the one wanted row, and the directory's offset. */
static bool zip_find_row(struct zip *zip, uint64_t size, uint64_t *directory, struct err *err)
{
    unsigned char end[END_BYTES] = {0};
    uint64_t end_at = 0;
    if (!zip_find_end(zip, size, end, &end_at, err))
        return false;
    unsigned entries = zip_two(end + 10);
    uint64_t at = *directory = zip_four(end + 16);
    if (entries == ZIP64_COUNT || at == zip_zip64_size)
        return zip_zip64(zip, err);
    if (zip_two(end + 4) != 0 || zip_two(end + 8) != entries)
        return err_set(err, ERR_DATA, "%s: one part of a zip archive in several; join them and unpack with unzip",
                       zip->path);
    if (at + zip_four(end + 12) > end_at)
        return zip_damaged(zip, "its directory is not where it should be", err);
    bool found = false;
    for (unsigned i = 0; i < entries; i++) {
        struct row row;
        if (!zip_read_row(zip, &at, end_at, &row, err))
            return false;
        if (zip_is_beside(row.name))
            continue;
        if (found)
            return err_set(err, ERR_DATA,
                           "%s: this zip archive holds several files, %.100s and %.100s among them; unpack it with "
                           "unzip and give one of them",
                           zip->path, zip->row.name, row.name);
        zip->row = row;
        found = true;
    }
    return found || err_set(err, ERR_DATA, "%s: no text file is in this zip archive", zip->path);
}

/* Check that the row's data can be read, and find them. */
static bool zip_find_data(struct zip *zip, uint64_t directory, struct err *err)
{
    const struct row *row = &zip->row;
    unsigned char entry[ENTRY_BYTES];
    if ((row->flags & FLAG_ENCRYPTED) != 0)
        return err_set(err, ERR_DATA, "%s: %.100s in it is encrypted; unpack it with unzip and its password", zip->path,
                       row->name);
    if (row->size == zip_zip64_size || row->packed == zip_zip64_size || row->offset == zip_zip64_size)
        return zip_zip64(zip, err);
    if (row->method != METHOD_STORED && row->method != METHOD_DEFLATED)
        return err_set(err, ERR_DATA,
                       "%s: %.100s in it is compressed by method %u, which is not read here; unpack it "
                       "with 7z x",
                       zip->path, row->name, row->method);
    if (row->method == METHOD_STORED && row->packed != row->size)
        return zip_damaged(zip, "its sizes do not agree", err);
    if (!zip_read_at(zip, row->offset, entry, sizeof entry, err))
        return false;
    zip->at = row->offset + ENTRY_BYTES + zip_two(entry + 26) + zip_two(entry + 28);
    zip->left = row->packed;
    if (memcmp(entry, "PK\3\4", 4) != 0 || zip->at + zip->left > directory)
        return zip_damaged(zip, "its directory points to no file", err);
    return true;
}

struct zip *zip_open(int fd, const char *path, struct err *err)
{
    struct stat about;
    struct zip *zip = calloc(1, sizeof *zip);
    uint64_t directory = 0;
    if (zip == NULL) {
        err_set(err, ERR_MEMORY, "%s: out of memory", path);
        return NULL;
    }
    zip->fd = fd;
    zip->path = path;
    bool ok = fstat(fd, &about) == 0 || err_errno(err, ERR_IO, "%s: cannot stat", path);
    if (ok && !S_ISREG(about.st_mode))
        ok = err_set(err, ERR_DATA, "%s: a zip archive is not read from a pipe; unpack it first: unzip -p FILE > NEW",
                     path);
    ok = ok && zip_find_row(zip, (uint64_t)about.st_size, &directory, err) && zip_find_data(zip, directory, err);
    if (ok) {
        zip->inflating = inflateInit2(&zip->inflater, -MAX_WBITS) == Z_OK; /* no header, no checksum */
        ok = zip->inflating || err_set(err, ERR_MEMORY, "%s: out of memory while uncompressing", path);
    }
    if (!ok)
        zip_close(&zip);
    return zip;
}

void zip_close(struct zip **zip)
{
    if (*zip != NULL && (*zip)->inflating)
        inflateEnd(&(*zip)->inflater);
    free(*zip);
    *zip = NULL;
}

/* One step of inflating: *got may stay 0. */
static bool zip_inflate(struct zip *zip, void *bytes, size_t size, size_t *got, struct err *err)
{
    z_stream *inflater = &zip->inflater;
    if (inflater->avail_in == 0 && zip->left > 0) {
        size_t take = zip->left < SOURCE_BYTES ? (size_t)zip->left : SOURCE_BYTES;
        if (!zip_read_at(zip, zip->at, zip->source, take, err))
            return false;
        zip->at += take;
        zip->left -= take;
        inflater->next_in = zip->source;
        inflater->avail_in = (uInt)take;
    }
    size = size < INT32_MAX ? size : INT32_MAX;
    inflater->next_out = bytes;
    inflater->avail_out = (uInt)size;
    int status = inflate(inflater, Z_NO_FLUSH);
    *got = size - inflater->avail_out;
    zip->ended = status == Z_STREAM_END;
    if (status == Z_MEM_ERROR)
        return err_set(err, ERR_MEMORY, "%s: out of memory while uncompressing", zip->path);
    if (zip->ended ? inflater->avail_in > 0 || zip->left > 0 : inflater->avail_in == 0 && zip->left == 0 && *got == 0)
        return zip_damaged(zip, "its sizes do not agree", err);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        return zip_damaged(zip, inflater->msg == NULL ? "unreadable" : inflater->msg, err);
    return true;
}

static bool zip_copy(struct zip *zip, void *bytes, size_t size, size_t *got, struct err *err)
{
    *got = zip->left < size ? (size_t)zip->left : size;
    if (!zip_read_at(zip, zip->at, bytes, *got, err))
        return false;
    zip->at += *got;
    zip->left -= *got;
    zip->ended = zip->left == 0;
    return true;
}

bool zip_read(struct zip *zip, void *bytes, size_t size, size_t *got, struct err *err)
{
    *got = 0;
    while (*got == 0 && !zip->ended) {
        if (zip->row.method == METHOD_STORED ? !zip_copy(zip, bytes, size, got, err)
                                             : !zip_inflate(zip, bytes, size, got, err))
            return false;
        zip->seen += *got;
        zip->crc = (uint32_t)crc32_z(zip->crc, bytes, *got);
    }
    if (zip->seen > zip->row.size || (zip->ended && zip->seen != zip->row.size))
        return zip_damaged(zip, "its sizes do not agree", err);
    if (zip->ended && zip->crc != zip->row.crc)
        return zip_damaged(zip, "incorrect data check", err);
    return true;
}
