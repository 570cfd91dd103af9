/* json_print.h - a JSON value as text for a file or a user. Keeps no state; any thread. */
#ifndef LSTMQ_PROTO_STORE_JSON_PRINT_H
#define LSTMQ_PROTO_STORE_JSON_PRINT_H

#include "proto/base/buffer.h"

#include <jansson.h>

enum { JSON_PRINT_DIGITS = 17 }; /* digits of a real; a reader gets the same bits */

/* Append `root` and a line end, indented, reals with JSON_PRINT_DIGITS. Takes ownership of `root`. NULL means that
 * building it ran out of memory; this, and running out of memory here, set out->failed. */
void json_print(json_t *root, struct buffer *out);

/* Append a real; null for infinity and NAN, which JSON does not have. */
void json_print_real(struct buffer *out, double value);

/* Append the member "KEY": VALUE to an object, with a comma before all but the first. */
void json_print_number(struct buffer *out, const char *key, double value);

/* Append the member "KEY": [VALUE, ...], which is not the first of its object. */
void json_print_numbers(struct buffer *out, const char *key, const double *values, size_t count);

#endif
