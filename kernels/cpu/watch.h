/* watch.h - the counting behind kernels/sharing.h: processor time of each part of a job, and what follows from it.
 *
 * A team that is watched owns one. Any of its threads notes parts, each another one; only the caller begins and ends
 * jobs. */
#ifndef LSTMQ_WATCH_H
#define LSTMQ_WATCH_H

#include "kernels/sharing.h"
#include "proto/base/err.h"

#include <stdint.h>

struct watch;

/* Counts are added to `sharing`, which outlives it. NULL and err when there is no memory. */
struct watch *watch_open(struct sharing *sharing, int threads, struct err *err);
void watch_close(struct watch **watch);

void watch_begin(struct watch *watch, int parts);
/* The job that began last is done, by `threads` threads at most. */
void watch_end(struct watch *watch, int threads, int parts);

/* Processor time of the calling thread, ns. */
int64_t watch_now(void);
/* `part` took `ns` of it. */
void watch_part(struct watch *watch, int part, int64_t ns);

#endif
