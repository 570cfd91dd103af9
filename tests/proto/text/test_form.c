/* test_form.c - what a file is by its first bytes, and a zip archive that was cut or changed anywhere. */
#include "proto/text/form.h"

#include "proto/text/zip.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES(literal) (literal), sizeof(literal) - 1

static void archives_are_known_by_their_marks(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        enum form_kind kind;
        const char *name;
    } archives[] = {
        {BYTES("\x1F\x8B\x08"), FORM_GZIP, "gzip data"},
        {BYTES("PK\3\4\24"), FORM_ZIP, "a zip archive"},
        {BYTES("PK\5\6"), FORM_ZIP, "a zip archive"},
        {BYTES("\xFD"
               "7zXZ\0"),
         FORM_OTHER, "xz data"},
        {BYTES("BZh91AY&SY\x01"), FORM_OTHER, "bzip2 data"},
        {BYTES("BZh9\x17rE8P\x90"), FORM_OTHER, "bzip2 data"},
        {BYTES("\x28\xB5\x2F\xFD\x24"), FORM_OTHER, "zstd data"},
        {BYTES("\x04\x22\x4D\x18"), FORM_OTHER, "lz4 data"},
        {BYTES("7z\xBC\xAF\x27\x1C"), FORM_OTHER, "a 7z archive"},
        {BYTES("Rar!\x1A\7\1"), FORM_OTHER, "a RAR archive"},
        {BYTES("\x1F\x9D\x90"), FORM_OTHER, "compress data"},
    };
    for (size_t i = 0; i < sizeof archives / sizeof *archives; i++) {
        struct form form = form_of(archives[i].bytes, archives[i].size);
        assert_int_equal(form.kind, archives[i].kind);
        assert_string_equal(form.name, archives[i].name);
        assert_non_null(form.command);
    }
    char tar[FORM_BYTES] = "pairs.tsv";
    memcpy(tar + 257, "ustar", 5);
    assert_string_equal(form_of(tar, sizeof tar).name, "a tar archive");
    assert_int_equal(form_of("", 0).kind, FORM_TEXT);
}

static void text_in_wide_characters_is_known_with_and_without_a_mark(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *command;
    } wide[] = {
        {BYTES("\xFF\xFEx\0"), "iconv -f UTF-16 -t UTF-8"},
        {BYTES("\xFE\xFF\0x"), "iconv -f UTF-16 -t UTF-8"},
        {BYTES("\xFF\xFE\0\0x\0\0\0"), "iconv -f UTF-32 -t UTF-8"},
        {BYTES("\0\0\xFE\xFF\0\0\0x"), "iconv -f UTF-32 -t UTF-8"},
        {BYTES("a\0\t\0\x53\1o\0u\0\n\0"), "iconv -f UTF-16LE -t UTF-8"},
        {BYTES("\x3F\4\x40\4\t\0\x3C\4\n\0\x34\4\x30\4\t\0\x30\4\n\0"), "iconv -f UTF-16LE -t UTF-8"},
        {BYTES("\x4F\x60\0\t\x4E\x16\0\n\x59\x7D\0\t\x75\x4C\0\n"), "iconv -f UTF-16BE -t UTF-8"},
        {BYTES("\0a\0\t\1\x53\0o\0u\0\n"), "iconv -f UTF-16BE -t UTF-8"},
        {BYTES("a\0\0\0\t\0\0\0\xE9\0\0\0"), "iconv -f UTF-32LE -t UTF-8"},
        {BYTES("\0\0\0a\0\0\0\t\0\0\4\x31"), "iconv -f UTF-32BE -t UTF-8"},
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        assert_string_equal(form_of(wide[i].bytes, wide[i].size).command, wide[i].command);
}

static void plain_text_is_text_though_it_looks_strange(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } texts[] = {
        {BYTES("i see\tje vois\n")},
        {BYTES("\xEF\xBB\xBFi see\tje vois\n")},
        {BYTES("BZh9 is a sentence\tBZh9\n")},
        {BYTES("PK\tPK\n")},
        {BYTES("x\0\ty\n")},
        {BYTES("x\0y\0\tzzzz\n")},
        {BYTES("ab\0\ncd\0\nefg\n")}, /* two of its three line ends have a NUL */
        {BYTES("\0\0\0\0\0\0\0\0")},
        {BYTES("caf\xE9\tcaf\xE9\n")},
        {BYTES("\n")},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(form_of(texts[i].bytes, texts[i].size).kind, FORM_TEXT);
}

static void one_byte_encodings_are_guessed_only_without_utf_8(void **state)
{
    (void)state;
    assert_string_equal(form_encoding(BYTES("a caf\xE9")), "LATIN1");
    assert_string_equal(form_encoding(BYTES("l\x92\xE9t\xE9")), "WINDOWS-1252");
    assert_null(form_encoding(BYTES("caf\xC3\xA9 caf\xE9")));
    assert_null(form_encoding(BYTES("caf\xE9\0")));
}

