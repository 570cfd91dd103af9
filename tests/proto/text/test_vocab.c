/* test_vocab.c - counting, ids, encoding, and the file form. */
#include "proto/text/vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct vocab *make(const char *const *texts, size_t count, enum unknown unknown, size_t limit)
{
    struct err err = {0};
    struct vocab *vocab = vocab_new(&err);
    assert_non_null(vocab);
    for (size_t i = 0; i < count; i++)
        assert_true(vocab_count(vocab, texts[i], strlen(texts[i]), &err));
    assert_true(vocab_close(vocab, unknown, limit, &err));
    return vocab;
}

static const char *const vocab_texts[] = {"b a c a", "é b a z", "", "zz <eos> <unk>"};

static struct vocab *make_small(enum unknown unknown, size_t limit)
{
    return make(vocab_texts, sizeof vocab_texts / sizeof *vocab_texts, unknown, limit);
}

static void check_words(const struct vocab *vocab, const char *expected)
{
    struct buffer out = {0};
    vocab_write(vocab, &out);
    assert_string_equal(out.data, expected);
    buffer_free(&out);
}

static void ids_follow_frequency_then_code_point(void **state)
{
    (void)state;
    struct vocab *own = make_small(UNKNOWN_OWN, 100), *frequent = make_small(UNKNOWN_FREQUENT, 100);
    check_words(own, "<pad>\n<sos>\n<eos>\n<unk>\na\nb\nc\nz\nzz\né\n");
    check_words(frequent, "<pad>\n<sos>\n<eos>\na\nb\nc\nz\nzz\né\n");
    assert_int_equal(vocab_size(own), 10);
    assert_string_equal(vocab_word(own, 4), "a");
    vocab_destroy(&own);
    vocab_destroy(&frequent);
    assert_null(own);
}

static void the_limit_counts_the_markers(void **state)
{
    (void)state;
    struct vocab *own = make_small(UNKNOWN_OWN, 6), *frequent = make_small(UNKNOWN_FREQUENT, 6);
    check_words(own, "<pad>\n<sos>\n<eos>\n<unk>\na\nb\n");
    check_words(frequent, "<pad>\n<sos>\n<eos>\na\nb\nc\n");
    bool known = true;
    assert_int_equal(vocab_id(own, "c", 1, &known), ID_UNKNOWN);
    assert_false(known);
    vocab_destroy(&own);
    vocab_destroy(&frequent);
}

static void the_recipe_can_map_unknown_words_to_the_most_frequent(void **state)
{
    (void)state;
    struct vocab *frequent = make_small(UNKNOWN_FREQUENT, 100);
    bool known = true;
    uint16_t id = vocab_id(frequent, "never", 5, &known);
    assert_string_equal(vocab_word(frequent, id), "a");
    assert_false(known);
    assert_int_equal(vocab_id(frequent, "a", 1, &known), ID_UNKNOWN);
    assert_true(known);
    vocab_destroy(&frequent);
}

static void text_cannot_write_a_marker(void **state)
{
    (void)state;
    struct vocab *own = make_small(UNKNOWN_OWN, 100);
    static const char *markers[] = {"<pad>", "<sos>", "<eos>", "<unk>"};
    for (size_t i = 0; i < 4; i++) {
        bool known = true;
        assert_int_equal(vocab_id(own, markers[i], 5, &known), ID_UNKNOWN);
        assert_false(known);
    }
    vocab_destroy(&own);
}

