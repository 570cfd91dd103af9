/* optimizer.h - from a gradient to the next parameters.
 *
 * Owns the moments: two arenas of the model's layout for Adam, none for SGD. One pass over memory applies the scale
 * (one over the batch's tokens, times the clip), the decay and the update. Of an embedding's gradient only the step's
 * rows can be other than zero, and only they enter the norm. Rows that no step has touched have zero moments too, so
 * without decay they are left out of the update, which changes no bit. Belongs to the compute thread; closed before the
 * model. */
#ifndef LSTMQ_OPTIMIZER_H
#define LSTMQ_OPTIMIZER_H

#include "proto/base/step_result.h"
#include "worker/train/step_rows.h"

struct optimizer {
    const struct model *model; /* not owned */
    enum optimizer_rule rule;
    double lr, decay;
    enum norm norm;
    double clip;          /* largest norm, 0 = none */
    float *m, *v;         /* arenas, backend memory; NULL for SGD */
    bool *touched;        /* [rows of all embeddings] in table order; NULL where every row is updated */
    float *gathered;      /* backend memory: a step's rows of one embedding's gradient, back to back */
    size_t gathered_size; /* floats */
};

bool optimizer_open(struct optimizer *optimizer, const struct model *model, const struct config *config,
                    struct err *err);
void optimizer_close(struct optimizer *optimizer);

/* As before the first update: moments zero, no row touched. */
void optimizer_reset(struct optimizer *optimizer);

/* After the moments were loaded: which rows have ever been touched. */
bool optimizer_find_touched(struct optimizer *optimizer, struct err *err);

/* From the gradient of a sum over the step's tokens, which has the listed `rows` of the embeddings: the scale of the
 * update, one over the tokens times the clip, and result->grad_norm, the norm of the mean gradient before clipping.
 * With train.norm double the norm is the root of the sum of sum_squares of each tensor in table order, of an embedding
 * those of its listed rows back to back. ERR_DIVERGED: the norm is not finite. */
bool optimizer_clip(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows,
                    struct step_result *result, double *scale, struct err *err);

/* The t-th update (from 1), with scale * gradient. */
void optimizer_update(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows, double scale,
                      uint64_t t);

#endif
