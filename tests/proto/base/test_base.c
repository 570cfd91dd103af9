/* test_base.c - errors, buffers, the random numbers that CPython would draw, the log. */
#include "proto/base/buffer.h"
#include "proto/base/clock.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/base/typed.h"
#include "proto/base/utf8.h"
#include "tests/support/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void an_error_is_a_whole_failure_path(void **state)
{
    (void)state;
    struct err err = {0};
    assert_false(err_set(&err, ERR_DATA, "line %d: no TAB", 12));
    assert_int_equal(err.code, ERR_DATA);
    assert_string_equal(err.text, "line 12: no TAB");
    assert_false(err_context(&err, "%s", "pairs.tsv"));
    assert_string_equal(err.text, "pairs.tsv: line 12: no TAB");
    assert_int_equal(err.code, ERR_DATA);
    assert_false(err_set(NULL, ERR_DATA, "unused"));
    assert_false(err_errno(NULL, ERR_IO, "unused"));
    assert_false(err_context(NULL, "unused"));
}

static void errno_is_named(void **state)
{
    (void)state;
    struct err err = {0};
    errno = ENOENT;
    assert_false(err_errno(&err, ERR_IO, "open %s", "x"));
    assert_string_equal(err.text, "open x: No such file or directory");
    errno = EMFILE;
    assert_false(err_errno(&err, ERR_IO, "open %s", "x"));
    assert_string_equal(err.text, "open x: Too many open files; raise ulimit -n");
}

static void an_error_too_long_is_cut_not_overrun(void **state)
{
    (void)state;
    struct err err = {0};
    char text[2 * ERR_TEXT];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&err, ERR_FAILED, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT - 1);
    err_context(&err, "place");
    assert_int_equal(strlen(err.text), ERR_TEXT - 1);
    assert_memory_equal(err.text, "place: aaa", 10);
    err_context(&err, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT - 1);
    errno = EIO;
    err_errno(&err, ERR_IO, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT - 1);
}

/* A file's name and a damaged file's content may be any bytes. */
static void an_error_is_one_line_of_utf8_whatever_it_names(void **state)
{
    (void)state;
    struct err err = {0};
    char text[ERR_TEXT];
    err_set(&err, ERR_DATA, "%s: caf\xc3\xa9 \xe2\x82\xac", "a\nb\x1b[31m\xff\x7f\xc2\x85");
    assert_string_equal(err.text, "a?b?[31m????: caf\xc3\xa9 \xe2\x82\xac");
    err_set(&err, ERR_DATA, "%.4s", "caf\xc3\xa9");
    assert_string_equal(err.text, "caf?");
    err_context(&err, "%s", "b\tc\x80");
    assert_string_equal(err.text, "b?c?: caf?");
    errno = ENOENT;
    err_errno(&err, ERR_IO, "%s", "\r\n");
    assert_string_equal(err.text, "??: No such file or directory");
    memset(text, 'a', sizeof text);
    memcpy(text + ERR_TEXT - 2, "\xc3", 2);
    err_set(&err, ERR_DATA, "%s\xa9", text);
    assert_int_equal(strlen(err.text), ERR_TEXT - 1);
    assert_string_equal(err.text + ERR_TEXT - 3, "a?");
}

static void each_code_has_its_exit_status(void **state)
{
    (void)state;
    assert_int_equal(err_exit_status(ERR_NONE), 0);
    assert_int_equal(err_exit_status(ERR_FAILED), 1);
    assert_int_equal(err_exit_status(ERR_IO), 1);
    assert_int_equal(err_exit_status(ERR_MEMORY), 1);
    assert_int_equal(err_exit_status(ERR_PROTOCOL), 1);
    assert_int_equal(err_exit_status(ERR_USAGE), 2);
    assert_int_equal(err_exit_status(ERR_DATA), 3);
    assert_int_equal(err_exit_status(ERR_INTERRUPTED), 130);
}

static void a_buffer_grows_and_stays_a_string(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    for (int i = 0; i < 10000; i++) {
        buffer_format(&buffer, "%d,", i);
        assert_int_equal(buffer.data[buffer.size], '\0');
        assert_true(buffer.size < buffer.capacity);
    }
    assert_int_equal(buffer.size, 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5);
    assert_memory_equal(buffer.data + buffer.size - 10, "9998,9999,", 10);
    buffer_clear(&buffer);
    assert_int_equal(buffer.size, 0);
    assert_string_equal(buffer.data, "");
    buffer_append(&buffer, "a\0b", 3);
    buffer_text(&buffer, "c");
    assert_memory_equal(buffer.data, "a\0bc", 5);
    buffer_append(&buffer, NULL, 0);
    assert_int_equal(buffer.size, 4);
    buffer_free(&buffer);
    assert_null(buffer.data);
}

