/* json_print.h - a JSON value as the text that goes into a file or to a user. Any thread. */
#ifndef LSTMQ_JSON_PRINT_H
#define LSTMQ_JSON_PRINT_H

#include "proto/base/buffer.h"

#include <jansson.h>

enum { JSON_PRINT_DIGITS = 17 }; /* of a real */

/* Append `root` and a line end, indented, reals with the JSON_PRINT_DIGITS that bring them back to the bit. Takes
 * `root` over; NULL, which stands for want of memory while it was made, and want of memory here are out->failed. */
void json_print(json_t *root, struct buffer *out);

/* JSON has no infinity and no NAN: null takes the place of each nan, inf and -inf that a printf wrote into `text`. What
 * stands in strings stays. */
void json_print_nulls(struct buffer *text);

#endif
