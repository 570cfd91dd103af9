/* log.h - one line on stderr for each event that an operator, or a watching program, should know.
 *
 * A line has a stable event name (snake_case, a literal at the call), fields, and a sentence. The text form prints
 * "TIME LEVEL role[pid] sentence": `2026-01-31T12:00:00.123Z info coordinator[4242] worker 3 left`. The JSON form
 * prints one object: {"time":"2026-01-31T12:00:00.123Z","level":"info","role":"coordinator","pid":4242,
 * "event":"worker_left","worker":3,"text":"worker 3 left after 12 steps"}. A line has at most LOG_LINE bytes. A longer
 * object has truncated strings, omits fields without space, and has `"cut":true`.
 *
 * The logger is the program's only global mutable state. command_config opens it, and any thread may call it: a line is
 * one write(2), and nothing is allocated. Libraries log only what they handled themselves; a failure travels as a
 * struct err instead. */
#ifndef LSTMQ_PROTO_BASE_LOG_H
#define LSTMQ_PROTO_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

enum { LOG_LINE = 4096, LOG_SENTENCE = 2048 };

enum log_kind { LOG_KIND_INT, LOG_KIND_COUNT, LOG_KIND_REAL, LOG_KIND_BOOL, LOG_KIND_TEXT };

/* One member of an event's object. Reserved names: time, level, role, pid, event, text, cut. */
struct log_field {
    const char *name; /* NULL ends a list */
    enum log_kind kind;
    union {
        int64_t integer;
        uint64_t count;
        double real;      /* null in JSON if not finite */
        const char *text; /* null in JSON if NULL; invalid UTF-8 becomes U+FFFD */
        bool flag;
    };
};

#define LOG_INT(key, value)   ((struct log_field){.name = (key), .kind = LOG_KIND_INT, .integer = (value)})
#define LOG_COUNT(key, value) ((struct log_field){.name = (key), .kind = LOG_KIND_COUNT, .count = (value)})
#define LOG_REAL(key, value)  ((struct log_field){.name = (key), .kind = LOG_KIND_REAL, .real = (value)})
#define LOG_BOOL(key, value)  ((struct log_field){.name = (key), .kind = LOG_KIND_BOOL, .flag = (value)})
#define LOG_TEXT(key, value)  ((struct log_field){.name = (key), .kind = LOG_KIND_TEXT, .text = (value)})

/* The fields of one call, from the macros above; NULL = no fields. */
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {.name = NULL}})

/* Each line of this process has `role` (a static string). Call it before other threads start. */
void log_open(const char *role, enum log_level least);

/* Use the JSON form, or the text form. Call it before other threads start. */
void log_use_json(bool json);
bool log_uses_json(void);

/* A hook that runs before each line, to clear a live progress line. NULL = none. */
void log_before(void (*clear)(void *), void *context);

void log_event(enum log_level level, const char *event, const struct log_field *fields, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* An event that programs wait for and that people see elsewhere: level info in JSON, debug in text. */
void log_fact(const char *event, const struct log_field *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A message of a command to its user, printed at every minimum level. The text form is the sentence alone, in full. */
void log_say(enum log_level level, const char *event, const struct log_field *fields, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
