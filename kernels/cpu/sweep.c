/* sweep.c - read memory as fast as the team can: bench compares decoding with it. */
#include "kernels/cpu/cpu.h"

#include <stdatomic.h>
#include <string.h>

/* Each thread reads the same part in every call, so that it stays in a cache that holds it. */
struct sweep {
    const struct cpu *cpu;
    const char *memory;
    size_t blocks;
    atomic_uint_least64_t seen; /* so that the compiler keeps every read */
};

typedef uint64_t line __attribute__((vector_size(64)));

enum { LINES = 8 };

/* The bitwise or of all lines; eight chains at once, so that none waits for another. */
static inline __attribute__((always_inline)) uint64_t sweep_read(const char *memory, size_t blocks)
{
    line all[LINES] = {{0}};
    for (size_t i = 0; i < blocks; i++)
        for (int j = 0; j < LINES; j++) {
            line next;
            memcpy(&next, memory + (i * LINES + (size_t)j) * sizeof next, sizeof next);
            all[j] |= next;
        }
    line seen = {0};
    for (int j = 0; j < LINES; j++)
        seen |= all[j];
    return seen[0] | seen[1] | seen[2] | seen[3] | seen[4] | seen[5] | seen[6] | seen[7];
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static uint64_t sweep_read_wide(const char *memory, size_t blocks)
{
    return sweep_read(memory, blocks);
}
#endif

static uint64_t sweep_read_plain(const char *memory, size_t blocks)
{
    return sweep_read(memory, blocks);
}

static void sweep_part(void *context, int thread, int part, int parts)
{
    struct sweep *sweep = context;
    size_t first = sweep->blocks * (size_t)part / (size_t)parts,
           last = sweep->blocks * ((size_t)part + 1) / (size_t)parts;
    const char *memory = sweep->memory + first * LINES * sizeof(line);
    uint64_t (*read)(const char *, size_t) = sweep_read_plain;
    (void)thread;
#if defined(__x86_64__)
    if (strcmp(sweep->cpu->vector->isa, "avx512") == 0)
        read = sweep_read_wide;
#endif
    sweep->seen |= read(memory, last - first);
}

void cpu_sweep(struct backend *self, const void *memory, size_t bytes)
{
    struct cpu *cpu = (struct cpu *)self;
    struct sweep sweep = {.cpu = cpu, .memory = memory, .blocks = bytes / (LINES * sizeof(line))};
    int threads = team_threads(cpu->team);
    team_run(cpu->team, threads, threads, sweep_part, &sweep);
}
