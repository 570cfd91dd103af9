/* job_clock.h - measures the parts of a team's jobs, for kernels/sharing.h.
 *
 * A team that counts owns one. Any of its threads reports parts, each thread other ones; only the caller begins and
 * ends jobs. */
#ifndef LSTMQ_KERNELS_CPU_JOB_CLOCK_H
#define LSTMQ_KERNELS_CPU_JOB_CLOCK_H

#include "kernels/sharing.h"
#include "proto/base/err.h"

#include <stdint.h>

struct job_clock;

/* It adds to `sharing`, which outlives it. NULL and err when there is no memory. */
struct job_clock *job_clock_open(struct sharing *sharing, int threads, struct err *err);
void job_clock_close(struct job_clock **clock);

void job_clock_begin(struct job_clock *clock, int parts);
/* The last begun job is done; at most `threads` threads shared it. */
void job_clock_end(struct job_clock *clock, int threads, int parts);

/* Processor time of the calling thread, ns. */
int64_t job_clock_now(void);
/* `part` took `ns` of processor time. */
void job_clock_part(struct job_clock *clock, int part, int64_t ns);

#endif
