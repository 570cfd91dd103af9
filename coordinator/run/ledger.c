/* ledger.c - results by step; see ledger.h. */
#include "coordinator/run/ledger.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void ledger_begin(struct ledger *ledger, uint64_t first)
{
    ledger->first = first;
    ledger->count = 0;
}

void ledger_free(struct ledger *ledger)
{
    free(ledger->results);
    *ledger = (struct ledger){0};
}

uint64_t ledger_end(const struct ledger *ledger)
{
    return ledger->first + ledger->count;
}

static bool ledger_reserve(struct ledger *ledger, size_t count, struct err *err)
{
    if (count <= ledger->capacity)
        return true;
    struct step_result *grown = realloc(ledger->results, 2 * count * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the results of %zu steps", count);
    ledger->results = grown;
    ledger->capacity = 2 * count;
    return true;
}

bool ledger_put(struct ledger *ledger, uint64_t first_step, const struct step_result *results, uint32_t steps,
                struct err *err)
{
    if (!ledger_reserve(ledger, ledger->count + steps, err))
        return false;
    for (uint32_t i = 0; i < steps; i++) {
        uint64_t step = first_step + i, at = step - ledger->first;
        if (step < ledger->first)
            continue;
        if (at > ledger->count)
            return true;
        if (at == ledger->count)
            ledger->results[ledger->count++] = results[i];
        else if (memcmp(&ledger->results[at], &results[i], sizeof results[i]) != 0)
            return err_set(
                err, ERR_FAILED,
                "workers report different results for step %" PRIu64
                ": a loss of %.17g and of %.17g, a gradient norm of %.17g and of %.17g; their computations differ",
                step + 1, ledger->results[at].loss_sum, results[i].loss_sum, ledger->results[at].grad_norm,
                results[i].grad_norm);
    }
    return true;
}

void ledger_cut(struct ledger *ledger, uint64_t step)
{
    if (step < ledger->first)
        step = ledger->first;
    if (step < ledger_end(ledger))
        ledger->count = (size_t)(step - ledger->first);
}
