/* safetensors.c - write and parse the header as JSON; safetensors.h has its rules. */
#include "proto/store/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_ALIGN = 8 };

#define METADATA "__metadata__"

static const struct {
    const char *name;
    uint64_t bytes;
} safetensors_dtypes[] = {
    {"F32", 4},  {"F64", 8},     {"F16", 2},     {"BF16", 2},    {"I64", 8}, {"I32", 4},
    {"I16", 2},  {"I8", 1},      {"U64", 8},     {"U32", 4},     {"U16", 2}, {"U8", 1},
    {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"C64", 8},
};

/* 0: not a dtype. */
static uint64_t safetensors_dtype_bytes(const char *dtype)
{
    for (size_t i = 0; i < sizeof safetensors_dtypes / sizeof *safetensors_dtypes; i++) {
        if (strcmp(safetensors_dtypes[i].name, dtype) == 0)
            return safetensors_dtypes[i].bytes;
    }
    return 0;
}

/* Bytes that dtype and shape need; false when they exceed 63 bits, the range of JSON's integers here. */
static bool safetensors_tensor_bytes(const struct tensor_entry *entry, uint64_t *bytes)
{
    uint64_t size = safetensors_dtype_bytes(entry->dtype);
    bool empty = false;
    for (int i = 0; i < entry->dims; i++)
        empty = empty || entry->shape[i] == 0;
    for (int i = 0; i < entry->dims && !empty; i++) {
        if (entry->shape[i] > (uint64_t)INT64_MAX / size)
            return false;
        size *= entry->shape[i];
    }
    *bytes = empty ? 0 : size;
    return true;
}

static json_t *safetensors_entry_json(const struct tensor_entry *entry)
{
    json_t *shape = json_array();
    for (int i = 0; shape != NULL && i < entry->dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)entry->shape[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", entry->dtype, "shape", shape, "data_offsets",
                     (json_int_t)entry->offset, (json_int_t)(entry->offset + entry->size));
}

static bool safetensors_place(struct tensor_entry *entry, uint64_t offset, struct err *err)
{
    if (entry->name[0] == '\0' || memchr(entry->name, '\0', sizeof entry->name) == NULL ||
        strcmp(entry->name, METADATA) == 0)
        return err_set(err, ERR_USAGE, "\"%.63s\" cannot be the name of a tensor", entry->name);
    if (safetensors_dtype_bytes(entry->dtype) == 0)
        return err_set(err, ERR_USAGE, "tensor %s: no dtype \"%.7s\"", entry->name, entry->dtype);
    if (entry->dims < 0 || entry->dims > TENSOR_DIMS)
        return err_set(err, ERR_USAGE, "tensor %s: %d dimensions", entry->name, entry->dims);
    entry->offset = offset;
    if (!safetensors_tensor_bytes(entry, &entry->size) || entry->size > (uint64_t)INT64_MAX - offset)
        return err_set(err, ERR_USAGE, "tensor %s: too large", entry->name);
    return true;
}

static bool safetensors_table_json(json_t *table, struct tensor_entry *entries, size_t count, struct err *err)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        if (!safetensors_place(&entries[i], offset, err))
            return false;
        if (json_object_get(table, entries[i].name) != NULL)
            return err_set(err, ERR_USAGE, "tensor %s: named twice", entries[i].name);
        if (json_object_set_new(table, entries[i].name, safetensors_entry_json(&entries[i])) != 0)
            return err_set(err, ERR_USAGE, "tensor %s: out of memory, or a name that is not UTF-8", entries[i].name);
        offset += entries[i].size;
    }
    return true;
}

