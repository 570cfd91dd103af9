/* test_passage.c - texts in, texts out: nothing is lost between sentences, and a text's bytes do not depend on its
 * batch. */
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "tests/support/drawn_translator.h"
#include "tests/support/fixture.h"
#include "worker/serve/passage.h"

enum { TEXTS = 300, WORDS_MOST = 9, TEXT_BYTES = 256 };

static void passage_open_translator(struct translator *translator, int threads, enum normalise rule)
{
    struct err err;
    assert_ok(drawn_open(translator, threads, rule, &err), err);
}

/* Texts of one to three sentences, unknown words and things to copy among their words. */
static void passage_draw(struct mt19937 *random, char text[TEXT_BYTES])
{
    static const char *const between[] = {" ", "  ", ". ", "! ", "\n", ", ", " 42 ", " {x} ", "\t", " zz "};
    size_t used = 0, count = 1 + mt19937_below(random, WORDS_MOST);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char word[3];
        drawn_word(word, 0, (int)mt19937_below(random, DRAWN_WORDS));
        used += (size_t)snprintf(text + used, TEXT_BYTES - used, "%s%s", word, between[mt19937_below(random, 10)]);
    }
}

/* The answers of a batch as texts, each to be freed. */
static void passage_run(struct passage *passage, struct translator *translator, char *const *texts, size_t count,
                        char **out)
{
    struct buffer bytes = {0};
    uint32_t *lengths = malloc(count * sizeof *lengths);
    struct answers answers;
    struct err err;
    assert_non_null(lengths);
    buffer_append(&bytes, "", 0);
    for (size_t i = 0; i < count; i++) {
        lengths[i] = (uint32_t)strlen(texts[i]);
        buffer_append(&bytes, texts[i], lengths[i]);
    }
    const struct texts all = {.count = (uint32_t)count,
                              .lengths = lengths,
                              .bytes = bytes.data != NULL ? bytes.data : "",
                              .size = bytes.size};
    assert_ok(passage_translate(passage, translator, &all, true, &answers, &err), err);
    assert_int_equal(answers.count, count);
    assert_int_equal(answers.hypothesis_count, count);
    const char *at = answers.bytes;
    for (size_t i = 0; i < count; at += answers.hypotheses[i++].size)
        out[i] = strndup(at, answers.hypotheses[i].size);
    assert_int_equal(at - answers.bytes, answers.size);
    buffer_free(&bytes);
    free(lengths);
}

static void passage_shuffle(struct mt19937 *random, size_t *order, size_t count)
{
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = mt19937_below(random, (uint32_t)i + 1), other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
}

/* Translate all texts in batches of `size` in that order, and compare with what each gave alone. */
static void passage_compare(struct translator *translator, char *const *texts, char *const *alone, const size_t *order,
                            size_t size)
{
    struct passage passage = {0};
    char *batch[TEXTS], *out[TEXTS];
    for (size_t first = 0; first < TEXTS; first += size) {
        size_t count = TEXTS - first < size ? TEXTS - first : size;
        for (size_t i = 0; i < count; i++)
            batch[i] = texts[order[first + i]];
        passage_run(&passage, translator, batch, count, out);
        for (size_t i = 0; i < count; i++) {
            assert_string_equal(out[i], alone[order[first + i]]);
            free(out[i]);
        }
    }
    passage_close(&passage);
}

static void a_text_has_the_same_bytes_alone_and_in_any_batch(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 5, 8, 13, 64, 100, 255, 256, TEXTS};
    struct mt19937 random;
    struct translator one, two;
    struct passage passage = {0};
    char *texts[TEXTS], *alone[TEXTS];
    size_t order[TEXTS], differ = 0;
    (void)state;
    mt19937_seed(&random, 3);
    passage_open_translator(&one, 1, NORMALISE_NOTEBOOK);
    passage_open_translator(&two, 3, NORMALISE_NOTEBOOK);
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = malloc(TEXT_BYTES);
        assert_non_null(texts[i]);
        passage_draw(&random, texts[i]);
        order[i] = i;
        passage_run(&passage, &one, &texts[i], 1, &alone[i]);
        differ += strcmp(alone[i], alone[0]) != 0;
    }
    assert_true(differ > TEXTS / 2); /* else the test proves nothing */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        passage_shuffle(&random, order, TEXTS);
        passage_compare(&one, texts, alone, order, sizes[i]);
        passage_compare(&two, texts, alone, order, sizes[i]);
    }
    for (size_t i = 0; i < TEXTS; i++) {
        free(texts[i]);
        free(alone[i]);
    }
    passage_close(&passage);
    translator_close(&one);
    translator_close(&two);
}

