/* sharing.h - how the work of operations was shared out over threads, counted while somebody watches.
 *
 * An operation hands out jobs, a job is cut into parts, and a thread takes part after part. What is counted is the cut
 * itself, so that a team of more threads than this machine has cores shows how it would share its work out on a machine
 * that has them: processor time of parts does not depend on who else runs meanwhile, but for what they do to the caches.
 * Plain memory of the thread that calls the operations. */
#ifndef LSTMQ_SHARING_H
#define LSTMQ_SHARING_H

#include <stdint.h>

struct sharing {
    uint64_t jobs;      /* handed to more than one thread                                                         */
    uint64_t parts;     /* of those jobs                                                                          */
    int64_t inside_ns;  /* wall time of all jobs, those of one thread included                                    */
    int64_t work_ns;    /* processor time of all their parts                                                      */
    int64_t longest_ns; /* of each job that of the thread that ends last, had each thread a core of its own; summed */
};

#endif
