/* chrf.c - count the character n-grams that both texts share, and compute the score (Popović 2015, chrF2). */
#include "proto/score/bleu.h"
#include "proto/score/ngram.h"
#include "proto/text/unicode.h"

#include <stdlib.h>
#include <string.h>

static const double BETA_SQUARED = 4; /* beta 2: recall weighs twice as much as precision */

/* The characters of `text` except white space, as units for ngram_match: code point plus one, which fits 21 bits. */
static size_t chrf_list_characters(const char *text, size_t size, uint32_t *units)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;
    size_t count = 0;
    while (next < end) {
        uint32_t code = unicode_next(&next, end);
        if (!unicode_space(code))
            units[count++] = code + 1;
    }
    return count;
}

bool chrf_add(struct chrf *chrf, const char *hypothesis, const char *reference, struct err *err)
{
    size_t hypothesis_size = strlen(hypothesis), reference_size = strlen(reference);
    uint32_t *units = malloc((hypothesis_size + reference_size + 1) * sizeof *units);
    if (units == NULL)
        return err_set(err, ERR_MEMORY, "out of memory for %zu characters", hypothesis_size + reference_size);
    size_t ours = chrf_list_characters(hypothesis, hypothesis_size, units);
    size_t theirs = chrf_list_characters(reference, reference_size, units + ours);
    bool ok = ngram_match(units, ours, units + ours, theirs, CHRF_ORDER, chrf->right, err);
    for (unsigned n = 1; ok && n <= CHRF_ORDER; n++) {
        uint64_t expected = ngram_count(theirs, n);
        chrf->reference[n - 1] += expected;
        if (expected > 0) /* as in sacreBLEU: skip an order for which the reference is too short */
            chrf->hypothesis[n - 1] += ngram_count(ours, n);
    }
    free(units);
    return ok;
}

/* F-score of mean precision and mean recall, over the orders that have n-grams on both sides. */
double chrf_score(const struct chrf *chrf)
{
    double precision = 0, recall = 0;
    int orders = 0;
    for (int n = 0; n < CHRF_ORDER; n++) {
        if (chrf->hypothesis[n] == 0 || chrf->reference[n] == 0)
            continue;
        precision += (double)chrf->right[n] / (double)chrf->hypothesis[n];
        recall += (double)chrf->right[n] / (double)chrf->reference[n];
        orders++;
    }
    if (precision + recall <= 0)
        return 0;
    precision /= orders;
    recall /= orders;
    return 100 * (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall);
}

const char *chrf_signature(void)
{
    return "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no";
}
