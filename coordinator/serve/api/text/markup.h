/* markup.h - the texts of an HTML document, without touching anything else of it.
 *
 * A translation of a document changes its text runs only. Tags, attributes, comments, doctypes, scripts and every other
 * byte are copied, so the document is never parsed into a tree and written again. markup_runs finds the runs,
 * markup_unescape gives the text that a reader sees, and markup_escape turns a translation into text again. An escaped
 * text has no <, no > and no bare &, so a text cannot become markup.
 *
 * Tokens are cut as the HTML standard's tokenizer cuts them (html.spec.whatwg.org, 13.2.5). Where a document is
 * malformed, more may be copied than a browser would show as markup. Pure functions; any thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_TEXT_MARKUP_H
#define LSTMQ_COORDINATOR_SERVE_API_TEXT_MARKUP_H

#include "proto/base/buffer.h"

#include <stdint.h>

struct markup_run {
    size_t at, size; /* in the document */
};

/* Append the runs of a document, in order, as struct markup_run. Runs of white space only are left out. Text within
 * elements that are not translated is no run: script, style, code, pre and others, translate="no", and the class
 * notranslate. A named reference that markup_entity does not know ends a run, and is part of none. */
void markup_runs(const char *html, size_t size, struct buffer *runs);

/* Append text with its character references replaced. */
void markup_unescape(const char *text, size_t size, struct buffer *out);

/* Where the text begins behind its first white space; *core is its size without the last. */
size_t markup_core(const char *text, size_t size, size_t *core);

/* Append text with & < > and U+00A0 as character references. */
void markup_escape(const char *text, size_t size, struct buffer *out);

/* The code point of a named character reference, and in *used the bytes of its name; 0 = none. `text` begins after the
 * &. A name ends with ';', which some old names may lack. */
uint32_t markup_entity(const char *text, size_t size, size_t *used);

#endif