static void a_sentence_is_encoded_between_markers_and_cut(void **state)
{
    (void)state;
    struct vocab *own = make_small(UNKNOWN_OWN, 100);
    uint16_t ids[6] = {0};
    size_t full, unknown;
    assert_int_equal(vocab_encode(own, "b never a", 9, 6, ids, &full, &unknown), 5);
    static const uint16_t whole[] = {ID_SOS, 5, ID_UNKNOWN, 4, ID_EOS};
    assert_memory_equal(ids, whole, sizeof whole);
    assert_int_equal(full, 5);
    assert_int_equal(unknown, 1);

    ids[3] = 77;
    assert_int_equal(vocab_encode(own, "a a x y z", 9, 3, ids, &full, &unknown), 3);
    static const uint16_t cut[] = {ID_SOS, 4, 4, 77};
    assert_memory_equal(ids, cut, sizeof cut);
    assert_int_equal(full, 7);
    assert_int_equal(unknown, 2);

    assert_int_equal(vocab_encode(own, "", 0, 6, ids, NULL, NULL), 2);
    assert_int_equal(ids[1], ID_EOS);
    vocab_destroy(&own);
}

static void decoding_ends_at_eos_and_leaves_markers_out(void **state)
{
    (void)state;
    struct vocab *own = make_small(UNKNOWN_OWN, 100);
    static const uint16_t ids[] = {ID_SOS, 4, ID_PAD, 9, 60000, ID_UNKNOWN, ID_EOS, 5};
    struct buffer out = {0};
    vocab_decode(own, ids, sizeof ids / sizeof *ids, &out);
    assert_string_equal(out.data, "a é <unk>");
    buffer_free(&out);
    vocab_destroy(&own);
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    for (int unknown = UNKNOWN_FREQUENT; unknown <= UNKNOWN_OWN; unknown++) {
        struct vocab *made = make_small((enum unknown)unknown, 100);
        struct buffer out = {0}, again = {0};
        vocab_write(made, &out);
        struct vocab *read = vocab_read(out.data, out.size, "src.vocab", NULL);
        assert_non_null(read);
        vocab_write(read, &again);
        assert_string_equal(out.data, again.data);
        for (uint16_t id = 0; id < vocab_size(made); id++) {
            const char *word = vocab_word(made, id);
            bool known_made, known_read;
            assert_int_equal(vocab_id(made, word, strlen(word), &known_made),
                             vocab_id(read, word, strlen(word), &known_read));
            assert_int_equal(known_made, known_read);
        }
        buffer_free(&out);
        buffer_free(&again);
        vocab_destroy(&made);
        vocab_destroy(&read);
    }
}

/* Older versions wrote such words and could not read them. */
static void words_with_control_characters_are_read(void **state)
{
    (void)state;
    static const char text[] = "<pad>\n<sos>\n<eos>\n<unk>\na\001\n\033\n\177\n";
    struct err err = {0};
    struct vocab *vocab = vocab_read(text, sizeof text - 1, "src.vocab", &err);
    assert_string_equal(err.text, "");
    assert_non_null(vocab);
    check_words(vocab, text);
    assert_int_equal(vocab_id(vocab, "a\001", 2, NULL), 4);
    vocab_destroy(&vocab);
}

static void what_cannot_be_read_back_is_not_counted(void **state)
{
    (void)state;
    static const char *words[] = {"a\u00A0b", "a\n", "\037", "a\xFF"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct err err = {0};
        struct vocab *vocab = vocab_new(&err);
        assert_false(vocab_count(vocab, words[i], strlen(words[i]), &err));
        assert_int_equal(err.code, ERR_DATA);
        vocab_destroy(&vocab);
    }
}

