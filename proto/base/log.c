/* log.c - build a line first, then write it at once, so that lines of several threads do not mix. */
#include "proto/base/log.h"

#include "proto/base/log_json.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
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
