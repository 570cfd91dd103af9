/* ledger.h - the result of each step of the epoch.
 *
 * Every rank reports the same results for the same step, sometimes more than once, and a rank may die before its report
 * arrives. So results are stored by step: the first report of a step counts, and every later one must be equal. They
 * cover every step from `first`, where the run's state was last saved, to ledger_end. The coordinator owns it from
 * ledger_begin to ledger_free. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_LEDGER_H
#define LSTMQ_COORDINATOR_RUN_LEDGER_H

#include "proto/base/err.h"
#include "proto/base/step_result.h"

#include <stddef.h>

struct ledger {
    uint64_t first;              /* step of results[0] */
    struct step_result *results; /* [count] */
    size_t count, capacity;
};

/* Forget all results; the next one is for step `first`. */
void ledger_begin(struct ledger *ledger, uint64_t first);
void ledger_free(struct ledger *ledger);

/* The first step without a result: the number of known steps of the run. */
uint64_t ledger_end(const struct ledger *ledger);

/* Store the results of steps first_step..first_step+steps-1. Results that are older than the ledger, or leave a gap,
 * are ignored. ERR_FAILED: a result differs from an earlier report of the step, so the workers do not compute the
 * same. */
bool ledger_put(struct ledger *ledger, uint64_t first_step, const struct step_result *results, uint32_t steps,
                struct err *err);

/* Forget the results of `step` and later, which will be done again. */
void ledger_cut(struct ledger *ledger, uint64_t step);

#endif