static void many_words_keep_their_order_and_their_ids(void **state)
{
    (void)state;
    enum { WORDS = 70000 };
    struct err err = {0};
    struct vocab *vocab = vocab_new(&err);
    for (int i = WORDS - 1; i >= 0; i--) {
        char word[16];
        int size = snprintf(word, sizeof word, "w%06d", i);
        assert_true(vocab_count(vocab, word, (size_t)size, &err));
    }
    assert_true(vocab_count(vocab, "w069999 w069999", 15, &err));
    assert_true(vocab_close(vocab, UNKNOWN_OWN, SIZE_MAX, &err));
    assert_int_equal(vocab_size(vocab), VOCAB_MOST);
    assert_string_equal(vocab_word(vocab, 4), "w069999");
    for (int id = 5; id < VOCAB_MOST; id++) {
        char word[16];
        int size = snprintf(word, sizeof word, "w%06d", id - 5);
        assert_string_equal(vocab_word(vocab, (uint16_t)id), word);
        assert_int_equal(vocab_id(vocab, word, (size_t)size, NULL), id);
    }
    struct buffer out = {0};
    vocab_write(vocab, &out);
    struct vocab *read = vocab_read(out.data, out.size, "v", &err);
    assert_non_null(read);
    assert_int_equal(vocab_id(read, "w065529", 7, NULL), VOCAB_MOST - 1);
    bool known = true;
    assert_int_equal(vocab_id(read, "<eos>", 5, &known), ID_UNKNOWN);
    assert_false(known);
    buffer_text(&out, "one-more\n");
    assert_null(vocab_read(out.data, out.size, "v", &err));
    assert_non_null(strstr(err.text, "v:65536: too many"));
    buffer_free(&out);
    vocab_destroy(&vocab);
    vocab_destroy(&read);
}

static void a_vocabulary_needs_a_word(void **state)
{
    (void)state;
    struct err err = {0};
    struct vocab *vocab = vocab_new(&err);
    assert_true(vocab_count(vocab, "<pad> <unk>", 11, &err));
    assert_false(vocab_close(vocab, UNKNOWN_FREQUENT, 100, &err));
    assert_int_equal(err.code, ERR_DATA);
    assert_true(vocab_count(vocab, "a", 1, &err));
    assert_false(vocab_close(vocab, UNKNOWN_FREQUENT, 3, &err));
    assert_int_equal(err.code, ERR_USAGE);
    vocab_destroy(&vocab);
}

static void a_damaged_file_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
    } damaged[] = {
        {"", "V:1:"},
        {"<pad>\n<sos>\n<eos>\n", "V:4:"},
        {"<pad>\n<sos>\n", "V:3:"},
        {"<sos>\n<pad>\n<eos>\na\n", "V:1:"},
        {"<pad>\n<sos>\n<eos>\na\nb\na\n", "V:6: a repeated"},
        {"<pad>\n<sos>\n<eos>\na\n<unk>\n", "V:5: a marker"},
        {"<pad>\n<sos>\n<eos>\n<unk>\n<unk>\n", "V:5: a marker"},
        {"<pad>\n<sos>\n<eos>\n<sos>\n", "V:4: a marker"},
        {"<pad>\n<sos>\n<eos>\na\n\nb\n", "V:5: an empty"},
        {"<pad>\n<sos>\n<eos>\na b\n", "V:4: white space"},
        {"<pad>\r\n<sos>\r\n<eos>\r\na\r\n", "V:1:"},
        {"<pad>\n<sos>\n<eos>\na\r\n", "V:4: white space"},
        {"<pad>\n<sos>\n<eos>\na\u00A0b\n", "V:4: white space"},
        {"<pad>\n<sos>\n<eos>\n\xFFx\n", "V:4: invalid UTF-8"},
        {"<pad>\n<sos>\n<eos>\na\nb", "V:5: the last line has no end"},
    };
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        struct err err = {0};
        assert_null(vocab_read(damaged[i].text, strlen(damaged[i].text), "V", &err));
        assert_int_equal(err.code, ERR_DATA);
        assert_memory_equal(err.text, damaged[i].place, strlen(damaged[i].place));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_follow_frequency_then_code_point),
        cmocka_unit_test(the_limit_counts_the_markers),
        cmocka_unit_test(the_recipe_can_map_unknown_words_to_the_most_frequent),
        cmocka_unit_test(text_cannot_write_a_marker),
        cmocka_unit_test(a_sentence_is_encoded_between_markers_and_cut),
        cmocka_unit_test(decoding_ends_at_eos_and_leaves_markers_out),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(words_with_control_characters_are_read),
        cmocka_unit_test(what_cannot_be_read_back_is_not_counted),
        cmocka_unit_test(many_words_keep_their_order_and_their_ids),
        cmocka_unit_test(a_vocabulary_needs_a_word),
        cmocka_unit_test(a_damaged_file_is_named_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
