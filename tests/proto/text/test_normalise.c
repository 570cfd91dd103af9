/* test_normalise.c - raw text to normalised text, at the edges of Unicode. */
#include "proto/text/normalise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct example {
    const char *text, *normal;
};

static void check(enum normalise rule, const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buffer out = {0};
        buffer_text(&out, "before|");
        normalise(rule, examples[i].text, strlen(examples[i].text), &out);
        assert_true(buffer_ok(&out, NULL));
        assert_string_equal(out.data + strlen("before|"), examples[i].normal);
        assert_int_equal(out.size, strlen("before|") + strlen(examples[i].normal));
        buffer_free(&out);
    }
}

#define CHECK(rule, examples) check(rule, examples, sizeof(examples) / sizeof *(examples))

static void the_notebook_keeps_letters_and_basic_punctuation(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"", ""},
        {" \t\r\n ", ""},
        {"Va !", "va !"},
        {"  Who's\t there?\n", "who's there?"},
        {"a,b;c:d\"e(f)g", "abcdefg"},
        {"1st of 3", "st of"},
        {"a-b - c", "a-b - c"},
        {"x_y@z#1", "xyz"},
        {"a\001\177b", "ab"},
        {"one , two", "one two"},
    };
    CHECK(NORMALISE_NOTEBOOK, examples);
}

static void the_notebook_keeps_latin_1_from_c0_to_ff(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"ÀÖØÞ", "àöøþ"}, {"àéîôüÿß", "àéîôüÿß"}, {"3 × 4 ÷ 2", "× ÷"}, {"Cœur ŒUVRE", "cur uvre"},     {"Ÿ", "ÿ"},
        {"ẞ", "ß"},       {"«À» ª º µ ¿", "à"},   {"Łódź", "ód"},       {"e\u0301té e\u0327", "eté e"}, {"😀ok😀", "ok"},
    };
    CHECK(NORMALISE_NOTEBOOK, examples);
}

static void lower_case_is_pythons(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"\u212Aelvin", "kelvin"},     /* the Kelvin sign becomes an ASCII k            */
        {"\u212Bngström", "ångström"}, /* the Angstrom sign becomes å                   */
        {"\u0130stanbul", "istanbul"}, /* İ becomes i and a combining dot, which goes   */
        {"\u017Fo", "o"},              /* long s is lower case already, and no ASCII s  */
        {"\uFF21\uFF42c", "c"},        /* fullwidth letters stay fullwidth              */
        {"\u01C5\u01F2a", "a"},        /* titlecase digraphs                            */
        {"ΟΔΟΣ", ""},                  /* final sigma or not, Greek goes                */
    };
    CHECK(NORMALISE_NOTEBOOK, examples);
}

static void white_space_is_pythons(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"a\u00A0?", "a ?"},
        {"a\u202F!", "a !"},
        {"\u3000a\u1680\u2003b\u2028", "a b"},
        {"a\034\035\036\037b\302\205c", "a b c"},
        {"a\v\fb\u205Fc\u2029", "a b c"},
        {"a\u200Bb\u180Ec\uFEFFd", "abcd"}, /* of no width, and no white space */
    };
    static const struct example unfiltered[] = {
        {"a\u00A0?", "a ?"},
        {"\u3000a\u1680\u2003b\u2028", "a b"},
        {"a\034\035\036\037b\302\205c", "a b c"},
        {"a\u200Bb", "a\u200Bb"},
    };
    CHECK(NORMALISE_NOTEBOOK, examples);
    CHECK(NORMALISE_NFC, unfiltered);
    CHECK(NORMALISE_NONE, unfiltered);
}

static void control_characters_are_no_part_of_a_word(void **state)
{
    (void)state;
    for (char code = 1; code > 0; code = (char)(code == 127 ? 0 : code == 31 ? 127 : code + 1)) {
        const char text[] = {'a', code, 'b', '\0'};
        const struct example example[] = {{text, "a b"}};
        CHECK(NORMALISE_NFC, example);
        CHECK(NORMALISE_NONE, example);
    }
}

static void a_word_fits_without_white_space(void **state)
{
    (void)state;
    static const char *fits[] = {"a", "<unk>", "été", "a\001", "\177", "\u200B"};
    static const char * not [] = {"", " ", "a b", "a\r", "a\u00A0", "\037", "\u2028", "\xFF", "a\xC3"};
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++)
        assert_true(word_fits(fits[i], strlen(fits[i])));
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        assert_false(word_fits(not [i], strlen(not [i])));
    assert_false(word_fits("a\0b", 3));
}

