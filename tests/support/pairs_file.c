/* pairs_file.c - files of pairs; see pairs_file.h. */
#include "tests/support/pairs_file.h"

#include <zlib.h>

char pairs_file_path[3][64];

int pairs_file_make(void **state)
{
    static const char *const names[] = {"pairs.tsv", "text.src", "text.tgt"};
    if (scratch_make(state) != 0)
        return -1;
    for (int i = 0; i < 3; i++)
        snprintf(pairs_file_path[i], sizeof pairs_file_path[i], "%s", scratch_path(names[i]));
    return 0;
}

unsigned char *gzip(const char *text, size_t size, size_t *packed_size)
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

struct pairs_source tsv_source(enum on_bad_line on_bad_line)
{
    return (struct pairs_source){.pairs = pairs_file_path[0],
                                 .src = "",
                                 .tgt = "",
                                 .rule = NORMALISE_NOTEBOOK,
                                 .on_bad_line = on_bad_line,
                                 .max_tokens = SIZE_MAX};
}

struct pairs_source parallel_source(enum on_bad_line on_bad_line)
{
    struct pairs_source source = tsv_source(on_bad_line);
    source.pairs = "";
    source.src = pairs_file_path[1];
    source.tgt = pairs_file_path[2];
    return source;
}

void check_pair(const struct pairs *pairs, size_t index, const char *src, const char *tgt)
{
    assert_true(index < pairs->count);
    const struct pair *pair = &pairs->items[index];
    assert_string_equal(pairs->text.data + pair->src, src);
    assert_string_equal(pairs->text.data + pair->tgt, tgt);
    assert_int_equal(pair->src_size, strlen(src));
    assert_int_equal(pair->tgt_size, strlen(tgt));
}

void check_failure(const struct pairs_source *source, enum err_code code, const char *what)
{
    struct pairs pairs = {0};
    struct err err = {0};
    assert_false(pairs_read(&pairs, source, &err));
    if (strstr(err.text, what) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, what);
    assert_int_equal(err.code, code);
    pairs_free(&pairs);
}
