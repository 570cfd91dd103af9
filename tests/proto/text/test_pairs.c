/* test_pairs.c - reading pairs from real files: good ones, bad lines, what normalisation removes. */
#include "tests/support/pairs_file.h"

#include <sys/stat.h>

static void a_tsv_is_normalised_and_further_columns_are_ignored(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0],
                       "Go.\tVa !\tCC-BY #1\tmore\n  The CAT\tLe\u202F Chat \n\tvide\nNo end.\tPas de fin.");
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 4);
    assert_int_equal(pairs.lines, 4);
    check_pair(&pairs, 0, "go.", "va !");
    check_pair(&pairs, 1, "the cat", "le chat");
    check_pair(&pairs, 2, "", "vide");
    check_pair(&pairs, 3, "no end.", "pas de fin.");
    pairs_free(&pairs);
}

static void parallel_files_stay_in_step(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[1], "one\n\nthree\tcolumns\n");
    scratch_write_text(pairs_file_path[2], "un\ndeux\ntrois\n");
    struct pairs_source source = parallel_source(BAD_LINE_FAIL);
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 3);
    check_pair(&pairs, 1, "", "deux");
    check_pair(&pairs, 2, "three columns", "trois");
    pairs_free(&pairs);

    source.min_tokens = 1;
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 2);
    assert_int_equal(pairs.dropped, 1);
    check_pair(&pairs, 0, "one", "un");
    check_pair(&pairs, 1, "three columns", "trois");
    pairs_free(&pairs);
}

static void token_limits_hold_on_either_side(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "a b\tc d\na\tb c\na b\tc\na b c\td e\na b\tc d e\n a  b \t c \u00A0 d \n");
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    source.min_tokens = source.max_tokens = 2;
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 2);
    assert_int_equal(pairs.dropped, 4);
    assert_int_equal(pairs.text.size, 2 * sizeof "a b" + 2 * sizeof "c d"); /* nothing is kept of what was dropped */
    check_pair(&pairs, 1, "a b", "c d");
    pairs_free(&pairs);
}

static void crlf_bom_and_empty_lines_at_the_end_are_dropped(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "\357\273\277a\tb\r\nc\td\r\n\r\n\n\r\n");
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    source.rule = NORMALISE_NONE;
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 2);
    assert_int_equal(pairs.lines, 2);
    check_pair(&pairs, 0, "a", "b");
    check_pair(&pairs, 1, "c", "d");
    pairs_free(&pairs);
}

static void a_bad_line_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *what;
    } bad[] = {
        {BYTES("a\tb\nno tab here\nc\td\n"), "pairs.tsv:2: no TAB"},
        {BYTES("a\tb\n\nc\td\n"), "pairs.tsv:2: no TAB"},
        {BYTES("a\tb\nx\t\xFFy\n"), "pairs.tsv:2: invalid UTF-8 at byte 3 (0xFF)"},
        {BYTES("a\tb\nx\0\ty\n"), "pairs.tsv:2: a NUL at byte 2"},
        {BYTES("a\tb\nx\t\xE9y\n"),
         "pairs.tsv:2: invalid UTF-8 at byte 3 (0xE9); convert the file with iconv -f LATIN1"},
        {BYTES("a\tb\nx\x92\t\xE9y\n"),
         "pairs.tsv:2: invalid UTF-8 at byte 2 (0x92); convert the file with iconv -f WIND"},
        {BYTES("a\tb\n\xC3\xA9\t\xE9y\n"), "pairs.tsv:2: invalid UTF-8 at byte 4 (0xE9); correct the line"},
    };
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        scratch_write(pairs_file_path[0], bad[i].bytes, bad[i].size);
        check_failure(&source, ERR_DATA, bad[i].what);
        check_failure(&source, ERR_DATA, "--data.on_bad_line skip");
    }
}

static void bad_lines_are_skipped_and_counted(void **state)
{
    (void)state;
    static const char text[] = "a\tb\n\n\nno tab\nc\td\nx\0\ty\n\xFF\t\nlast\tone";
    scratch_write(pairs_file_path[0], text, sizeof text - 1);
    struct pairs_source source = tsv_source(BAD_LINE_SKIP);
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 3);
    assert_int_equal(pairs.bad, 5);
    assert_int_equal(pairs.lines, 8);
    check_pair(&pairs, 2, "last", "one");
    assert_non_null(strstr(pairs.first_bad, "pairs.tsv:2: no TAB"));
    pairs_free(&pairs);
}

