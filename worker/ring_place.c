/* ring_place.c - see ring_place.h. */
#include "worker/ring_place.h"

#include "proto/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CIRCLE = 96, BOOT = 8 };

/* How a place begins that can be reached from here. What cannot be read of the machine counts as the same everywhere. */
static void s_circle(char text[CIRCLE])
{
    char boot[BOOT + 1] = "";
    struct stat space = {0};
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        boot[fread(boot, 1, BOOT, file)] = '\0';
        fclose(file);
    }
    if (stat("/proc/self/ns/net", &space) != 0)
        space.st_ino = 0;
    snprintf(text, CIRCLE, "ipc://@lstmq-ring-%s-%ju-%ju-", boot, (uintmax_t)space.st_ino, (uintmax_t)geteuid());
}

void ring_place(const char *bind, const void *ring, uint64_t generation, char *text, size_t size)
{
    const char *colon = strrchr(bind, ':');
    char circle[CIRCLE];
    if (strcmp(bind, "ipc://") == 0) {
        snprintf(text, size, "ipc://*");
    } else if (strcmp(bind, "ipc://@") == 0) {
        s_circle(circle);
        snprintf(text, size, "%s%ld-%" PRId64, circle, (long)getpid(), clock_ns());
    } else if (strcmp(bind, "inproc://") == 0) {
        snprintf(text, size, "inproc://ring-%p-%" PRIu64, ring, generation);
    } else if (strncmp(bind, "tcp://", 6) == 0 && (colon == bind + 3 || strchr(colon, ']') != NULL)) {
        snprintf(text, size, "%s:*", bind);
    } else {
        snprintf(text, size, "%s", bind);
    }
}

bool ring_place_check(const char *endpoint, uint32_t rank, struct err *err)
{
    static const char local[] = "ipc://@lstmq-ring-";
    char circle[CIRCLE];
    s_circle(circle);
    if (strncmp(endpoint, local, sizeof local - 1) != 0 || strncmp(endpoint, circle, strlen(circle)) == 0)
        return true;
    return err_set(
        err, ERR_USAGE,
        "rank %u can only be reached by workers of its user, machine and network namespace, since it reaches "
        "the coordinator by loopback: start it with --worker.bind ADDRESS, or connect it by another address",
        rank);
}
