/* api_json.h - write JSON strings. Plain functions on the caller's buffer; any thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_TEXT_API_JSON_H
#define LSTMQ_COORDINATOR_SERVE_API_TEXT_API_JSON_H

#include "proto/base/buffer.h"

/* Append a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void api_json_string(struct buffer *out, const char *text, size_t size);

/* The same for a NUL-terminated text. */
void api_json_text(struct buffer *out, const char *text);

#endif
