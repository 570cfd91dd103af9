/* test_safetensors.c - the tensor file: what is written, what is read, and each violation of the format by its name. */
#include "tests/support/fixture.h"

#include <inttypes.h>

/* A file: its header's text, and so many bytes of tensors behind it. */
static void safetensors_file(struct buffer *out, const void *header, size_t length, size_t data)
{
    buffer_clear(out);
    for (int i = 0; i < SAFETENSORS_LENGTH; i++) {
        char byte = (char)(length >> (8 * i) & 0xff);
        buffer_append(out, &byte, 1);
    }
    buffer_append(out, header, length);
    for (size_t i = 0; i < data; i++)
        buffer_append(out, "x", 1);
}

static bool test_safetensors_parse(const char *header, size_t data, struct safetensors *file, struct err *err)
{
    struct buffer bytes = {0};
    safetensors_file(&bytes, header, strlen(header), data);
    bool ok = safetensors_parse(bytes.data, bytes.size, bytes.size, "m.safetensors", file, err);
    buffer_free(&bytes);
    return ok;
}

#define W(offsets)                 "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}"
#define V(offsets)                 "\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void a_header_is_padded_and_comes_back(void **unused)
{
    (void)unused;
    struct tensor_entry entries[] = {{.name = "encoder.embedding", .dtype = "F32", .dims = 2, .shape = {27, 8}},
                                     {.name = "none", .dtype = "I64", .dims = 2, .shape = {0, 5}},
                                     {.name = "scalar", .dtype = "BF16", .dims = 0}};
    struct buffer bytes = {0}, again = {0};
    struct err err = {0};
    assert_ok(safetensors_header(entries, 3, &bytes, &err), err);
    assert_ok(safetensors_header(entries, 3, &again, &err), err);
    assert_int_equal(bytes.size % 8, 0);
    assert_int_equal(bytes.size, again.size);
    assert_memory_equal(bytes.data, again.data, bytes.size);
    assert_int_equal(safetensors_header_size(bytes.data), bytes.size);

    struct safetensors file;
    uint64_t size = bytes.size + 27 * 8 * 4 + 2;
    assert_ok(safetensors_parse(bytes.data, bytes.size, size, "m", &file, &err), err);
    assert_int_equal(file.count, 3);
    assert_int_equal(file.header_size, bytes.size);
    assert_int_equal(file.data_size, 27 * 8 * 4 + 2);
    const struct tensor_entry *found = safetensors_find(&file, "encoder.embedding");
    assert_non_null(found);
    assert_int_equal(found->offset, 0);
    assert_int_equal(found->size, 27 * 8 * 4);
    assert_int_equal(found->shape[1], 8);
    found = safetensors_find(&file, "scalar");
    assert_non_null(found);
    assert_string_equal(found->dtype, "BF16");
    assert_int_equal(found->dims, 0);
    assert_int_equal(found->offset, 27 * 8 * 4);
    assert_int_equal(found->size, 2);
    assert_int_equal(safetensors_find(&file, "none")->size, 0);
    assert_null(safetensors_find(&file, "encoder"));
    safetensors_free(&file);
    buffer_free(&bytes);
    buffer_free(&again);
}

static void a_table_that_cannot_be_written_is_named(void **unused)
{
    (void)unused;
    struct buffer out = {0};
    struct err err;
    struct tensor_entry twice[] = {{.name = "w", .dtype = "F32"}, {.name = "w", .dtype = "F32"}};
    assert_err(safetensors_header(twice, 2, &out, &err), err, ERR_USAGE, "tensor w: named twice");
    struct tensor_entry huge[] = {
        {.name = "w", .dtype = "F32", .dims = 2, .shape = {UINT64_C(1) << 40, UINT64_C(1) << 40}}};
    assert_err(safetensors_header(huge, 1, &out, &err), err, ERR_USAGE, "tensor w: too large");
    struct tensor_entry odd[] = {{.name = "w", .dtype = "F31"}};
    assert_err(safetensors_header(odd, 1, &out, &err), err, ERR_USAGE, "no dtype");
    struct tensor_entry metadata[] = {{.name = "__metadata__", .dtype = "F32"}};
    assert_err(safetensors_header(metadata, 1, &out, &err), err, ERR_USAGE, "cannot be the name");
    assert_int_equal(out.size, 0);
    buffer_free(&out);
}

