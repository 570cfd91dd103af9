/* collective.c - the calls that every collective has in common; see collective.h. */
#include "kernels/collective.h"

void collective_close(struct collective **collective)
{
    struct collective *closed = *collective;
    *collective = NULL;
    if (closed != NULL)
        closed->op->close(closed);
}

bool collective_sum(struct collective *collective, enum collective_element element, void *data, size_t count,
                    struct err *err)
{
    uint64_t handle = 0;
    return collective->op->all_reduce(collective, element, data, count, &handle, err) &&
           collective->op->wait(collective, handle, err);
}
