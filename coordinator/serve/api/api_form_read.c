/* api_form_read.c - the two encodings of HTML forms, see api_form.h. */
#include "coordinator/serve/api/api_form.h"

#include "proto/base/utf8.h"
#include "proto/text/normalise.h"

#include <string.h>
#include <strings.h>

static int form_digit(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    int lower = letter | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Append bytes; those that are not UTF-8 as %XX. */
static void form_utf8(struct buffer *out, const char *bytes, size_t size)
{
    size_t begin = 0, at = 0;
    while (at < size) {
        uint32_t code;
        size_t length = utf8_next(bytes + at, size - at, &code);
        if (length == 0) {
            buffer_append(out, bytes + begin, at - begin);
            buffer_format(out, "%%%02X", (unsigned)(unsigned char)bytes[at]);
            begin = ++at;
        } else {
            at += length;
        }
    }
    buffer_append(out, bytes + begin, size - begin);
}

void api_form_unescape(struct buffer *out, const char *text, size_t size)
{
    char *to = buffer_reserve(out, size);
    if (!to)
        return;
    size_t length = 0;
    for (size_t at = 0; at < size; at++) {
        int high = text[at] == '%' && size - at > 2 ? form_digit(text[at + 1]) : -1;
        int low = high >= 0 ? form_digit(text[at + 2]) : -1;
        if (low >= 0) {
            to[length++] = (char)(high << 4 | low);
            at += 2;
        } else {
            to[length++] = text[at] == '+' ? ' ' : text[at];
        }
    }
    if (utf8_valid(to, length, NULL)) {
        out->size += length;
        out->data[out->size] = '\0';
    } else {
        struct buffer raw = {0};
        buffer_append(&raw, to, length);
        form_utf8(out, raw.data ? raw.data : "", raw.size);
        out->failed |= raw.failed;
        buffer_free(&raw);
    }
}

void api_form_urlencoded(struct api_form *form, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *field = text + at, *end = memchr(field, '&', size - at);
        size_t length = end ? (size_t)(end - field) : size - at;
        const char *equal = memchr(field, '=', length);
        size_t name = equal ? (size_t)(equal - field) : length;
        buffer_clear(&form->name);
        buffer_clear(&form->value);
        buffer_append(&form->name, "", 0);
        api_form_unescape(&form->name, field, name);
        if (equal)
            api_form_unescape(&form->value, equal + 1, length - name - 1);
        if (form->name.data && length > 0)
            api_form_add(form, form->name.data, form->value.data ? form->value.data : "", form->value.size);
        at += length + 1;
    }
}

/* The value of a parameter of a header, `NAME=value` or `NAME="value"`, in [header, end); its length, 0 = none. */
static size_t form_parameter(const char *header, const char *end, const char *name, const char **value)
{
    size_t size = strlen(name);
    for (const char *at = header; (at = memchr(at, ';', (size_t)(end - at))) != NULL;) {
        at++;
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        if ((size_t)(end - at) <= size || strncasecmp(at, name, size) != 0 || at[size] != '=')
            continue;
        at += size + 1;
        bool quoted = at < end && *at == '"';
        *value = at + quoted;
        const char *last = *value;
        while (last < end && (quoted ? *last != '"' : strchr("; \t\r\n", *last) == NULL))
            last++;
        return (size_t)(last - *value);
    }
    return 0;
}

/* Take one part, [part, end): its headers, an empty line, its value. */
static bool form_part(struct api_form *form, const char *part, const char *end)
{
    const char *value = memmem(part, (size_t)(end - part), "\r\n\r\n", 4);
    if (!value)
        return false;
    const char *name = NULL, *file;
    size_t size = 0;
    bool is_file = false;
    for (const char *line = part; line < value;) {
        const char *line_end = memmem(line, (size_t)(value + 2 - line), "\r\n", 2);
        if (line_end - line > 20 && strncasecmp(line, "content-disposition:", 20) == 0) {
            size = form_parameter(line, line_end, "name", &name);
            is_file = form_parameter(line, line_end, "filename", &file) > 0;
        }
        line = line_end + 2;
    }
    if (size == 0 || is_file)
        return true;
    value += 4;
    buffer_clear(&form->name);
    buffer_clear(&form->value);
    form_utf8(&form->name, name, size);
    form_utf8(&form->value, value, (size_t)(end - value));
    if (form->name.data)
        api_form_add(form, form->name.data, form->value.data ? form->value.data : "", form->value.size);
    return true;
}

bool api_form_multipart(struct api_form *form, const char *content_type, const char *body, size_t size)
{
    enum { BOUNDARY = 70 };
    char mark[BOUNDARY + 4] = "\r\n--";
    const char *boundary;
    size_t length = form_parameter(content_type, content_type + strlen(content_type), "boundary", &boundary);
    if (length == 0 || length > BOUNDARY)
        return false;
    memcpy(mark + 4, boundary, length);
    length += 4;
    /* The first mark may stand at the beginning, without its line end. */
    const char *at, *end = body + size;
    if (size >= length - 2 && memcmp(body, mark + 2, length - 2) == 0)
        at = body + length - 2;
    else if ((at = memmem(body ? body : "", size, mark, length)) != NULL)
        at += length;
    while (at) {
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        if (end - at >= 2 && at[0] == '-' && at[1] == '-')
            return true;
        if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
            return false;
        /* The empty line of a part without headers begins with the mark's line end, so that one stays. */
        const char *next = memmem(at, (size_t)(end - at), mark, length);
        if (!next || !form_part(form, at, next))
            return false;
        at = next + length;
    }
    return size == 0;
}
