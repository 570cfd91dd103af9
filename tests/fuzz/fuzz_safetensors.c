/* fuzz_safetensors.c - bytes into safetensors_parse: refused with ERR_DATA, or a table without gaps that fills the file
 * and comes back from a header made of it.
 *
 * An input is one byte of choice, four bytes with the size of the tensors behind the header, low byte first, and the
 * header: with its length where the choice is even, without it where it is odd, so that changes to the JSON keep the
 * length right. */
#include "tests/fuzz/fuzz.h"

#include "proto/store/safetensors.h"

enum { DATA_SIZE = 4 };

static void fuzz_safetensors_check_table(const struct safetensors *file, uint64_t file_size)
{
    uint64_t end = 0;
    must(file->header_size + file->data_size == file_size);
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor_entry *entry = &file->tensors[i];
        must(entry->offset == end && entry->dims >= 0 && entry->dims <= TENSOR_DIMS);
        must(safetensors_find(file, entry->name) == entry);
        end += entry->size;
    }
    must(end == file->data_size);
}

/* The table as a header of our own, parsed again. */
static void fuzz_safetensors_check_round(struct safetensors *file)
{
    struct err err = {0};
    struct buffer header = {0};
    struct safetensors again;
    must(safetensors_header(file->tensors, file->count, &header, &err));
    must(header.size % 8 == 0 && header.size == safetensors_header_size(header.data));
    must(safetensors_parse(header.data, header.size, header.size + file->data_size, "again", &again, &err));
    must(again.count == file->count);
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor_entry *entry = &file->tensors[i], *other = safetensors_find(&again, entry->name);
        must(other != NULL && strcmp(other->dtype, entry->dtype) == 0 && other->dims == entry->dims);
        must(other->offset == entry->offset && other->size == entry->size);
        must(memcmp(other->shape, entry->shape, (size_t)entry->dims * sizeof *entry->shape) == 0);
    }
    safetensors_free(&again);
    buffer_free(&header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct safetensors file;
    struct buffer bytes = {0};
    uint64_t data_size = 0;
    bool bare = fuzz_choice(&data, &size) % 2 == 1;
    for (int i = 0; i < DATA_SIZE; i++)
        data_size |= (uint64_t)fuzz_choice(&data, &size) << (8 * i);
    for (int i = 0; bare && i < SAFETENSORS_LENGTH; i++)
        buffer_append(&bytes, &(char){(char)((uint64_t)size >> (8 * i))}, 1);
    buffer_append(&bytes, data, size);
    char *exact = fuzz_copy((const uint8_t *)bytes.data, bytes.size);
    if (safetensors_parse(exact, bytes.size, bytes.size + data_size, "fuzz.safetensors", &file, &err)) {
        fuzz_safetensors_check_table(&file, bytes.size + data_size);
        fuzz_safetensors_check_round(&file);
        safetensors_free(&file);
    } else {
        must_refuse(&err, ERR_DATA);
    }
    free(exact);
    buffer_free(&bytes);
    return 0;
}