static void what_the_format_allows_is_read(void **unused)
{
    (void)unused;
    static const struct {
        const char *header;
        size_t data, count;
    } cases[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{\"__metadata__\":{\"format\":\"pt\"}}", 0, 0},
        {"{" V("[8,16]") "," W("[0,8]") "}", 16, 2},
        {ONE("\"F32\"", "[]", "[0,4]"), 4, 1},
        {ONE("\"F32\"", "[0,9223372036854775807,4]", "[0,0]"), 0, 1},
        {ONE("\"BOOL\"", "[1,2,3,4]", "[0,24]"), 24, 1},
        {"{" W("[0,8]") ",\"e\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[8,8]}," V("[8,16]") "}", 16, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct safetensors file;
        struct err err = {0};
        assert_ok(test_safetensors_parse(cases[i].header, cases[i].data, &file, &err), err);
        assert_int_equal(file.count, cases[i].count);
        for (size_t t = 1; t < file.count; t++)
            assert_int_equal(file.tensors[t].offset, file.tensors[t - 1].offset + file.tensors[t - 1].size);
        safetensors_free(&file);
    }
}

static void each_violation_is_named(void **unused)
{
    (void)unused;
    static const struct {
        const char *header;
        size_t data;
        const char *part;
    } cases[] = {
        {"", 0, "does not begin with '{'"},
        {"[]", 0, "does not begin with '{'"},
        {" {}", 0, "does not begin with '{'"},
        {"{", 0, "header byte"},
        {"{}}", 0, "header byte"},
        {"{\"w\xff\":1}", 0, "header byte"},
        {"{\"w\\u0000\":1}", 0, "header byte"},
        {"{" W("[0,8]") "," W("[8,16]") "}", 16, "duplicate"},
        {"{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "duplicate"},
        {"{\"w\":1}", 0, "tensor w: not an object"},
        {"{\"\":{}}", 0, "a name has 1 to 63 bytes"},
        {"{\"w\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor w: \"dtype\" is missing"},
        {ONE("32", "[2]", "[0,8]"), 8, "\"dtype\" is missing or not a string"},
        {ONE("\"F33\"", "[2]", "[0,8]"), 8, "unknown dtype \"F33\""},
        {ONE("\"f32\"", "[2]", "[0,8]"), 8, "unknown dtype \"f32\""},
        {ONE("\"F32\"", "2", "[0,8]"), 8, "\"shape\" is missing or not an array"},
        {ONE("\"F32\"", "[-2]", "[0,8]"), 8, "dimension 0 of its shape"},
        {ONE("\"F32\"", "[1,2.0]", "[0,8]"), 8, "dimension 1 of its shape"},
        {ONE("\"F32\"", "[1,1,1,1,2]", "[0,8]"), 8, "5 dimensions"},
        {ONE("\"F32\"", "[99999999999999999999]", "[0,8]"), 8, "header byte"},
        {ONE("\"F32\"", "[4611686018427387905]", "[0,4]"), 4, "its shape is too large"},
        {ONE("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0, "its shape is too large"},
        {ONE("\"F32\"", "[9223372036854775807,9223372036854775807]", "[0,8]"), 8, "its shape is too large"},
        {ONE("\"F32\"", "[2]", "[0]"), 8, "\"data_offsets\" is not two"},
        {ONE("\"F32\"", "[2]", "[0,8,16]"), 8, "\"data_offsets\" is not two"},
        {ONE("\"F32\"", "[2]", "[-8,0]"), 8, "\"data_offsets\" is not two"},
        {ONE("\"F32\"", "[2]", "[0.0,8.0]"), 8, "\"data_offsets\" is not two"},
        {ONE("\"F32\"", "[2]", "[8,0]"), 8, "before it begins"},
        {ONE("\"F32\"", "[2]", "[0,4]"), 4, "4 bytes, but dtype and shape need 8"},
        {ONE("\"F32\"", "[2]", "[0,12]"), 12, "12 bytes, but dtype and shape need 8"},
        {ONE("\"F32\"", "[2]", "[4,12]"), 12, "a gap of 4 bytes before it"},
        {"{" W("[0,8]") "," V("[12,20]") "}", 20, "tensor v: a gap of 4 bytes before it"},
        {"{" W("[0,8]") "," V("[4,12]") "}", 12, "tensor v: begins at 4, inside the one before it"},
        {"{" W("[0,8]") "," V("[0,8]") "}", 8, "inside the one before it"},
        {ONE("\"F32\"", "[2]", "[0,8]"), 7, "ends 1 bytes behind the end of the file"},
        {ONE("\"F32\"", "[2]", "[0,8]"), 9, "1 bytes behind the last tensor"},
        {"{}", 1, "1 bytes behind the last tensor"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", 8, "unknown key \"more\""},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: \"a\" is not a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct safetensors file;
        struct err err;
        assert_err(test_safetensors_parse(cases[i].header, cases[i].data, &file, &err), err, ERR_DATA, cases[i].part);
        assert_null(strstr(err.text, "m.safetensors") == err.text ? NULL : err.text);
        assert_null(file.tensors);
    }
}

static void a_header_longer_than_the_file_or_the_limit_is_refused(void **unused)
{
    (void)unused;
    struct safetensors file;
    struct err err;
    unsigned char bytes[16] = {0};
    assert_err(safetensors_parse(bytes, 7, 7, "m", &file, &err), err, ERR_DATA, "cut short");
    bytes[0] = 9;
    bytes[8] = '{';
    assert_err(safetensors_parse(bytes, 16, 16, "m", &file, &err), err, ERR_DATA,
               "a header of 17 bytes in a file of 16");
    memcpy(bytes, (unsigned char[]){0x01, 0xe1, 0xf5, 0x05}, 4); /* 100,000,001 */
    assert_err(safetensors_parse(bytes, 16, UINT64_MAX, "m", &file, &err), err, ERR_DATA, "100 MB");
    memset(bytes, 0xff, 8);
    assert_err(safetensors_parse(bytes, 16, UINT64_MAX, "m", &file, &err), err, ERR_DATA, "100 MB");
}

static void no_cut_and_no_flip_of_a_header_crashes(void **unused)
{
    (void)unused;
    struct buffer bytes = {0};
    fixture_bytes("model.safetensors", 3, 'a', &bytes);
    struct safetensors file;
    for (size_t size = 0; size < bytes.size; size++) {
        char *cut = malloc(size > 0 ? size : 1); /* of that very size, so that a sanitizer sees a byte too far */
        assert_non_null(cut);
        memcpy(cut, bytes.data, size);
        assert_false(safetensors_parse(cut, size, size, "m", &file, NULL));
        free(cut);
    }
    for (size_t i = 0; i < bytes.size * 8; i++) {
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
        if (safetensors_parse(bytes.data, bytes.size, bytes.size, "m", &file, NULL))
            safetensors_free(&file);
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
    }
    assert_true(safetensors_parse(bytes.data, bytes.size, bytes.size, "m", &file, NULL));
    safetensors_free(&file);
    buffer_free(&bytes);
}

/* Files that another library wrote, where the folder with them is at hand. */
static void a_file_of_another_writer_is_read(void **unused)
{
    (void)unused;
    const char *folder = getenv("LSTMQ_REFERENCE");
    if (folder == NULL) {
        print_message("skipped: LSTMQ_REFERENCE is not set\n");
        skip();
    }
    struct safetensors file;
    struct err err = {0};
    assert_ok(checkpoint_tensors(folder, "tiny.init.safetensors", &file, &err), err);
    const struct tensor_entry *found = safetensors_find(&file, "projection.weight");
    assert_non_null(found);
    assert_int_equal(found->shape[0], 30);
    assert_int_equal(found->shape[1], 12);
    assert_int_equal(file.count, 10);
    safetensors_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_padded_and_comes_back),
        cmocka_unit_test(a_table_that_cannot_be_written_is_named),
        cmocka_unit_test(what_the_format_allows_is_read),
        cmocka_unit_test(each_violation_is_named),
        cmocka_unit_test(a_header_longer_than_the_file_or_the_limit_is_refused),
        cmocka_unit_test(no_cut_and_no_flip_of_a_header_crashes),
        cmocka_unit_test(a_file_of_another_writer_is_read),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