static void nfc_composes_and_keeps_case(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"", ""},
        {"  Plain,  TEXT (1) ", "Plain, TEXT (1)"},
        {"e\u0301te\u0301", "été"},
        {"\u1112\u1161\u11AB", "한"},
        {"\u212B\u2003\u212A", "Å K"},
        {"q\u0323\u0307 q\u0307\u0323", "q\u0323\u0307 q\u0323\u0307"},
        {"\U0001D160", "\U0001D158\U0001D165\U0001D16E"}, /* one that NFC takes apart */
        {"\u0958\u0958\u0958\u0958\u0958", "\u0915\u093C\u0915\u093C\u0915\u093C\u0915\u093C\u0915\u093C"},
        {"œuf × 3", "œuf × 3"},
    };
    CHECK(NORMALISE_NFC, examples);
}

static void none_only_folds_white_space(void **state)
{
    (void)state;
    static const struct example examples[] = {{" A\t\tB \u202F C ", "A B C"}, {"e\u0301", "e\u0301"}, {"x", "x"}};
    CHECK(NORMALISE_NONE, examples);
}

static void normalising_twice_changes_nothing(void **state)
{
    (void)state;
    static const char text[] = "  \u212A e\u0301 ÀÉ\u00A0× \u0130 l'Œuf -- \U0001D15E ?! ";
    for (int rule = NORMALISE_NOTEBOOK; rule <= NORMALISE_NONE; rule++) {
        struct buffer once = {0}, twice = {0};
        normalise((enum normalise)rule, text, strlen(text), &once);
        normalise((enum normalise)rule, once.data, once.size, &twice);
        assert_string_equal(once.data, twice.data);
        buffer_free(&once);
        buffer_free(&twice);
    }
}

static void what_the_notebook_removes_is_counted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned letters, removed;
    } examples[] = {
        {"", 0, 0},
        {"Who's there? - me!", 11, 0},
        {"a, b; (c) \"d\" – € 😀 ❤\uFE0F", 4, 0}, /* punctuation, symbols and variation selectors are no letters */
        {"1st of 3 at 20:15", 12, 6},
        {"ÀÖß œuvre ŁÓDŹ", 12, 3},
        {"e\u0301te\u0301", 5, 2}, /* marks belong to letters */
        {"привет, мир", 9, 9},
        {"\u0967\u0968 ½ Ⅳ ª", 5, 5},
        {"naïve café résumé straße", 21, 0},
        {"\u212Aelvin \u0130stanbul", 14, 0}, /* lower case brings these to a-z */
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct normalise_count count = {.letters = 1000, .removed = 100};
        struct buffer counted = {0}, plain = {0};
        size_t size = strlen(examples[i].text);
        normalise_counted(NORMALISE_NOTEBOOK, examples[i].text, size, &counted, &count);
        normalise(NORMALISE_NOTEBOOK, examples[i].text, size, &plain);
        assert_string_equal(counted.data, plain.data);
        if (count.letters != 1000 + examples[i].letters || count.removed != 100 + examples[i].removed)
            fail_msg("\"%s\": %d of %d letters", examples[i].text, (int)count.removed - 100, (int)count.letters - 1000);
        buffer_free(&counted);
        buffer_free(&plain);
    }
}

static size_t character_of(uint32_t code, char *text)
{
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; code >>= 6)
        text[i] = (char)(0x80 | (code & 0x3F));
    text[0] = (char)(size == 1 ? code : (0xF00 >> size & 0xFF) | code);
    return size;
}

/* Alone between two letters, a character is kept, is white space, or is named and, as a letter, counted. */
static void no_character_disappears_unnoticed(void **state)
{
    (void)state;
    for (int rule = NORMALISE_NOTEBOOK; rule <= NORMALISE_NONE; rule++) {
        struct buffer out = {0}, removed = {0};
        for (uint32_t code = 1; code <= 0x10FFFF; code += code == 0xD7FF ? 0x801 : 1) {
            char text[8] = "a";
            size_t size = 1 + character_of(code, text + 1);
            struct normalise_count count = {0};
            text[size++] = 'b';
            assert_true(utf8_valid(text, size, NULL));
            buffer_clear(&out);
            buffer_clear(&removed);
            normalise_counted((enum normalise)rule, text, size, &out, &count);
            normalise_removed((enum normalise)rule, text, size, &removed);
            bool kept = out.size > 2;
            if (kept == (removed.size > 0) || (kept && count.removed > 0))
                fail_msg("rule %d, U+%04X: \"%s\", removed \"%s\"", rule, (unsigned)code, out.data,
                         removed.size > 0 ? removed.data : "");
            assert_true(kept || rule == NORMALISE_NOTEBOOK);
        }
        buffer_free(&out);
        buffer_free(&removed);
    }
}

