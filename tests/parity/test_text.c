/* test_text.c - from sentence pairs to rows of ids, held against what Python made of the same file.
 *
 *   test_text tiny        the project's own tiny pairs, expected in tiny_text.json beside this file
 *   test_text reference   the real pairs ($LSTMQ_DATA/fra-eng.zip) and notebook_curve.json in $LSTMQ_REFERENCE; also
 * the time from the file to ids, which has a limit that $LSTMQ_FULL judges
 *
 * Exit status: 0 all as expected, 1 something is not, 77 what is needed is not there. */
#include "proto/base/clock.h"
#include "proto/base/random.h"
#include "proto/text/pairs.h"
#include "proto/text/vocab.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SKIPPED = 77, LENGTH = 14, SEED = 42, MIN_TOKENS = 2, MAX_TOKENS = 10, VOCAB_LIMIT = 10000 };

static const off_t REAL_BYTES = 10009515; /* fra.txt of the edition that the curve was computed on */
static const double START_SECONDS = 0.4;  /* limit for reading, normalising, counting and encoding the real pairs */

struct text {
    struct pairs pairs;
    struct vocab *src, *tgt;
    uint32_t *order;
    size_t taken;
};

static int text_missed;

static void text_die(const struct err *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static void text_check(const char *what, bool ok)
{
    printf("  %s %s\n", ok ? "ok  " : "MISS", what);
    text_missed += !ok;
}

static const char *text_src(const struct text *text, size_t i)
{
    return text->pairs.text.data + text->pairs.items[text->order[i]].src;
}

static const char *text_tgt(const struct text *text, size_t i)
{
    return text->pairs.text.data + text->pairs.items[text->order[i]].tgt;
}

/* Read, shuffle, take, count: the notebook's order of things. */
static void text_read(struct text *text, const char *path, size_t take)
{
    struct err err = {0};
    const struct pairs_source source = {.pairs = path,
                                        .src = "",
                                        .tgt = "",
                                        .rule = NORMALISE_NOTEBOOK,
                                        .min_tokens = MIN_TOKENS,
                                        .max_tokens = MAX_TOKENS};
    if (!pairs_read(&text->pairs, &source, &err))
        text_die(&err);
    text->order = malloc(text->pairs.count * sizeof *text->order);
    text->src = vocab_new(&err);
    text->tgt = vocab_new(&err);
    if (text->order == NULL || text->src == NULL || text->tgt == NULL)
        exit(1);
    for (uint32_t i = 0; i < text->pairs.count; i++)
        text->order[i] = i;
    struct mt19937 mt;
    mt19937_seed(&mt, SEED);
    mt19937_shuffle(&mt, text->order, text->pairs.count);
    text->taken = take == 0 || take > text->pairs.count ? text->pairs.count : take;
    for (size_t i = 0; i < text->taken; i++)
        if (!vocab_count(text->src, text_src(text, i), strlen(text_src(text, i)), &err) ||
            !vocab_count(text->tgt, text_tgt(text, i), strlen(text_tgt(text, i)), &err))
            text_die(&err);
    if (!vocab_close(text->src, UNKNOWN_FREQUENT, VOCAB_LIMIT, &err) ||
        !vocab_close(text->tgt, UNKNOWN_FREQUENT, VOCAB_LIMIT, &err))
        text_die(&err);
}

static void text_free(struct text *text)
{
    vocab_destroy(&text->src);
    vocab_destroy(&text->tgt);
    pairs_free(&text->pairs);
    free(text->order);
}

static void text_check_count(const json_t *expected, const char *field, size_t value)
{
    char what[128];
    const json_t *wanted = json_object_get(expected, field);
    snprintf(what, sizeof what, "%s %zu", field, value);
    text_check(what, json_is_integer(wanted) && (size_t)json_integer_value(wanted) == value);
}

static void text_check_row(const json_t *expected, const char *field, const struct vocab *vocab, const char *sentence)
{
    uint16_t ids[LENGTH] = {0};
    vocab_encode(vocab, sentence, strlen(sentence), LENGTH, ids, NULL, NULL);
    const json_t *row = json_object_get(expected, field);
    bool ok = json_array_size(row) == LENGTH;
    for (size_t i = 0; ok && i < LENGTH; i++)
        ok = json_integer_value(json_array_get(row, i)) == ids[i];
    text_check(field, ok);
}

static bool text_is(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static void text_check_words(const json_t *expected, const char *field, const struct vocab *vocab)
{
    const json_t *words = json_object_get(expected, field);
    bool ok = json_array_size(words) == 7;
    for (uint16_t i = 0; ok && i < 7; i++)
        ok = text_is(json_array_get(words, i), vocab_word(vocab, (uint16_t)(ID_UNKNOWN + i)));
    text_check(field, ok);
}

static void text_compare(const char *expected_path, const char *pairs_path)
{
    json_error_t why;
    json_t *expected = json_load_file(expected_path, 0, &why);
    if (expected == NULL) {
        fprintf(stderr, "%s:%d: %s\n", expected_path, why.line, why.text);
        exit(1);
    }
    struct text text = {0};
    text_read(&text, pairs_path, (size_t)json_integer_value(json_object_get(expected, "pairs")));
    text_check_count(expected, "lines", text.pairs.lines);
    text_check_count(expected, "kept", text.pairs.count);
    text_check_count(expected, "pairs", text.taken);
    text_check_count(expected, "src_vocab", vocab_size(text.src));
    text_check_count(expected, "tgt_vocab", vocab_size(text.tgt));
    const json_t *first = json_object_get(expected, "first_pair");
    text_check("first_pair", text_is(json_array_get(first, 0), text_src(&text, 0)) &&
                                 text_is(json_array_get(first, 1), text_tgt(&text, 0)));
    text_check_row(expected, "first_src_row", text.src, text_src(&text, 0));
    text_check_row(expected, "first_tgt_row", text.tgt, text_tgt(&text, 0));
    text_check_words(expected, "src_words_3_10", text.src);
    text_check_words(expected, "tgt_words_3_10", text.tgt);
    text_free(&text);
    json_decref(expected);
}

/* The best of ten starts on all pairs, since a machine is never quite alone: read, normalise, shuffle, count,
 * encode. */
static void text_check_start(const char *path)
{
    double best = 1e9;
    for (int i = 0; i < 10 && best > START_SECONDS / 2; i++) {
        int64_t begin = clock_ns();
        struct text text = {0};
        text_read(&text, path, 0);
        uint16_t ids[LENGTH];
        for (size_t k = 0; k < text.taken; k++) {
            vocab_encode(text.src, text_src(&text, k), strlen(text_src(&text, k)), LENGTH, ids, NULL, NULL);
            vocab_encode(text.tgt, text_tgt(&text, k), strlen(text_tgt(&text, k)), LENGTH, ids, NULL, NULL);
        }
        double seconds = (double)(clock_ns() - begin) / 1e9;
        best = seconds < best ? seconds : best;
        text_free(&text);
    }
    char what[128];
    snprintf(what, sizeof what, "start %.3f s (limit %.1f)", best, START_SECONDS);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("  not judged with sanitizers: %s\n", what);
#else
    if (getenv("LSTMQ_FULL") != NULL)
        text_check(what, best <= START_SECONDS);
    else
        printf("       %s\n", what);
#endif
}

static int text_skip(const char *why)
{
    printf("skipped: %s\n", why);
    return SKIPPED;
}

static int text_reference(void)
{
    const char *reference = getenv("LSTMQ_REFERENCE"), *data = getenv("LSTMQ_DATA");
    if (reference == NULL || data == NULL)
        return text_skip("LSTMQ_REFERENCE and LSTMQ_DATA name no folders");
    char expected[1024], zip[1024], command[4096], folder[] = "/tmp/lstmq-text-XXXXXX", pairs[64];
    snprintf(expected, sizeof expected, "%s/notebook_curve.json", reference);
    snprintf(zip, sizeof zip, "%s/fra-eng.zip", data);
    if (access(expected, R_OK) != 0 || access(zip, R_OK) != 0)
        return text_skip("no notebook_curve.json in LSTMQ_REFERENCE, or no fra-eng.zip in LSTMQ_DATA");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(pairs, sizeof pairs, "%s/fra.txt", folder);
    snprintf(command, sizeof command, "unzip -p '%s' fra.txt > '%s' 2> /dev/null || python3 -m zipfile -e '%s' '%s'",
             zip, pairs, zip, folder);
    struct stat status = {0};
    int result = 1;
    if (system(command) != 0 || stat(pairs, &status) != 0) {
        result = text_skip("neither unzip nor python3 could unpack fra-eng.zip");
    } else if (status.st_size != REAL_BYTES) {
        result = text_skip("this fra-eng.zip is another edition than the curve's");
    } else {
        text_compare(expected, pairs);
        text_check_start(pairs);
        result = text_missed > 0;
    }
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? result : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "tiny") == 0) {
        text_compare(LSTMQ_PARITY "/tiny_text.json", LSTMQ_PARITY "/tiny.tsv");
        return text_missed > 0;
    }
    if (argc == 2 && strcmp(argv[1], "reference") == 0)
        return text_reference();
    fprintf(stderr, "usage: test_text tiny|reference\n");
    return 2;
}
