/* ring_memory.c - see ring_memory.h.
 *
 * An anonymous file of
 *
 *   at      what
 *      0    place, as text, by which a sender knows that it found what it was looking for
 *    256    u32 for each tray: 1 = filled, set by the sender; 0 = empty, set by the receiver
 *   4096    trays, RING_CHUNK bytes each
 *
 * Its descriptor stays open in the receiver; place ends with "-PID-CLOCK-DESCRIPTOR". */
#include "worker/collective/ring_memory.h"

#include "worker/collective/ring_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* As the system shows it among a process's descriptors: "/memfd:NAME (deleted)". */
#define NAME "lstmq-ring"

/* The kernel adds it if vm.memfd_noexec is set. An older libc does not define it. */
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

enum { TRAYS_AT = 4096, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };
static const size_t SIZE = TRAYS_AT + (size_t)RING_TRAYS * RING_CHUNK;

struct shared {
    char place[COLLECTIVE_ENDPOINT];
    _Atomic uint32_t filled[RING_TRAYS];
};
_Static_assert(sizeof(struct shared) <= TRAYS_AT, "trays begin behind their marks");

struct ring_memory {
    int file;
    struct shared *shared;
};

static uint8_t *ring_memory_tray(const struct ring_memory *memory, uint32_t tray)
{
    return (uint8_t *)memory->shared + TRAYS_AT + (size_t)tray * RING_CHUNK;
}

/* Takes over the descriptor, which may be -1. */
static struct ring_memory *ring_memory_map(int file)
{
    struct ring_memory *memory = malloc(sizeof *memory);
    void *at = file >= 0 ? mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    if (memory == NULL || at == MAP_FAILED) {
        if (at != MAP_FAILED)
            munmap(at, SIZE);
        if (file >= 0)
            close(file);
        free(memory);
        return NULL;
    }
    *memory = (struct ring_memory){.file = file, .shared = at};
    return memory;
}

struct ring_memory *ring_memory_new(char *place, size_t size)
{
    char more[16];
    int file = memfd_create(NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file >= 0 && (ftruncate(file, (off_t)SIZE) != 0 || fcntl(file, F_ADD_SEALS, SEALS) != 0)) {
        close(file);
        return NULL;
    }
    struct ring_memory *memory = ring_memory_map(file);
    size_t length = strlen(place), added = (size_t)snprintf(more, sizeof more, "-%d", file);
    if (memory != NULL && (length + added >= size || length + added >= sizeof memory->shared->place))
        ring_memory_destroy(&memory);
    if (memory == NULL)
        return NULL;
    memcpy(place + length, more, added + 1);
    memcpy(memory->shared->place, place, length + added + 1);
    return memory;
}

/* The number between *end and the dash before it, to which *end is moved. -1 = no number. */
static long long ring_memory_number(const char *place, const char **end)
{
    const char *at = *end;
    while (at > place && at[-1] >= '0' && at[-1] <= '9')
        at--;
    if (at == *end || at == place || at[-1] != '-')
        return -1;
    *end = at - 1;
    return strtoll(at, NULL, 10);
}

/* The numbers at the end of a place, its process and descriptor. */
static bool ring_memory_read(const char *place, long long *process, long long *file)
{
    const char *end = place + strlen(place);
    *file = ring_memory_number(place, &end);
    *process = *file >= 0 && ring_memory_number(place, &end) >= 0 ? ring_memory_number(place, &end) : -1;
    return *process > 0;
}

/* A descriptor of another process, when that is the memory of a ring and nothing else: others are not so much as
 * opened. */
static int ring_memory_open(long long process, long long file)
{
    char path[64], name[64];
    struct stat stat;
    snprintf(path, sizeof path, "/proc/%lld/fd/%lld", process, file);
    ssize_t length = readlink(path, name, sizeof name - 1);
    name[length < 0 ? 0 : length] = '\0';
    if (strcmp(name, "/memfd:" NAME " (deleted)") != 0)
        return -1;
    int found = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int seals = found >= 0 ? fcntl(found, F_GET_SEALS) : -1;
    bool sealed = seals == SEALS || seals == (SEALS | F_SEAL_EXEC);
    if (found >= 0 && (!sealed || fstat(found, &stat) != 0 || stat.st_size != (off_t)SIZE)) {
        close(found);
        return -1;
    }
    return found;
}

struct ring_memory *ring_memory_find(const char *place)
{
    long long process, file;
    if (!ring_memory_read(place, &process, &file))
        return NULL;
    struct ring_memory *memory = ring_memory_map(ring_memory_open(process, file));
    /* Its maker has long written it when it tells its place. */
    if (memory != NULL && strncmp(memory->shared->place, place, sizeof memory->shared->place) != 0)
        ring_memory_destroy(&memory);
    return memory;
}

void ring_memory_destroy(struct ring_memory **memory)
{
    if (*memory == NULL)
        return;
    munmap((*memory)->shared, SIZE);
    close((*memory)->file);
    free(*memory);
    *memory = NULL;
}

bool ring_memory_put(struct ring_memory *memory, const void *elements, size_t bytes, uint32_t *tray)
{
    /* The first that is free was emptied last, and lies in a cache. */
    for (*tray = 0; *tray < RING_TRAYS; ++*tray) {
        _Atomic uint32_t *filled = &memory->shared->filled[*tray];
        if (atomic_load_explicit(filled, memory_order_acquire) != 0)
            continue;
        memcpy(ring_memory_tray(memory, *tray), elements, bytes);
        atomic_store_explicit(filled, 1, memory_order_release);
        return true;
    }
    return false;
}

const void *ring_memory_at(const struct ring_memory *memory, uint32_t tray)
{
    bool there = tray < RING_TRAYS && atomic_load_explicit(&memory->shared->filled[tray], memory_order_acquire) == 1;
    return there ? ring_memory_tray(memory, tray) : NULL;
}

void ring_memory_empty(struct ring_memory *memory, uint32_t tray)
{
    atomic_store_explicit(&memory->shared->filled[tray], 0, memory_order_release);
}
