/* sharing.h - how operations share their work among threads, counted for `lstmq bench`.
 *
 * An operation starts jobs, a job is cut into parts, and a thread takes part after part. The counts describe the cut.
 * So a team with more threads than this machine has cores shows how it would share its work on a machine that has them:
 * other programs do not change the processor time of a part, except through the caches.
 *
 * Plain memory of the thread that calls the operations. */
#ifndef LSTMQ_KERNELS_SHARING_H
#define LSTMQ_KERNELS_SHARING_H

#include <stdint.h>

struct sharing {
    uint64_t jobs;      /* that more than one thread shared                                                         */
    uint64_t parts;     /* of those jobs                                                                            */
    int64_t inside_ns;  /* wall time of all jobs, those of one thread included                                      */
    int64_t work_ns;    /* processor time of all their parts                                                        */
    int64_t longest_ns; /* the time of the thread that ends last, if each thread had its own core; summed over jobs */
};

#endif
