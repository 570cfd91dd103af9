/* fma.c - the table of GEMM tiles that goes with each table of row kernels. */
#include "kernels/cpu/gemm/fma.h"

#include <string.h>

#if defined(__x86_64__)
extern const struct fma_table fma_avx512, fma_avx2;
#endif

static const struct fma_table *const fma_tables[] = {
#if defined(__x86_64__)
    &fma_avx512,
    &fma_avx2,
#endif
    NULL,
};

const struct fma_table *fma_table(const char *isa)
{
    const struct fma_table *const *table = fma_tables;
    while (*table != NULL && strcmp((*table)->isa, isa) != 0)
        table++;
    return *table;
}