static void an_append_that_fails_is_remembered(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    struct err err = {0};
    buffer_text(&buffer, "kept");
    assert_null(buffer_reserve(&buffer, SIZE_MAX - 8));
    buffer_text(&buffer, "dropped");
    assert_string_equal(buffer.data, "kept");
    assert_false(buffer_ok(&buffer, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    buffer_clear(&buffer);
    assert_true(buffer_ok(&buffer, &err));
    buffer_free(&buffer);
}

/* What CPython 3.11 draws after random.Random(seed): the first calls of each kind, each from a fresh generator. */
static const struct drawn {
    uint64_t seed;
    uint32_t words[4];     /* getrandbits(32)                                        */
    uint32_t late;         /* the 2001st of them: the state was refilled three times */
    double uniform[2];     /* random()                                               */
    double gauss[4];       /* gauss(0.0, 1.0)                                        */
    uint32_t shuffled[12]; /* shuffle(list(range(12)))                              */
    uint32_t below[7];     /* randrange of 1, 2, 3, 10, 1000, 2^31 + 1, 2^32 - 1     */
    uint32_t bits[4];      /* getrandbits of 1, 7, 16, 31                            */
} base_drawn[] = {
    {0u,
     {3626764237u, 1654615998u, 3255389356u, 3823568514u},
     4065999976u,
     {0x1.b0580f98a7dbep-1, 0x1.84129978f9c1ap-1},
     {0x1.e22885827c580p-1, -0x1.6586248600484p+0, -0x1.5c03883a3b23fp-1, 0x1.7b6549852df0cp-2},
     {1, 9, 8, 5, 10, 2, 3, 7, 4, 0, 11, 6},
     {0u, 1u, 0u, 4u, 988u, 2087043557u, 1739178872u},
     {1u, 49u, 49673u, 1911784257u}},
    {42u,
     {2746317213u, 478163327u, 107420369u, 3184935163u},
     426724858u,
     {0x1.4762f307200c5p-1, 0x1.99c6b5eeb2060p-6},
     {-0x1.2718d4a9a8111p-3, -0x1.621b486646b7cp-3, -0x1.c7f3240f58c66p-4, 0x1.676a692b3f6c1p-1},
     {7, 5, 2, 8, 9, 6, 11, 3, 4, 0, 1, 10},
     {0u, 0u, 2u, 4u, 250u, 958682846u, 599310825u},
     {1u, 14u, 1639u, 1592467581u}},
    {4294967295u,
     {2728839433u, 2661025012u, 872737089u, 924893097u},
     1925551184u,
     {0x1.454d9227a7013p-1, 0x1.a0274a3720bf8p-3},
     {-0x1.c7456fdc97051p-2, -0x1.035fb90925722p-1, -0x1.4bd655ab9d61ep-1, -0x1.09653a5166545p-1},
     {0, 6, 1, 5, 8, 2, 7, 4, 11, 3, 9, 10},
     {0u, 0u, 2u, 8u, 298u, 1460408326u, 4130059007u},
     {1u, 79u, 13316u, 462446548u}},
    {1099511627783u,
     {2635837658u, 3209733218u, 3500038837u, 4028389051u},
     612001727u,
     {0x1.3a3761afd4291p-1, 0x1.a13cb57c0715ap-1},
     {-0x1.633deac4e340cp+0, -0x1.3415168a7308ep+0, 0x1.391c61be29963p+0, -0x1.c2ce1a6cf8203p-2},
     {0, 5, 2, 3, 6, 1, 8, 4, 7, 11, 10, 9},
     {0u, 1u, 2u, 2u, 529u, 1611772094u, 2239120350u},
     {1u, 95u, 53406u, 2014194525u}},
};

static void each_draw_is_cpythons(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 3, 10, 1000, 2147483649u, 4294967295u};
    static const unsigned widths[] = {1, 7, 16, 31};
    for (size_t s = 0; s < sizeof base_drawn / sizeof base_drawn[0]; s++) {
        const struct drawn *drawn = &base_drawn[s];
        struct mt19937 mt;
        mt19937_seed(&mt, drawn->seed);
        for (int i = 0; i < 4; i++)
            assert_int_equal(mt19937_next(&mt), drawn->words[i]);
        for (int i = 4; i < 2000; i++)
            mt19937_bits(&mt, 32);
        assert_int_equal(mt19937_bits(&mt, 32), drawn->late);
        mt19937_seed(&mt, drawn->seed);
        for (int i = 0; i < 2; i++)
            assert_true(mt19937_double(&mt) == drawn->uniform[i]);
        mt19937_seed(&mt, drawn->seed);
        for (int i = 0; i < 7; i++)
            assert_int_equal(mt19937_below(&mt, limits[i]), drawn->below[i]);
        mt19937_seed(&mt, drawn->seed);
        for (int i = 0; i < 4; i++)
            assert_int_equal(mt19937_bits(&mt, widths[i]), drawn->bits[i]);
    }
}

static void gauss_is_cpythons_and_seeding_forgets_its_second_value(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof base_drawn / sizeof base_drawn[0]; s++) {
        struct mt19937 mt;
        mt19937_seed(&mt, base_drawn[s].seed);
        mt19937_gauss(&mt);
        mt19937_seed(&mt, base_drawn[s].seed);
        /* Another C library's sine may differ in the last bit. */
        for (int i = 0; i < 4; i++)
            assert_true(fabs(mt19937_gauss(&mt) - base_drawn[s].gauss[i]) < 1e-15);
    }
}

