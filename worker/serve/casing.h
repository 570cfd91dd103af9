/* casing.h - give a translation the case and the final punctuation of its source.
 *
 * Only where the model cannot: the notebook's rule of normalisation leaves lower case alone. There
 *
 *   - a source of capitals, at least two, gives capitals; a source that begins with one gives a first capital;
 *   - a source that ends in one of . ! ? , ; or the ideographic full stop gives a translation that ends in the same,
 *     and one that ends in a letter or digit gives a translation without them.
 *
 * With other rules the model has learnt both, and they stay as they are. With any rule, a source of one word whose
 * translation is one word several times gets it once. Pure functions; any thread. */
#ifndef LSTMQ_WORKER_SERVE_CASING_H
#define LSTMQ_WORKER_SERVE_CASING_H

#include "proto/base/buffer.h"
#include "proto/base/config.h"

/* Append `translated`, NUL-terminated, as the sentence `source` wants it. */
void casing_append(enum normalise rule, const char *source, size_t size, const char *translated, struct buffer *out);

#endif
