/* log_json.h - one JSON object, put together in memory of fixed size; log.c's own.
 *
 * Members are added between log_json_open and log_json_close. The object is valid JSON whatever its strings hold and
 * however little space is left. It owns nothing; one thread at a time. */
#ifndef LSTMQ_PROTO_BASE_LOG_JSON_H
#define LSTMQ_PROTO_BASE_LOG_JSON_H

#include "proto/base/log.h"

#include <stddef.h>

struct log_json {
    char text[LOG_LINE];
    size_t size;
    bool cut; /* something had no space */
};

void log_json_open(struct log_json *json);

/* Add a member that ends before byte `most` (at most LOG_LINE; the space for the end is kept). A string is cut where it
 * must be; any other member is left out. */
void log_json_add(struct log_json *json, const struct log_field *field, size_t most);

/* The end of the object and of the line. */
void log_json_close(struct log_json *json);

#endif
