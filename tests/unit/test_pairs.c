/* test_pairs.c - reading pairs from real files: good ones, bad lines, damaged archives. */
#include "proto/text/pairs.h"

#include "proto/text/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

static char s_folder[] = "/tmp/lstmq-pairs-XXXXXX";
static char s_path[3][64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(s_folder) == NULL)
        return -1;
    for (int i = 0; i < 3; i++)
        snprintf(s_path[i], sizeof s_path[i], "%s/%s", s_folder,
                 (const char *[]){"pairs.tsv", "text.src", "text.tgt"}[i]);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        unlink(s_path[i]);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(s_folder);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

/* A gzip file in memory; the caller frees it. */
static unsigned char *gzip(const char *text, size_t size, size_t *packed_size)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&stream, size);
    unsigned char *packed = malloc(bound);
    assert_non_null(packed);
    stream.next_in = (unsigned char *)(uintptr_t)text;
    stream.avail_in = (uInt)size;
    stream.next_out = packed;
    stream.avail_out = (uInt)bound;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    *packed_size = bound - stream.avail_out;
    deflateEnd(&stream);
    return packed;
}

static struct pairs_source tsv_source(enum on_bad_line on_bad_line)
{
    return (struct pairs_source){.pairs = s_path[0],
                                 .src = "",
                                 .tgt = "",
                                 .rule = NORMALISE_NOTEBOOK,
                                 .on_bad_line = on_bad_line,
                                 .max_tokens = SIZE_MAX};
}

static struct pairs_source parallel_source(enum on_bad_line on_bad_line)
{
    struct pairs_source source = tsv_source(on_bad_line);
    source.pairs = "";
    source.src = s_path[1];
    source.tgt = s_path[2];
    return source;
}

static void check_pair(const struct pairs *pairs, size_t index, const char *src, const char *tgt)
{
    assert_true(index < pairs->count);
    const struct pair *pair = &pairs->items[index];
    assert_string_equal(pairs->text.data + pair->src, src);
    assert_string_equal(pairs->text.data + pair->tgt, tgt);
    assert_int_equal(pair->src_size, strlen(src));
    assert_int_equal(pair->tgt_size, strlen(tgt));
}

/* Read and expect a failure whose text holds `what`. */
static void check_failure(const struct pairs_source *source, enum err_code code, const char *what)
{
    struct pairs pairs = {0};
    struct err err = {0};
    assert_false(pairs_read(&pairs, source, &err));
    if (strstr(err.text, what) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, what);
    assert_int_equal(err.code, code);
    pairs_free(&pairs);
}

static void a_tsv_is_normalised_and_further_columns_are_ignored(void **state)
{
    (void)state;
    write_text(s_path[0], "Go.\tVa !\tCC-BY #1\tmore\n  The CAT\tLe\u202F Chat \n\tvide\nNo end.\tPas de fin.");
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
    write_text(s_path[1], "one\n\nthree\tcolumns\n");
    write_text(s_path[2], "un\ndeux\ntrois\n");
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
    write_text(s_path[0], "a b\tc d\na\tb c\na b\tc\na b c\td e\na b\tc d e\n a  b \t c \u00A0 d \n");
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
    write_text(s_path[0], "\357\273\277a\tb\r\nc\td\r\n\r\n\n\r\n");
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

#define BYTES(literal) (literal), sizeof(literal) - 1

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
        write_file(s_path[0], bad[i].bytes, bad[i].size);
        check_failure(&source, ERR_DATA, bad[i].what);
        check_failure(&source, ERR_DATA, "--data.on_bad_line skip");
    }
}