/* The bytes between the sentences come back as they were. */
static void passage_keeps(struct translator *translator, const char *text, const char *const *kept)
{
    struct passage passage = {0};
    char *out, *texts[] = {strdup(text)};
    const char *at;
    passage_run(&passage, translator, texts, 1, &out);
    at = out;
    for (; *kept != NULL; kept++) {
        const char *found = strstr(at, *kept);
        if (found == NULL)
            fail_msg("\"%s\" became \"%s\", without \"%s\"", text, out, *kept);
        at = found + strlen(*kept);
    }
    free(texts[0]);
    free(out);
    passage_close(&passage);
}

static void what_is_no_sentence_is_kept_byte_for_byte(void **state)
{
    struct translator translator;
    (void)state;
    passage_open_translator(&translator, 1, NORMALISE_NOTEBOOK);
    passage_keeps(&translator, "  aa.\r\n\r\n\tba. ", (const char *const[]){"  ", "\r\n\r\n\t", " ", NULL});
    passage_keeps(&translator, "aa %1$s ba {x}! https://a.b/c ca",
                  (const char *const[]){" %1$s ", " {x}! https://a.b/c ", NULL});
    passage_keeps(&translator, "aa привет aa", (const char *const[]){" привет ", NULL});
    passage_keeps(&translator, "привет.", (const char *const[]){"привет.", NULL}); /* it cannot be read */
    translator_close(&translator);
}

static void long_texts_are_not_cut(void **state)
{
    struct translator translator;
    struct passage passage = {0};
    struct buffer text = {0};
    struct answers answers;
    struct err err;
    (void)state;
    passage_open_translator(&translator, 1, NORMALISE_NFC);
    for (int i = 0; i < 500; i++)
        buffer_text(&text, i % 9 == 3 ? "aa, " : "unheard ");
    uint32_t length = (uint32_t)text.size;
    const struct texts texts = {.count = 1, .lengths = &length, .bytes = text.data, .size = text.size};
    assert_ok(passage_translate(&passage, &translator, &texts, true, &answers, &err), err);
    assert_int_equal(answers.of[0].cut, 0);
    assert_int_equal(answers.of[0].unknown, 500);
    assert_true(answers.of[0].src_tokens > 500);
    assert_true(answers.of[0].tgt_tokens > 0);
    assert_int_equal(answers.of[0].notes, answers.notes_size);
    size_t lines = 0;
    for (size_t i = 0; i < answers.notes_size; i++)
        lines += answers.notes[i] == '\n';
    assert_int_equal(lines, 500);
    buffer_free(&text);
    passage_close(&passage);
    translator_close(&translator);
}

static void an_echo_repeats_its_texts(void **state)
{
    static const uint32_t lengths[] = {1, 0, 3};
    const struct texts texts = {.count = 3, .lengths = lengths, .bytes = "ab\0c", .size = 4};
    struct passage passage = {0};
    struct answers answers;
    struct err err;
    (void)state;
    assert_ok(passage_echo(&passage, &texts, &answers, &err), err);
    assert_int_equal(answers.hypothesis_count, 3);
    assert_int_equal(answers.size, 4);
    assert_memory_equal(answers.bytes, "ab\0c", 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(answers.hypotheses[i].size, lengths[i]);
    passage_close(&passage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_has_the_same_bytes_alone_and_in_any_batch),
        cmocka_unit_test(what_is_no_sentence_is_kept_byte_for_byte),
        cmocka_unit_test(long_texts_are_not_cut),
        cmocka_unit_test(an_echo_repeats_its_texts),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("passage", tests, NULL, NULL);
}
