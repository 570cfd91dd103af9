/* phase.h - where a step's time goes: one counter for each phase, moved on by reading the clock where a phase ends.
 *
 * A caller that wants to know hands a struct phases to its network (struct network's `phases`); everywhere else the
 * pointer is NULL and nothing is read. A phase's time is the caller's: on a device that works behind it, it is the time
 * to issue the work. Plain memory of one compute thread. */
#ifndef LSTMQ_PHASE_H
#define LSTMQ_PHASE_H

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
};

/* The time from here to the next phase_end is that phase's. */
static inline void phase_begin(struct phases *phases)
{
    if (phases != NULL)
        phases->last = clock_ns();
}

static inline void phase_end(struct phases *phases, enum phase phase)
{
    if (phases == NULL)
        return;
    int64_t now = clock_ns();
    phases->ns[phase] += now - phases->last;
    phases->last = now;
}

#endif
