/* phase.h - where a step's time goes: one counter for each phase, moved on by reading the clock where a phase ends.
 *
 * A caller that wants to know hands a struct phases to its network (struct network's `phases`); everywhere else the
 * pointer is NULL and nothing is read. A phase's time is the caller's: on a device that works behind it, it is the time
 * to issue the work. Plain memory of one compute thread. */
#ifndef LSTMQ_PHASE_H
#define LSTMQ_PHASE_H

#include "kernels/sharing.h"
#include "proto/base/clock.h"

#include <stddef.h>

enum phase {
    PHASE_BATCH,               /* rows packed for the network                                   */
    PHASE_INPUT,               /* embeddings looked up and projected, both sides                */
    PHASE_RECURRENCE,          /* both sides, forward                                           */
    PHASE_LOGITS,              /* projection to the target vocabulary                           */
    PHASE_CROSS_ENTROPY,       /* loss and its gradient                                         */
    PHASE_PROJECTION_GRADIENT, /* of the projection's weights, bias and input                   */
    PHASE_RECURRENCE_BACKWARD, /* both sides                                                    */
    PHASE_INPUT_GRADIENT,      /* of recurrent and input weights, bias and embedding            */
    PHASE_UPDATE,              /* norm, clip, optimiser                                         */
    PHASES
};

struct phases {
    int64_t ns[PHASES];
    int64_t last; /* when the phase before ended */
    /* Where a backend counts for us (its `watch`): how each phase's work was shared out; else NULL, and not touched. */
    const struct sharing *watched;
    struct sharing sharing[PHASES], before;
};

/* The time from here to the next phase_end is that phase's. */
static inline void phase_begin(struct phases *phases)
{
    if (phases == NULL)
        return;
    if (phases->watched != NULL)
        phases->before = *phases->watched;
    phases->last = clock_ns();
}

/* What was counted since the phase before belongs to this one. */
static inline void phase_share(struct phases *phases, enum phase phase)
{
    struct sharing now = *phases->watched, *sum = &phases->sharing[phase];
    const struct sharing *before = &phases->before;
    sum->jobs += now.jobs - before->jobs;
    sum->parts += now.parts - before->parts;
    sum->inside_ns += now.inside_ns - before->inside_ns;
    sum->work_ns += now.work_ns - before->work_ns;
    sum->longest_ns += now.longest_ns - before->longest_ns;
    phases->before = now;
}

static inline void phase_end(struct phases *phases, enum phase phase)
{
    if (phases == NULL)
        return;
    int64_t now = clock_ns();
    phases->ns[phase] += now - phases->last;
    phases->last = now;
    if (phases->watched != NULL)
        phase_share(phases, phase);
}

#endif
