/* test_detect.c - trigrams: what is counted, which text is in which language, the file form; and how often a guess is
 * right on real pairs that were not counted. */
#include "proto/text/detect.h"
#include "proto/text/pairs.h"
#include "proto/text/vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct detect_table *make(const char *text)
{
    struct err err = {0};
    struct detect_counter *counter = detect_counter_new(&err);
    assert_true(detect_count(counter, text, strlen(text), &err));
    struct detect_table *table = detect_table_new(counter, &err);
    assert_non_null(table);
    detect_counter_destroy(&counter);
    assert_null(counter);
    return table;
}

/* The file form of two texts. */
static struct buffer file_of(const char *src_text, const char *tgt_text)
{
    struct err err = {0};
    struct buffer file = {0};
    struct detect_table *src = make(src_text), *tgt = make(tgt_text);
    assert_true(detect_write(src, tgt, &file, &err));
    detect_table_destroy(&src);
    detect_table_destroy(&tgt);
    return file;
}

static void check_same(const char *one, const char *other)
{
    struct buffer a = file_of(one, ""), b = file_of(other, "");
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    buffer_free(&a);
    buffer_free(&b);
}

static void a_word_has_a_trigram_for_each_of_its_letters(void **state)
{
    (void)state;
    struct buffer file = file_of("a, A: hi!", "");
    const unsigned char *bytes = (const unsigned char *)file.data;
    assert_int_equal(file.size, 8 + 8 + 3 * 12 + 8);
    assert_int_equal(bytes[8], 4);  /* trigrams counted */
    assert_int_equal(bytes[12], 3); /* distinct ones */
    static const uint32_t codes[3][3] = {{' ', 'a', ' '}, {' ', 'h', 'i'}, {'h', 'i', ' '}};
    for (int i = 0; i < 3; i++) {
        uint64_t key = 0;
        for (int b = 7; b >= 0; b--)
            key = key << 8 | bytes[16 + 12 * i + b];
        assert_int_equal(key, (uint64_t)codes[i][0] << 42 | (uint64_t)codes[i][1] << 21 | codes[i][2]);
        assert_int_equal(bytes[16 + 12 * i + 8], i == 0 ? 2 : 1);
    }
    buffer_free(&file);
}

static void case_and_signs_do_not_count(void **state)
{
    (void)state;
    check_same("ÉCOLE Straße ΑΒΓ ДОМ", "école  straße, αβγ: (дом) 42!");
    check_same("", " \t 123 ?! \xff\xc3 \xf0\x9f\x98\x80");
    check_same("no\xff pe", "no pe");
}

static void a_text_is_in_the_language_of_its_trigrams(void **state)
{
    (void)state;
    struct detect_table *tables[3] = {make("the cat is on the table and this is what they think of that"),
                                      make("le chat est sur la table et c'est ce que nous pensons"),
                                      make("кошка сидит на столе и думает о том что будет")};
    const struct detect_table *const *languages = (const struct detect_table *const *)tables;
    static const char *const texts[3] = {"This is the thing.", "Est-ce que c'est sur la chaise ?", "Что на столе?"};
    for (size_t i = 0; i < 3; i++) {
        struct detect_guess guesses[3];
        assert_int_not_equal(detect_text(languages, 3, texts[i], strlen(texts[i]), guesses), 0);
        assert_int_equal(guesses[0].language, i);
        assert_in_range(guesses[0].confidence, 50, 100);
        assert_true(guesses[0].score >= guesses[1].score && guesses[1].score >= guesses[2].score);
        assert_true(guesses[0].language + guesses[1].language + guesses[2].language == 3);
    }
    for (size_t i = 0; i < 3; i++)
        detect_table_destroy(&tables[i]);
}

