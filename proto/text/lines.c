/* lines.c - three layers, each filling the one above: the file's bytes (source), the text (held), the lines.
 *
 * `held` is one buffer with the unread text in [at, end). When it has no whole line, the rest moves to the front and
 * more text is read behind it. A line without a line end in `longest` bytes is too long and is skipped. inflate is used
 * directly, because gzread ends silently at a damaged member that follows a good one. */
#include "proto/text/lines.h"

#include "proto/text/form.h"
#include "proto/text/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    AHEAD_BYTES = 256 * 1024,  /* read ahead, in addition to the longest line */
    GZIP_ONLY = 16 + MAX_WBITS /* inflateInit2: expect a gzip header and checksum */
};

struct lines {
    char *path;
    int fd;
    size_t longest;
    uint64_t number; /* of the last line returned */

    struct zip *zip;   /* NULL: not a zip archive */
    bool gzip;         /* the next four are for gzip only */
    bool member_open;  /* between a header and its checksum */
    bool file_ended;   /* all of it is read */
    z_stream inflater; /* next_in and avail_in are the unread part of source */
    unsigned char *source;

    bool text_ended; /* all text is in held */
    char *held;
    size_t at, end;  /* the unread text */
    size_t capacity; /* of held, and of source */
};

/* Up to `size` bytes of the file, 0 at its end, negative on failure. */
static ssize_t lines_read_file(struct lines *lines, void *bytes, size_t size, struct err *err)
{
    ssize_t got;
    do
        got = read(lines->fd, bytes, size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        err_errno(err, ERR_IO, "%s: cannot read", lines->path);
    return got;
}

static bool lines_gzip_damaged(const struct lines *lines, const char *how, struct err *err)
{
    return err_set(err, ERR_DATA, "%s: damaged gzip file (%s); check it with gzip -t and get it again", lines->path,
                   how);
}

/* Uncompressed bytes into [end, capacity); none at the end of the file. Zero bytes between and behind members are
 * padding, as on tapes and in some downloads. */
static bool lines_fill_gzip(struct lines *lines, struct err *err)
{
    z_stream *inflater = &lines->inflater;
    size_t before = lines->end;
    while (lines->end == before) {
        if (inflater->avail_in == 0 && !lines->file_ended) {
            ssize_t got = lines_read_file(lines, lines->source, lines->capacity, err);
            if (got < 0)
                return false;
            lines->file_ended = got == 0;
            inflater->next_in = lines->source;
            inflater->avail_in = (uInt)got;
        }
        if (!lines->member_open) {
            while (inflater->avail_in > 0 && *inflater->next_in == 0) {
                inflater->next_in++;
                inflater->avail_in--;
            }
            lines->text_ended = inflater->avail_in == 0 && lines->file_ended;
            if (lines->text_ended)
                return true;
            if (inflater->avail_in == 0)
                continue;
        }
        inflater->next_out = (unsigned char *)lines->held + lines->end;
        inflater->avail_out = (uInt)(lines->capacity - lines->end);
        lines->member_open = true;
        int status = inflate(inflater, Z_NO_FLUSH);
        lines->end = lines->capacity - inflater->avail_out;
        if (status == Z_STREAM_END) {
            lines->member_open = false;
            status = inflateReset(inflater);
        }
        if (status == Z_MEM_ERROR)
            return err_set(err, ERR_MEMORY, "%s: out of memory while uncompressing", lines->path);
        if (status == Z_BUF_ERROR && lines->file_ended)
            return lines_gzip_damaged(lines, "it ends too early", err);
        if (status != Z_OK && status != Z_BUF_ERROR)
            return lines_gzip_damaged(lines, inflater->msg == NULL ? "unreadable" : inflater->msg, err);
    }
    return true;
}

/* Move the unread text to the front and read more behind it; sets text_ended at the end. */
static bool lines_fill(struct lines *lines, struct err *err)
{
    memmove(lines->held, lines->held + lines->at, lines->end - lines->at);
    lines->end -= lines->at;
    lines->at = 0;
    if (lines->gzip)
        return lines_fill_gzip(lines, err);
    if (lines->zip != NULL) {
        size_t size;
        if (!zip_read(lines->zip, lines->held + lines->end, lines->capacity - lines->end, &size, err))
            return false;
        lines->end += size;
        lines->text_ended = size == 0;
        return true;
    }
    ssize_t got = lines_read_file(lines, lines->held + lines->end, lines->capacity - lines->end, err);
    if (got < 0)
        return false;
    lines->end += (size_t)got;
    lines->text_ended = got == 0;
    return true;
}

/* Read until the form of the text is certain. */
static bool lines_fill_first(struct lines *lines, struct err *err)
{
    while (lines->end < FORM_BYTES && !lines->text_ended)
        if (!lines_fill(lines, err))
            return false;
    return true;
}

/* The bytes in `held` are gzip data. */
static bool lines_begin_gzip(struct lines *lines, struct err *err)
{
    if (inflateInit2(&lines->inflater, GZIP_ONLY) != Z_OK)
        return err_set(err, ERR_MEMORY, "%s: out of memory while uncompressing", lines->path);
    lines->gzip = true;
    memcpy(lines->source, lines->held, lines->end);
    lines->inflater.next_in = lines->source;
    lines->inflater.avail_in = (uInt)lines->end;
    lines->file_ended = lines->text_ended;
    return true;
}

static bool lines_is_named(const struct lines *lines, const char *suffix)
{
    size_t length = strlen(lines->path), size = strlen(suffix);
    return length > size && strcmp(lines->path + length - size, suffix) == 0;
}

/* The file's name for a shell, if that needs no quoting. */
static const char *lines_shell_name(const struct lines *lines)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+,-";
    size_t length = strlen(lines->path);
    bool simple = length < 200 && lines->path[0] != '-' && strspn(lines->path, safe) == length;
    return simple ? lines->path : "FILE";
}

