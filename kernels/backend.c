/* backend.c - which backend a device name stands for. */
#include "kernels/backend.h"

#include "kernels/cpu/cpu.h"

#include <stdio.h>
#include <string.h>

struct backend *backend_open(const char *device, int threads, enum precision precision, struct err *err)
{
    if (strcmp(device, "cpu") != 0) {
        err_set(err, ERR_USAGE, "train.device %s is not known: this build has cpu", device);
        return NULL;
    }
    return cpu_open(threads, precision, err);
}

void backend_close(struct backend **backend)
{
    struct backend *gone = *backend;
    *backend = NULL;
    if (gone != NULL)
        gone->op->close(gone);
}

const char *backend_describe(void)
{
    static char text[128];
    char cpu[96];
    cpu_describe(cpu, sizeof cpu);
    snprintf(text, sizeof text, "%s; plug-ins: none", cpu);
    return text;
}