static void without_letters_or_in_another_script_confidence_is_0(void **state)
{
    (void)state;
    struct detect_table *tables[2] = {make("the cat is on the table"), make("le chat est sur la table")};
    static const char *const texts[] = {"", " ", "42 + 1 = 43", "\xf0\x9f\x98\x80", "早上好，你今天好吗？", "\xff\xfe"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct detect_guess guesses[2];
        detect_text((const struct detect_table *const *)tables, 2, texts[i], strlen(texts[i]), guesses);
        assert_int_equal(guesses[0].confidence, 0);
        assert_int_equal(guesses[0].language, 0);
        assert_int_equal(guesses[1].language, 1);
    }
    detect_table_destroy(&tables[0]);
    detect_table_destroy(&tables[1]);
}

static void a_language_without_a_table_comes_last(void **state)
{
    (void)state;
    struct detect_table *table = make("the cat is on the table");
    const struct detect_table *languages[] = {NULL, table};
    struct detect_guess guesses[2];
    detect_text(languages, 2, "the cat", 7, guesses);
    assert_int_equal(guesses[0].language, 1);
    assert_int_equal(guesses[0].confidence, 100);
    assert_int_equal(guesses[1].confidence, 0);
    languages[1] = NULL;
    detect_text(languages, 2, "the cat", 7, guesses);
    assert_int_equal(guesses[0].language, 0);
    assert_int_equal(guesses[0].confidence, 0);
    assert_int_equal(detect_text(languages, 0, "the cat", 7, guesses), 0);
    detect_table_destroy(&table);
}

/* All words of three letters, so that a table gets more trigrams than it holds and the counter fills up. */
static char *many_words(void)
{
    enum { WORDS = 26 * 26 * 26, TIMES = 6 };
    char *text = malloc((size_t)WORDS * TIMES * 4 + 1), *at = text;
    assert_non_null(text);
    for (int time = 0; time < TIMES; time++)
        for (int word = 0; word < WORDS; word++, at += 4)
            snprintf(at, 5, "%c%c%c ", 'a' + word / 676, 'a' + word / 26 % 26, 'a' + word % 26);
    return text;
}

static void counting_stops_at_the_sample_and_tables_at_their_limit(void **state)
{
    (void)state;
    struct err err = {0};
    char *text = many_words();
    struct detect_counter *counter = detect_counter_new(&err);
    assert_true(detect_count(counter, text, strlen(text), &err));
    assert_true(detect_counter_full(counter));
    struct detect_table *one = detect_table_new(counter, &err);
    assert_true(detect_count(counter, "zzz zzz zzz", 11, &err));
    struct detect_table *other = detect_table_new(counter, &err);
    struct buffer file = {0};
    assert_true(detect_write(one, other, &file, &err));
    assert_int_equal(file.size, 8 + 2 * (8 + 12 * DETECT_ENTRIES));
    assert_memory_equal(file.data + 8, file.data + 8 + 8 + 12 * DETECT_ENTRIES, 8 + 12 * DETECT_ENTRIES);
    detect_table_destroy(&one);
    detect_table_destroy(&other);
    detect_counter_destroy(&counter);
    buffer_free(&file);
    free(text);
}

static void the_file_is_read_back(void **state)
{
    (void)state;
    struct err err = {0};
    struct buffer file = file_of("the cat is on the table", "le chat est sur la table à côté"), again = {0};
    struct detect_table *src, *tgt;
    assert_true(detect_read(file.data, file.size, "trigrams.bin", &src, &tgt, &err));
    assert_true(detect_write(src, tgt, &again, &err));
    assert_int_equal(file.size, again.size);
    assert_memory_equal(file.data, again.data, file.size);
    struct detect_guess guesses[2];
    const struct detect_table *languages[] = {src, tgt};
    detect_text(languages, 2, "chat", 4, guesses);
    assert_int_equal(guesses[0].language, 1);
    detect_table_destroy(&src);
    detect_table_destroy(&tgt);
    buffer_free(&file);
    buffer_free(&again);
}

