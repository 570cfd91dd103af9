/* log.c - build a line first, then write it at once, so that lines of several threads do not mix. */
#include "proto/base/log.h"

#include "proto/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STAMP = 40 };

static const char *const log_levels[] = {"debug", "info", "warn", "error"};

static struct {
    const char *role;
    enum log_level least;
    bool json;
    void (*clear)(void *);
    void *context;
    pthread_mutex_t lock;
} log_log = {.role = "lstmq", .least = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

void log_open(const char *role, enum log_level least)
{
    log_log.role = role;
    log_log.least = least;
}

void log_use_json(bool json)
{
    log_log.json = json;
}

bool log_uses_json(void)
{
    return log_log.json;
}

void log_before(void (*clear)(void *), void *context)
{
    pthread_mutex_lock(&log_log.lock);
    log_log.clear = clear;
    log_log.context = context;
    pthread_mutex_unlock(&log_log.lock);
}

static void log_write(const char *line, size_t size)
{
    pthread_mutex_lock(&log_log.lock);
    if (log_log.clear != NULL)
        log_log.clear(log_log.context);
    ssize_t ignored = write(STDERR_FILENO, line, size);
    (void)ignored;
    pthread_mutex_unlock(&log_log.lock);
}

static void log_stamp(char stamp[STAMP])
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(stamp, STAMP, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + used, STAMP - used, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

/* ---- JSON ---- */

/* One object in memory of fixed size, valid JSON for any strings: log_json_open, log_json_add for each member,
 * log_json_close. */
struct log_json {
    char text[LOG_LINE];
    size_t size;
    bool cut; /* something did not fit */
};

static const char log_cut[] = ",\"cut\":true";

enum { JSON_END = sizeof log_cut + sizeof "}\n" }; /* bytes reserved for the end */

static void log_json_open(struct log_json *json)
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

/* Add a member that ends before byte `most` (at most LOG_LINE; the end has its own space). A string is truncated to
 * fit; any other member is omitted. */
static void log_json_add(struct log_json *json, const struct log_field *field, size_t most)
{
    size_t before = json->size;
    if (most > LOG_LINE - JSON_END)
        most = LOG_LINE - JSON_END;
    bool first = before == 1;
    if (log_json_put(json, ",", first ? 0 : 1, most) && log_json_put(json, "\"", 1, most) &&
        log_json_put(json, field->name, strlen(field->name), most) && log_json_put(json, "\":", 2, most) &&
        log_put_value(json, field, most))
        return;
    json->size = before;
    json->cut = true;
}

/* End the object and the line. */
static void log_json_close(struct log_json *json)
{
    if (json->cut)
        log_json_put(json, log_cut, sizeof log_cut - 1, LOG_LINE);
    log_json_put(json, "}\n", 2, LOG_LINE);
}

static void log_write_json(enum log_level level, const char *event, const struct log_field *fields, const char *format,
                           va_list args)
{
    struct log_json json;
    char stamp[STAMP], sentence[LOG_SENTENCE];
    const size_t most = LOG_LINE - LOG_SENTENCE; /* bytes for the fields, so that the sentence has space too */
    log_stamp(stamp);
    log_json_open(&json);
    log_json_add(&json, &LOG_TEXT("time", stamp), most);
    log_json_add(&json, &LOG_TEXT("level", log_levels[level]), most);
    log_json_add(&json, &LOG_TEXT("role", log_log.role), most);
    log_json_add(&json, &LOG_INT("pid", (int64_t)getpid()), most);
    log_json_add(&json, &LOG_TEXT("event", event), most);
    for (; fields != NULL && fields->name != NULL; fields++)
        log_json_add(&json, fields, most);
    int size = vsnprintf(sentence, sizeof sentence, format, args);
    json.cut = json.cut || size >= (int)sizeof sentence;
    log_json_add(&json, &LOG_TEXT("text", size < 0 ? "" : sentence), LOG_LINE);
    log_json_close(&json);
    log_write(json.text, json.size);
}

/* ---- text, and the choice ---- */

static void log_write_text(enum log_level level, const char *format, va_list args)
{
    char line[LOG_SENTENCE], stamp[STAMP];
    log_stamp(stamp);
    size_t used =
        (size_t)snprintf(line, sizeof line, "%s %s %s[%ld] ", stamp, log_levels[level], log_log.role, (long)getpid());
    int text = vsnprintf(line + used, sizeof line - used - 1, format, args);
    if (text > 0)
        used += (size_t)text;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
    line[used++] = '\n';
    log_write(line, used);
}

static void log_put(enum log_level level, const char *event, const struct log_field *fields, const char *format,
                    va_list args)
{
    if (log_log.json)
        log_write_json(level, event, fields, format, args);
    else
        log_write_text(level, format, args);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, const char *format, ...)
{
    va_list args;
    if (level < log_log.least || level >= LOG_OFF)
        return;
    va_start(args, format);
    log_put(level, event, fields, format, args);
    va_end(args);
}

void log_fact(const char *event, const struct log_field *fields, const char *format, ...)
{
    va_list args;
    enum log_level level = log_log.json ? LOG_INFO : LOG_DEBUG;
    if (level < log_log.least)
        return;
    va_start(args, format);
    log_put(level, event, fields, format, args);
    va_end(args);
}

void log_say(enum log_level level, const char *event, const struct log_field *fields, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (log_log.json) {
        log_write_json(level, event, fields, format, args);
    } else {
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
    }
    va_end(args);
}
