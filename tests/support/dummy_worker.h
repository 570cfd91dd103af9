/* dummy_worker.h - what workers without a model say, for tests: who they are, and a state that is of no use. Pure
 * functions. */
#ifndef LSTMQ_TESTS_SUPPORT_DUMMY_WORKER_H
#define LSTMQ_TESTS_SUPPORT_DUMMY_WORKER_H

#include "proto/base/buffer.h"
#include "proto/store/safetensors.h"
#include "proto/wire/message.h"

#include <string.h>

/* A worker that comes for the first time, of the kind that all of them are. */
static inline struct hello dummy_hello(void)
{
    const struct text one = {"1", 1};
    return (struct hello){.build = one,
                          .backend = one,
                          .backend_version = one,
                          .isa = one,
                          .arithmetic = {"fp32-fma", 8},
                          .threads = 1,
                          .host = one};
}

/* Append a file in safetensors format: one tensor of so many float32, all zero. False and err where there is no
 * memory. */
static inline bool dummy_state(struct buffer *file, uint64_t elements, struct err *err)
{
    struct tensor_entry all = {.name = "all", .dtype = "F32", .dims = 1, .shape = {elements}};
    size_t size = (size_t)elements * sizeof(float);
    if (!safetensors_header(&all, 1, file, err))
        return false;
    void *data = buffer_reserve(file, size);
    if (data == NULL)
        return buffer_ok(file, err);
    memset(data, 0, size);
    file->size += size;
    return true;
}

#endif
