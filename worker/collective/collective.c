/* collective.c - what every collective does alike; see collective.h. */
#include "worker/collective/collective.h"

void collective_close(struct collective **collective)
{
    struct collective *gone = *collective;
    *collective = NULL;
    if (gone != NULL)
        gone->op->close(gone);
}

bool collective_sum(struct collective *collective, enum collective_element element, void *data, size_t count,
                    struct err *err)
{
    uint64_t handle = 0;
    return collective->op->all_reduce(collective, element, data, count, &handle, err) &&
           collective->op->wait(collective, handle, err);
}
