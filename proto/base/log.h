/* log.h - one line on stderr for what an operator should know.
 *
 * A line is "TIME LEVEL role[pid] text": `2026-01-31T12:00:00.123Z info coordinator[4242] worker 3 joined`. The logger
 * is the one piece of global mutable state in the program; command_config opens it, and any thread may call it (a line
 * is one write(2)). Libraries log only what they handled themselves; a failure travels as a struct err instead. */
#ifndef LSTMQ_LOG_H
#define LSTMQ_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* `role` (a static string) is printed on each line of this process. Call before other threads start. */
void log_open(const char *role, enum log_level least);

/* A hook that runs before each line is written, so that a live progress line can be cleared. NULL = none. */
void log_before(void (*clear)(void *), void *context);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