static void a_skipped_line_may_keep_its_place(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "no tab\na\tb\n\nc\td\te\n\xFF\t\n");
    struct pairs_source source = tsv_source(BAD_LINE_SKIP);
    source.keep_places = source.keep_raw = true;
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 5);
    assert_int_equal(pairs.lines, 5);
    assert_int_equal(pairs.bad, 3);
    for (size_t i = 0; i < 5; i++)
        check_pair(&pairs, i, i == 1 ? "a" : i == 3 ? "c" : "", i == 1 ? "b" : i == 3 ? "d" : "");
    assert_string_equal(pairs.raw.data + pairs.items[3].raw, "d");
    pairs_free(&pairs);
}

static void empty_lines_at_the_end_may_keep_their_places(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "a\tb\n\n\n");
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    for (size_t kept = 0; kept <= 2; kept += 2) {
        struct pairs pairs = {0};
        source.keep_places = kept > 0;
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.count, 1 + kept);
        assert_int_equal(pairs.lines, 1 + kept);
        assert_int_equal(pairs.bad, 0);
        for (size_t i = 0; i < pairs.count; i++)
            check_pair(&pairs, i, i == 0 ? "a" : "", i == 0 ? "b" : "");
        pairs_free(&pairs);
    }
}

static void a_bad_line_of_either_parallel_file_skips_both(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[1], "one\n\xC3\nthree\nfour\n");
    scratch_write_text(pairs_file_path[2], "un\ndeux\n\xE9t\xE9\nquatre\n");
    struct pairs_source source = parallel_source(BAD_LINE_SKIP);
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.bad, 2);
    check_pair(&pairs, 0, "one", "un");
    check_pair(&pairs, 1, "four", "quatre");
    assert_int_equal(pairs.count, 2);
    pairs_free(&pairs);
    source.on_bad_line = BAD_LINE_FAIL;
    check_failure(&source, ERR_DATA, "text.src:2: invalid UTF-8");
}

static void parallel_files_of_different_length_are_refused(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[1], "one\ntwo\n");
    scratch_write_text(pairs_file_path[2], "un\n");
    struct pairs_source source = parallel_source(BAD_LINE_SKIP);
    check_failure(&source, ERR_DATA, "text.tgt ends after line 1");
    scratch_write_text(pairs_file_path[2], "un\ndeux\ntrois\n");
    check_failure(&source, ERR_DATA, "text.src ends after line 2");
}

static void a_gzip_name_on_plain_text_is_refused(void **state)
{
    (void)state;
    char path[80];
    snprintf(path, sizeof path, "%s/plain.gz", scratch_folder);
    scratch_write_text(path, "a\tb\n");
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    source.pairs = path;
    check_failure(&source, ERR_DATA, "plain.gz: not a gzip file");
    unlink(path);
}

static void what_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    check_failure(&source, ERR_IO, "pairs.tsv: cannot open: No such file");
    source.pairs = scratch_folder;
    check_failure(&source, ERR_IO, ": cannot read: Is a directory");
    source.pairs = pairs_file_path[0];
    scratch_write_text(pairs_file_path[0], "");
    check_failure(&source, ERR_DATA, "pairs.tsv: the file is empty");
    scratch_write_text(pairs_file_path[0], "\xEF\xBB\xBF\n\n");
    check_failure(&source, ERR_DATA, "pairs.tsv: none of 0 lines");
    scratch_write_text(pairs_file_path[0], "a\tb\n");
    source.min_tokens = 2;
    source.max_tokens = 9;
    check_failure(&source, ERR_DATA, "1 with a side outside 2 to 9 tokens");
    source.src = pairs_file_path[1];
    check_failure(&source, ERR_USAGE, "either one file of pairs");
    source.pairs = "";
    check_failure(&source, ERR_USAGE, "either one file of pairs");
}

