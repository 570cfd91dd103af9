/* bleu.h - corpus BLEU and chrF, equal to sacreBLEU's.
 *
 * BLEU: mteval-13a tokenisation, case-sensitive, up to 4-grams, exponential smoothing (Post 2018; Chen and Cherry
 * 2014). chrF: character 6-grams, no word n-grams, beta 2, without white space, effective order (Popović 2015). Each
 * sentence has one reference.
 *
 * A scorer is plain memory that its caller owns; it needs no cleanup. It adds up counts sentence by sentence, so the
 * corpus need not be in memory. The score may be read after any sentence. One thread at a time. */
#ifndef LSTMQ_PROTO_SCORE_BLEU_H
#define LSTMQ_PROTO_SCORE_BLEU_H

#include "proto/base/err.h"

#include <stdint.h>

enum { BLEU_ORDER = 4, CHRF_ORDER = 6 };

struct bleu {
    uint64_t right[BLEU_ORDER], total[BLEU_ORDER];
    uint64_t hypothesis_length, reference_length; /* tokens after 13a */
};

struct chrf {
    uint64_t right[CHRF_ORDER], hypothesis[CHRF_ORDER], reference[CHRF_ORDER];
};

/* Add one sentence (NUL-terminated UTF-8). */
bool bleu_add(struct bleu *bleu, const char *hypothesis, const char *reference, struct err *err);
bool chrf_add(struct chrf *chrf, const char *hypothesis, const char *reference, struct err *err);

/* 0 to 100. */
double bleu_score(const struct bleu *bleu);
double chrf_score(const struct chrf *chrf);

/* sacreBLEU's signatures for these settings, without sacreBLEU's version: static strings. */
const char *bleu_signature(void);
const char *chrf_signature(void);

#endif