/* Find the file's form by its first bytes, and drop a BOM. */
static bool lines_begin(struct lines *lines, struct err *err)
{
    if (!lines_fill_first(lines, err))
        return false;
    if (lines->end == 0)
        return err_set(err, ERR_DATA, "%s: the file is empty; it should hold one sentence or pair a line", lines->path);
    struct form form = form_of(lines->held, lines->end), outer = form;
    if (form.kind == FORM_GZIP || form.kind == FORM_ZIP) {
        if (form.kind == FORM_GZIP && !lines_begin_gzip(lines, err))
            return false;
        if (form.kind == FORM_ZIP && (lines->zip = zip_open(lines->fd, lines->path, err)) == NULL)
            return false;
        lines->text_ended = false;
        lines->end = 0;
        if (!lines_fill_first(lines, err))
            return false;
        if (lines->end == 0)
            return err_set(err, ERR_DATA, "%s: this %s is empty", lines->path,
                           form.kind == FORM_GZIP ? "gzip file" : "zip archive");
        form = form_of(lines->held, lines->end);
        if (form.kind != FORM_TEXT)
            return err_set(err, ERR_DATA, "%s: %s, and in it %s; unpack it, and then what was in it: %s FILE > NEW",
                           lines->path, outer.name, form.name, form.command);
    }
    if (form.kind != FORM_TEXT)
        return err_set(err, ERR_DATA, "%s: this is %s; make it plain UTF-8 text: %s %s > NEW", lines->path, form.name,
                       form.command, lines_shell_name(lines));
    if (outer.kind == FORM_TEXT && (lines_is_named(lines, ".gz") || lines_is_named(lines, ".zip")))
        return err_set(err, ERR_DATA, "%s: not a %s file in spite of its name; rename or replace it", lines->path,
                       lines_is_named(lines, ".gz") ? "gzip" : "zip");
    if (lines->end >= 3 && memcmp(lines->held, "\xEF\xBB\xBF", 3) == 0)
        lines->at = 3;
    return true;
}

