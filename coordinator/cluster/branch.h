/* branch.h - which of the states that workers hold are of this run's course.
 *
 * With train.reduce exact there is one state for a step, whoever computed it. In floats sums differ in their last bits from
 * generation to generation, as ranks do; so a worker that finished a step of which the others never heard, and who did it
 * again without that worker, stands where nobody else does. A state is therefore named by its generation and its step, and
 * is of the course as long as no later generation began before that step.
 *
 *   generation 1   0---1---2---3---4        4 was finished by a worker that was lost
 *   generation 2               3---4---5    began at 3: the state (1, 3) is of the course, (1, 4) is not
 *
 * Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_BRANCH_H
#define LSTMQ_COORDINATOR_CLUSTER_BRANCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BRANCH_STARTS = 64 };

struct branch_start {
    uint64_t generation, step;
};

/* Zeroed: of no generation anything is known. */
struct branch {
    struct branch_start
        starts[BRANCH_STARTS]; /* [count] both rising: a later one that begins earlier replaces those before */
    size_t count;
    uint64_t forgotten; /* of the states of generations before this one nothing is known any more */
};

/* Generation `generation`, above all before, begins with the state after `step` steps. */
void branch_begin(struct branch *branch, uint64_t generation, uint64_t step);

/* Whether the state after `step` steps, as of `generation`, is of the course. Of generations before the first that began
 * here everything is until one begins; of those long forgotten nothing. */
bool branch_has(const struct branch *branch, uint64_t generation, uint64_t step);

#endif
