/* fault.c - fault_point in the normal program; see fault.h. */
#include "proto/base/fault.h"

void fault_point(const char *name)
{
    (void)name;
}