static void what_normalisation_removes_is_counted_by_side(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "abc\tune œuf\nle 1er mai\t2\nplain\tsimple\n\t 3\n");
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    source.min_tokens = 1; /* lines that are dropped count too */
    struct pairs pairs = {0};
    char text[PAIRS_LOSS_TEXT];
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 2);
    assert_int_equal(pairs.src_loss.count.letters, 16);
    assert_int_equal(pairs.src_loss.count.removed, 1);
    assert_int_equal(pairs.tgt_loss.count.letters, 14);
    assert_int_equal(pairs.tgt_loss.count.removed, 3);
    assert_non_null(strstr(pairs.src_loss.first, "pairs.tsv:2: \"1er\" became \"er\""));
    assert_non_null(strstr(pairs.tgt_loss.first, "pairs.tsv:1: \"œuf\" became \"uf\""));
    pairs_loss_show(&pairs.tgt_loss, "targets", text, sizeof text);
    assert_non_null(strstr(text, "data.normalise notebook removed 3 of 14 letters and digits of the targets (21.4 %)"));
    pairs_free(&pairs);
    source.refuse_loss = true;
    check_failure(&source, ERR_DATA, "removed 3 of 14 letters and digits of the targets (21.4 %), such as /");
    check_failure(&source, ERR_DATA, "pairs.tsv:1: \"œuf\" became \"uf\"; give --data.normalise nfc");
    source.rule = NORMALISE_NFC;
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.src_loss.count.removed + pairs.tgt_loss.count.removed, 0);
    pairs_free(&pairs);
}

static void a_fifth_may_be_lost_and_no_more(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[1], "abcd1\nefgh2\n");
    scratch_write_text(pairs_file_path[2], "a\nb\n");
    struct pairs_source source = parallel_source(BAD_LINE_FAIL);
    source.refuse_loss = true;
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    pairs_free(&pairs);
    scratch_write_text(pairs_file_path[1], "abcd1\nefgh23\n");
    check_failure(&source, ERR_DATA, "removed 3 of 11 letters and digits of the sources (27.3 %), such as /");
    scratch_write_text(pairs_file_path[1], "a\nb\n");
    scratch_write_text(pairs_file_path[2], "abcd1\nefgh23\n");
    check_failure(&source, ERR_DATA, "text.tgt:1: \"abcd1\" became \"abcd\"");
}

/* Where nothing is left because of it, the error says so. */
static void a_side_that_is_removed_as_a_whole_is_named(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "yes\tда\nno\tнет\n");
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    source.min_tokens = 1;
    check_failure(&source, ERR_DATA,
                  "none of 2 lines is a usable pair (0 bad); data.normalise notebook removed 5 of 5");
    source.max_tokens = 9;
    check_failure(&source, ERR_DATA,
                  "none of 2 lines is a usable pair (0 bad, 2 with a side outside 1 to 9 tokens); data.normalise "
                  "notebook removed 5 of 5 letters and digits of the targets (100.0 %)");
}

static void a_second_source_is_appended(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "a\tb\n");
    scratch_write_text(pairs_file_path[1], "c\n");
    scratch_write_text(pairs_file_path[2], "d\n");
    struct pairs_source first = tsv_source(BAD_LINE_FAIL), second = parallel_source(BAD_LINE_FAIL);
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &first, NULL));
    assert_true(pairs_read(&pairs, &second, NULL));
    check_pair(&pairs, 0, "a", "b");
    check_pair(&pairs, 1, "c", "d");
    assert_int_equal(pairs.lines, 2);
    pairs_free(&pairs);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pairs_file_make, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_tsv_is_normalised_and_further_columns_are_ignored),
        TEST(parallel_files_stay_in_step),
        TEST(token_limits_hold_on_either_side),
        TEST(crlf_bom_and_empty_lines_at_the_end_are_dropped),
        TEST(a_bad_line_is_named),
        TEST(bad_lines_are_skipped_and_counted),
        TEST(a_skipped_line_may_keep_its_place),
        TEST(empty_lines_at_the_end_may_keep_their_places),
        TEST(a_bad_line_of_either_parallel_file_skips_both),
        TEST(parallel_files_of_different_length_are_refused),
        TEST(a_gzip_name_on_plain_text_is_refused),
        TEST(what_cannot_be_read_is_named),
        TEST(what_normalisation_removes_is_counted_by_side),
        TEST(a_fifth_may_be_lost_and_no_more),
        TEST(a_side_that_is_removed_as_a_whole_is_named),
        TEST(a_second_source_is_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
