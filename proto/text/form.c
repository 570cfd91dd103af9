/* form.c - recognise archives by their first bytes and encodings by their patterns; see form.h. */
#include "proto/text/form.h"

#include "proto/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct mark {
    const char *bytes;
    size_t size, at;
    struct form form;
};

#define MARK(bytes, at, ...)                                                                                           \
    {                                                                                                                  \
        bytes, sizeof(bytes) - 1, at,                                                                                  \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

/* UTF-32's mark begins with UTF-16's, so it comes first. */
static const struct mark form_marks[] = {
    MARK("\x1F\x8B", 0, FORM_GZIP, "gzip data", "gzip -dc"),
    MARK("PK\3\4", 0, FORM_ZIP, "a zip archive", "unzip -p"),
    MARK("PK\5\6", 0, FORM_ZIP, "a zip archive", "unzip -p"),
    MARK("PK\7\10", 0, FORM_ZIP, "a zip archive", "unzip -p"),
    MARK("\xFD"
         "7zXZ\0",
         0, FORM_OTHER, "xz data", "xz -dc"),
    MARK("BZh", 0, FORM_OTHER, "bzip2 data", "bzip2 -dc"),
    MARK("\x28\xB5\x2F\xFD", 0, FORM_OTHER, "zstd data", "zstd -dc"),
    MARK("\x04\x22\x4D\x18", 0, FORM_OTHER, "lz4 data", "lz4 -dc"),
    MARK("7z\xBC\xAF\x27\x1C", 0, FORM_OTHER, "a 7z archive", "7z x -so"),
    MARK("Rar!\x1A\7", 0, FORM_OTHER, "a RAR archive", "unrar p -inul"),
    MARK("\x1F\x9D", 0, FORM_OTHER, "compress data", "gzip -dc"),
    MARK("ustar", 257, FORM_OTHER, "a tar archive", "tar -xOf"),
    MARK("\xFF\xFE\0\0", 0, FORM_OTHER, "UTF-32 text", "iconv -f UTF-32 -t UTF-8"),
    MARK("\0\0\xFE\xFF", 0, FORM_OTHER, "UTF-32 text", "iconv -f UTF-32 -t UTF-8"),
    MARK("\xFF\xFE", 0, FORM_OTHER, "UTF-16 text", "iconv -f UTF-16 -t UTF-8"),
    MARK("\xFE\xFF", 0, FORM_OTHER, "UTF-16 text", "iconv -f UTF-16 -t UTF-8"),
};

/* A sentence may begin with bzip2's three letters; so the level and the mark of a block, or of the end, must follow. */
static bool form_is_bzip2(const char *bytes, size_t size)
{
    return size >= 10 && bytes[3] >= '1' && bytes[3] <= '9' &&
           (memcmp(bytes + 4, "1AY&SY", 6) == 0 || memcmp(bytes + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0);
}

/* Every four bytes are a code point, its high byte first (`big`) or last. */
static bool form_is_utf32(const unsigned char *bytes, size_t size, bool big)
{
    for (size_t i = 0; i + 4 <= size; i += 4) {
        const unsigned char *unit = bytes + i;
        uint32_t high = big ? (uint32_t)unit[0] << 8 | unit[1] : (uint32_t)unit[3] << 8 | unit[2];
        uint32_t low = big ? (uint32_t)unit[2] << 8 | unit[3] : (uint32_t)unit[1] << 8 | unit[0];
        if (high > 0x10 || (high == 0 && low == 0))
            return false;
    }
    return size >= 8;
}

/* No low byte is 0, and the high byte is 0: in three units of four, as for Latin letters, or at several line ends, as
 * in any script. A UTF-8 text with some NULs has line ends without one. */
static bool form_is_utf16(const unsigned char *bytes, size_t size, bool big)
{
    size_t units = size / 2, latin = 0, ends = 0, feeds = 0;
    for (size_t i = 0; i < units; i++) {
        unsigned char high = bytes[2 * i + !big], low = bytes[2 * i + big];
        if (low == 0)
            return false;
        latin += high == 0;
        ends += high == 0 && low == '\n';
        feeds += (size_t)(high == '\n') + (low == '\n');
    }
    return units >= 4 && (4 * latin >= 3 * units || (ends >= 2 && ends == feeds));
}

struct form form_of(const char *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof form_marks / sizeof *form_marks; i++) {
        const struct mark *mark = &form_marks[i];
        if (size < mark->at + mark->size || memcmp(bytes + mark->at, mark->bytes, mark->size) != 0)
            continue;
        if (bytes[0] != 'B' || mark->at != 0 || form_is_bzip2(bytes, size))
            return mark->form;
    }
    size = size < FORM_BYTES ? size : FORM_BYTES;
    const unsigned char *units = (const unsigned char *)bytes;
    if (form_is_utf32(units, size, false))
        return (struct form){FORM_OTHER, "UTF-32 text", "iconv -f UTF-32LE -t UTF-8"};
    if (form_is_utf32(units, size, true))
        return (struct form){FORM_OTHER, "UTF-32 text", "iconv -f UTF-32BE -t UTF-8"};
    if (form_is_utf16(units, size, false))
        return (struct form){FORM_OTHER, "UTF-16 text", "iconv -f UTF-16LE -t UTF-8"};
    if (form_is_utf16(units, size, true))
        return (struct form){FORM_OTHER, "UTF-16 text", "iconv -f UTF-16BE -t UTF-8"};
    return (struct form){.kind = FORM_TEXT};
}

const char *form_encoding(const char *line, size_t size)
{
    bool windows = false;
    for (size_t i = 0; i < size; i++) {
        uint32_t code;
        unsigned char byte = (unsigned char)line[i];
        if (utf8_next(line + i, size - i, &code) > 1 || byte == 0)
            return NULL;
        windows = windows || (byte >= 0x80 && byte < 0xA0);
    }
    return windows ? "WINDOWS-1252" : "LATIN1";
}
