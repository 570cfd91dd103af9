/* test_bleu.c - tokens and scores against those that sacreBLEU 2.6 gives for the same sentences. */
#include "proto/score/bleu.h"

#include "proto/score/tokenise13a.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SENTENCES = 3 };

struct sentence {
    const char *hypothesis, *reference;
};

struct corpus {
    struct sentence sentences[SENTENCES]; /* as many as have a hypothesis */
    double bleu, chrf;
};

static const struct corpus bleu_corpora[] = {
    {{{"le chat dort ici .", "le chat dort ici ."}}, 100, 100},
    {{{"le chat dort sur le tapis .", "le chat est sur le tapis ."},
      {"je ne sais pas !", "je ne le sais pas !"},
      {"bonjour", "bonjour à tous"}},
     35.590343880560376,
     66.63997503690197},
    {{{"un deux trois quatre", "cinq six sept huit"}}, 0, 9.740259740259742},
    {{{"", "le chat dort ici ."}}, 0, 0},
    {{{"le chat dort ici .", ""}}, 0, 0},
    {{{"", ""}}, 0, 0},
    {{{"oui", "oui"}}, 0, 100},
    {{{"le chien mange une pomme", "le chat mange la pomme verte"}}, 11.51015341649912, 33.1152476077181},
    {{{"le le le le le le", "le chat le chien"}}, 9.652434877402245, 9.3352899793343},
    {{{"il est", "il est tard et il pleut fort"}}, 0, 17.57399845859635},
    {{{"Il a déjà mangé 1,5 kg de pommes – l'œuf aussi.", "Il a deja mangé 1,5 kg de pommes, l'œuf aussi !"},
      {"", "vide"},
      {"où ?", "où\u00A0?"}},
     38.927051680914396,
     69.1511370903338},
    {{{"a a b", "a b b"}, {"abcdef ghi", "abc"}}, 0, 53.62300373768264},
    {{{"abcdefghij klm", "abc"}, {"un long texte sans faute", "un long texte avec faute"}},
     37.1501159982672,
     60.452876021480094},
};

static void check_near(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-9))
        fail_msg("%.17g is not %.17g", value, expected);
}

static void scores_are_those_of_sacrebleu(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bleu_corpora / sizeof *bleu_corpora; i++) {
        struct bleu bleu = {0};
        struct chrf chrf = {0};
        for (int k = 0; k < SENTENCES && bleu_corpora[i].sentences[k].hypothesis != NULL; k++) {
            const struct sentence *sentence = &bleu_corpora[i].sentences[k];
            assert_true(bleu_add(&bleu, sentence->hypothesis, sentence->reference, NULL));
            assert_true(chrf_add(&chrf, sentence->hypothesis, sentence->reference, NULL));
        }
        check_near(bleu_score(&bleu), bleu_corpora[i].bleu);
        check_near(chrf_score(&chrf), bleu_corpora[i].chrf);
    }
}

static void tokens_are_those_of_13a(void **state)
{
    (void)state;
    static const struct {
        const char *text, *tokens;
    } examples[] = {
        {"", ""},
        {"Hello, world!", "Hello , world !"},
        {"It's 1,000.50 dollars.", "It's 1,000.50 dollars ."},
        {"a.b,c", "a . b , c"},
        {"3.", "3 ."},
        {"... wait,,,", ". . . wait , , ,"},
        {"5, 6 .7", "5 , 6 . 7"},
        {"pages 10-20", "pages 10 - 20"},
        {"well-known l'homme", "well-known l'homme"},
        {"(a/b) [c] {d} ~e~ $5 50%", "( a / b ) [ c ] { d } ~ e ~ $ 5 50 %"},
        {"&quot;Tom &amp; Jerry&quot; &lt;3 &amp;lt;", "\" Tom & Jerry \" < 3 <"},
        {"a <skipped>b", "a b"},
        {"hyphen-\nated line\nend-\n", "hyphenated line end-"},
        {"où\u00A0? là\u202F!", "où ? là !"},
        {"é.è,", "é . è ,"},
        {"日本語。x.", "日本語。x ."},
        {" a  b ", "a b"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct buffer out = {0};
        buffer_text(&out, "");
        tokenise13a(examples[i].text, &out);
        assert_true(buffer_ok(&out, NULL));
        assert_string_equal(out.data, examples[i].tokens);
        buffer_free(&out);
    }
}

static void a_corpus_is_the_sum_of_its_sentences(void **state)
{
    (void)state;
    struct bleu forward = {0}, backward = {0};
    struct chrf forward_chrf = {0}, backward_chrf = {0};
    const struct sentence *sentences = bleu_corpora[1].sentences;
    for (int i = 0; i < SENTENCES; i++) {
        const struct sentence *one = &sentences[i], *other = &sentences[SENTENCES - 1 - i];
        assert_true(bleu_add(&forward, one->hypothesis, one->reference, NULL));
        assert_true(bleu_add(&backward, other->hypothesis, other->reference, NULL));
        assert_true(chrf_add(&forward_chrf, one->hypothesis, one->reference, NULL));
        assert_true(chrf_add(&backward_chrf, other->hypothesis, other->reference, NULL));
    }
    assert_memory_equal(&forward, &backward, sizeof forward);
    assert_memory_equal(&forward_chrf, &backward_chrf, sizeof forward_chrf);
}

static void nothing_added_scores_zero(void **state)
{
    (void)state;
    check_near(bleu_score(&(struct bleu){0}), 0);
    check_near(chrf_score(&(struct chrf){0}), 0);
}

static void long_sentences_are_counted_in_full(void **state)
{
    (void)state;
    enum { WORDS = 20000 };
    char *text = calloc(WORDS + 1, 2);
    assert_non_null(text);
    for (int i = 0; i < WORDS; i++)
        memcpy(text + (ptrdiff_t)2 * i, i % 3 == 0 ? "a " : "b ", 2);
    struct bleu bleu = {0};
    struct chrf chrf = {0};
    assert_true(bleu_add(&bleu, text, text, NULL));
    assert_true(chrf_add(&chrf, text, text, NULL));
    for (unsigned n = 0; n < BLEU_ORDER; n++)
        assert_int_equal(bleu.right[n], WORDS - n);
    for (unsigned n = 0; n < CHRF_ORDER; n++)
        assert_int_equal(chrf.right[n], WORDS - n);
    check_near(bleu_score(&bleu), 100);
    check_near(chrf_score(&chrf), 100);
    free(text);
}

static void text_that_is_not_utf_8_is_still_scored(void **state)
{
    (void)state;
    struct bleu bleu = {0};
    struct chrf chrf = {0};
    assert_true(bleu_add(&bleu, "a \xFF\xC3 b \xE2\x82", "a \xFF\xC3 b \xE2\x82", NULL));
    assert_true(chrf_add(&chrf, "a \xFF\xC3 b \xE2\x82", "a \xFF\xC3 b \xE2\x82", NULL));
    check_near(bleu_score(&bleu), 100);
    check_near(chrf_score(&chrf), 100);
}

static void the_signatures_name_the_settings(void **state)
{
    (void)state;
    assert_string_equal(bleu_signature(), "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp");
    assert_string_equal(chrf_signature(), "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_sacrebleu),
        cmocka_unit_test(tokens_are_those_of_13a),
        cmocka_unit_test(a_corpus_is_the_sum_of_its_sentences),
        cmocka_unit_test(nothing_added_scores_zero),
        cmocka_unit_test(long_sentences_are_counted_in_full),
        cmocka_unit_test(text_that_is_not_utf_8_is_still_scored),
        cmocka_unit_test(the_signatures_name_the_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
