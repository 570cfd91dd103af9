/* test_split.c - which parts of a text are sentences, and that everything else is left to be copied. */
#include "proto/base/log.h"
#include "tests/support/fixture.h"
#include "worker/serve/split.h"
#include "worker/serve/verbatim.h"

enum { WORDS = 6 };

static struct vocab *split_vocab;

/* The sentences of a text, each with a bar behind it. */
static const char *split_shown(const char *text, size_t size, enum normalise rule, size_t words)
{
    static struct buffer shown;
    const struct split_rules rules = {.vocab = split_vocab, .normalise = rule, .words = words};
    struct splitter splitter = {0};
    struct split_sentences sentences = {0};
    struct err err;
    size_t before = 0;
    assert_ok(split_text(&splitter, &rules, text, size, &sentences, &err), err);
    buffer_clear(&shown);
    buffer_append(&shown, "", 0);
    for (size_t i = 0; i < sentences.count; i++) {
        const struct split_sentence *sentence = &sentences.of[i];
        assert_true(sentence->begin >= before && sentence->size > 0 && sentence->begin + sentence->size <= size);
        assert_true(sentence->words >= 1 && sentence->words <= words);
        assert_null(memchr(text + sentence->begin, '\0', sentence->size));
        before = sentence->begin + sentence->size;
        buffer_append(&shown, text + sentence->begin, sentence->size);
        buffer_append(&shown, "|", 1);
    }
    free(sentences.of);
    splitter_close(&splitter);
    return shown.data == NULL ? "" : shown.data;
}

static void split_check(const char *text, const char *wanted)
{
    assert_string_equal(split_shown(text, strlen(text), NORMALISE_NFC, 100), wanted);
}

static void sentences_end_at_their_marks(void **state)
{
    (void)state;
    split_check("", "");
    split_check(" \t\n ", "");
    split_check("Hello", "Hello|");
    split_check("Hello. How are you? Fine!", "Hello.|How are you?|Fine!|");
    split_check("\"Hello.\" (She left.) End", "\"Hello.\"|(She left.)|End|");
    split_check("Wait... what? Yes… No", "Wait... what?|Yes…|No|");
    split_check("\"Stop!\" he said.", "\"Stop!\" he said.|");
    split_check("今日は。元気？ はい", "今日は。|元気？|はい|");
}

static void abbreviations_initials_and_numbers_end_no_sentence(void **state)
{
    (void)state;
    split_check("Mr. Smith met Dr. J. Doe.", "Mr. Smith met Dr. J. Doe.|");
    split_check("Use e.g. Paris or the U.S. Army.", "Use e.g. Paris or the U.S. Army.|");
    split_check("M. Dupont et Mme. Durand. Bonjour", "M. Dupont et Mme. Durand.|Bonjour|");
    split_check("The Mr.X is here. Go", "The Mr.X is here.|Go|");
    split_check("She said no. Then she left.", "She said no.|Then she left.|");
}

static void line_breaks_and_control_characters_always_separate(void **state)
{
    static const char text[] = "one\ntwo\r\nthree\vfour\0five\x01six\xE2\x80\xA8seven\teight";
    (void)state;
    assert_string_equal(split_shown(text, sizeof text - 1, NORMALISE_NFC, 100),
                        "one|two|three|four|five|six|seven\teight|");
}

static void what_is_no_word_stays_outside(void **state)
{
    (void)state;
    split_check("You have %1$s messages, {name}!", "You have|messages,|");
    split_check("See https://a.org/b?c=d. Or www.b.org now", "See|Or|now|");
    split_check("Write to a.b@c.org today", "Write to|today|");
    split_check("a <b>bold</b> word", "a|word|");
    split_check("12 + 34 = 46", "");
    split_check("I have 12 dogs", "I have|dogs|");
    split_check("😀 hello 😀😀", "hello|");
    split_check("?! ... -", "");
}

/* 3 and ! are words of this vocabulary. */
static void known_marks_and_numbers_stay_in_their_sentence(void **state)
{
    (void)state;
    split_check("I have 3 dogs !", "I have 3 dogs !|");
    split_check("3 !", "");
    /* The notebook's rule removes digits. */
    assert_string_equal(split_shown("i have 3 dogs !", 15, NORMALISE_NOTEBOOK, 100), "i have|dogs !|");
}

static void long_sentences_are_cut_at_clauses_then_at_words(void **state)
{
    static const char clauses[] = "a b c d, e f g h i j: k l m";
    static const char words[] = "a b c d e f g h i j k l m";
    static const char early[] = "a, b c d e f g h i";
    (void)state;
    assert_string_equal(split_shown(clauses, sizeof clauses - 1, NORMALISE_NFC, WORDS), "a b c d,|e f g h i j:|k l m|");
    assert_string_equal(split_shown(words, sizeof words - 1, NORMALISE_NFC, WORDS), "a b c d e f|g h i j k l|m|");
    assert_string_equal(split_shown(early, sizeof early - 1, NORMALISE_NFC, WORDS), "a, b c d e f|g h i|");
    assert_string_equal(split_shown(words, sizeof words - 1, NORMALISE_NFC, 1), "a|b|c|d|e|f|g|h|i|j|k|l|m|");
}

static void verbatim_words_are_told_from_others(void **state)
{
    static const char *const yes[] = {"%s",       "%1$s,",    "(%d)",     "%-5.2f",      "%(name)s",
                                      "{0}",      "${name}",  "{{x}}",    "#{x}",        "<br/>",
                                      "</p>",     "<!--x-->", "http://a", "(www.a.org)", "a@b.org",
                                      "mailto:a", "%@",       "s3://b/c", "<b>bold</b>"};
    static const char *const no[] = {"100%",  "50%.",        "%",    "a%b", "{}", "{",     "a:b",    "://",
                                     "@home", "a@b",         "www.", "a<b", "<",  "hello", "l'eau%", "<3",
                                     "a/b",   "50%discount", "{x y", "",    "é",  "http:"};
    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!verbatim_is(yes[i], strlen(yes[i])))
            fail_msg("%s is verbatim", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (verbatim_is(no[i], strlen(no[i])))
            fail_msg("%s is a word", no[i]);
}

static int split_setup(void **state)
{
    static const char words[] = "i have 3 dogs ! hello";
    struct err err;
    (void)state;
    split_vocab = vocab_new(&err);
    return split_vocab != NULL && vocab_count(split_vocab, words, sizeof words - 1, &err) &&
                   vocab_close(split_vocab, UNKNOWN_OWN, 100, &err)
               ? 0
               : -1;
}

static int split_teardown(void **state)
{
    (void)state;
    vocab_destroy(&split_vocab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_end_at_their_marks),
        cmocka_unit_test(abbreviations_initials_and_numbers_end_no_sentence),
        cmocka_unit_test(line_breaks_and_control_characters_always_separate),
        cmocka_unit_test(what_is_no_word_stays_outside),
        cmocka_unit_test(known_marks_and_numbers_stay_in_their_sentence),
        cmocka_unit_test(long_sentences_are_cut_at_clauses_then_at_words),
        cmocka_unit_test(verbatim_words_are_told_from_others),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("split", tests, split_setup, split_teardown);
}