/* 80 lines "i see TAB je vois", or the like, in fra.txt: 1,200 bytes. */
static const unsigned char form_archive[] = {
    0x50, 0x4B, 0x03, 0x04, 0x14, 0x00, 0x00, 0x00, 0x08, 0x00, 0x50, 0x06, 0x7D, 0x5D, 0x41, 0x47, 0x58, 0x8F, 0x24,
    0x00, 0x00, 0x00, 0xB0, 0x04, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x66, 0x72, 0x61, 0x2E, 0x74, 0x78, 0x74, 0xCB,
    0x54, 0x28, 0x4E, 0x4D, 0xE5, 0xCC, 0x4A, 0x55, 0x28, 0xCB, 0xCF, 0x2C, 0xE6, 0xAA, 0xCC, 0x2F, 0x05, 0xF3, 0x4B,
    0x4A, 0x21, 0xFC, 0xCC, 0x51, 0xD9, 0x51, 0xD9, 0x51, 0xD9, 0x51, 0xD9, 0x41, 0x23, 0x0B, 0x00, 0x50, 0x4B, 0x01,
    0x02, 0x14, 0x03, 0x14, 0x00, 0x00, 0x00, 0x08, 0x00, 0x50, 0x06, 0x7D, 0x5D, 0x41, 0x47, 0x58, 0x8F, 0x24, 0x00,
    0x00, 0x00, 0xB0, 0x04, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x66, 0x72, 0x61, 0x2E, 0x74, 0x78, 0x74, 0x50, 0x4B, 0x05, 0x06, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x01, 0x00, 0x35, 0x00, 0x00, 0x00, 0x49, 0x00, 0x00, 0x00, 0x00, 0x00,
};

enum { TEXT_BYTES = 1200 };

/* Read all of the archive in pieces of `piece` bytes; false where it is refused. */
static bool read_archive(const unsigned char *bytes, size_t size, size_t piece, char *text, struct err *err)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    struct zip *zip = zip_open(fd, "pairs.zip", err);
    bool ok = zip != NULL;
    size_t done = 0, got = 1;
    while (ok && got > 0) {
        char out[TEXT_BYTES];
        ok = zip_read(zip, out, piece, &got, err);
        assert_true(!ok || done + got <= TEXT_BYTES);
        if (ok)
            memcpy(text + done, out, got);
        done += ok ? got : 0;
    }
    assert_true(!ok || done == TEXT_BYTES);
    zip_close(&zip);
    close(fd);
    return ok;
}

static void an_archive_is_read_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= TEXT_BYTES; piece = 3 * piece + 1) {
        char text[TEXT_BYTES];
        struct err err = {0};
        assert_true(read_archive(form_archive, sizeof form_archive, piece, text, &err));
        assert_memory_equal(text, "i see\tje vois\n", 14);
        assert_memory_equal(text + TEXT_BYTES - 1, "\n", 1);
    }
}

static void a_cut_archive_is_refused(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof form_archive; size++) {
        char text[TEXT_BYTES];
        struct err err = {0};
        assert_false(read_archive(form_archive, size, TEXT_BYTES, text, &err));
        assert_int_equal(err.code, ERR_DATA);
        assert_non_null(strstr(err.text, "pairs.zip: damaged zip archive"));
    }
}

/* What says nothing about the text (times, versions) may change; the text may not. */
static void a_changed_archive_is_refused_or_gives_the_same_text(void **state)
{
    (void)state;
    char right[TEXT_BYTES], text[TEXT_BYTES];
    unsigned char bytes[sizeof form_archive];
    struct err err = {0};
    size_t refused = 0;
    assert_true(read_archive(form_archive, sizeof form_archive, TEXT_BYTES, right, &err));
    for (size_t i = 0; i < 8 * sizeof bytes; i++) {
        memcpy(bytes, form_archive, sizeof bytes);
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        if (read_archive(bytes, sizeof bytes, 100, text, &err)) {
            assert_memory_equal(text, right, TEXT_BYTES);
            continue;
        }
        assert_int_equal(err.code, ERR_DATA);
        refused++;
    }
    assert_true(refused > 4 * sizeof bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_are_known_by_their_marks),
        cmocka_unit_test(text_in_wide_characters_is_known_with_and_without_a_mark),
        cmocka_unit_test(plain_text_is_text_though_it_looks_strange),
        cmocka_unit_test(one_byte_encodings_are_guessed_only_without_utf_8),
        cmocka_unit_test(an_archive_is_read_in_pieces_of_any_size),
        cmocka_unit_test(a_cut_archive_is_refused),
        cmocka_unit_test(a_changed_archive_is_refused_or_gives_the_same_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