static void bad_lines_are_skipped_and_counted(void **state)
{
    (void)state;
    static const char text[] = "a\tb\n\n\nno tab\nc\td\nx\0\ty\n\xFF\t\nlast\tone";
    write_file(s_path[0], text, sizeof text - 1);
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
    write_text(s_path[0], "no tab\na\tb\n\nc\td\te\n\xFF\t\n");
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

static void a_bad_line_of_either_parallel_file_skips_both(void **state)
{
    (void)state;
    write_text(s_path[1], "one\n\xC3\nthree\nfour\n");
    write_text(s_path[2], "un\ndeux\n\xE9t\xE9\nquatre\n");
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
    write_text(s_path[1], "one\ntwo\n");
    write_text(s_path[2], "un\n");
    struct pairs_source source = parallel_source(BAD_LINE_SKIP);
    check_failure(&source, ERR_DATA, "text.tgt ends after line 1");
    write_text(s_path[2], "un\ndeux\ntrois\n");
    check_failure(&source, ERR_DATA, "text.src ends after line 2");
}

/* What ends a line. */
enum { ENDS = 4 };
static const char *const s_ends[ENDS] = {"\n", "\r\n", "\r", "\r\r\n"};

/* Lines in all four ways, by a plain file and by gzip. */
static void each_line_end_is_one_line_end(void **state)
{
    (void)state;
    struct pairs_source source = tsv_source(BAD_LINE_FAIL);
    for (size_t first = 0; first < ENDS; first++) {
        for (size_t second = 0; second < 2 * ENDS; second++) {
            struct buffer text = {0};
            buffer_format(&text, "a\tb%sc\td%se\tf", s_ends[first], s_ends[second % ENDS]);
            size_t size;
            unsigned char *packed = gzip(text.data, text.size, &size);
            if (second < ENDS)
                write_file(s_path[0], text.data, text.size);
            else
                write_file(s_path[0], packed, size);
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
        write_text(s_path[0], cut[i].text);
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

static void parallel_files_end_their_lines_in_one_way(void **state)
{
    (void)state;
    struct pairs_source source = parallel_source(BAD_LINE_SKIP);
    for (size_t end = 0; end < ENDS; end++) {
        struct buffer text = {0};
        buffer_format(&text, "un%sdeux%strois", s_ends[end], s_ends[end]);
        write_file(s_path[1], text.data, text.size);
        write_text(s_path[2], "one\r\ntwo\nthree\r");
        buffer_free(&text);
        struct pairs pairs = {0};
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.count, 3);
        check_pair(&pairs, 2, "trois", "three");
        pairs_free(&pairs);
    }
    write_text(s_path[1], "un\ndeux\rtrois\nquatre\n");
    write_text(s_path[2], "one\ntwo\nthree\rfour\n");
    check_failure(&source, ERR_DATA, "text.src:2: the line ends in a CR without LF and those before it in LF");
    write_text(s_path[1], "un\rdeux\ntrois\n");
    write_text(s_path[2], "one\ntwo\nthree\n");
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
            buffer_format(&text, "%sc\td", s_ends[end]);
            write_file(s_path[0], text.data, text.size);
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
            buffer_format(&text, "%sc\td%s", s_ends[end], s_ends[end]);
            write_file(s_path[0], text.data, text.size);
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
    write_file(s_path[0], text, SIZE);
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
        write_file(s_path[0], packed, size);
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
        write_file(s_path[0], packed, cuts[i]);
        check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file (it ends too early)");
    }
    const size_t flips[] = {2, 500, size / 3, size - 3, size - 7};
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        packed[flips[i]] ^= 0x10;
        write_file(s_path[0], packed, size);
        check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file");
        packed[flips[i]] ^= 0x10;
    }
    packed = realloc(packed, size + 4);
    assert_non_null(packed);
    memcpy(packed + size, "junk", 4);
    write_file(s_path[0], packed, size + 4);
    check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file");
    free(packed);
}

/* Between and behind the members of two, and behind the end of a buffer. */
static void zero_bytes_around_gzip_members_are_passed_over(void **state)
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
        write_file(s_path[0], bytes, all);
        struct pairs pairs = {0};
        assert_true(pairs_read(&pairs, &source, NULL));
        assert_int_equal(pairs.count, 2);
        check_pair(&pairs, 1, "a", "b");
        pairs_free(&pairs);
        memcpy(bytes + all, "junk", 4);
        write_file(s_path[0], bytes, all + 4);
        check_failure(&source, ERR_DATA, "pairs.tsv: damaged gzip file");
        free(bytes);
    }
    free(packed);
}

