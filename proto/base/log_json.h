/* log_json.h - one JSON object, built in memory of fixed size; internal to log.c.
 *
 * Add members between log_json_open and log_json_close. The object is valid JSON for any strings and any size. Plain
 * memory on the caller's stack; one thread at a time. */
#ifndef LSTMQ_PROTO_BASE_LOG_JSON_H
#define LSTMQ_PROTO_BASE_LOG_JSON_H

#include "proto/base/log.h"

#include <stddef.h>

struct log_json {
    char text[LOG_LINE];
    size_t size;
    bool cut; /* something did not fit */
};

void log_json_open(struct log_json *json);

/* Add a member that ends before byte `most` (at most LOG_LINE; the end has its own space). A string is truncated to
 * fit; any other member is omitted. */
void log_json_add(struct log_json *json, const struct log_field *field, size_t most);

/* End the object and the line. */
void log_json_close(struct log_json *json);

#endif
