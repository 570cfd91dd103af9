/* tokenise13a.h - the tokenisation of BLEU: mteval-v13a, sacreBLEU's `13a`.
 *
 * It decodes &quot; &amp; &lt; &gt; and removes "<skipped>" and hyphens at line ends. Then it splits punctuation from
 * words. Periods and commas inside numbers (1,000.5) stay, and so do apostrophes and hyphens inside words. A pure
 * function; any thread. */
#ifndef LSTMQ_PROTO_SCORE_TOKENISE13A_H
#define LSTMQ_PROTO_SCORE_TOKENISE13A_H

#include "proto/base/buffer.h"

/* Append to `out` the tokens of `text` (NUL-terminated UTF-8), with single spaces between them. Out of memory sets
 * out->failed. */
void tokenise13a(const char *text, struct buffer *out);

#endif
