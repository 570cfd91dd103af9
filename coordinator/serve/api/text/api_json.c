/* api_json.c - see api_json.h. */
#include "coordinator/serve/api/text/api_json.h"

#include "proto/base/utf8.h"

#include <string.h>

/* The letter of the short escape of a control character, of the quote and of the backslash; '\0' = it has none. */
static char json_escape(unsigned char byte)
{
    switch (byte) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '"':
    case '\\':
        return (char)byte;
    default:
        return '\0';
    }
}

void api_json_string(struct buffer *out, const char *text, size_t size)
{
    size_t begin = 0, at = 0;
    buffer_append(out, "\"", 1);
    while (at < size) {
        unsigned char byte = (unsigned char)text[at];
        uint32_t code;
        size_t length = 1;
        if (byte >= 0x80)
            length = utf8_next(text + at, size - at, &code);
        else if (byte < 0x20 || byte == '"' || byte == '\\')
            length = 0;
        if (length > 0) {
            at += length;
            continue;
        }
        buffer_append(out, text + begin, at - begin);
        if (byte >= 0x80)
            buffer_text(out, "\xEF\xBF\xBD");
        else if (json_escape(byte))
            buffer_append(out, (char[]){'\\', json_escape(byte)}, 2);
        else
            buffer_format(out, "\\u%04x", byte);
        begin = ++at;
    }
    buffer_append(out, text + begin, size - begin);
    buffer_append(out, "\"", 1);
}

void api_json_text(struct buffer *out, const char *text)
{
    api_json_string(out, text, strlen(text));
}