static void shuffle_is_cpythons(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof base_drawn / sizeof base_drawn[0]; s++) {
        struct mt19937 mt;
        uint32_t items[12];
        for (uint32_t i = 0; i < 12; i++)
            items[i] = i;
        mt19937_seed(&mt, base_drawn[s].seed);
        mt19937_shuffle(&mt, items, 12);
        assert_memory_equal(items, base_drawn[s].shuffled, sizeof items);
    }
}

static void a_long_shuffle_is_cpythons(void **state)
{
    (void)state;
    enum { COUNT = 142787 };
    uint32_t *items = malloc(COUNT * sizeof *items);
    assert_non_null(items);
    struct mt19937 mt;
    for (uint32_t i = 0; i < COUNT; i++)
        items[i] = i;
    mt19937_seed(&mt, 42);
    mt19937_shuffle(&mt, items, COUNT);
    /* FNV-1a over whole words, computed by the same lines in Python. */
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < COUNT; i++)
        hash = (hash ^ items[i]) * 1099511628211u;
    assert_int_equal(items[0], 28399);
    assert_int_equal(items[COUNT - 1], 29184);
    assert_true(hash == 0xb8959401890261a6u);
    mt19937_shuffle(&mt, items, 0);
    mt19937_shuffle(&mt, items, 1);
    assert_int_equal(items[0], 28399);
    free(items);
}

static void splitmix_gives_the_published_values(void **state)
{
    (void)state;
    assert_true(splitmix(0) == 0xe220a8397b1dcdafu);
    assert_true(splitmix(1234567) == 6457827717110365317u);
    assert_true(splitmix(1234567 + 0x9e3779b97f4a7c15u) == 3203168211198807973u);
}

static void time_does_not_go_back(void **state)
{
    (void)state;
    int64_t before = clock_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_ns();
        assert_true(now >= before);
        before = now;
    }
    assert_true(clock_ms() >= before / 1000000);
}

static void only_valid_utf8_has_a_length(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size, length;
        uint32_t code;
    } rows[] = {
        {"a", 1, 1, 'a'},
        {"\xc3\xa9", 2, 2, 0xe9},
        {"\xe2\x80\xaf", 3, 3, 0x202f},
        {"\xf0\x9f\x98\x80", 4, 4, 0x1f600},
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff},
        {"", 0, 0, 0},
        {"\x80", 1, 0, 0},             /* a continuation alone */
        {"\xc3", 1, 0, 0},             /* cut                  */
        {"\xc3(", 2, 0, 0},            /* no continuation      */
        {"\xc0\x80", 2, 0, 0},         /* overlong             */
        {"\xe0\x80\xaf", 3, 0, 0},     /* overlong             */
        {"\xf0\x80\x80\xaf", 4, 0, 0}, /* overlong             */
        {"\xed\xa0\x80", 3, 0, 0},     /* surrogate            */
        {"\xf4\x90\x80\x80", 4, 0, 0}, /* above U+10FFFF       */
        {"\xff", 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t code = 0;
        assert_int_equal(utf8_next(rows[i].text, rows[i].size, &code), rows[i].length);
        if (rows[i].length > 0)
            assert_int_equal(code, rows[i].code);
    }
}

static void what_was_typed_is_shown_in_one_safe_line(void **state)
{
    (void)state;
    char text[300];
    assert_string_equal(typed_show("caf\xc3\xa9").shown, "caf\xc3\xa9");
    assert_string_equal(typed_show("a\nb\033[31m\xff\xc2\x85").shown, "a?b?[31m??");
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(strlen(typed_show(text).shown), TYPED_SHOWN - 1);
    /* A character of two bytes is not cut in the middle. */
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    struct typed typed = typed_show(text);
    assert_int_equal(strspn(typed.shown, "\xc3\xa9") % 2, 0);
    assert_string_equal(typed.shown + strspn(typed.shown, "\xc3\xa9"), "...");
}

