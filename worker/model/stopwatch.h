/* stopwatch.h - where a step's time goes: one counter for each lap, which ends where the clock is read.
 *
 * A caller that wants to know gives its network a struct stopwatch. Everywhere else that pointer is NULL, and nothing
 * is read. A lap's time is the caller's: on a device that works behind the caller, it is the time to issue the work.
 * Plain memory of one compute thread. */
#ifndef LSTMQ_WORKER_MODEL_STOPWATCH_H
#define LSTMQ_WORKER_MODEL_STOPWATCH_H

#include "kernels/sharing.h"
#include "proto/base/clock.h"

#include <stddef.h>

enum lap {
    LAP_BATCH,               /* rows packed for the network                                 */
    LAP_INPUT,               /* embeddings looked up and projected, both sides              */
    LAP_RECURRENCE,          /* both sides, forward                                         */
    LAP_LOGITS,              /* projection to the target vocabulary                         */
    LAP_CROSS_ENTROPY,       /* loss and its gradient                                       */
    LAP_PROJECTION_GRADIENT, /* of the projection's weights, bias and input                 */
    LAP_RECURRENCE_BACKWARD, /* both sides                                                  */
    LAP_INPUT_GRADIENT,      /* of recurrent and input weights, bias and embedding          */
    LAP_UPDATE,              /* norm, clip, update                                          */
    LAPS
};

struct stopwatch {
    int64_t ns[LAPS];
    int64_t last; /* when the lap before ended */
    /* Where the backend counts (its `watch`): how each lap's work was shared among threads. Else NULL. */
    const struct sharing *watched;
    struct sharing sharing[LAPS], before;
};

/* The next lap begins here. */
static inline void stopwatch_start(struct stopwatch *stopwatch)
{
    if (stopwatch == NULL)
        return;
    if (stopwatch->watched != NULL)
        stopwatch->before = *stopwatch->watched;
    stopwatch->last = clock_ns();
}

/* Add what the backend counted since the lap before to this one. */
static inline void stopwatch_share(struct stopwatch *stopwatch, enum lap lap)
{
    struct sharing now = *stopwatch->watched, *sum = &stopwatch->sharing[lap];
    const struct sharing *before = &stopwatch->before;
    sum->jobs += now.jobs - before->jobs;
    sum->parts += now.parts - before->parts;
    sum->inside_ns += now.inside_ns - before->inside_ns;
    sum->work_ns += now.work_ns - before->work_ns;
    sum->longest_ns += now.longest_ns - before->longest_ns;
    stopwatch->before = now;
}

/* The lap ends here, and the next one begins. */
static inline void stopwatch_lap(struct stopwatch *stopwatch, enum lap lap)
{
    if (stopwatch == NULL)
        return;
    int64_t now = clock_ns();
    stopwatch->ns[lap] += now - stopwatch->last;
    stopwatch->last = now;
    if (stopwatch->watched != NULL)
        stopwatch_share(stopwatch, lap);
}

#endif