static void removed_pieces_are_listed_run_by_run(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"", ""},
        {"Who's there? - me!", ""},
        {" \t\u00A0\r\n", ""},
        {"привет мир", "привет мир"},
        {"2 + 2 = 4", "2 + 2 = 4"},
        {"j’ai 3 chats, 1,5 kg", "’ 3 , 1,5"},
        {"c\u0153ur", "œ"},
        {"a\u200Bb\uFEFF c\001\177d", "U+200B U+FEFF U+0001U+007F"},
        {"e\u0301t\u00E9", "U+0301"},                               /* a mark whose letter is kept         */
        {"\u043A\u0301 \u0301\u0301", "\u043A\u0301 U+0301U+0301"}, /* one whose letter is removed with it */
        {"\u202Eabc\u202C", "U+202E U+202C"},
        {"\U0001F600\U000E0041", "\U0001F600U+E0041"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct buffer out = {0};
        buffer_append(&out, "", 0);
        normalise_removed(NORMALISE_NOTEBOOK, examples[i].text, strlen(examples[i].text), &out);
        assert_string_equal(out.data, examples[i].normal);
        buffer_clear(&out);
        normalise_removed(NORMALISE_NFC, examples[i].text, strlen(examples[i].text), &out);
        normalise_removed(NORMALISE_NONE, examples[i].text, strlen(examples[i].text), &out);
        assert_int_equal(out.size, 0);
        buffer_free(&out);
    }
}

static void invisible_characters_are_shown_as_numbers(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"caf\u00E9", "caf\u00E9"},
        {"a\xC2\x9B"
         "31mb\033c\177",
         "aU+009B31mbU+001BcU+007F"},
        {"e\u0301\u200D\u0301", "e\u0301U+200DU+0301"},
        {"\u0301e", "U+0301e"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct buffer out = {0};
        normalise_show(examples[i].text, strlen(examples[i].text), &out);
        assert_string_equal(out.data, examples[i].normal);
        buffer_free(&out);
    }
}

static void invalid_utf8_is_found_at_its_first_byte(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size, at;
    } bad[] = {
        {"ab\xFF", 3, 2},
        {"\x80", 1, 0},
        {"abcdefgh\xC3", 9, 8},             /* cut character                    */
        {"abcdefg\xC0\x80xxxxxxxx", 17, 7}, /* overlong NUL                     */
        {"\xE0\x9F\xBF", 3, 0},             /* overlong                         */
        {"a\xED\xA0\x80", 4, 1},            /* surrogate                        */
        {"\xF0\x8F\xBF\xBF", 4, 0},         /* overlong                         */
        {"\xF4\x90\x80\x80", 4, 0},         /* beyond U+10FFFF                  */
        {"\xF5\x80\x80\x80", 4, 0},
        {"abcdefghijklmnop\0qrstuvwxyz", 27, 16},
        {"\xC3\xA9\0", 3, 2},
        {"\xE2\x82", 2, 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t at = SIZE_MAX;
        assert_false(utf8_valid(bad[i].bytes, bad[i].size, &at));
        assert_int_equal(at, bad[i].at);
    }
}

static void valid_utf8_passes(void **state)
{
    (void)state;
    static const char *good[] = {"",
                                 "a",
                                 "abcdefgh",
                                 "abcdefghi",
                                 "été où ça ?",
                                 "\uD7FF\uE000\uFFFF\U00010000\U0010FFFF",
                                 "\x01\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(good[i], strlen(good[i]), NULL));
}

static void words_are_what_stands_between_spaces(void **state)
{
    (void)state;
    const char *text = "ab c  déf ", *end = text + strlen(text);
    assert_int_equal(word_count(text, strlen(text)), 3);
    assert_int_equal(word_next(&text, end), 2);
    text += 2;
    assert_int_equal(word_next(&text, end), 1);
    assert_int_equal(*text, 'c');
    text += 1;
    assert_int_equal(word_next(&text, end), strlen("déf"));
    text += strlen("déf");
    assert_int_equal(word_next(&text, end), 0);
    assert_int_equal(word_count("", 0), 0);
    assert_int_equal(word_count("   ", 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_notebook_keeps_letters_and_basic_punctuation),
        cmocka_unit_test(the_notebook_keeps_latin_1_from_c0_to_ff),
        cmocka_unit_test(lower_case_is_pythons),
        cmocka_unit_test(white_space_is_pythons),
        cmocka_unit_test(control_characters_are_no_part_of_a_word),
        cmocka_unit_test(a_word_fits_without_white_space),
        cmocka_unit_test(nfc_composes_and_keeps_case),
        cmocka_unit_test(none_only_folds_white_space),
        cmocka_unit_test(normalising_twice_changes_nothing),
        cmocka_unit_test(what_the_notebook_removes_is_counted),
        cmocka_unit_test(no_character_disappears_unnoticed),
        cmocka_unit_test(removed_pieces_are_listed_run_by_run),
        cmocka_unit_test(invisible_characters_are_shown_as_numbers),
        cmocka_unit_test(invalid_utf8_is_found_at_its_first_byte),
        cmocka_unit_test(valid_utf8_passes),
        cmocka_unit_test(words_are_what_stands_between_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
