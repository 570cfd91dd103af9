/* fault.c - the fault_point of the program that people use; see fault.h. */
#include "proto/base/fault.h"

void fault_point(const char *name)
{
    (void)name;
}
