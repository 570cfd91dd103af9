/* branch.c - where generations began; see branch.h. */
#include "coordinator/cluster/branch.h"

#include <string.h>

void branch_begin(struct branch *branch, uint64_t generation, uint64_t step)
{
    while (branch->count > 0 && branch->starts[branch->count - 1].step >= step)
        branch->count--;
    if (branch->count == BRANCH_STARTS) {
        branch->forgotten = branch->starts[0].generation;
        memmove(branch->starts, branch->starts + 1, --branch->count * sizeof branch->starts[0]);
    }
    branch->starts[branch->count++] = (struct branch_start){.generation = generation, .step = step};
}

/* Steps rise with generations, so the first one after `generation` began at the lowest step. */
bool branch_has(const struct branch *branch, uint64_t generation, uint64_t step)
{
    size_t i = 0;
    if (branch->forgotten > 0 && generation < branch->forgotten)
        return false;
    while (i < branch->count && branch->starts[i].generation <= generation)
        i++;
    return i == branch->count || step <= branch->starts[i].step;
}
