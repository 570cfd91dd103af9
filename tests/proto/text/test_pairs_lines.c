/* test_pairs_lines.c - where lines of pairs end: each line end, long lines, lines across reads, gzip. */
#include "tests/support/pairs_file.h"

#include "proto/text/lines.h"

/* What ends a line. */
enum { ENDS = 4 };
static const char *const pairs_lines_ends[ENDS] = {"\n", "\r\n", "\r", "\r\r\n"};

/* Lines in all four ways, by a plain file and by gzip. */
static void each_line_end_is_one_line_end(void **state)
{
    (void)state;
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    for (size_t first = 0; first < ENDS; first++) {
        for (size_t second = 0; second < 2 * ENDS; second++) {
            struct buffer text = {0};
            buffer_format(&text, "a\tb%sc\td%se\tf", pairs_lines_ends[first], pairs_lines_ends[second % ENDS]);
            size_t size;
            unsigned char *packed = gzip(text.data, text.size, &size);
            if (second < ENDS)
                scratch_write(pairs_file_path[0], text.data, text.size);
            else
                scratch_write(pairs_file_path[0], packed, size);
            free(packed);
            buffer_free(&text);
            struct pairs pairs = {0};
            assert_true(pairs_read(&pairs, &source, NULL));
            assert_int_equal(pairs.count, 3);
            assert_int_equal(pairs.lines, 3);
            check_pair(&pairs, 0, "a", "b");
            check_pair(&pairs, 1, "c", "d");
            check_pair(&pairs, 2, "e", "f");
            pairs_free(&pairs);
        }
    }
}

static void line_ends_are_found_at_every_place(void **state)
{
    (void)state;
    static const char others[] = "\t\v\f\016\013x\212\215\001\377";
    char text[40];
    for (size_t size = 0; size <= sizeof text; size++) {
        for (size_t at = 0; at <= size; at++) {
            for (size_t i = 0; i < size; i++)
                text[i] = i > at && i % 3 == 0 ? '\n' : others[(i + at) % (sizeof others - 1)];
            if (at < size)
                text[at] = at % 2 == 0 ? '\r' : '\n';
            assert_ptr_equal(line_end_find(text, size), at < size ? text + at : NULL);
        }
    }
}

/* A CR that may stand within a sentence leaves nothing of the sentence. */
static void a_cr_within_a_line_makes_all_its_parts_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int bad;
        const char *fault;
    } cut[] = {
        {"a\tb\ni\tje\rvois\nc\td\n", 2,
         "pairs.tsv:3: no TAB; a line is SOURCE TAB TARGET, and the one before ends in"},
        {"a\tb\ni\rsee\tje\nc\td\n", 2, "pairs.tsv:2: no TAB; a line is SOURCE TAB TARGET, and this one ends in"},
        {"a\tb\ni\rsee\rit\tje\rle\rvois\nc\td\n", 5, "pairs.tsv:2: no TAB"},
        {"a\tb\ni\tje\rvois\n\nc\td\n", 3, "pairs.tsv:3: no TAB"},
    };
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        scratch_write_text(pairs_file_path[0], cut[i].text);
        struct pairs_source source = tsv_source(BAD_LINE_FAIL);
        check_failure(&source, ERR_DATA, cut[i].fault);
        check_failure(&source, ERR_DATA, "CR without LF");
        source.on_bad_line = BAD_LINE_SKIP;
        source.keep_raw = true;
        struct pairs pairs = {0};
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.bad, cut[i].bad);
        assert_int_equal(pairs.count, 2);
        assert_int_equal(pairs.lines, pairs.bad + 2);
        check_pair(&pairs, 0, "a", "b");
        check_pair(&pairs, 1, "c", "d");
        assert_int_equal(pairs.text.size, 8);
        assert_int_equal(pairs.raw.size, 4);
        pairs_free(&pairs);
        source.keep_places = true;
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.count, cut[i].bad + 2);
        check_pair(&pairs, 0, "a", "b");
        for (size_t bad = 1; bad + 1 < pairs.count; bad++)
            check_pair(&pairs, bad, "", "");
        check_pair(&pairs, pairs.count - 1, "c", "d");
        pairs_free(&pairs);
    }
}

/* A pair that is taken back counts neither its letters nor those that the rule removed. */
static void a_pair_that_is_taken_back_lost_no_letters(void **state)
{
    (void)state;
    struct pairs_source source = tsv_source(BAD_LINE_SKIP);
    source.rule = NORMALISE_NOTEBOOK;
    scratch_write_text(pairs_file_path[0], "123\t456\rvois\nab\tcdé9\tx\ne12345\t67890\rf\n");
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 1);
    assert_int_equal(pairs.bad, 4);
    assert_int_equal(pairs.src_loss.count.letters, 2);
    assert_int_equal(pairs.src_loss.count.removed, 0);
    assert_string_equal(pairs.src_loss.first, "");
    assert_int_equal(pairs.tgt_loss.count.letters, 4);
    assert_int_equal(pairs.tgt_loss.count.removed, 1);
    assert_non_null(strstr(pairs.tgt_loss.first, "pairs.tsv:3: \"cdé9\" became"));
    pairs_free(&pairs);
}

