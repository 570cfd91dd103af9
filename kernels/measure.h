/* measure.h - what `lstmq bench` measures a device by: an optional part of a backend's table.
 *
 * No model is computed with these. A device that has nothing of the kind has no such table: backend->op->measure is
 * NULL. */
#ifndef LSTMQ_KERNELS_MEASURE_H
#define LSTMQ_KERNELS_MEASURE_H

#include "kernels/backend.h"
#include "kernels/sharing.h"

struct matmul; /* a GEMM of the vendor's library */

struct measure_table {
    /* Read `bytes` bytes (a multiple of 512). Each thread reads a part of its own. */
    void (*sweep)(struct backend *self, const void *memory, size_t bytes);

    /* C = A B (+ bias) as the vendor's library computes it by default: whole matrices, its own threads (as many as the
     * backend has), an order of sums of its choosing. `prepacked`: B is reordered beforehand. In bf16 both factors are
     * rounded beforehand. The matrices stay in place until matmul_close. NULL and err when the library cannot. */
    struct matmul *(*matmul_open)(struct backend *self, const struct gemm *gemm, bool prepacked, struct err *err);
    bool (*matmul_run)(struct matmul *matmul, struct err *err);
    void (*matmul_close)(struct matmul **matmul);

    /* Add to `sharing` from now on; NULL ends it. False and err when there is no memory. */
    bool (*count_sharing)(struct backend *self, struct sharing *sharing, struct err *err);
    /* Wake every thread and wait for all, without work: the cost of sharing. */
    void (*call_all)(struct backend *self);
};

#endif
