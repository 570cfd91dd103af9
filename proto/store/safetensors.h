/* safetensors.h - the tensor file, as bytes.
 *
 *   offset 0      8 bytes   n, the header's length, little-endian; n % 8 == 0 as written here
 *   offset 8      n bytes   JSON: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [from, to]}, ...,
 *                           "__metadata__": {..}}
 *   offset 8 + n  rest      the tensors, row-major, little-endian, back to back in order of offsets, no gaps
 *
 * A header is built from a list of tensors, or parsed to one. Parsing is strict. ERR_DATA, naming the tensor, for: a
 * length beyond the file or over 100 MB; JSON that does not parse or repeats a key; an unknown dtype; a shape whose
 * size overflows or is not its offsets' size; gaps, overlaps, trailing bytes.
 *
 * No function here opens a file: callers bring the bytes. The caller owns a struct safetensors and ends it with
 * safetensors_free. Any thread. */
#ifndef LSTMQ_PROTO_STORE_SAFETENSORS_H
#define LSTMQ_PROTO_STORE_SAFETENSORS_H

#include "proto/base/buffer.h"

#include <stdint.h>

enum {
    TENSOR_NAME = 64,
    TENSOR_DIMS = 4,
    SAFETENSORS_LENGTH = 8,                  /* bytes of n */
    SAFETENSORS_HEADER_MOST = 100000000 + 8, /* the format's limit plus these 8 bytes */
};

struct tensor_entry {
    char name[TENSOR_NAME];
    char dtype[8]; /* "F32", "BF16", "I64", ... */
    int dims;      /* 0..TENSOR_DIMS */
    uint64_t shape[TENSOR_DIMS];
    uint64_t offset, size; /* bytes, from the first tensor's first byte */
};

struct safetensors {
    struct tensor_entry *tensors; /* in order of offset */
    size_t count;
    uint64_t header_size; /* 8 + n: where the tensors begin in the file */
    uint64_t data_size;   /* bytes of all tensors together */
};

/* Append the bytes before the tensors to `out`. Reads name, dtype, dims and shape of each entry, and fills in offset
 * and size, back to back in the given order. Equal entries give equal bytes. */
bool safetensors_header(struct tensor_entry *entries, size_t count, struct buffer *out, struct err *err);

/* 8 + n from the first SAFETENSORS_LENGTH bytes, at most UINT64_MAX; not checked. */
uint64_t safetensors_header_size(const void *bytes);

/* Parse the header of a file of `file_size` bytes. The first `size` bytes are at `bytes`, at least 8 + n of them.
 * Errors call the file `name`. */
bool safetensors_parse(const void *bytes, size_t size, uint64_t file_size, const char *name, struct safetensors *file,
                       struct err *err);

void safetensors_free(struct safetensors *file);

/* The entry of that name, or NULL. */
const struct tensor_entry *safetensors_find(const struct safetensors *file, const char *name);

#endif
