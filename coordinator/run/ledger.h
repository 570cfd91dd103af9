/* ledger.h - what each step of the epoch came to.
 *
 * Every rank reports the same results for the same step, some of them more than once, and a rank may be gone before its
 * report was heard. So results are put down by step: whoever says one first is believed, whoever says it again must say
 * the same. They lie without a gap from `first`, the step at which the run's state was last written down, to
 * ledger_end. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_LEDGER_H
#define LSTMQ_COORDINATOR_RUN_LEDGER_H

#include "proto/wire/message.h"

struct ledger {
    uint64_t first;              /* step that results[0] is of */
    struct step_result *results; /* [count] */
    size_t count, capacity;
};

/* Forget all results; the next one is that of step `first`. */
void ledger_begin(struct ledger *ledger, uint64_t first);
void ledger_free(struct ledger *ledger);

/* The first step whose result is not known: as many steps of the run are. */
uint64_t ledger_end(const struct ledger *ledger);

/* Put down the results of steps first_step..first_step+steps-1. What is older than the ledger, or leaves a gap, is
 * passed over. ERR_FAILED when a result differs from what was said before of the same step: the workers do not compute
 * the same thing. */
bool ledger_put(struct ledger *ledger, uint64_t first_step, const struct step_result *results, uint32_t steps,
                struct err *err);

/* Forget the results of `step` and later: they will be done again. */
void ledger_cut(struct ledger *ledger, uint64_t step);

#endif
