/* stdin_lines.c - read standard input, and take lines from it; see stdin_lines.h. */
#include "worker/stdin_lines.h"

#include "proto/text/form.h"
#include "proto/text/lines.h"
#include "proto/text/normalise.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,   /* one read */
    LINE_BYTES = 1024 * 1024, /* a longer line is an error, not a sentence */
};

/* Read once. Blocks only with `wait`, if no bytes are there. *more: something was read. */
static bool stdin_read(struct stdin_lines *input, bool wait, bool *more, struct err *err)
{
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    *more = false;
    if (!wait && poll(&ready, 1, 0) <= 0)
        return true;
    char *end = buffer_reserve(&input->bytes, READ_BYTES);
    if (end == NULL)
        return buffer_ok(&input->bytes, err);
    ssize_t size;
    do
        size = read(STDIN_FILENO, end, READ_BYTES);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return err_errno(err, ERR_IO, "cannot read stdin");
    input->bytes.size += (size_t)size;
    end[size] = '\0';
    input->ended = size == 0;
    *more = size > 0;
    return true;
}

/* Skip the line end of the last line; false: more bytes are needed to know its size. A line is taken before that, so
 * that its translation is not delayed. */
static bool stdin_pass_end(struct stdin_lines *input)
{
    char *end = input->bytes.data + input->taken;
    if (!input->at_end)
        return true;
    *end = '\r'; /* the last line's NUL is here */
    size_t size = line_end_size(end, input->bytes.size - input->taken, input->ended);
    *end = '\0';
    input->taken += size;
    input->at_end = size == 0;
    return size > 0;
}

/* Refuse input that is not text, judged by the bytes up to the end of its first line. */
static bool stdin_check_form(const char *bytes, size_t size, struct err *err)
{
    struct form form = form_of(bytes, size);
    return form.kind == FORM_TEXT ||
           err_set(err, ERR_DATA, "stdin: this is %s; make it plain UTF-8 text: %s FILE | lstmq translate", form.name,
                   form.command);
}

static bool stdin_check_utf8(const char *line, size_t size, uint64_t number, struct err *err)
{
    size_t at;
    if (utf8_valid(line, size, &at))
        return true;
    const char *encoding = line[at] == '\0' ? NULL : form_encoding(line, size);
    if (encoding == NULL)
        return err_set(err, ERR_DATA, "stdin:%" PRIu64 ": not valid UTF-8 text at byte %zu", number, at + 1);
    return err_set(err, ERR_DATA,
                   "stdin:%" PRIu64
                   ": not valid UTF-8 text at byte %zu; if it is %s: iconv -f %s -t UTF-8 FILE | lstmq "
                   "translate",
                   number, at + 1, encoding, encoding);
}

/* Take the next complete line (the last one may have no line end): NUL-terminated in place. *line = NULL: no complete
 * line was read. */
static bool stdin_take_line(struct stdin_lines *input, char **line, struct err *err)
{
    *line = NULL;
    if (!stdin_pass_end(input) || input->bytes.size == input->taken)
        return true;
    char *start = input->bytes.data + input->taken;
    size_t left = input->bytes.size - input->taken, size;
    const char *end = line_end_find(start, left);
    bool first = input->lines == 0 && (end != NULL || input->ended || left > LINE_BYTES);
    if (first && !stdin_check_form(start, left, err))
        return false;
    if (end != NULL) {
        size = (size_t)(end - start);
        size_t ending = line_end_size(end, left - size, input->ended);
        input->taken += size + ending;
        input->at_end = ending == 0;
    } else if (input->ended) {
        size = left;
        input->taken += size;
    } else if (left > LINE_BYTES) {
        return err_set(err, ERR_DATA,
                       "stdin:%" PRIu64 ": a line of more than %d bytes; one sentence a line is expected",
                       input->lines + 1, LINE_BYTES);
    } else {
        return true;
    }
    input->lines++;
    if (input->lines == 1 && size >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0) {
        start += 3; /* a byte order mark, as in files of pairs */
        size -= 3;
    }
    if (!stdin_check_utf8(start, size, input->lines, err))
        return false;
    start[size] = '\0';
    *line = start;
    return true;
}

bool stdin_lines_take(struct stdin_lines *input, bool wait, size_t most, size_t most_bytes, size_t *offsets,
                      size_t *count, struct err *err)
{
    bool more = true;
    size_t begun = input->taken;
    *count = 0;
    while (*count < most && input->taken - begun < most_bytes) {
        char *line;
        if (!stdin_take_line(input, &line, err))
            return false;
        if (line != NULL) {
            offsets[(*count)++] = (size_t)(line - input->bytes.data);
            continue;
        }
        if (input->ended || !more)
            return true;
        if (!stdin_read(input, wait && *count == 0, &more, err))
            return false;
    }
    return true;
}

void stdin_lines_drop(struct stdin_lines *input)
{
    size_t left = input->bytes.size - input->taken;
    if (left > 0 && input->taken > 0)
        memmove(input->bytes.data, input->bytes.data + input->taken, left);
    input->bytes.size = left;
    input->taken = 0;
}
