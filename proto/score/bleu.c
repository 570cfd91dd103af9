/* bleu.c - count the word n-grams that both texts share, and compute the score from the counts.
 *
 * Words are compared as numbers: the tokens of both sentences are sorted together and numbered. Equal words get equal
 * numbers, so no hash is needed. */
#include "proto/score/bleu.h"

#include "proto/base/buffer.h"
#include "proto/score/ngram.h"
#include "proto/score/tokenise13a.h"
#include "proto/text/normalise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct token {
    const char *text;
    size_t size;
    size_t place; /* index in the hypothesis; the reference's tokens follow it */
};

static int bleu_by_text(const void *left, const void *right)
{
    const struct token *a = left, *b = right;
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    if (order != 0)
        return order;
    return a->size < b->size ? -1 : a->size > b->size;
}

static size_t bleu_list_tokens(const struct buffer *text, struct token *tokens, size_t count)
{
    const char *next = text->data, *end = next + text->size;
    for (size_t size; (size = word_next(&next, end)) > 0; next += size, count++)
        tokens[count] = (struct token){.text = next, .size = size, .place = count};
    return count;
}

/* Number the tokens from 1 by their text, into units[place]. Sorts the tokens. */
static void bleu_number_tokens(struct token *tokens, size_t count, uint32_t *units)
{
    qsort(tokens, count, sizeof *tokens, bleu_by_text);
    uint32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        number += i == 0 || bleu_by_text(&tokens[i - 1], &tokens[i]) != 0;
        units[tokens[i].place] = number;
    }
}

static bool bleu_add_tokenised(struct bleu *bleu, const struct buffer *hypothesis, const struct buffer *reference,
                               struct err *err)
{
    size_t most = word_count(hypothesis->data, hypothesis->size) + word_count(reference->data, reference->size);
    struct token *tokens = calloc(most + 1, sizeof *tokens);
    uint32_t *units = calloc(most + 1, sizeof *units);
    bool ok = tokens != NULL && units != NULL;
    if (ok) {
        size_t count = bleu_list_tokens(hypothesis, tokens, 0);
        size_t all = bleu_list_tokens(reference, tokens, count);
        bleu_number_tokens(tokens, all, units);
        ok = ngram_match(units, count, units + count, all - count, BLEU_ORDER, bleu->right, err);
        for (unsigned n = 1; ok && n <= BLEU_ORDER; n++)
            bleu->total[n - 1] += ngram_count(count, n);
        bleu->hypothesis_length += ok ? count : 0;
        bleu->reference_length += ok ? all - count : 0;
    } else {
        err_set(err, ERR_MEMORY, "out of memory for %zu tokens", most);
    }
    free(tokens);
    free(units);
    return ok;
}

bool bleu_add(struct bleu *bleu, const char *hypothesis, const char *reference, struct err *err)
{
    struct buffer first = {0}, second = {0};
    buffer_reserve(&first, 0);
    buffer_reserve(&second, 0);
    tokenise13a(hypothesis, &first);
    tokenise13a(reference, &second);
    bool ok = buffer_ok(&first, err) && buffer_ok(&second, err) && bleu_add_tokenised(bleu, &first, &second, err);
    buffer_free(&first);
    buffer_free(&second);
    return ok;
}

/* Brevity penalty times the geometric mean of the precisions (Papineni and others 2002). An order without a match
 * counts 1/2, 1/4, ... of a match (Chen and Cherry 2014, method 3). */
double bleu_score(const struct bleu *bleu)
{
    double half = 1, sum = 0;
    bool any = false;
    for (int n = 0; n < BLEU_ORDER; n++)
        any = any || bleu->right[n] > 0;
    if (!any)
        return 0;
    for (int n = 0; n < BLEU_ORDER; n++) {
        if (bleu->total[n] == 0)
            return 0;
        if (bleu->right[n] == 0)
            half /= 2;
        sum += log(100 * (bleu->right[n] == 0 ? half : (double)bleu->right[n]) / (double)bleu->total[n]);
    }
    double hypothesis = (double)bleu->hypothesis_length, reference = (double)bleu->reference_length;
    double brevity = hypothesis < reference ? exp(1 - reference / hypothesis) : 1;
    return brevity * exp(sum / BLEU_ORDER);
}

const char *bleu_signature(void)
{
    return "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp";
}
