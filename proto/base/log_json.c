/* log_json.c - a JSON object of fixed size; see log_json.h. */
#include "proto/base/log_json.h"

#include "proto/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char log_cut[] = ",\"cut\":true";

enum { END = sizeof log_cut + sizeof "}\n" }; /* bytes reserved for the end */

void log_json_open(struct log_json *json)
{
    json->text[0] = '{';
    json->size = 1;
    json->cut = false;
}

static bool log_json_put(struct log_json *json, const char *bytes, size_t size, size_t most)
{
    if (json->size + size > most)
        return false;
    memcpy(json->text + json->size, bytes, size);
    json->size += size;
    return true;
}

/* Write the next character as in a JSON string to `out`; returns the bytes read. */
static size_t log_escape(const char *text, size_t size, char out[8], size_t *out_size)
{
    uint32_t code;
    size_t length = utf8_next(text, size, &code);
    if (length == 0) {
        memcpy(out, "\xEF\xBF\xBD", 3);
        *out_size = 3;
        return 1;
    }
    if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
        *out_size = (size_t)snprintf(out, 8, "\\u%04x", (unsigned)code);
    } else if (code == '"' || code == '\\') {
        out[0] = '\\';
        out[1] = (char)code;
        *out_size = 2;
    } else {
        memcpy(out, text, length);
        *out_size = length;
    }
    return length;
}

static bool log_put_string(struct log_json *json, const char *text, size_t most)
{
    size_t left = strlen(text);
    if (json->size + 2 > most)
        return false;
    json->text[json->size++] = '"';
    while (left > 0) {
        char piece[8];
        size_t size, read = log_escape(text, left, piece, &size);
        if (!log_json_put(json, piece, size, most - 1)) {
            json->cut = true;
            break;
        }
        text += read;
        left -= read;
    }
    json->text[json->size++] = '"';
    return true;
}

static bool log_put_value(struct log_json *json, const struct log_field *field, size_t most)
{
    char number[40];
    switch (field->kind) {
    case LOG_KIND_INT:
        snprintf(number, sizeof number, "%" PRId64, field->integer);
        break;
    case LOG_KIND_COUNT:
        snprintf(number, sizeof number, "%" PRIu64, field->count);
        break;
    case LOG_KIND_REAL:
        snprintf(number, sizeof number, isfinite(field->real) ? "%.15g" : "null", field->real);
        break;
    case LOG_KIND_BOOL:
        snprintf(number, sizeof number, "%s", field->flag ? "true" : "false");
        break;
    case LOG_KIND_TEXT:
        if (field->text != NULL)
            return log_put_string(json, field->text, most);
        snprintf(number, sizeof number, "null");
        break;
    }
    return log_json_put(json, number, strlen(number), most);
}

void log_json_add(struct log_json *json, const struct log_field *field, size_t most)
{
    size_t before = json->size;
    if (most > LOG_LINE - END)
        most = LOG_LINE - END;
    bool first = before == 1;
    if (log_json_put(json, ",", first ? 0 : 1, most) && log_json_put(json, "\"", 1, most) &&
        log_json_put(json, field->name, strlen(field->name), most) && log_json_put(json, "\":", 2, most) &&
        log_put_value(json, field, most))
        return;
    json->size = before;
    json->cut = true;
}

void log_json_close(struct log_json *json)
{
    if (json->cut)
        log_json_put(json, log_cut, sizeof log_cut - 1, LOG_LINE);
    log_json_put(json, "}\n", 2, LOG_LINE);
}
