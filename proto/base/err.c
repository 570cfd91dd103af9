/* err.c - make errors, prefix them, clean their text; see err.h. */
#include "proto/base/err.h"

#include "proto/base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Errors quote names and damaged input. "?" replaces control characters and bytes that are not UTF-8, such as a
 * character cut at the end. */
static void err_make_one_line(char *text)
{
    size_t size = strlen(text);
    uint32_t code = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_next(text + at, size - at, &code);
        bool shown = length > 0 && code >= 0x20 && (code < 0x7F || code > 0x9F);
        length = length > 0 ? length : 1;
        if (!shown)
            memset(text + at, '?', length);
    }
}

bool err_vset(struct err *err, enum err_code code, const char *format, va_list args)
{
    if (err == NULL)
        return false;
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
    err_make_one_line(err->text);
    return false;
}

bool err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err_vset(err, code, format, args);
    va_end(args);
    return false;
}

bool err_errno(struct err *err, enum err_code code, const char *format, ...)
{
    int saved = errno;
    va_list args;
    va_start(args, format);
    err_vset(err, code, format, args);
    va_end(args);
    if (err != NULL) {
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, ": %s%s", strerror(saved),
                 saved == EMFILE ? "; " ERR_FEW_FILES : "");
        err_make_one_line(err->text);
    }
    return false;
}

bool err_context(struct err *err, const char *format, ...)
{
    if (err == NULL)
        return false;
    char prefix[ERR_TEXT / 2];
    char text[ERR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(text, err->text, sizeof text);
    int written = snprintf(err->text, sizeof err->text, "%s: ", prefix);
    size_t used = written < 0 ? 0 : (size_t)written;
    if (used >= sizeof err->text)
        return false;
    size_t space = sizeof err->text - used - 1;
    size_t length = strnlen(text, sizeof text);
    if (length > space)
        length = space;
    memcpy(err->text + used, text, length);
    err->text[used + length] = '\0';
    err_make_one_line(err->text);
    return false;
}

int err_exit_status(enum err_code code)
{
    switch (code) {
    case ERR_NONE:
        return 0;
    case ERR_USAGE:
        return 2;
    case ERR_DATA:
        return 3;
    case ERR_INTERRUPTED:
        return 130;
    default:
        return 1;
    }
}
