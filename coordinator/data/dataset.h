/* dataset.h - the sentence pairs of a run, as ids.
 *
 * dataset_read runs once, at the start of a run. It reads and cleans the pairs, shuffles them with the run's MT19937
 * stream, keeps data.take of them, and splits those into training and validation. It counts trigrams for language
 * detection and two vocabularies, and encodes. Then it frees the text, except what scoring needs: the validation part's
 * references, normalised and as written, and its first few sources. A pair takes about 8 bytes, plus 2 bytes for each
 * id. Read-only from then on. The coordinator owns it; its thread only. */
#ifndef LSTMQ_COORDINATOR_DATA_DATASET_H
#define LSTMQ_COORDINATOR_DATA_DATASET_H

#include "proto/base/buffer.h"
#include "proto/base/config.h"
#include "proto/base/random.h"
#include "proto/text/pairs.h"
#include "proto/text/vocab.h"

#include <stdint.h>

enum { DATASET_SHOWN = 20 }; /* validation pairs whose source text is kept for display */

/* ids[at .. at + src_length) is the source: <sos> words <eos>. The target follows: words <eos>, with <sos> before them
 * under data.target_start; it is what the model must predict. */
struct dataset_row {
    uint32_t at;
    uint16_t src_length, tgt_length;
};

struct dataset {
    struct vocab *src, *tgt;
    uint16_t *ids; /* [id_count] */
    size_t id_count;
    struct dataset_row *rows; /* [train + valid], the training part first */
    uint32_t train, valid;
    struct buffer trigrams;          /* both sides' tables, as the bytes of DETECT_FILE */
    struct buffer text;              /* of references and shown sources, a NUL after each */
    uint32_t *references;            /* [valid] offsets in text */
    uint32_t *raw_references;        /* [valid] the same for the text as written */
    uint32_t sources[DATASET_SHOWN]; /* [min(valid, DATASET_SHOWN)] offsets in text */
    uint64_t lines, bad, dropped;    /* as in struct pairs, for both files together */
    char first_bad[ERR_TEXT / 2];    /* "FILE:LINE: why" of the first bad line, "" = none */
    uint64_t kept;                   /* pairs within the token limits, before data.take */
    uint64_t held_out;               /* training pairs removed because their source is in the validation part too */
    char fingerprint[17];            /* xxh3 of rows and vocabularies, hex */
    /* What normalisation removed from the pairs, and from separate validation pairs. */
    struct pairs_loss src_loss, tgt_loss, valid_src_loss, valid_tgt_loss;
};

/* Read the pairs that `config` names. `stream` is the run's, just seeded with train.seed; one shuffle is drawn from it.
 * ERR_USAGE: options contradict each other. ERR_DATA: bad lines, more than PAIRS_LOSS percent of a side removed by
 * normalisation, or no pairs left (it names the option that dropped them). */
bool dataset_read(struct dataset *dataset, const struct config *config, struct mt19937 *stream, struct err *err);

void dataset_free(struct dataset *dataset);

static inline const uint16_t *dataset_ids(const struct dataset *dataset, uint32_t row)
{
    return dataset->ids + dataset->rows[row].at;
}

/* Normalised target of validation pair `index`, counted from the first validation row. */
const char *dataset_reference(const struct dataset *dataset, uint32_t index);
/* The same target as written in the file. */
const char *dataset_raw_reference(const struct dataset *dataset, uint32_t index);
/* Its normalised source; index < DATASET_SHOWN. */
const char *dataset_source(const struct dataset *dataset, uint32_t index);

#endif