static void check_refused(const void *bytes, size_t size, const char *what)
{
    struct err err = {0};
    struct detect_table *src, *tgt;
    assert_false(detect_read(bytes, size, "a/trigrams.bin", &src, &tgt, &err));
    assert_int_equal(err.code, ERR_DATA);
    assert_ptr_equal(strstr(err.text, "a/trigrams.bin: "), err.text);
    if (strstr(err.text, what) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", what, err.text);
    assert_true(src == NULL && tgt == NULL);
}

static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    struct buffer file = file_of("aa ab", "ba");
    enum { FIRST = 16, SECOND = FIRST + 12 };
    for (size_t size = 0; size < file.size; size++)
        check_refused(file.data, size, size < 8 ? "not a table" : "cut short");
    buffer_append(&file, "x", 1);
    check_refused(file.data, file.size, "1 bytes follow");
    file.size--;
    char saved[24];
    memcpy(saved, file.data + FIRST, 24);
    memcpy(file.data + FIRST, saved + 12, 12); /* the same entry twice */
    check_refused(file.data, file.size, "entry 1 is no trigram");
    memcpy(file.data + SECOND, saved, 12); /* the wrong order */
    check_refused(file.data, file.size, "entry 1 is no trigram");
    memcpy(file.data + FIRST, saved, 24);
    file.data[FIRST + 8] = 99; /* more than were counted */
    check_refused(file.data, file.size, "entry 0 is no trigram");
    file.data[FIRST + 8] = 0;
    check_refused(file.data, file.size, "entry 0 is no trigram");
    memcpy(file.data + FIRST, saved, 24);
    file.data[FIRST] = '!';
    check_refused(file.data, file.size, "entry 0 is no trigram");
    memcpy(file.data + FIRST, saved, 24);
    memset(file.data + 12, 0xff, 4); /* entries */
    check_refused(file.data, file.size, "more than 2000");
    file.data[0] = 'T';
    check_refused(file.data, file.size, "not a table");
    buffer_free(&file);
}

/* The real pairs: each eighteenth is held out, and no pair that shares a side with those is counted. */

enum { EACH = 18 };

struct real {
    struct pairs pairs;
    struct vocab *words[2], *held[2]; /* words of each side; held-out texts, as one word each */
    struct detect_table *tables[2];
    struct buffer text;
};

static const char *real_side(const struct real *real, size_t item, int side, size_t *size)
{
    const struct pair *pair = &real->pairs.items[item];
    *size = side == 0 ? pair->src_size : pair->tgt_size;
    return real->pairs.text.data + (side == 0 ? pair->src : pair->tgt);
}

/* The text's words in lower case, with spaces between, or with underscores. Valid until the next call. */
static const struct buffer *real_words(struct real *real, const char *text, size_t size, char between)
{
    buffer_clear(&real->text);
    normalise(NORMALISE_NOTEBOOK, text, size, &real->text);
    for (char *at = real->text.data; *at != '\0'; at++)
        *at = strchr(" ?.!'-", *at) != NULL ? between : *at;
    return &real->text;
}

static bool real_knows(const struct vocab *vocab, const struct buffer *word)
{
    bool known = false;
    vocab_id(vocab, word->data, word->size, &known);
    return known;
}

static void real_count_words(struct real *real)
{
    struct err err = {0};
    for (int side = 0; side < 2; side++) {
        real->words[side] = vocab_new(&err);
        real->held[side] = vocab_new(&err);
        for (size_t i = 0; i < real->pairs.count; i++) {
            size_t size;
            const char *text = real_side(real, i, side, &size);
            const struct buffer *words = real_words(real, text, size, ' ');
            assert_true(vocab_count(real->words[side], words->data, words->size, &err));
            words = real_words(real, text, size, '_');
            assert_true(i % EACH != 0 || vocab_count(real->held[side], words->data, words->size, &err));
        }
        assert_true(vocab_close(real->words[side], UNKNOWN_OWN, VOCAB_MOST, &err));
        assert_true(vocab_close(real->held[side], UNKNOWN_OWN, VOCAB_MOST, &err));
    }
}