bool safetensors_header(struct tensor_entry *entries, size_t count, struct buffer *out, struct err *err)
{
    json_t *table = json_object();
    if (table == NULL)
        return err_set(err, ERR_MEMORY, "out of memory for a table of %zu tensors", count);
    char *text = NULL;
    bool ok = safetensors_table_json(table, entries, count, err);
    if (ok)
        text = json_dumps(table, JSON_COMPACT);
    json_decref(table);
    if (!ok)
        return false;
    if (text == NULL)
        return err_set(err, ERR_MEMORY, "out of memory for a table of %zu tensors", count);
    size_t length = strlen(text);
    uint64_t padded = (length + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
    unsigned char prefix[SAFETENSORS_LENGTH];
    for (int i = 0; i < SAFETENSORS_LENGTH; i++)
        prefix[i] = (unsigned char)(padded >> (8 * i));
    buffer_append(out, prefix, sizeof prefix);
    buffer_append(out, text, length);
    buffer_append(out, "       ", (size_t)padded - length);
    free(text);
    if (padded > SAFETENSORS_HEADER_MOST - SAFETENSORS_LENGTH)
        return err_set(err, ERR_USAGE, "a table of %zu tensors is larger than the format allows", count);
    return buffer_ok(out, err);
}

uint64_t safetensors_header_size(const void *bytes)
{
    const unsigned char *from = bytes;
    uint64_t length = 0;
    for (int i = SAFETENSORS_LENGTH - 1; i >= 0; i--)
        length = length << 8 | from[i];
    return length > UINT64_MAX - SAFETENSORS_LENGTH ? UINT64_MAX : length + SAFETENSORS_LENGTH;
}

/* A number of elements or bytes. */
static bool safetensors_count_read(json_t *value, uint64_t *count)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *count = (uint64_t)json_integer_value(value);
    return true;
}

static bool safetensors_dtype_read(json_t *value, const char *name, struct tensor_entry *entry, struct err *err)
{
    const char *dtype = json_string_value(value);
    if (dtype == NULL)
        return err_set(err, ERR_DATA, "%s: tensor %s: \"dtype\" is missing or not a string", name, entry->name);
    if (safetensors_dtype_bytes(dtype) == 0)
        return err_set(err, ERR_DATA, "%s: tensor %s: unknown dtype \"%.40s\"", name, entry->name, dtype);
    strcpy(entry->dtype, dtype);
    return true;
}

static bool safetensors_shape_read(json_t *value, const char *name, struct tensor_entry *entry, struct err *err)
{
    if (!json_is_array(value))
        return err_set(err, ERR_DATA, "%s: tensor %s: \"shape\" is missing or not an array", name, entry->name);
    size_t dims = json_array_size(value);
    if (dims > TENSOR_DIMS)
        return err_set(err, ERR_DATA, "%s: tensor %s: %zu dimensions; at most %d are read", name, entry->name, dims,
                       TENSOR_DIMS);
    entry->dims = (int)dims;
    for (size_t i = 0; i < dims; i++) {
        if (!safetensors_count_read(json_array_get(value, i), &entry->shape[i]))
            return err_set(err, ERR_DATA, "%s: tensor %s: dimension %zu of its shape is not a whole number from 0",
                           name, entry->name, i);
    }
    return true;
}

static bool safetensors_offsets_read(json_t *value, const char *name, struct tensor_entry *entry, struct err *err)
{
    uint64_t from, to, needed;
    if (json_array_size(value) != 2 || !safetensors_count_read(json_array_get(value, 0), &from) ||
        !safetensors_count_read(json_array_get(value, 1), &to))
        return err_set(err, ERR_DATA, "%s: tensor %s: \"data_offsets\" is not two whole numbers from 0", name,
                       entry->name);
    if (to < from)
        return err_set(err, ERR_DATA, "%s: tensor %s: ends at %" PRIu64 ", before it begins at %" PRIu64, name,
                       entry->name, to, from);
    if (!safetensors_tensor_bytes(entry, &needed))
        return err_set(err, ERR_DATA, "%s: tensor %s: its shape is too large", name, entry->name);
    entry->offset = from;
    entry->size = to - from;
    if (entry->size != needed)
        return err_set(err, ERR_DATA, "%s: tensor %s: %" PRIu64 " bytes, but dtype and shape need %" PRIu64, name,
                       entry->name, entry->size, needed);
    return true;
}

static bool safetensors_tensor_read(const char *key, json_t *about, const char *name, struct tensor_entry *entry,
                                    struct err *err)
{
    size_t length = strlen(key);
    if (length == 0 || length >= sizeof entry->name)
        return err_set(err, ERR_DATA, "%s: tensor \"%.80s\": a name has 1 to %d bytes", name, key, TENSOR_NAME - 1);
    memcpy(entry->name, key, length + 1);
    if (!json_is_object(about))
        return err_set(err, ERR_DATA, "%s: tensor %s: not an object", name, key);
    const char *field;
    json_t *value;
    json_object_foreach(about, field, value)
    {
        if (strcmp(field, "dtype") != 0 && strcmp(field, "shape") != 0 && strcmp(field, "data_offsets") != 0)
            return err_set(err, ERR_DATA, "%s: tensor %s: unknown key \"%.80s\"", name, key, field);
    }
    return safetensors_dtype_read(json_object_get(about, "dtype"), name, entry, err) &&
           safetensors_shape_read(json_object_get(about, "shape"), name, entry, err) &&
           safetensors_offsets_read(json_object_get(about, "data_offsets"), name, entry, err);
}

