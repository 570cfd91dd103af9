/* json_print.h - a JSON value as the text that goes into a file or to a user. Any thread. */
#ifndef LSTMQ_PROTO_STORE_JSON_PRINT_H
#define LSTMQ_PROTO_STORE_JSON_PRINT_H

#include "proto/base/buffer.h"

#include <jansson.h>

enum { JSON_PRINT_DIGITS = 17 }; /* of a real */

/* Append `root` and a line end, indented, reals with the JSON_PRINT_DIGITS that bring them back to the bit. Takes
 * `root` over; NULL, which stands for want of memory while it was made, and want of memory here are out->failed. */
void json_print(json_t *root, struct buffer *out);

/* Append a real. JSON has no infinity and no NAN: null stands for both. */
void json_print_real(struct buffer *out, double value);

/* Append the member "KEY": VALUE to an object, with a comma before all but its first. */
void json_print_number(struct buffer *out, const char *key, double value);

/* Append the member "KEY": [VALUE, ...], which is not the first of its object. */
void json_print_numbers(struct buffer *out, const char *key, const double *values, size_t count);

#endif
