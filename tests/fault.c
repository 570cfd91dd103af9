/* fault.c - fault_point and fault_text of lstmq-faults: see proto/base/fault.h. An object of the program's own comes
 * before what lies in a library, so that everything else is the very code of lstmq. */
#include "proto/base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic long fault_passed;

void fault_point(const char *name)
{
    const char *wanted = getenv("LSTMQ_FAULT");
    size_t length = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, length) != 0 || (wanted[length] != '\0' && wanted[length] != ':'))
        return;
    long due = wanted[length] == ':' ? strtol(wanted + length + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&fault_passed, 1) + 1 == due)
        raise(SIGKILL);
}

void fault_text(const char *name, const char *bytes, size_t size)
{
    const char *wanted = getenv("LSTMQ_FAULT");
    size_t length = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, length) != 0 || wanted[length] != '=')
        return;
    if (memmem(bytes, size, wanted + length + 1, strlen(wanted + length + 1)) != NULL)
        raise(SIGKILL);
}
