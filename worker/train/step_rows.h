/* step_rows.h - which rows of the embeddings a step's gradient has.
 *
 * A step looks up a few hundred of the thousands of rows that an embedding has, and the gradient of all others is zero.
 * So nobody passes over them: the gradient's arena begins as zeroes, a step adds to the rows that it looked up, and
 * before the next one these, and no others, become zero again. Whoever adds to an embedding's gradient, or sums it with
 * what others added, says the rows here first; norm and update rely on it.
 *
 * Life of a step's rows: step_rows_add for each batch (and for what other workers' batches looked up), step_rows_list
 * once all are known, step_rows_clear before the next step, whether this one came to its end or not. Belongs to the
 * compute thread; closed before the model. */
#ifndef LSTMQ_STEP_ROWS_H
#define LSTMQ_STEP_ROWS_H

#include "worker/model/model.h"

enum { STEP_EMBEDDINGS = 2 };

/* The rows of one embedding. */
struct row_list {
    const struct tensor *tensor; /* [V, E], of the model's table                        */
    uint64_t *marks;             /* a bit for each row of the tensor                    */
    int count;                   /* as of step_rows_list                                */
    int32_t *host;               /* [count] rising                                      */
    int32_t *index;              /* [count] backend memory: the same                    */
};

struct step_rows {
    const struct model *model; /* not owned */
    struct row_list lists[STEP_EMBEDDINGS];
    int embeddings; /* of the model; lists stand in the order of its table */
};

bool step_rows_open(struct step_rows *rows, const struct model *model, struct err *err);
void step_rows_close(struct step_rows *rows);

/* These rows of the model's `tensor`-th tensor, an embedding; again does no harm. */
void step_rows_add(struct step_rows *rows, int tensor, const int32_t *ids, int count);

/* Whether all of them were added. */
bool step_rows_have(const struct step_rows *rows, int tensor, const int32_t *ids, int count);

/* Fill the lists from what was added. */
void step_rows_list(struct step_rows *rows);

/* The rows of `gradient`, an arena, that are listed become zero. */
void step_rows_zero(const struct step_rows *rows, float *gradient);

/* The rows of `gradient` that were added become zero, listed or not, and nothing is added any more. */
void step_rows_clear(struct step_rows *rows, float *gradient);

#endif