static void a_gzip_name_on_plain_text_is_refused(void **state)
{
    (void)state;
    char path[80];
    snprintf(path, sizeof path, "%s/plain.gz", s_folder);
    write_text(path, "a\tb\n");
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
    source.pairs = s_folder;
    check_failure(&source, ERR_IO, ": cannot read: Is a directory");
    source.pairs = s_path[0];
    write_text(s_path[0], "");
    check_failure(&source, ERR_DATA, "pairs.tsv: the file is empty");
    write_text(s_path[0], "\xEF\xBB\xBF\n\n");
    check_failure(&source, ERR_DATA, "pairs.tsv: none of 0 lines");
    write_text(s_path[0], "a\tb\n");
    source.min_tokens = 2;
    source.max_tokens = 9;
    check_failure(&source, ERR_DATA, "1 with a side outside 2 to 9 tokens");
    source.src = s_path[1];
    check_failure(&source, ERR_USAGE, "either one file of pairs");
    source.pairs = "";
    check_failure(&source, ERR_USAGE, "either one file of pairs");
}

static void what_normalisation_removes_is_counted_by_side(void **state)
{
    (void)state;
    write_text(s_path[0], "abc\tune œuf\nle 1er mai\t2\nplain\tsimple\n\t 3\n");
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
    check_failure(&source, ERR_DATA, "removed 3 of 14 letters and digits of the targets (21.4 %), such as /tmp/");
    check_failure(&source, ERR_DATA, "pairs.tsv:1: \"œuf\" became \"uf\"; give --data.normalise nfc");
    source.rule = NORMALISE_NFC;
    assert_true(pairs_read(&pairs, &source, NULL));
    assert_int_equal(pairs.src_loss.count.removed + pairs.tgt_loss.count.removed, 0);
    pairs_free(&pairs);
}

static void a_fifth_may_be_lost_and_no_more(void **state)
{
    (void)state;
    write_text(s_path[1], "abcd1\nefgh2\n");
    write_text(s_path[2], "a\nb\n");
    struct pairs_source source = parallel_source(BAD_LINE_FAIL);
    source.refuse_loss = true;
    struct pairs pairs = {0};
    assert_true(pairs_read(&pairs, &source, NULL));
    pairs_free(&pairs);
    write_text(s_path[1], "abcd1\nefgh23\n");
    check_failure(&source, ERR_DATA, "removed 3 of 11 letters and digits of the sources (27.3 %), such as /tmp/");
    write_text(s_path[1], "a\nb\n");
    write_text(s_path[2], "abcd1\nefgh23\n");
    check_failure(&source, ERR_DATA, "text.tgt:1: \"abcd1\" became \"abcd\"");
}

/* Where nothing is left because of it, the error says so. */
static void a_side_that_is_removed_as_a_whole_is_named(void **state)
{
    (void)state;
    write_text(s_path[0], "yes\tда\nno\tнет\n");
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
    write_text(s_path[0], "a\tb\n");
    write_text(s_path[1], "c\n");
    write_text(s_path[2], "d\n");
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
#define TEST(name) cmocka_unit_test_teardown(name, remove_files)
    const struct CMUnitTest tests[] = {
        TEST(a_tsv_is_normalised_and_further_columns_are_ignored),
        TEST(parallel_files_stay_in_step),
        TEST(token_limits_hold_on_either_side),
        TEST(crlf_bom_and_empty_lines_at_the_end_are_dropped),
        TEST(a_bad_line_is_named),
        TEST(bad_lines_are_skipped_and_counted),
        TEST(a_skipped_line_may_keep_its_place),
        TEST(a_bad_line_of_either_parallel_file_skips_both),
        TEST(parallel_files_of_different_length_are_refused),
        TEST(each_line_end_is_one_line_end),
        TEST(line_ends_are_found_at_every_place),
        TEST(a_cr_within_a_line_makes_all_its_parts_bad),
        TEST(parallel_files_end_their_lines_in_one_way),
        TEST(a_line_is_too_long_from_one_byte_on),
        TEST(a_line_across_two_reads_is_whole),
        TEST(a_megabyte_without_a_line_end_is_one_bad_line),
        TEST(gzip_is_read_like_plain_text),
        TEST(a_cut_or_damaged_gzip_is_named),
        TEST(zero_bytes_around_gzip_members_are_passed_over),
        TEST(a_gzip_name_on_plain_text_is_refused),
        TEST(what_cannot_be_read_is_named),
        TEST(what_normalisation_removes_is_counted_by_side),
        TEST(a_fifth_may_be_lost_and_no_more),
        TEST(a_side_that_is_removed_as_a_whole_is_named),
        TEST(a_second_source_is_appended),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
