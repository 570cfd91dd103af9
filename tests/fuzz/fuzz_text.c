/* fuzz_text.c - bytes as text into the rules of normalisation, the 13a tokeniser and the counts that scores are made
 * of.
 *
 * Normalised text is UTF-8 without a space too many, its words fit in a vocabulary, and it stays as it is when
 * normalised again. Tokens come out of any bytes, also those that are no UTF-8; a text compared with itself is right in
 * every n-gram. */
#include "tests/fuzz/fuzz.h"

#include "proto/score/bleu.h"
#include "proto/score/tokenise13a.h"
#include "proto/text/normalise.h"

/* Single spaces, none at either end. */
static bool fuzz_text_is_folded(const struct buffer *text)
{
    for (size_t i = 0; i < text->size; i++)
        if (text->data[i] == ' ' && (i == 0 || i + 1 == text->size || text->data[i + 1] == ' '))
            return false;
    return true;
}

static void fuzz_text_check_words(const struct buffer *text)
{
    const char *next = text->data, *end = next + text->size;
    size_t words = 0;
    for (size_t length; (length = word_next(&next, end)) > 0; next += length) {
        must(word_fits(next, length));
        words++;
    }
    must(words == word_count(text->data, text->size));
}

static void fuzz_text_check_rule(enum normalise rule, const char *text, size_t size)
{
    struct buffer once = {0}, twice = {0};
    normalise(rule, text, size, &once);
    must(!once.failed && once.data != NULL && once.data[once.size] == '\0');
    must(utf8_valid(once.data, once.size, NULL) && fuzz_text_is_folded(&once));
    must(rule == NORMALISE_NFC || once.size <= size);
    fuzz_text_check_words(&once);
    normalise(rule, once.data, once.size, &twice);
    must(twice.size == once.size && memcmp(once.data, twice.data, once.size) == 0);
    buffer_free(&once);
    buffer_free(&twice);
}

/* What is removed is counted and listed, and nothing else is. */
static void fuzz_text_check_removed(enum normalise rule, const char *text, size_t size)
{
    struct buffer plain = {0}, counted = {0}, removed = {0};
    struct normalise_count count = {0};
    normalise(rule, text, size, &plain);
    normalise_counted(rule, text, size, &counted, &count);
    must(plain.size == counted.size && memcmp(plain.data, counted.data, plain.size) == 0);
    normalise_removed(rule, text, size, &removed);
    must(!removed.failed && count.removed <= count.letters && (count.removed == 0 || removed.size > 0));
    if (removed.size > 0) {
        must(rule == NORMALISE_NOTEBOOK && utf8_valid(removed.data, removed.size, NULL) &&
             fuzz_text_is_folded(&removed));
        must(is_one_line(removed.data, removed.size));
    }
    buffer_free(&plain);
    buffer_free(&counted);
    buffer_free(&removed);
}

static void fuzz_text_check_scores(const char *text)
{
    struct bleu bleu = {0};
    struct chrf chrf = {0};
    struct err err = {0};
    must(bleu_add(&bleu, text, text, &err) && chrf_add(&chrf, text, text, &err));
    must(bleu.hypothesis_length == bleu.reference_length);
    for (int n = 0; n < BLEU_ORDER; n++)
        must(bleu.right[n] == bleu.total[n]);
    for (int n = 0; n < CHRF_ORDER; n++)
        must(chrf.right[n] == chrf.hypothesis[n] && chrf.right[n] == chrf.reference[n]);
    must(bleu_score(&bleu) >= 0 && bleu_score(&bleu) < 100.001);
    must(chrf_score(&chrf) >= 0 && chrf_score(&chrf) < 100.001);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t bad;
    char *text = fuzz_copy(data, size);
    if (utf8_valid(text, size, &bad)) {
        for (int rule = NORMALISE_NOTEBOOK; rule <= NORMALISE_NONE; rule++) {
            fuzz_text_check_rule((enum normalise)rule, text, size);
            fuzz_text_check_removed((enum normalise)rule, text, size);
        }
    } else {
        must(bad < size && utf8_valid(text, bad, NULL));
    }
    free(text);

    char *string = malloc(size + 1);
    must(string != NULL);
    if (size > 0)
        memcpy(string, data, size);
    string[size] = '\0';
    struct buffer tokens = {0};
    tokenise13a(string, &tokens);
    must(!tokens.failed && fuzz_text_is_folded(&tokens));
    fuzz_text_check_scores(string);
    buffer_free(&tokens);
    free(string);
    return 0;
}
