/* log.c - a line is put together first and written at once, so that lines of several threads do not mix. */
#include "proto/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *role;
    enum log_level least;
    void (*clear)(void *);
    void *context;
    pthread_mutex_t lock;
} s_log = {.role = "lstmq", .least = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

void log_open(const char *role, enum log_level least)
{
    s_log.role = role;
    s_log.least = least;
}

void log_before(void (*clear)(void *), void *context)
{
    pthread_mutex_lock(&s_log.lock);
    s_log.clear = clear;
    s_log.context = context;
    pthread_mutex_unlock(&s_log.lock);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < s_log.least || level >= LOG_OFF)
        return;
    char line[2048];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %s %s[%ld] ", now.tv_nsec / 1000000,
                             names[level], s_log.role, (long)getpid());
    va_list args;
    va_start(args, format);
    int text = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    if (text > 0)
        used += (size_t)text;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
    line[used++] = '\n';
    pthread_mutex_lock(&s_log.lock);
    if (s_log.clear != NULL)
        s_log.clear(s_log.context);
    ssize_t ignored = write(STDERR_FILENO, line, used);
    (void)ignored;
    pthread_mutex_unlock(&s_log.lock);
}
