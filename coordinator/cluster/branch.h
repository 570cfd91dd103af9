/* branch.h - which of the states that workers hold belong to this run.
 *
 * With train.reduce exact there is one state for a step, whichever workers computed it. In floats the last bits of sums
 * depend on the ranks, which change from generation to generation. A worker may finish a step and be lost before it
 * reports it; the others then compute that step again, and the worker's state differs from theirs. So a state is named
 * by its generation and its step. It belongs to the run as long as no later generation began before that step.
 *
 *   generation 1   0---1---2---3---4        4 was finished by a worker that was lost
 *   generation 2               3---4---5    began at 3: the state (1, 3) belongs to the run, (1, 4) does not
 *
 * Owned by the fleet, from its first generation to its end. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_BRANCH_H
#define LSTMQ_COORDINATOR_CLUSTER_BRANCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BRANCH_STARTS = 64 };

struct branch_start {
    uint64_t generation, step;
};

/* All zero: no generation has begun. */
struct branch {
    struct branch_start
        starts[BRANCH_STARTS]; /* [count] both rising: a later one that begins earlier replaces those before */
    size_t count;
    uint64_t forgotten; /* of earlier generations no start is known any more */
};

/* Generation `generation`, above all before, begins with the state after `step` steps. */
void branch_begin(struct branch *branch, uint64_t generation, uint64_t step);

/* Whether the state after `step` steps, as of `generation`, belongs to the run. True of generations before the first
 * that began here, until one begins; false of those whose starts were forgotten. */
bool branch_has(const struct branch *branch, uint64_t generation, uint64_t step);

#endif