/* A line that was dropped for its length and turns out to be bad counts as bad alone. */
static void a_dropped_line_that_is_bad_counts_as_bad_alone(void **state)
{
    (void)state;
    scratch_write_text(pairs_file_path[0], "a\tb\ni am\tje\rvois\nc\td\n");
    struct pairs_source source = tsv_source(BAD_LINE_SKIP);
    source.max_tokens = 1;
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.count, 2);
    assert_int_equal(pairs.bad, 2);
    assert_int_equal(pairs.dropped, 0);
    pairs_free(&pairs);
}

static void parallel_files_end_their_lines_in_one_way(void **state)
{
    (void)state;
    struct pairs_source source = parallel_source(BAD_LINE_SKIP);
    for (size_t end = 0; end < ENDS; end++) {
        struct buffer text = {0};
        buffer_format(&text, "un%sdeux%strois", pairs_lines_ends[end], pairs_lines_ends[end]);
        scratch_write(pairs_file_path[1], text.data, text.size);
        scratch_write_text(pairs_file_path[2], "one\r\ntwo\nthree\r");
        buffer_free(&text);
        struct pairs pairs = {0};
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.count, 3);
        check_pair(&pairs, 2, "trois", "three");
        pairs_free(&pairs);
    }
    scratch_write_text(pairs_file_path[1], "un\ndeux\rtrois\nquatre\n");
    scratch_write_text(pairs_file_path[2], "one\ntwo\nthree\rfour\n");
    check_failure(&source, ERR_DATA, "text.src:2: the line ends in a CR without LF and those before it in LF");
    scratch_write_text(pairs_file_path[1], "un\rdeux\ntrois\n");
    scratch_write_text(pairs_file_path[2], "one\ntwo\nthree\n");
    check_failure(&source, ERR_DATA, "text.src:2: the line ends in LF and those before it in a CR without LF");
}

/* The longest line that is read, one that is a byte longer, and one of a megabyte: "x...x TAB y" between good lines. */
static void a_line_is_too_long_from_one_byte_on(void **state)
{
    (void)state;
    static const size_t sizes[] = {PAIRS_LINE - 1, PAIRS_LINE, PAIRS_LINE + 1, PAIRS_LINE + 2, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t end = 0; end < ENDS; end++) {
            struct buffer text = {0};
            buffer_text(&text, "a\tb\n");
            char *room = buffer_reserve(&text, sizes[i]);
            assert_non_null(room);
            memset(room, 'x', sizes[i]);
            memcpy(room + sizes[i] - 2, "\ty", 2);
            text.size += sizes[i];
            buffer_format(&text, "%sc\td", pairs_lines_ends[end]);
            scratch_write(pairs_file_path[0], text.data, text.size);
            buffer_free(&text);
            struct pairs_source source = tsv_source(BAD_LINE_SKIP);
            struct pairs pairs = {0};
            assert_true(pairs_read(&pairs, &source, NULL));
            bool fits = sizes[i] <= PAIRS_LINE;
            assert_int_equal(pairs.bad, !fits);
            assert_int_equal(pairs.count, fits ? 3 : 2);
            check_pair(&pairs, fits ? 2 : 1, "c", "d");
            pairs_free(&pairs);
            source.on_bad_line = BAD_LINE_FAIL;
            if (!fits)
                check_failure(&source, ERR_DATA, "pairs.tsv:2: the line has more than 65536 bytes");
        }
    }
}

/* Short lines, then one of the longest that is read, so that a read from the file ends anywhere around its end. */
static void a_line_across_two_reads_is_whole(void **state)
{
    (void)state;
    for (size_t end = 0; end < ENDS; end++) {
        for (size_t before = 262144 - 6; before <= 262144 + 6; before++) {
            struct buffer text = {0};
            char *room = buffer_reserve(&text, before + PAIRS_LINE);
            assert_non_null(room);
            memset(room, 'x', before + PAIRS_LINE);
            for (size_t i = 0; i < before; i++)
                room[i] = "a\tb\n"[(i + 4 - before % 4) % 4];
            memcpy(room + before, "y\tz", 3);
            text.size += before + PAIRS_LINE;
            buffer_format(&text, "%sc\td%s", pairs_lines_ends[end], pairs_lines_ends[end]);
            scratch_write(pairs_file_path[0], text.data, text.size);
            buffer_free(&text);
            struct pairs_source source = tsv_source(BAD_LINE_SKIP);
            struct pairs pairs = {0};
            assert_true(pairs_read(&pairs, &source, NULL));
            assert_int_equal(pairs.items[pairs.count - 2].tgt_size, PAIRS_LINE - 2);
            check_pair(&pairs, pairs.count - 1, "c", "d");
            assert_int_equal(pairs.bad, before % 4 == 1 || before % 4 == 2); /* what is left of the first "a TAB b" */
            pairs_free(&pairs);
        }
    }
}

