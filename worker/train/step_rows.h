/* step_rows.h - which rows of the embeddings a step's gradient has.
 *
 * A step looks up a few hundred of an embedding's thousands of rows, and the gradient of all others is zero. So no
 * code passes over the others: the gradient's arena begins as zeroes, a step adds to the rows that it looks up, and
 * before the next step these rows become zero again. A caller that adds to an embedding's gradient adds the rows here
 * first; the all-reduce, the norm and the update rely on it.
 *
 * Life of a step's rows: step_rows_add for every rank's batch, then step_rows_list, then step_rows_clear before the
 * next step, even if this step failed. Belongs to the compute thread; closed before the model. */
#ifndef LSTMQ_WORKER_TRAIN_STEP_ROWS_H
#define LSTMQ_WORKER_TRAIN_STEP_ROWS_H

#include "worker/model/model.h"

/* The rows of one embedding. */
struct row_list {
    const struct tensor *tensor; /* [V, E], of the model's table                        */
    uint64_t *marks;             /* a bit for each row of the tensor                    */
    int count;                   /* as of step_rows_list                                */
    int32_t *host;               /* [count] rising                                      */
    int32_t *index;              /* [count] backend memory: the same                    */
};

struct step_rows {
    const struct model *model;          /* not owned */
    struct row_list lists[MODEL_SIDES]; /* of the embedding of each side, in the order of the model's table */
};

/* Words of 64 bits for a bit a row. */
size_t step_rows_words(const struct tensor *tensor);

bool step_rows_open(struct step_rows *rows, const struct model *model, struct err *err);
void step_rows_close(struct step_rows *rows);

/* Add these rows of one side's embedding; a row may be added more than once. */
void step_rows_add(struct step_rows *rows, enum model_side side, const int32_t *ids, int count);

/* Whether all of them were added. */
bool step_rows_have(const struct step_rows *rows, enum model_side side, const int32_t *ids, int count);

/* Fill the lists from what was added. */
void step_rows_list(struct step_rows *rows);

/* Set the listed rows of `gradient`, an arena, to zero. */
void step_rows_zero(const struct step_rows *rows, float *gradient);

/* Set all added rows of `gradient` to zero, listed or not, and forget them. */
void step_rows_clear(struct step_rows *rows, float *gradient);

#endif
