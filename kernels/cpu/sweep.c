/* sweep.c - reading memory as fast as the team can, for what bench says of the share of it that decoding reaches. */
#include "kernels/cpu/cpu.h"

#include <stdatomic.h>
#include <string.h>

/* Each thread reads a part of its own, again and again from call to call, so that it stays where it fits. */
struct sweep {
    const struct cpu *cpu;
    const char *memory;
    size_t blocks;
    atomic_uint_least64_t seen; /* so that no read can be left out */
};

typedef uint64_t line __attribute__((vector_size(64)));

enum { LINES = 8 };

/* All lines together by or; eight side by side, so that none waits for another. */
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