static bool real_is_held(struct real *real, size_t item)
{
    bool held = item % EACH == 0;
    for (int side = 0; !held && side < 2; side++) {
        size_t size;
        const char *text = real_side(real, item, side, &size);
        held = real_knows(real->held[side], real_words(real, text, size, '_'));
    }
    return held;
}

/* Count pairs all over the file, because it is sorted by length. */
static void real_learn(struct real *real)
{
    struct err err = {0};
    struct detect_counter *counters[2] = {detect_counter_new(&err), detect_counter_new(&err)};
    for (size_t start = 0; start < 8; start++)
        for (size_t i = start; i < real->pairs.count; i += 8)
            for (int side = 0; side < 2 && !real_is_held(real, i); side++) {
                size_t size;
                const char *text = real_side(real, i, side, &size);
                assert_true(detect_count(counters[side], text, size, &err));
            }
    for (int side = 0; side < 2; side++) {
        assert_true(detect_counter_full(counters[side]));
        real->tables[side] = detect_table_new(counters[side], &err);
        detect_counter_destroy(&counters[side]);
    }
}

static bool real_is_right(const struct real *real, const char *text, size_t size, int side)
{
    struct detect_guess guesses[2];
    detect_text((const struct detect_table *const *)real->tables, 2, text, size, guesses);
    return guesses[0].language == (size_t)side;
}

static void guesses_on_real_pairs_are_right(void **state)
{
    (void)state;
    const char *data = getenv("LSTMQ_DATA");
    char path[512];
    struct stat about;
    snprintf(path, sizeof path, "%s/fra-eng.zip", data != NULL ? data : "/nowhere");
    if (stat(path, &about) != 0) {
        print_message("skipped: LSTMQ_DATA names no folder with fra-eng.zip\n");
        skip();
    }
    struct real real = {0};
    struct err err = {0};
    const struct pairs_source source = {
        .pairs = path, .src = "", .tgt = "", .rule = NORMALISE_NFC, .max_tokens = SIZE_MAX};
    assert_true(pairs_read(&real.pairs, &source, &err));
    real_count_words(&real);
    real_learn(&real);
    unsigned texts = 0, right_texts = 0, words = 0, right_words = 0;
    for (size_t i = 0; i < real.pairs.count; i += EACH)
        for (int side = 0; side < 2; side++) {
            size_t size;
            const char *text = real_side(&real, i, side, &size);
            texts++;
            right_texts += real_is_right(&real, text, size, side);
            const struct buffer *all = real_words(&real, text, size, ' ');
            const char *word = all->data, *end = all->data + all->size;
            for (size_t length; (length = word_next(&word, end)) > 0; word += length) {
                bool both = true;
                vocab_id(real.words[1 - side], word, length, &both);
                words += !both;
                right_words += !both && real_is_right(&real, word, length, side);
            }
        }
    double text_share = 100.0 * right_texts / texts, word_share = 100.0 * right_words / words;
    print_message("%.2f %% of %u sentences, %.2f %% of %u single words that one language has\n", text_share, texts,
                  word_share, words);
    assert_true(text_share >= 99.9);
    assert_true(word_share >= 97.0);
    for (int side = 0; side < 2; side++) {
        vocab_destroy(&real.words[side]);
        vocab_destroy(&real.held[side]);
        detect_table_destroy(&real.tables[side]);
    }
    buffer_free(&real.text);
    pairs_free(&real.pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_has_a_trigram_for_each_of_its_letters),
        cmocka_unit_test(case_and_signs_do_not_count),
        cmocka_unit_test(a_text_is_in_the_language_of_its_trigrams),
        cmocka_unit_test(without_letters_or_in_another_script_confidence_is_0),
        cmocka_unit_test(a_language_without_a_table_comes_last),
        cmocka_unit_test(counting_stops_at_the_sample_and_tables_at_their_limit),
        cmocka_unit_test(the_file_is_read_back),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(guesses_on_real_pairs_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
