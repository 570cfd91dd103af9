/* html.h - escape text for a page.
 *
 * The result is always text: it cannot open a tag, end an attribute or a script, or damage the page's encoding. Pure
 * functions; any thread. */
#ifndef LSTMQ_COORDINATOR_RUN_HTML_H
#define LSTMQ_COORDINATOR_RUN_HTML_H

#include "proto/base/buffer.h"

/* Append NUL-terminated `text` for use between tags or inside a quoted attribute. & < > " ' become entities; bytes that
 * are not UTF-8, and control characters other than tab and newline, become U+FFFD. */
void html_text(struct buffer *out, const char *text);

/* Append JSON for use inside a <script> element: < > & and the line separators U+2028 and U+2029 are written as \u
 * escapes, which only strings can hold, so the value is unchanged. */
void html_json(struct buffer *out, const char *json);

#endif
