/* vector.c - the tables of row kernels that this machine can run, and the choice of one. */
#include "kernels/cpu/vector.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
extern const struct vector_table vector_avx512, vector_avx2;
#endif

/* Best first. A machine that can run one can run all that follow, so its tables are a tail of this list. */
static const struct vector_table *const vector_each_table[] = {
#if defined(__x86_64__)
    &vector_avx512,
    &vector_avx2,
#endif
    &vector_scalar,
};

enum { TABLES = sizeof vector_each_table / sizeof vector_each_table[0] };

/* How many tables at the beginning of vector_each_table this machine cannot run. */
static size_t vector_beyond(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 1;
#endif
    return 0;
}

const struct vector_table *const *vector_tables(size_t *count)
{
    const size_t beyond = vector_beyond();
    *count = TABLES - beyond;
    return vector_each_table + beyond;
}

const struct vector_table *vector_best(struct err *err)
{
    size_t count;
    const struct vector_table *const *tables = vector_tables(&count);
    const char *wanted = getenv("LSTMQ_ISA");
    if (wanted == NULL || wanted[0] == '\0')
        return tables[0];
    for (size_t i = 0; i < count; i++)
        if (strcmp(tables[i]->isa, wanted) == 0)
            return tables[i];

    char known[64] = "";
    for (size_t i = 0; i < count; i++) {
        strncat(known, i > 0 ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, tables[i]->isa, sizeof known - strlen(known) - 1);
    }
    err_set(err, ERR_USAGE, "LSTMQ_ISA=%s: this machine runs %s; unset it to take the first", wanted, known);
    return NULL;
}
