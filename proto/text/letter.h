/* letter.h - letters and their case, by Unicode.
 *
 * Pure functions; any thread. */
#ifndef LSTMQ_PROTO_TEXT_LETTER_H
#define LSTMQ_PROTO_TEXT_LETTER_H

#include "proto/base/buffer.h"

#include <stdint.h>

enum letter { LETTER_NOT, LETTER_UPPER, LETTER_LOWER, LETTER_OTHER /* without case, as in Chinese */ };

/* What a code point is; title case counts as upper. */
enum letter letter_of(uint32_t code);

/* Append the character in upper case. Where that is another number of characters, it is appended as it is. */
void letter_append_upper(struct buffer *out, uint32_t code);

#endif
