/* The library's own GEMM, which bench compares ours with, computes the same; and leaves no threads. */
#include "kernels/backend.h"
#include "kernels/measure.h"

#include "proto/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { M = 37, N = 70, K = 45 };

static float *matmul_operand(struct backend *backend, size_t count, uint64_t seed)
{
    struct err err = {0};
    float *operand = backend->op->alloc(backend, count * sizeof(float), &err);
    assert_non_null(operand);
    for (size_t i = 0; i < count; i++)
        operand[i] = (float)(int32_t)splitmix(seed * 1000003 + i) / 2147483648.0f;
    return operand;
}

/* The largest difference between the library's product and ours. */
static double matmul_difference(struct backend *backend, bool transpose_a, bool transpose_b, bool bias, bool packed)
{
    struct err err = {0};
    float *a = matmul_operand(backend, M * K, 1), *b = matmul_operand(backend, K * N, 2),
          *row = matmul_operand(backend, N, 3);
    float *ours = matmul_operand(backend, M * N, 4), *theirs = matmul_operand(backend, M * N, 5);
    struct gemm gemm = {.M = M, .N = N, .K = K, .a = a, .b = b, .bias = bias ? row : NULL, .c = ours};
    gemm.transpose_a = transpose_a;
    gemm.transpose_b = transpose_b;
    backend->op->gemm(backend, &gemm);
    gemm.c = theirs;
    struct matmul *matmul = backend->op->measure->matmul_open(backend, &gemm, packed, &err);
    if (matmul == NULL || !backend->op->measure->matmul_run(matmul, &err) || !backend->op->check(backend, &err))
        fail_msg("%s", err.text);
    backend->op->measure->matmul_close(&matmul);
    assert_null(matmul);
    double worst = 0;
    for (int i = 0; i < M * N; i++)
        worst = fmax(worst, fabs((double)ours[i] - (double)theirs[i]));
    float *memory[] = {a, b, row, ours, theirs};
    for (int i = 0; i < 5; i++)
        backend->op->free(backend, memory[i]);
    return worst;
}

static void matmul_all(enum precision precision, double limit)
{
    struct err err = {0};
    struct backend *backend = backend_open("cpu", 2, precision, &err);
    if (backend == NULL && precision == PRECISION_BF16) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
    assert_non_null(backend);
    for (int i = 0; i < 16; i++) {
        double worst = matmul_difference(backend, i & 1, i & 2, i & 4, i & 8);
        if (worst > limit)
            fail_msg("case %d differs by %g", i, worst);
    }
    backend_close(&backend);
}

static void the_librarys_product_is_ours(void **state)
{
    (void)state;
    matmul_all(PRECISION_FP32, 1e-5);
}

static void argmax_in_bf16_is_that_of_all_logits(void **state)
{
    (void)state;
    matmul_all(PRECISION_BF16, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_librarys_product_is_ours),
        cmocka_unit_test(argmax_in_bf16_is_that_of_all_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
