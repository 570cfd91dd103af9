/* safetensors.h - the tensor file, as bytes.
 *
 *   offset 0      8 bytes   n, the header's length, little-endian; n % 8 == 0 as written here
 *   offset 8      n bytes   JSON: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [from, to]}, ..., "__metadata__": {..}}
 *   offset 8 + n  rest      the tensors, row-major, little-endian, back to back in order of offsets, no gaps
 *
 * A header is built from, or parsed to, a list of tensors. Reading is strict: length beyond the file or over 100 MB,
 * JSON that does not parse or repeats a key, an unknown dtype, a shape whose size is not its offsets' size or
 * overflows, gaps, overlaps or trailing bytes are ERR_DATA naming the tensor. Nothing here touches a file: callers
 * bring bytes. Any thread. */
#ifndef LSTMQ_PROTO_STORE_SAFETENSORS_H
#define LSTMQ_PROTO_STORE_SAFETENSORS_H

#include "proto/base/buffer.h"

#include <stdint.h>

enum {
    TENSOR_NAME = 64,
    TENSOR_DIMS = 4,
    SAFETENSORS_LENGTH = 8,                  /* bytes of n                          */
    SAFETENSORS_HEADER_MOST = 100000000 + 8, /* the format's limit, those included  */
};

struct tensor_entry {
    char name[TENSOR_NAME];
    char dtype[8]; /* "F32", "BF16", "I64", ...             */
    int dims;      /* 0..TENSOR_DIMS                        */
    uint64_t shape[TENSOR_DIMS];
    uint64_t offset, size; /* bytes, from the first tensor's first byte */
};

struct safetensors {
    struct tensor_entry *tensors; /* in order of offset */
    size_t count;
    uint64_t header_size; /* 8 + n: where the tensors begin in the file */
    uint64_t data_size;   /* bytes of all tensors together              */
};

/* The bytes before the tensors, appended to `out`: name, dtype, dims and shape of each entry are read; offset and size
 * are filled in, back to back in the order given. Equal entries give equal bytes. */
bool safetensors_header(struct tensor_entry *entries, size_t count, struct buffer *out, struct err *err);

/* 8 + n as the first SAFETENSORS_LENGTH bytes give it, at most UINT64_MAX; not checked against anything. */
uint64_t safetensors_header_size(const void *bytes);

/* Parse a header found at the start of `file_size` bytes, of which the first `size` are at `bytes` (at least 8 + n of
 * them). `name` is what errors call the file. */
bool safetensors_parse(const void *bytes, size_t size, uint64_t file_size, const char *name, struct safetensors *file,
                       struct err *err);

void safetensors_free(struct safetensors *file);

/* The entry of that name, or NULL. */
const struct tensor_entry *safetensors_find(const struct safetensors *file, const char *name);

#endif
