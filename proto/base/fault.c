/* fault.c - fault_point and fault_text in the normal program; see fault.h. */
#include "proto/base/fault.h"

void fault_point(const char *name)
{
    (void)name;
}

void fault_text(const char *name, const char *bytes, size_t size)
{
    (void)name;
    (void)bytes;
    (void)size;
}