static void a_megabyte_without_a_line_end_is_one_bad_line(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE);
    assert_non_null(text);
    memset(text, 'x', SIZE);
    scratch_write(pairs_file_path[0], text, SIZE);
    free(text);
    struct pairs_source source = tsv_source(BAD_LINE_SKIP);
    check_failure(&source, ERR_DATA, "none of 1 lines is a usable pair (1 bad)");
}

/* 20,000 lines, so that several buffers are filled; in `members` gzip members, one behind the other. */
static unsigned char *many_lines_packed(int members, size_t *size)
{
    unsigned char *all = NULL;
    *size = 0;
    for (int member = 0; member < members; member++) {
        struct buffer text = {0};
        for (int i = 0; i < 20000 / members; i++)
            buffer_format(&text, "word%c number%c %08x\tmot %c\n", 'a' + i % 26, 'a' + i % 25,
                          (unsigned)i * 2654435761u, 'a' + i % 7);
        size_t packed_size;
        unsigned char *packed = gzip(text.data, text.size, &packed_size);
        all = realloc(all, *size + packed_size);
        assert_non_null(all);
        memcpy(all + *size, packed, packed_size);
        *size += packed_size;
        free(packed);
        buffer_free(&text);
    }
    return all;
}

static void gzip_is_read_like_plain_text(void **state)
{
    (void)state;
    for (int members = 1; members <= 2; members++) {
        size_t size;
        unsigned char *packed = many_lines_packed(members, &size);
        scratch_write(pairs_file_path[0], packed, size);
        free(packed);
        struct pairs_source source = tsv_source(BAD_LINE_FAIL);
        source.rule = NORMALISE_NONE;
        struct pairs pairs = {0};
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.count, 20000);
        check_pair(&pairs, 1, "wordb numberb 9e3779b1", "mot b");
        pairs_free(&pairs);
    }
}

static void a_cut_or_damaged_gzip_is_named(void **state)
{
    (void)state;
    size_t size;
    unsigned char *packed = many_lines_packed(2, &size);
    struct pairs_source source = tsv_source(BAD_LINE_SKIP);
    const size_t cuts[] = {2, 9, 15, 1000, size / 4, size - 9, size - 8, size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        scratch_write(pairs_file_path[0], packed, cuts[i]);
        check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file (it ends too early)");
    }
    const size_t flips[] = {2, 500, size / 3, size - 3, size - 7};
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        packed[flips[i]] ^= 0x10;
        scratch_write(pairs_file_path[0], packed, size);
        check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file");
        packed[flips[i]] ^= 0x10;
    }
    packed = realloc(packed, size + 4);
    assert_non_null(packed);
    memcpy(packed + size, "junk", 4);
    scratch_write(pairs_file_path[0], packed, size + 4);
    check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file");
    free(packed);
}

/* Between and behind the members of two, and behind the end of a buffer. */
static void zero_bytes_around_gzip_members_are_skipped(void **state)
{
    (void)state;
    static const size_t paddings[] = {1, 3, 512, 1000000};
    size_t size;
    unsigned char *packed = gzip("a\tb\n", 4, &size);
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    for (size_t i = 0; i < sizeof paddings / sizeof *paddings; i++) {
        size_t padding = paddings[i], all = 2 * (size + padding);
        unsigned char *bytes = calloc(1, all + 4);
        assert_non_null(bytes);
        memcpy(bytes, packed, size);
        memcpy(bytes + size + padding, packed, size);
        scratch_write(pairs_file_path[0], bytes, all);
        struct pairs pairs = {0};
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.count, 2);
        check_pair(&pairs, 1, "a", "b");
        pairs_free(&pairs);
        memcpy(bytes + all, "junk", 4);
        scratch_write(pairs_file_path[0], bytes, all + 4);
        check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file");
        free(bytes);
    }
    free(packed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pairs_file_make, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(each_line_end_is_one_line_end),
        TEST(line_ends_are_found_at_every_place),
        TEST(a_cr_within_a_line_makes_all_its_parts_bad),
        TEST(a_pair_that_is_taken_back_lost_no_letters),
        TEST(a_dropped_line_that_is_bad_counts_as_bad_alone),
        TEST(parallel_files_end_their_lines_in_one_way),
        TEST(a_line_is_too_long_from_one_byte_on),
        TEST(a_line_across_two_reads_is_whole),
        TEST(a_megabyte_without_a_line_end_is_one_bad_line),
        TEST(gzip_is_read_like_plain_text),
        TEST(a_cut_or_damaged_gzip_is_named),
        TEST(zero_bytes_around_gzip_members_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
