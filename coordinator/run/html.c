/* html.c - escaping, see html.h. */
#include "coordinator/run/html.h"

#include "proto/base/utf8.h"

#include <string.h>

static bool html_is_control(uint32_t point)
{
    return (point < 0x20 && point != '\t' && point != '\n') || (point >= 0x7F && point < 0xA0);
}

static const char *html_entity_of(uint32_t point)
{
    switch (point) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void html_text(struct buffer *out, const char *text)
{
    const char *end = text + strlen(text);
    for (const char *at = text; at < end;) {
        uint32_t point = 0;
        size_t length = utf8_next(at, (size_t)(end - at), &point);
        const char *entity = html_entity_of(point);
        if (length == 0 || html_is_control(point))
            buffer_text(out, "\xEF\xBF\xBD");
        else if (entity)
            buffer_text(out, entity);
        else
            buffer_append(out, at, length);
        at += length ? length : 1;
    }
}

void html_json(struct buffer *out, const char *json)
{
    for (const char *at = json; *at; at++) {
        bool separator = strncmp(at, "\xE2\x80\xA8", 3) == 0 || strncmp(at, "\xE2\x80\xA9", 3) == 0;
        if (separator) {
            buffer_format(out, "\\u%04x", (unsigned char)at[2] == 0xA8 ? 0x2028u : 0x2029u);
            at += 2;
        } else if (strchr("<>&", *at)) {
            buffer_format(out, "\\u%04x", (unsigned)(unsigned char)*at);
        } else {
            buffer_append(out, at, 1);
        }
    }
}
