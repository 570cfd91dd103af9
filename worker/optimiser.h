/* optimiser.h - from a gradient to the next parameters.
 *
 * Owns the moments: two arenas of the model's layout for Adam, none for SGD. One pass over memory applies the scale
 * (one over the batch's tokens, times the clip), the decay and the update. Rows of an embedding that no step has
 * touched have zero moments and a zero gradient, so without decay they are left out, which changes no bit. Belongs to
 * the compute thread; destroyed before the model. */
#ifndef LSTMQ_OPTIMISER_H
#define LSTMQ_OPTIMISER_H

#include "worker/model.h"

struct optimiser {
    const struct model *model; /* not owned */
    enum optimizer rule;
    double lr, decay;
    enum norm norm;
    double clip;   /* largest norm, 0 = none */
    float *m, *v;  /* arenas, backend memory; NULL for SGD */
    bool *touched; /* [rows of all embeddings] in table order; NULL where every row is updated */
};

bool optimiser_open(struct optimiser *optimiser, const struct model *model, const struct config *config,
                    struct err *err);
void optimiser_close(struct optimiser *optimiser);

/* As before the first update: moments zero, no row touched. */
void optimiser_reset(struct optimiser *optimiser);

/* These rows of an embedding (its index in the model's table) will be updated from now on. */
void optimiser_touch(struct optimiser *optimiser, int tensor, const int32_t *rows, int count);

/* After the moments were loaded: which rows have ever been touched. */
bool optimiser_find_touched(struct optimiser *optimiser, struct err *err);

/* One update, the t-th (from 1), with the gradient of a sum over `tokens` positions. *norm is the norm of the mean
 * gradient before clipping. */
bool optimiser_step(struct optimiser *optimiser, const float *gradient, uint64_t t, uint32_t tokens, double *norm,
                    struct err *err);

#endif
