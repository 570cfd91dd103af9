/* step_result.h - the result of one training step, equal on every rank.
 *
 * Sums over the whole batch. A worker computes it, REPORT carries it in this layout (PROTOCOL.md), and the
 * coordinator's ledger and journal store it. Plain memory; any thread. */
#ifndef LSTMQ_PROTO_BASE_STEP_RESULT_H
#define LSTMQ_PROTO_BASE_STEP_RESULT_H

#include <stdint.h>

struct step_result {
    double loss_sum;  /* of the target tokens' losses */
    double grad_norm; /* of the batch's mean gradient, before clipping */
    uint32_t tokens;  /* target tokens */
    uint32_t correct; /* target tokens that have the largest logit */
};

#endif
