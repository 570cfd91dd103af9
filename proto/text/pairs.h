/* pairs.h - sentence pairs as text: read, cleaned, counted.
 *
 * Pairs come from one TSV file (source TAB target, further columns ignored) or from two parallel files; plain, gzip or
 * zip. A bad line has no TAB, invalid UTF-8, a NUL, or more than PAIRS_LINE bytes. data.on_bad_line decides: an error
 * that names file and line, or skip and count. A BOM at the start and trailing empty lines of a TSV are dropped.
 * Another empty line is bad in a TSV, and an empty sentence in parallel files.
 *
 * A CR without LF ends a line. If a line of a TSV has no TAB, such a CR may stand within a sentence, so the lines that
 * it joins to this one are bad too. Parallel files would lose their alignment, so each must end its lines in one way.
 *
 * The normalised text of all pairs lies in one arena; a pair is two offsets. With keep_raw the targets are also kept as
 * written, as references. The caller owns a struct pairs from pairs_read to pairs_free. One thread at a time. */
#ifndef LSTMQ_PROTO_TEXT_PAIRS_H
#define LSTMQ_PROTO_TEXT_PAIRS_H

#include "proto/base/buffer.h"
#include "proto/base/config.h"
#include "proto/text/normalise.h"

#include <stdint.h>

enum {
    PAIRS_LINE = 64 * 1024, /* bytes in the longest line that is read */
    PAIRS_LOSS = 20,        /* percent of a side's letters and digits; a rule that removes more is refused */
    PAIRS_LOSS_TEXT = ERR_TEXT / 2 + 192,
};

struct pair {
    uint32_t src, tgt;           /* offsets in text */
    uint32_t src_size, tgt_size; /* bytes; a NUL follows each text */
    uint32_t raw;                /* offset in raw; only with keep_raw */
};

/* What normalisation removed from one side, over all lines read. */
struct pairs_loss {
    struct normalise_count count;
    char first[ERR_TEXT / 2]; /* FILE:LINE: "word" became "word"; "" = no loss */
};

struct pairs {
    struct buffer text;
    struct buffer raw; /* targets as written, each with its NUL; empty without keep_raw */
    struct pair *items;
    size_t count;
    size_t capacity;
    uint64_t lines;               /* lines read, or pairs of parallel lines */
    uint64_t bad;                 /* those skipped as bad */
    uint64_t dropped;             /* pairs outside min_tokens..max_tokens */
    char first_bad[ERR_TEXT / 2]; /* "FILE:LINE: why" of the first bad one, "" = none */
    struct pairs_loss src_loss, tgt_loss;
};

/* What to read and what to keep. The caller fills it from a struct config, so training and validation files differ only
 * in their paths. */
struct pairs_source {
    const char *pairs;     /* TSV path, or "" */
    const char *src, *tgt; /* parallel paths, or "" */
    enum normalise rule;
    enum on_bad_line on_bad_line;
    size_t min_tokens, max_tokens; /* of either side; 0 and SIZE_MAX keep all */
    bool keep_raw;                 /* fill struct pairs.raw */
    bool refuse_loss;              /* fail above PAIRS_LOSS percent of a side */
    bool keep_places;              /* a skipped line, or a trailing empty one, leaves a pair of empty sides */
};

/* Append the pairs of a source. ERR_DATA: bad line, no pair, too much removed by normalisation, damaged archive,
 * parallel files of different length. ERR_IO: cannot read. ERR_USAGE: neither or both kinds of source given. After a
 * failure `pairs` holds the pairs read so far; the caller frees it as usual. */
bool pairs_read(struct pairs *pairs, const struct pairs_source *source, struct err *err);

/* Write "data.normalise notebook removed 5 of 60 letters and digits of the sources (8.3 %), such as ..." for a loss
 * above 0. `side` is "sources" or the like; PAIRS_LOSS_TEXT bytes are enough. Returns `text`. */
const char *pairs_loss_show(const struct pairs_loss *loss, const char *side, char *text, size_t size);

void pairs_free(struct pairs *pairs);

#endif