static bool safetensors_metadata_check(json_t *metadata, const char *name, struct err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return err_set(err, ERR_DATA, "%s: " METADATA " is not an object", name);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return err_set(err, ERR_DATA, "%s: " METADATA ": \"%.80s\" is not a string", name, key);
    }
    return true;
}

/* An empty tensor comes before the one that begins at the same offset. */
static int safetensors_by_offset(const void *a, const void *b)
{
    const struct tensor_entry *one = a, *other = b;
    if (one->offset != other->offset)
        return one->offset < other->offset ? -1 : 1;
    if (one->size != other->size)
        return one->size < other->size ? -1 : 1;
    return strcmp(one->name, other->name);
}

static bool safetensors_check_order(const struct safetensors *file, const char *name, struct err *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor_entry *entry = &file->tensors[i];
        if (entry->offset < end)
            return err_set(err, ERR_DATA, "%s: tensor %s: begins at %" PRIu64 ", inside the one before it", name,
                           entry->name, entry->offset);
        if (entry->offset > end)
            return err_set(err, ERR_DATA, "%s: tensor %s: a gap of %" PRIu64 " bytes before it", name, entry->name,
                           entry->offset - end);
        if (entry->size > file->data_size - end)
            return err_set(err, ERR_DATA, "%s: tensor %s: ends %" PRIu64 " bytes behind the end of the file", name,
                           entry->name, entry->size - (file->data_size - end));
        end += entry->size;
    }
    if (end != file->data_size)
        return err_set(err, ERR_DATA, "%s: %" PRIu64 " bytes behind the last tensor", name, file->data_size - end);
    return true;
}

static bool safetensors_table_read(json_t *table, const char *name, struct safetensors *file, struct err *err)
{
    const char *key;
    json_t *value;
    size_t most = json_object_size(table);
    file->tensors = calloc(most > 0 ? most : 1, sizeof *file->tensors);
    if (file->tensors == NULL)
        return err_set(err, ERR_MEMORY, "%s: out of memory for %zu tensors", name, most);
    json_object_foreach(table, key, value)
    {
        if (strcmp(key, METADATA) == 0) {
            if (!safetensors_metadata_check(value, name, err))
                return false;
            continue;
        }
        if (!safetensors_tensor_read(key, value, name, &file->tensors[file->count], err))
            return false;
        file->count++;
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, safetensors_by_offset);
    return safetensors_check_order(file, name, err);
}

bool safetensors_parse(const void *bytes, size_t size, uint64_t file_size, const char *name, struct safetensors *file,
                       struct err *err)
{
    *file = (struct safetensors){0};
    if (size < SAFETENSORS_LENGTH || file_size < SAFETENSORS_LENGTH)
        return err_set(err, ERR_DATA, "%s: cut short: %" PRIu64 " bytes, too few for a header", name, file_size);
    uint64_t header = safetensors_header_size(bytes);
    if (header > SAFETENSORS_HEADER_MOST)
        return err_set(err, ERR_DATA, "%s: its header claims more than the format's 100 MB", name);
    if (header > file_size || header > size)
        return err_set(err, ERR_DATA, "%s: cut short: a header of %" PRIu64 " bytes in a file of %" PRIu64, name,
                       header, file_size);
    const char *text = (const char *)bytes + SAFETENSORS_LENGTH;
    size_t length = (size_t)header - SAFETENSORS_LENGTH;
    if (length == 0 || text[0] != '{')
        return err_set(err, ERR_DATA, "%s: its header does not begin with '{'", name);
    json_error_t error;
    json_t *table = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (table == NULL)
        return err_set(err, ERR_DATA, "%s: header byte %d: %s", name, error.position, error.text);
    file->header_size = header;
    file->data_size = file_size - header;
    bool ok = safetensors_table_read(table, name, file, err);
    json_decref(table);
    if (!ok)
        safetensors_free(file);
    return ok;
}

void safetensors_free(struct safetensors *file)
{
    free(file->tensors);
    *file = (struct safetensors){0};
}

const struct tensor_entry *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++) {
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    }
    return NULL;
}
