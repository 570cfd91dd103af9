/* tokenise13a.h - the tokenisation that BLEU is measured on: mteval-v13a, as sacreBLEU's `13a` has it.
 *
 * Undo &quot; &amp; &lt; &gt; and drop "<skipped>" and hyphens at line ends; then set punctuation apart from words, but
 * leave period and comma inside numbers (1,000.5), apostrophes and hyphens inside words alone. Any thread. */
#ifndef LSTMQ_PROTO_SCORE_TOKENISE13A_H
#define LSTMQ_PROTO_SCORE_TOKENISE13A_H

#include "proto/base/buffer.h"

/* Append to `out` the tokens of `text` (NUL-terminated UTF-8), single spaces between them. Want of memory is
 * out->failed. */
void tokenise13a(const char *text, struct buffer *out);

#endif
