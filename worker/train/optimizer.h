/* optimizer.h - from a gradient to the next parameters.
 *
 * An optimizer owns the moments: two arenas of the model's layout for Adam, none for SGD. An update has two parts.
 * optimizer_clip has the backend sum the step's figures and the norm of its gradient, and so the scale of the update:
 * one over the batch's tokens, times the clip. optimizer_update applies scale, decay and update in one pass over
 * memory. Both only issue work: the numbers between them stay in backend memory.
 *
 * Of an embedding's gradient only the step's rows can be other than zero, and only they enter the norm. A row that no
 * step has touched has zero moments too: without decay the update leaves it out, which changes no bit.
 *
 * The compute thread owns it and closes it before the model. */
#ifndef LSTMQ_WORKER_TRAIN_OPTIMIZER_H
#define LSTMQ_WORKER_TRAIN_OPTIMIZER_H

#include "worker/train/step_rows.h"

struct optimizer {
    const struct model *model; /* not owned */
    enum optimizer_rule rule;
    double lr, decay;
    enum norm norm;
    double clip;                    /* largest norm, 0 = none */
    float *m, *v;                   /* arenas, backend memory; NULL for SGD */
    float *gathered;                /* backend memory: a step's rows of the embeddings' gradients, back to back */
    size_t gathered_size;           /* floats */
    uint64_t *touched[MODEL_SIDES]; /* a bit for each row that was ever touched; NULL where all rows are updated */
    uint64_t *marks[MODEL_SIDES];   /* the same in backend memory */
    struct update_part parts[MODEL_TENSORS]; /* of the arenas, by which marks and decay apply */
    int part_count;
};

bool optimizer_open(struct optimizer *optimizer, const struct model *model, const struct config *config,
                    struct err *err);
void optimizer_close(struct optimizer *optimizer);

/* As before the first update: moments zero, no row touched. */
void optimizer_reset(struct optimizer *optimizer);

/* After the moments were loaded: which rows have ever been touched. */
bool optimizer_find_touched(struct optimizer *optimizer, struct err *err);

/* What a step came to, into `outcome` (backend memory), from `figures` ([count], backend memory), whose sum must have
 * `tokens` target tokens, and from the gradient of their losses' sum, which has the listed `rows` of the embeddings.
 * The parts of the norm are the tensors in table order, of an embedding its listed rows back to back. With train.norm
 * float an embedding counts whole where its rows are not a multiple of PyTorch's lanes. */
bool optimizer_clip(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows,
                    const struct figures *figures, uint32_t count, uint32_t tokens, struct outcome *outcome,
                    struct err *err);

/* The t-th update (from 1), with outcome->scale * gradient. */
void optimizer_update(struct optimizer *optimizer, const float *gradient, const struct step_rows *rows, uint64_t t,
                      const struct outcome *outcome);

#endif