struct lines *lines_open(const char *path, size_t longest, struct err *err)
{
    struct lines *lines = calloc(1, sizeof *lines);
    if (lines == NULL) {
        err_set(err, ERR_MEMORY, "%s: out of memory", path);
        return NULL;
    }
    lines->fd = -1;
    lines->longest = longest;
    lines->capacity = longest + AHEAD_BYTES;
    lines->path = strdup(path);
    lines->source = malloc(lines->capacity);
    lines->held = malloc(lines->capacity);
    if (lines->path == NULL || lines->source == NULL || lines->held == NULL) {
        err_set(err, ERR_MEMORY, "%s: out of memory", path);
        lines_close(&lines);
        return NULL;
    }
    lines->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (lines->fd < 0) {
        err_errno(err, ERR_IO, "%s: cannot open", path);
        lines_close(&lines);
        return NULL;
    }
    if (!lines_begin(lines, err))
        lines_close(&lines);
    return lines;
}

void lines_close(struct lines **lines)
{
    struct lines *gone = *lines;
    if (gone == NULL)
        return;
    zip_close(&gone->zip);
    if (gone->gzip)
        inflateEnd(&gone->inflater);
    if (gone->fd >= 0)
        close(gone->fd);
    free(gone->path);
    free(gone->source);
    free(gone->held);
    free(gone);
    *lines = NULL;
}

const char *line_end_find(const char *text, size_t size)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    const char *end = text + size;
    for (; end - text >= 8; text += 8) {
        uint64_t eight, feeds, returns;
        memcpy(&eight, text, 8);
        feeds = eight ^ ones * '\n';
        returns = eight ^ ones * '\r';
        /* Here a byte is 0 at the wanted character; the lowest such byte always sets its top bit. */
        if ((((feeds - ones) & ~feeds) | ((returns - ones) & ~returns)) & tops)
            break;
    }
    while (text < end && *text != '\n' && *text != '\r')
        text++;
    return text < end ? text : NULL;
}

size_t line_end_size(const char *text, size_t size, bool last)
{
    if (text[0] == '\n')
        return 1;
    if (size >= 2 && text[1] == '\n')
        return 2;
    if (size >= 3 && text[1] == '\r' && text[2] == '\n')
        return 3;
    bool open = size == 1 || (size == 2 && text[1] == '\r');
    return open && !last ? 0 : 1;
}

/* Skip the rest of a line, and read its line end. */
static bool lines_end_line(struct lines *lines, struct line *line, struct err *err)
{
    for (;;) {
        const char *from = lines->held + lines->at;
        size_t unread = lines->end - lines->at;
        const char *feed = line_end_find(from, unread);
        size_t before = feed == NULL ? unread : (size_t)(feed - from);
        size_t size = feed == NULL ? 0 : line_end_size(feed, unread - before, lines->text_ended);
        lines->at += before + size;
        bool lone = size == 1 && *feed == '\r', file_end = lines->text_ended && lines->at == lines->end;
        line->end = size == 0 || (lone && file_end) ? LINE_END_FILE : lone ? LINE_END_CR : LINE_END_LF;
        if (size > 0 || lines->text_ended)
            return true;
        if (!lines_fill(lines, err))
            return false;
    }
}

bool lines_next(struct lines *lines, struct line *line, bool *end, struct err *err)
{
    size_t size = 0;
    for (;;) {
        const char *text = lines->held + lines->at;
        size_t unread = lines->end - lines->at;
        const char *feed = line_end_find(text + size, unread - size);
        size = feed == NULL ? unread : (size_t)(feed - text);
        if (lines->text_ended || size > lines->longest ||
            (feed != NULL && line_end_size(feed, unread - size, false) > 0))
            break;
        if (!lines_fill(lines, err))
            return false;
    }
    *end = lines->text_ended && lines->at == lines->end;
    if (*end)
        return true;
    lines->number++;
    *line = (struct line){.text = lines->held + lines->at, .size = size, .number = lines->number};
    lines->at += size;
    if (size <= lines->longest)
        return lines_end_line(lines, line, err);
    *line = (struct line){.text = "", .number = lines->number, .too_long = true};
    return lines_end_line(lines, line, err);
}
