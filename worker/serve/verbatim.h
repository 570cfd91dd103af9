/* verbatim.h - words that are no words: addresses, placeholders and tags, which a translation must repeat as they are.
 *
 * A pure function; any thread. */
#ifndef LSTMQ_WORKER_SERVE_VERBATIM_H
#define LSTMQ_WORKER_SERVE_VERBATIM_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a text without white space holds one of these, punctuation around it aside:
 *   "https://a.org/b", "www.a.org", "mailto:a@b.org", "a@b.org"
 *   "%s", "%1$s", "%-5.2f", "%(name)s"; "{name}", "{0}", "${name}", "{{name}}"
 *   "<b>", "</b>", "<br/>" */
bool verbatim_is(const char *word, size_t size);

#endif