static const char *base_meant(const char *typed)
{
    static const char *const names[] = {"train", "translate", "evaluate", "inspect", "bench", "or-gate", "help"};
    struct suggest suggest = suggest_begin(typed);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        suggest_offer(&suggest, names[i], names[i]);
    return suggest_best(&suggest);
}

static void the_name_that_was_meant_is_found(void **state)
{
    (void)state;
    char text[300];
    assert_string_equal(base_meant("trian"), "train");
    assert_string_equal(base_meant("tran"), "train");
    assert_string_equal(base_meant("trainn"), "train");
    assert_string_equal(base_meant("transalte"), "translate");
    assert_string_equal(base_meant("or_gate"), "or-gate");
    assert_null(base_meant("serve"));
    /* Two letters that changed places are one edit, where a name so short allows no more. */
    struct suggest swapped = suggest_begin("rl");
    suggest_offer(&swapped, "lr", "lr");
    assert_string_equal(suggest_best(&swapped), "lr");
    assert_null(base_meant("x"));
    assert_null(base_meant(""));
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_null(base_meant(text));
}

/* All that was logged since capture_begin; the caller frees it. */
static char *base_captured(void)
{
    log_open("lstmq", LOG_INFO);
    return capture_end();
}

static void a_log_line_has_time_level_role_and_pid(void **state)
{
    (void)state;
    char pattern[128];
    regex_t regex;
    capture_begin();
    log_open("worker", LOG_WARN);
    log_event(LOG_INFO, "less", NULL, "not important enough");
    log_event(LOG_WARN, "worker_left", LOG_FIELDS(LOG_INT("worker", 3)), "worker %d left", 3);
    char *text = base_captured();
    snprintf(pattern, sizeof pattern,
             "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z warn worker[[]%ld[]] worker 3 left\n$",
             (long)getpid());
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    assert_int_equal(regexec(&regex, text, 0, NULL, 0), 0);
    regfree(&regex);
    free(text);
}

static void nothing_is_logged_when_off(void **state)
{
    (void)state;
    capture_begin();
    log_open("worker", LOG_OFF);
    log_event(LOG_ERROR, "silence", NULL, "silence");
    log_event(LOG_OFF, "silence", NULL, "silence");
    char *text = base_captured();
    assert_string_equal(text, "");
    free(text);
}

static void a_long_line_is_cut_and_ends(void **state)
{
    (void)state;
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    capture_begin();
    log_event(LOG_INFO, "long", NULL, "%s", longest);
    log_event(LOG_INFO, "next", NULL, "next");
    char *text = base_captured();
    char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_true(end - text < 2048);
    assert_non_null(strstr(end, "next\n"));
    free(text);
}

static void base_count(void *context)
{
    (*(int *)context)++;
}

static void *base_log_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 250; i++)
        log_event(LOG_INFO, "letters", NULL, "abcdefghijklmnopqrstuvwxyz");
    return NULL;
}

static void threads_log_whole_lines_with_the_hook_before_each(void **state)
{
    (void)state;
    pthread_t threads[4];
    int cleared = 0, lines = 0;
    capture_begin();
    log_before(base_count, &cleared);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, base_log_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    log_before(NULL, NULL);
    char *text = base_captured();
    static const char ending[] = "] abcdefghijklmnopqrstuvwxyz";
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++)
        assert_string_equal(strchr(line, ']'), ending);
    assert_int_equal(lines, 1000);
    assert_int_equal(cleared, 1000);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_a_whole_failure_path),
        cmocka_unit_test(errno_is_named),
        cmocka_unit_test(an_error_too_long_is_cut_not_overrun),
        cmocka_unit_test(an_error_is_one_line_of_utf8_whatever_it_names),
        cmocka_unit_test(each_code_has_its_exit_status),
        cmocka_unit_test(a_buffer_grows_and_stays_a_string),
        cmocka_unit_test(an_append_that_fails_is_remembered),
        cmocka_unit_test(each_draw_is_cpythons),
        cmocka_unit_test(gauss_is_cpythons_and_seeding_forgets_its_second_value),
        cmocka_unit_test(shuffle_is_cpythons),
        cmocka_unit_test(a_long_shuffle_is_cpythons),
        cmocka_unit_test(splitmix_gives_the_published_values),
        cmocka_unit_test(time_does_not_go_back),
        cmocka_unit_test(only_valid_utf8_has_a_length),
        cmocka_unit_test(what_was_typed_is_shown_in_one_safe_line),
        cmocka_unit_test(the_name_that_was_meant_is_found),
        cmocka_unit_test(a_log_line_has_time_level_role_and_pid),
        cmocka_unit_test(nothing_is_logged_when_off),
        cmocka_unit_test(a_long_line_is_cut_and_ends),
        cmocka_unit_test(threads_log_whole_lines_with_the_hook_before_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
