/* optimiser.h - from a gradient to the next parameters.
 *
 * Owns the moments: two arenas of the model's layout for Adam, none for SGD. One pass over memory applies the scale
 * (one over the batch's tokens, times the clip), the decay and the update. Of an embedding's gradient only the step's
 * rows can be other than zero, and only they enter the norm. Rows that no step has touched have zero moments too, so
 * without decay they are left out of the update, which changes no bit. Belongs to the compute thread; closed before the
 * model. */
#ifndef LSTMQ_OPTIMISER_H
#define LSTMQ_OPTIMISER_H

#include "worker/train/step_rows.h"

struct optimiser {
    const struct model *model; /* not owned */
    enum optimizer rule;
    double lr, decay;
    enum norm norm;
    double clip;          /* largest norm, 0 = none */
    float *m, *v;         /* arenas, backend memory; NULL for SGD */
    bool *touched;        /* [rows of all embeddings] in table order; NULL where every row is updated */
    float *gathered;      /* backend memory: a step's rows of one embedding's gradient, back to back */
    size_t gathered_size; /* floats */
};

bool optimiser_open(struct optimiser *optimiser, const struct model *model, const struct config *config,
                    struct err *err);
void optimiser_close(struct optimiser *optimiser);

/* As before the first update: moments zero, no row touched. */
void optimiser_reset(struct optimiser *optimiser);

/* After the moments were loaded: which rows have ever been touched. */
bool optimiser_find_touched(struct optimiser *optimiser, struct err *err);

/* One update, the t-th (from 1), with the gradient of a sum over `tokens` positions, which has the listed `rows` of the
 * embeddings. *norm is the norm of the mean gradient before clipping. With train.norm double it is the root of the
 * sum of sum_squares of each tensor in table order, of an embedding those of its listed rows back to back. */
bool optimiser_step(struct optimiser *optimiser, const float *gradient, const struct step_rows *rows, uint64_t t,
                    uint32_t tokens, double *norm, struct err *err);

#endif
